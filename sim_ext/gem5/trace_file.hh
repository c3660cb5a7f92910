/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A trace file (docs/contract.md), read and relocated.
 */
#ifndef SAILSIM_GEM5_TRACE_FILE_HH
#define SAILSIM_GEM5_TRACE_FILE_HH

#include <cstdint>
#include <string>
#include <vector>

#include "abi/lutmm.h"

namespace gem5::sail
{

struct TraceFile {
    std::uint64_t image_bytes = 0;       /* of memory that the trace takes */
    std::vector<std::uint8_t> stored;    /* the image's first bytes; the rest is zero */
    std::vector<lutmm_descriptor> tiles; /* addresses as they are with the image at its place */
    std::vector<std::uint64_t> expected; /* address of a tile's expected output, or 0 */
};

/* Throws std::runtime_error with one sentence for what is no whole trace of this version. */
TraceFile read_trace(const std::string &path, std::uint64_t image_address);

} // namespace gem5::sail

#endif
