/* SPDX-License-Identifier: BSD-3-Clause */
// Software's side of a PIM unit: hand it a descriptor, wait for the completion record.
#ifndef SAILSIM_KERNELS_LUTMM_UNIT_HH
#define SAILSIM_KERNELS_LUTMM_UNIT_HH

#include "lutmm.h"

#include <cstdint>

namespace sailsim::kernels
{

// Executes LUTMM on `unit`, 0 .. LUTMM_UNITS_MAX - 1. The unit number is part of the instruction.
void submit(unsigned unit, const lutmm_descriptor *descriptor);

// The status so far. What the unit wrote before it is visible when it is not LUTMM_PENDING.
inline std::uint32_t status_of(const lutmm_completion &completion)
{
    return __atomic_load_n(&completion.status, __ATOMIC_ACQUIRE);
}

// Polls until the unit has answered or `timeout_ns` have passed; the last status seen.
std::uint32_t wait_for(const lutmm_completion &completion, std::uint64_t timeout_ns);

// "OK", "ERR_WBITS", ...; "UNKNOWN" for a number that the ABI does not have.
const char *status_name(std::uint32_t status);

} // namespace sailsim::kernels

#endif
