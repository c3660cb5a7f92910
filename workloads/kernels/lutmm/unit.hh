/* SPDX-License-Identifier: BSD-3-Clause */
// Software's side of a PIM unit: hand it a descriptor, wait for the completion record.
#ifndef SAILSIM_KERNELS_LUTMM_UNIT_HH
#define SAILSIM_KERNELS_LUTMM_UNIT_HH

#include "lutmm.h"

#include <cstddef>
#include <cstdint>

namespace sailsim::kernels
{

// Executes LUTMM on `unit`, 0 .. LUTMM_UNITS_MAX - 1. The unit number is part of the instruction.
void submit(unsigned unit, const lutmm_descriptor *descriptor);

// The status so far in the completion record at an address (of a descriptor; a multiple of 4). What the unit
// wrote before it is visible when it is not LUTMM_PENDING.
inline std::uint32_t status_at(std::uint64_t record)
{
    static_assert(offsetof(lutmm_completion, status) == 0);
    return __atomic_load_n(reinterpret_cast<const std::uint32_t *>(static_cast<std::uintptr_t>(record)),
                           __ATOMIC_ACQUIRE);
}

// Polls until the unit has answered or `timeout_ns` have passed; the last status seen.
std::uint32_t wait_for(std::uint64_t record, std::uint64_t timeout_ns);

} // namespace sailsim::kernels

#endif
