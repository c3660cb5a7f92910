/* SPDX-License-Identifier: BSD-3-Clause */
#include "lutmm/guarded.hh"

#include "common/fail.hh"

#include <sys/mman.h>

namespace sailsim::kernels
{

Guarded::Guarded(std::size_t bytes)
    : size_(bytes), mapped_((bytes + kPageBytes - 1) / kPageBytes * kPageBytes), first_page_(nullptr),
      bytes_(nullptr)
{
    const std::size_t with_guards = mapped_ + 2 * kPageBytes;
    void *memory = mmap(nullptr, with_guards, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("cannot allocate %zu bytes", with_guards);
    first_page_ = static_cast<unsigned char *>(memory) + kPageBytes;
    if (munmap(first_page_ - kPageBytes, kPageBytes) != 0 || munmap(first_page_ + mapped_, kPageBytes) != 0)
        fail("cannot unmap the guard pages of %zu bytes", with_guards);
    bytes_ = first_page_ + (mapped_ - size_);
}

Guarded::~Guarded()
{
    munmap(first_page_, mapped_);
}

bool Guarded::protect(bool writable) const
{
    return mprotect(first_page_, mapped_, writable ? PROT_READ | PROT_WRITE : PROT_READ) == 0;
}

} // namespace sailsim::kernels
