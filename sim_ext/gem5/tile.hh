/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The tile that a unit works on: its buffers, and the order in which its weights are fetched.
 */
#ifndef SAILSIM_GEM5_TILE_HH
#define SAILSIM_GEM5_TILE_HH

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "abi/lutmm.h"
#include "base/types.hh"
#include "gem5/address_space.hh"
#include "gem5/ports.hh"
#include "pim/descriptor.hh"
#include "pim/timing.hh"
#include "sim/serialize.hh"

namespace gem5::sail
{

namespace pim = ::sailsim::pim;

/* Of the descriptor's buffers, and of itself. */
constexpr std::size_t area_count = pim::descriptor_area + 1;

/* A buffer of the program with the unit's copy of its bytes. */
struct AreaBuffer {
    std::vector<Piece> pieces;
    std::vector<std::uint8_t> data;
};

/* A turn of a pass, as far as fetching goes. */
struct Step {
    std::int64_t missing = 0; /* reads that are not here yet */
    Addr bytes = 0;
};

/* How far a tile is, beside its buffers and the groups that wait. */
struct Progress {
    Ring ring;
    lutmm_descriptor descriptor{};
    Tick arrived = 0; /* of its descriptor */
    Tick started = 0; /* of cycle 0 of the sequencer; 0 until the operands are here */
    std::uint32_t status = LUTMM_PENDING;
    std::uint32_t detail = 0;
    std::int64_t operands_missing = 0;
    std::int64_t writes_missing = 0;
    std::int64_t record_parts = 0; /* of the completion record, not written yet */
    std::int64_t expanded = 0;     /* turns whose reads are known */
    std::int64_t taken = 0;        /* turns that the arrays have taken */
    bool planned = false;
};

class Tile : public Serializable, public Progress
{
  public:
    Tile(const Ring &ring, unsigned line_bytes) : Progress{ring}, line_bytes(line_bytes) {}

    std::array<AreaBuffer, area_count> areas;

    /* The reads of a buffer's run of bytes, line by line; without `data`. */
    std::vector<Transfer> transfers(pim::Area which, Addr offset, Addr bytes) const;

    /* Plans the passes; the codebook, if any, must be here. False, with status and detail set, when the tile
     * does not fit. */
    bool plan(const pim::SliceConfig &config);

    /* Starts the clock of the sequencer; the activations must be here. */
    void start(Tick now);

    /* The next turn's reads that this pass has not made yet; empty when there is no further turn (and
     * also where all of a turn came with its neighbours: then `expanded` moves on all the same). */
    std::vector<Transfer> expand_next();
    bool all_expanded() const { return expanded == total_steps(); }
    std::int64_t total_passes() const { return layout->total_passes(); }
    std::int64_t total_steps() const { return layout->total_passes() * layout->turns; }

    /* The oldest group that the arrays have not taken is in `waiting.front()`, and its number is `taken`. */
    std::deque<Step> waiting;
    pim::GroupTimes last_group; /* of the group taken last, for the debug output */

    /* The arrays take the oldest group, whose weights are all here since `now`. The tick from which its bytes
     * no longer wait for the port. */
    Tick take(Tick now, Tick period);

    /* All groups are taken: when the last one is worked out. */
    Tick end(Tick period) const;

    /* Whether the activations are all within their width: else there is no timing, only an error at the end.
     */
    bool timed() const { return sequencer.has_value(); }
    pim::TileTiming timing() const { return sequencer->timing(); }
    /* The same tile with all weights at the port in time. */
    pim::TileTiming unhindered() const;

    /* Computes, from the bytes that came by the port. */
    pim::Execution execute(const pim::SliceConfig &config) const;

    void serialize(CheckpointOut &cp) const override;
    void unserialize(CheckpointIn &cp) override;
    /* After unserialize: what follows from the bytes and the arrivals. */
    void rebuild(const pim::SliceConfig &config);

  private:
    void add_unfetched(std::vector<Transfer> &found, pim::Area which, Addr offset, Addr bytes);

    const unsigned line_bytes;
    std::optional<pim::Preparation> preparation;
    std::optional<pim::TilePlan> layout;
    std::optional<pim::PatternProfile> profile;
    std::optional<pim::TileSequencer> sequencer;
    std::vector<std::int64_t> arrivals; /* cycles at which groups were all here, to rebuild the sequencer */
    /* Lines of weights and scales that the current pass has fetched. */
    std::array<std::vector<std::uint8_t>, area_count> fetched;
};

} // namespace gem5::sail

#endif
