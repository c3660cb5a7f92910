/* SPDX-License-Identifier: BSD-3-Clause */
// What a unit must answer to any descriptor, by the table of docs/contract.md, section 6, for a program that
// knows which memory it has. Written from that table, apart from the core: the fuzz program compares the two.
#ifndef SAILSIM_KERNELS_LUTMM_VERDICT_HH
#define SAILSIM_KERNELS_LUTMM_VERDICT_HH

#include "lutmm.h"

#include <cstdint>
#include <vector>

namespace sailsim::kernels
{

// A run of memory that the program has; runs do not touch each other.
struct Extent {
    std::uint64_t first, end;
    bool writable;
};

struct ExpectedVerdict {
    std::uint32_t status = LUTMM_OK;
    std::uint32_t detail = 0; // byte offset of the offending field
};

// LUTMM_ERR_CAPACITY depends on the unit and is not predicted. Reads the operands of what is otherwise valid.
ExpectedVerdict expected_verdict(const lutmm_descriptor &descriptor, const std::vector<Extent> &memory);

// Whether all bytes lie in one extent (that is writable, if they are to be written).
bool reachable(const std::vector<Extent> &memory, std::uint64_t address, std::uint64_t bytes, bool to_write);

} // namespace sailsim::kernels

#endif
