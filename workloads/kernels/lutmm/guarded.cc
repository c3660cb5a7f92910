/* SPDX-License-Identifier: BSD-3-Clause */
#include "lutmm/guarded.hh"

#include "common/fail.hh"
#include "lutmm/probe.hh"

#include <cstdint>
#include <initializer_list>
#include <sys/mman.h>

namespace sailsim::kernels
{

namespace
{

std::uint64_t address_of(const unsigned char *byte)
{
    return reinterpret_cast<std::uintptr_t>(byte);
}

// A protected page keeps its place: an unmapped one could be taken by a later mapping. gem5's cores ignore
// protections, but its syscall emulation never maps a place twice.
void close_page(unsigned char *page)
{
    const bool closed = mprotect(page, kPageBytes, PROT_NONE) == 0 && !can_read(address_of(page), 1);
    if (!closed && munmap(page, kPageBytes) != 0)
        fail("cannot close the guard page at %p", static_cast<void *>(page));
}

} // namespace

Guarded::Guarded(std::size_t bytes)
    : size_(bytes), mapped_((bytes + kPageBytes - 1) / kPageBytes * kPageBytes), first_page_(nullptr),
      bytes_(nullptr)
{
    install_probes();
    const std::size_t with_guards = mapped_ + 2 * kPageBytes;
    void *memory = mmap(nullptr, with_guards, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("cannot allocate %zu bytes", with_guards);
    first_page_ = static_cast<unsigned char *>(memory) + kPageBytes;
    for (unsigned char *page : {first_page_ - kPageBytes, first_page_ + mapped_})
        close_page(page);
    bytes_ = first_page_ + (mapped_ - size_);
}

Guarded::~Guarded()
{
    munmap(first_page_ - kPageBytes, mapped_ + 2 * kPageBytes);
}

bool Guarded::make_read_only(bool units_do) const
{
    if (mprotect(first_page_, mapped_, PROT_READ) != 0)
        return false;
    if (units_do || !can_write(address_of(first_page_), 1))
        return true;
    mprotect(first_page_, mapped_, PROT_READ | PROT_WRITE);
    return false;
}

} // namespace sailsim::kernels
