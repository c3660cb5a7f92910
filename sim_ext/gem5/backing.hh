/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Bytes of physical memory before the simulation begins, while no cache holds any: they are put where gem5
 * keeps memory's content. A functional access for each line would ask every cache whether it has it.
 */
#ifndef SAILSIM_GEM5_BACKING_HH
#define SAILSIM_GEM5_BACKING_HH

#include <cstdint>

#include "base/types.hh"

namespace gem5
{
class System;

namespace sail
{

/* Writes bytes of which every one lies in the system's memory. */
void preload(System &system, Addr address, const void *from, std::uint64_t bytes);

} // namespace sail
} // namespace gem5

#endif
