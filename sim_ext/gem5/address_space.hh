/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where a program's buffers lie in physical memory. The unit translates with the page table of the thread
 * that rang, without taking time for it; a ring without a thread (a replayed trace) names physical addresses.
 */
#ifndef SAILSIM_GEM5_ADDRESS_SPACE_HH
#define SAILSIM_GEM5_ADDRESS_SPACE_HH

#include <optional>
#include <vector>

#include "arch/generic/mmu.hh"
#include "base/types.hh"
#include "gem5/ports.hh"

namespace gem5
{
class System;
class ThreadContext;

namespace sail
{

/* The address space of the thread in a context; 0 where there is none. */
std::uint64_t space_in(const System &system, ContextID context);

/* A physically contiguous part of a buffer. */
struct Piece {
    Addr offset = 0; /* in the buffer */
    Addr physical = 0;
    Addr bytes = 0;
};

/* The pieces of a buffer in order, in the address space of the thread that rang; none if a byte of it is no
 * memory that may be accessed so. Pages that the program owns but has not touched yet are given memory. A
 * process of which no thread is left has no memory. */
std::optional<std::vector<Piece>> pieces_of(System &system, const Ring &ring, Addr address, Addr bytes,
                                            BaseMMU::Mode mode);

} // namespace sail
} // namespace gem5

#endif
