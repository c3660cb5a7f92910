/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the phases of a tile cost, from the substrate's tallies (docs/contract.md, section 4).
 */
#ifndef SAILSIM_PIM_COSTS_HH
#define SAILSIM_PIM_COSTS_HH

#include <cstdint>

#include "pim/config.hh"
#include "pim/shape.hh"

namespace sailsim::pim
{

/* Bits of a table entry. */
std::int64_t entry_bits(const TileShape &shape);

/* Table entries that are sums of two others: 2^NBW - NBW - 1. */
std::int64_t table_adds(int nbw);

/* Cycles that depend on a tile's widths alone. */
struct PhaseCosts {
    PhaseCosts(const SliceConfig &config, const TileShape &shape, Scaling scaling);

    std::int64_t stage;     /* write a group's weights into the staging rows */
    std::int64_t build;     /* one table */
    std::int64_t zero;      /* a pattern that is 0 */
    std::int64_t hit;       /* one that the PRT holds */
    std::int64_t miss;      /* one that reads the table */
    std::int64_t merge;     /* a batch row of one DFM's sums to another's */
    std::int64_t block;     /* convert and scale the sums of a block in memory: one batch row, one round */
    std::int64_t act_scale; /* the same for the activation scale at the end of a pass */
};

/* Cycles to convert and scale the sums of a block, in the arrays or beside them: those of `rows` batch rows
 * of `outputs`; with the scale of the activations where a pass ends. None where the cores do it. */
std::int64_t convert_cycles(const SliceConfig &config, const PhaseCosts &costs, Scaling scaling,
                            std::int64_t rows, std::int64_t outputs, bool pass_ends);

/* Bytes of weights that a turn loads, `weights` of each output. */
std::int64_t weight_bytes(const TileShape &shape, std::int64_t weights, std::int64_t outputs);

/* Bytes of activations, so many of each batch row. */
std::int64_t activation_bytes(const TileShape &shape, std::int64_t weights, std::int64_t rows);

/* The least cycles that loading a turn takes: by port and staging rows, with the activations of so many batch
 * rows that are read again. */
std::int64_t load_cycles(const SliceConfig &config, const PhaseCosts &costs, const TileShape &shape,
                         std::int64_t weights, std::int64_t outputs, std::int64_t rows_again);

/* Bytes that are written back at the end of a block, or of the pass. */
std::int64_t written_bytes(const SliceConfig &config, Scaling scaling, std::int64_t rows,
                           std::int64_t outputs, bool pass_ends);

/* Outputs that all arrays together hold at a time while they convert. */
std::int64_t convert_lanes(const SliceConfig &config);

} // namespace sailsim::pim

#endif
