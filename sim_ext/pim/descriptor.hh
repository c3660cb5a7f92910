/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a slice unit does with a descriptor (sim_ext/abi/lutmm.h): checks it, computes, and answers. The gem5 unit,
 * the emulator of the instruction and Python use it. A bad descriptor ends in an error code, never in an exception
 * and never in a partial output.
 */
#ifndef SAILSIM_PIM_DESCRIPTOR_HH
#define SAILSIM_PIM_DESCRIPTOR_HH

#include <cstdint>
#include <vector>

#include "abi/lutmm.h"
#include "pim/timing.hh"

namespace sailsim::pim
{

struct Verdict {
    lutmm_status status = LUTMM_OK;
    std::uint32_t detail = 0; /* byte offset of the offending field */

    bool ok() const { return status == LUTMM_OK; }
};

/* A run of bytes in the program's memory; bytes = 0 where the descriptor has no such buffer. */
struct Buffer {
    std::uint64_t address = 0;
    std::uint64_t bytes = 0;
};

struct Buffers {
    Buffer weights;
    Buffer activations;
    Buffer scales;
    Buffer codebook;
    Buffer output;
    Buffer completion;
};

/* Where a descriptor's operands lie. Only for one that passed validate_descriptor. */
Buffers buffers_of(const lutmm_descriptor &d);

/* Everything that can be said without reading memory. The first finding of this order is reported:
 *
 *  1 WBITS    wbits; ternary with another width than 2
 *  2 ABITS    3 NBW      4 SHAPE (k, n, batch)
 *  5 FLAGS    reserved bits; CONVERT without scales or scales without CONVERT; MINIMUM without CONVERT
 *  6 CODEBOOK no address where one is needed; a zero point out of range; a value where none belongs
 *  7 ALIGN    weights, activations, output, scales, completion, codebook
 *  8 FAULT    a buffer that wraps around the end of the address space (same order of buffers)
 *  9 OVERLAP  the output with any other buffer
 * 10 OVERFLOW the accumulator could wrap (with a codebook: after its values are known)
 * 11 CAPACITY table and staging do not fit (likewise)
 *
 * Then, with memory: FAULT (same order of buffers, reads before writes), OVERFLOW and CAPACITY of a codebook, CODE,
 * VALUE. `config.slices` plays no part: a descriptor is one slice's tile. Throws only for a bad config. */
Verdict validate_descriptor(const lutmm_descriptor &d, const SliceConfig &config);

/* The operands' bytes, as many as buffers_of says; null where there are none. */
struct Operands {
    const std::uint8_t *weights = nullptr;
    const std::uint8_t *activations = nullptr;
    const std::uint8_t *scales = nullptr;
    const std::uint8_t *codebook = nullptr;
};

/* A tile that was worked out. On an error `output` is empty and only the completion says anything. */
struct Execution {
    lutmm_completion completion{};
    std::vector<std::uint8_t> output; /* all of it, as it belongs into memory */

    /* What a TileSequencer needs to take this tile's time. */
    SliceConfig config; /* of one slice, with the descriptor's PRT and conversion */
    TileShape shape;
    Scaling scaling;
    PatternProfile profile;
};

/* Works out a descriptor that passed validate_descriptor. completion.cycles is time_tile's, with the port as the only
 * limit to loading. */
Execution execute_operands(const lutmm_descriptor &d, const SliceConfig &config, const Operands &operands,
                           int threads = 1);

/* The program's memory as the unit sees it. */
class Memory
{
  public:
    virtual ~Memory() = default;
    virtual bool readable(std::uint64_t address, std::uint64_t bytes) const = 0;
    virtual bool writable(std::uint64_t address, std::uint64_t bytes) const = 0;
    virtual void read(std::uint64_t address, void *to, std::uint64_t bytes) const = 0;
    virtual void write(std::uint64_t address, const void *from, std::uint64_t bytes) = 0;
};

/* The whole of it: validates, reads, works, writes the output and at last the completion record (if it can be
 * written), and returns the record. */
lutmm_completion execute_descriptor(const lutmm_descriptor &d, const SliceConfig &config, Memory &memory,
                                    int threads = 1);

} // namespace sailsim::pim

#endif
