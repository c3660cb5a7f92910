/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How a tile is laid out in the arrays (docs/contract.md, section 4).
 */
#ifndef SAILSIM_PIM_PLAN_HH
#define SAILSIM_PIM_PLAN_HH

#include <algorithm>
#include <array>
#include <cstdint>

#include "pim/config.hh"
#include "pim/tile.hh"

namespace sailsim::pim
{

/* Batch rows of a pass, or groups of a turn: the first, and the one behind the last. */
struct Span {
    std::int64_t first = 0;
    std::int64_t end = 0;
};

/* How a tile lies in the arrays of the busiest slice. */
struct TilePlan {
    std::int64_t batch = 0;            /* rows */
    std::int64_t owned = 0;            /* outputs of the slice */
    std::int64_t entry_bits = 0;       /* bits of a table entry */
    std::int64_t lane_bits = 0;        /* cells of a row that one output takes */
    std::int64_t lanes = 0;            /* outputs of a pass; the last may have fewer */
    std::int64_t outputs_per_pass = 0; /* of the first pass: `lanes`, or all that the slice owns */
    std::int64_t passes = 0;           /* over the outputs */
    std::int64_t batch_chunks = 0;     /* every pass is repeated for each chunk of the batch */
    std::int64_t chunk_rows = 0;       /* batch rows of a chunk; the last may have fewer */
    std::int64_t groups = 0;           /* over all blocks */
    std::int64_t groups_per_turn =
        0;                  /* that the DFMs work on at a time; the last of a block may have fewer */
    std::int64_t turns = 0; /* over all blocks */
    std::int64_t blocks = 0;

    bool keeps_activations = false; /* those of a chunk, from pass to pass; else they are read again */

    std::int64_t total_passes() const { return passes * batch_chunks; }
    Span rows_of(std::int64_t chunk) const
    {
        return {chunk * chunk_rows, std::min((chunk + 1) * chunk_rows, batch)};
    }
};

/* The layout that is the fastest of those that fit, as far as can be said before the patterns are known and
 * with weights that come from memory as `weights_kib_cycles` says. A pass takes all lanes, or only as many as
 * convert without an idle round; where the sums of a whole batch have no room, it takes fewer outputs, or the
 * batch takes chunks, each of which reads the weights again. A narrower code, which has more lanes, is never
 * slower. Throws std::invalid_argument when the tile does not fit: the message names the field. */
TilePlan plan_tile(const SliceConfig &config, const TileShape &shape, Scaling scaling);

/* The groups that a turn of a plan has. */
Span groups_of_turn(const TilePlan &plan, const Grouping &grouping, std::int64_t turn);

/* One turn of one pass, a group or as many as the DFMs share out: all but what its patterns cost. */
struct GroupStep {
    std::int64_t pass = 0;             /* 0 .. plan.total_passes() - 1 */
    std::int64_t group = 0;            /* the first, 0 .. plan.groups - 1 */
    std::int64_t groups = 0;           /* how many */
    std::int64_t load_bytes = 0;       /* weights to fetch */
    std::int64_t activation_bytes = 0; /* that the DFMs did not keep and read from the slice again */
    std::int64_t load_cycles = 0;      /* the least that port and staging rows take */
    std::int64_t build_cycles = 0;
    std::int64_t merge_cycles = 0;      /* of sums at the end of a block, which count as looking up */
    std::int64_t convert_cycles = 0;    /* at the end of a block, else 0 */
    std::int64_t write_back_cycles = 0; /* at the end of a pass (or block, when the cores convert), else 0 */
    std::int64_t write_back_bytes = 0;
    std::int64_t conversions = 0; /* batch rows converted */
    std::int64_t unit_converts = 0;
    std::int64_t merges = 0;

    std::int64_t compute_cycles() const { return build_cycles + merge_cycles + convert_cycles; }
};

/* The turns of a block: all but the last are alike. */
struct BlockTurns {
    std::int64_t turns;
    GroupStep full, last;
};

/* Passes that cost the same, one behind the other: `block` is every block but the last. */
struct PassRun {
    std::int64_t times;
    BlockTurns block, last_block;
};

/* A tile that is laid out so. What each of its turns takes, beside its patterns, follows from this alone. */
struct LaidOutTile {
    const SliceConfig &config;
    const TileShape &shape;
    const Scaling scaling;
    const Grouping &grouping;
    const PhaseCosts &costs;
    const TilePlan &plan;

    /* The turn whose first group that is. */
    GroupStep turn(std::int64_t pass, std::int64_t group) const;

    /* The passes of a chunk of the batch: the first, which reads no activations again, those between, and
     * the last, which may have fewer outputs. */
    std::array<PassRun, 3> runs(std::int64_t chunk) const;

  private:
    BlockTurns block(std::int64_t pass, std::int64_t number) const;
    std::int64_t convert_cycles(std::int64_t rows, std::int64_t outputs, bool pass_ends) const;
    std::int64_t written_bytes(std::int64_t rows, std::int64_t outputs, bool pass_ends) const;
};

} // namespace sailsim::pim

#endif
