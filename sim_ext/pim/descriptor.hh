/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a slice unit does with a descriptor (sim_ext/abi/lutmm.h): checks it, computes, and answers. The gem5
 * unit, the emulator of the instruction and Python use it. A bad descriptor ends in an error code, never in
 * an exception and never in a partial output.
 */
#ifndef SAILSIM_PIM_DESCRIPTOR_HH
#define SAILSIM_PIM_DESCRIPTOR_HH

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
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

/* The buffers of a descriptor, in the order in which findings are reported, and its own bytes. */
enum Area {
    weight_area,
    activation_area,
    output_area,
    scale_area,
    completion_area,
    codebook_area,
    descriptor_area,
};
constexpr std::size_t buffer_count = descriptor_area;

/* A run of bytes in the program's memory; bytes = 0 where the descriptor has no such buffer. */
struct Buffer {
    std::uint64_t address = 0;
    std::uint64_t bytes = 0;
    std::uint32_t field = 0; /* byte offset of its address in the descriptor */
    bool is_written = false;
    std::uint64_t align = LUTMM_BUFFER_ALIGN;
};
using Buffers = std::array<Buffer, buffer_count>;

/* Where a descriptor's operands lie. Only for one of which validate_descriptor found shape and flags good. */
Buffers buffers_of(const lutmm_descriptor &d);

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

constexpr std::uint32_t status_count = LUTMM_ERR_UNIT + 1;

/* "OK", "ERR_WBITS", ...; "UNKNOWN" for a number that the ABI does not have. */
const char *status_name(std::uint32_t status);

/* Whether a buffer can be read, or written where it is written. */
using Reachable = std::function<bool(const Buffer &buffer)>;

/* Everything that can be said before the operands are read, in the order of docs/contract.md, section 6.
 * Without `reachable` every address counts as good; with a codebook, whose values are not known yet, OVERFLOW
 * and CAPACITY are left to execute_operands. `config.slices` plays no part: a descriptor is one slice's tile.
 * Throws only for a bad config. */
Verdict validate_descriptor(const lutmm_descriptor &d, const SliceConfig &config,
                            const Reachable &reachable = nullptr);

/* The operands' bytes, as many as buffers_of says; null where there are none. */
using Operands = std::array<const std::uint8_t *, buffer_count>;

/* What a TileSequencer needs besides the profile; known as soon as the codebook is. */
struct Preparation {
    Verdict verdict; /* OVERFLOW or CAPACITY; then the rest says nothing */
    SliceConfig config;
    TileShape shape;
    Scaling scaling;
};

/* For a descriptor that passed validate_descriptor; codebook as in Operands. */
Preparation prepare_tile(const lutmm_descriptor &d, const SliceConfig &config, const std::uint8_t *codebook);

/* The patterns of the activations, counted with the PRT of a prepared config; none when an activation lies
 * outside abits (execute_operands then says VALUE, unless it finds something before). */
std::optional<PatternProfile> profile_activations(const lutmm_descriptor &d, const SliceConfig &prepared,
                                                  const std::uint8_t *activations, int threads = 1);

/* A tile that was worked out. On an error `output` is empty and only the completion says anything. */
struct Execution {
    lutmm_completion completion{};
    std::vector<std::uint8_t> output; /* all of it, as it belongs into memory */
};

/* Works out a descriptor that passed validate_descriptor. completion.cycles is TileTimer's, with the port as
 * the only limit to loading. */
Execution execute_operands(const lutmm_descriptor &d, const SliceConfig &config, const Operands &operands,
                           int threads = 1);

/* The whole of it: validates, reads, works, writes the output and at last the completion record (if it can be
 * written), and returns the record. */
lutmm_completion execute_descriptor(const lutmm_descriptor &d, const SliceConfig &config, Memory &memory,
                                    int threads = 1);

/* The answer for a unit that the machine does not have: the completion record says so (if it can be written),
 * and nothing else of the descriptor is looked at. */
lutmm_completion refuse_unit(const lutmm_descriptor &d, std::uint32_t unit, Memory &memory);

} // namespace sailsim::pim

#endif
