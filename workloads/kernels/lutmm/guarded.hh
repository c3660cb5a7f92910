/* SPDX-License-Identifier: BSD-3-Clause */
// Memory between two pages that nobody can touch: whoever leaves it faults.
#ifndef SAILSIM_KERNELS_LUTMM_GUARDED_HH
#define SAILSIM_KERNELS_LUTMM_GUARDED_HH

#include <cstddef>

namespace sailsim::kernels
{

constexpr std::size_t kPageBytes = 4096;

class Guarded
{
  public:
    // `bytes` zeroed bytes, at least one; the page before the first and the page behind the last byte are not
    // mapped. The pages are unmapped rather than protected because gem5's cores ignore protections.
    explicit Guarded(std::size_t bytes);
    ~Guarded();
    Guarded(const Guarded &) = delete;
    Guarded &operator=(const Guarded &) = delete;

    std::size_t size() const { return size_; }
    unsigned char *bytes() const { return bytes_; }
    // The first byte that faults.
    unsigned char *end() const { return bytes_ + size_; }
    // Makes all of it read-only. False, and all is as before, where the machine does not do that. gem5's
    // cores do not; with `units_do` it is enough that the PIM units do.
    bool make_read_only(bool units_do) const;

  private:
    std::size_t size_, mapped_;
    unsigned char *first_page_, *bytes_;
};

} // namespace sailsim::kernels

#endif
