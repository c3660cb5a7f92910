/* SPDX-License-Identifier: BSD-3-Clause */
// Memory that ends where mapped memory ends: the next page is not mapped, so that whoever goes on faults.
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
    // mapped. The pages are unmapped rather than protected because gem5's syscall emulation ignores
    // protections.
    explicit Guarded(std::size_t bytes);
    ~Guarded();
    Guarded(const Guarded &) = delete;
    Guarded &operator=(const Guarded &) = delete;

    std::size_t size() const { return size_; }
    unsigned char *bytes() const { return bytes_; }
    // The first byte that is not mapped any more.
    unsigned char *end() const { return bytes_ + size_; }
    // Makes the whole pages of the memory read-only, or writable again; false where the machine cannot.
    bool protect(bool writable) const;

  private:
    std::size_t size_, mapped_;
    unsigned char *first_page_, *bytes_;
};

} // namespace sailsim::kernels

#endif
