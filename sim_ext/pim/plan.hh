/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How a tile is laid out in the arrays (docs/contract.md, section 4).
 */
#ifndef SAILSIM_PIM_PLAN_HH
#define SAILSIM_PIM_PLAN_HH

#include <cstdint>

#include "pim/config.hh"
#include "pim/tile.hh"

namespace sailsim::pim
{

/* How a tile lies in the arrays of the busiest slice. */
struct TilePlan {
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
    std::int64_t rows_needed = 0;    /* rows of an array in use */
    std::int64_t convert_rounds = 0; /* times the conversion runs for all outputs of a full pass */

    bool keeps_activations = false; /* those of a chunk, from pass to pass; else they are read again */

    std::int64_t total_passes() const { return passes * batch_chunks; }
};

/* The layout that is the fastest of those that fit, as far as can be said before the patterns are known and
 * with weights that come from memory as `weights_kib_cycles` says. A pass takes all lanes, or only as many as
 * convert without an idle round; where the sums of a whole batch have no room, it takes fewer outputs, or the
 * batch takes chunks, each of which reads the weights again. A narrower code, which has more lanes, is never
 * slower. Throws std::invalid_argument when the tile does not fit: the message names the field. */
TilePlan plan_tile(const SliceConfig &config, const TileShape &shape, Scaling scaling);

/* The groups that a turn of a plan has: the first, and the one behind the last. */
struct TurnGroups {
    std::int64_t begin = 0;
    std::int64_t end = 0;
};
TurnGroups groups_of_turn(const TilePlan &plan, const Grouping &grouping, std::int64_t turn);

/* Rows of an array that hold a table of single entries: the zero entry is free. */
std::int64_t table_rows(int nbw);

} // namespace sailsim::pim

#endif
