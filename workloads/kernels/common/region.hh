/* SPDX-License-Identifier: BSD-3-Clause */
// Marks one measured pass of a program for gem5: statistics are reset at its start and dumped at its end, and
// the work items let a run script change the CPU model there. Only with `--m5`: elsewhere these words are
// illegal.
#ifndef SAILSIM_KERNELS_COMMON_REGION_HH
#define SAILSIM_KERNELS_COMMON_REGION_HH

#include <cstdint>

namespace sailsim::kernels
{

class Region
{
  public:
    explicit Region(bool in_gem5) : in_gem5_(in_gem5)
    {
        if (in_gem5_) {
            operation<kWorkBegin>();
            operation<kResetStats>();
        }
    }
    ~Region()
    {
        if (in_gem5_) {
            operation<kDumpStats>();
            operation<kWorkEnd>();
        }
    }
    Region(const Region &) = delete;
    Region &operator=(const Region &) = delete;

  private:
    // gem5's pseudo instructions: 0xff000110 | function << 16, two arguments in x0 and x1 (all zero here: no
    // delay and no repetition, or work item 0 of thread 0).
    static constexpr std::uint32_t kResetStats = 0x40, kDumpStats = 0x41, kWorkBegin = 0x5a, kWorkEnd = 0x5b;

    template <std::uint32_t Function>
    static void operation()
    {
        register std::uint64_t first __asm__("x0") = 0;
        register std::uint64_t second __asm__("x1") = 0;
        __asm__ volatile(".inst %c2"
                         : "+r"(first), "+r"(second)
                         : "i"(0xff000110u | (Function << 16))
                         : "memory");
    }

    bool in_gem5_;
};

} // namespace sailsim::kernels

#endif
