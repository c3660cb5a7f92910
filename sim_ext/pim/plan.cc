/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/plan.hh"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "pim/convert.hh"

namespace sailsim::pim
{

namespace
{

/* Turns over all blocks, when a turn is so many groups of a block. */
std::int64_t turns_of(const Grouping &grouping, std::int64_t width)
{
    const std::int64_t full = grouping.blocks() - 1;
    const std::int64_t last = grouping.groups() - full * grouping.groups_per_block();
    return full * ceil_div(grouping.groups_per_block(), width) + ceil_div(last, width);
}

} // namespace

TurnGroups groups_of_turn(const TilePlan &plan, const Grouping &grouping, std::int64_t turn)
{
    const std::int64_t per_block = ceil_div(grouping.groups_per_block(), plan.groups_per_turn);
    const std::int64_t block = turn / per_block * grouping.groups_per_block();
    const std::int64_t begin = block + turn % per_block * plan.groups_per_turn;
    const std::int64_t block_end = std::min(block + grouping.groups_per_block(), plan.groups);
    return {begin, std::min(begin + plan.groups_per_turn, block_end)};
}

std::int64_t table_rows(int nbw)
{
    return (std::int64_t{1} << nbw) - 1; /* the zero entry is free */
}

std::int64_t convert_lanes(const SliceConfig &config)
{
    if (config.substrate.layout == Layout::columns)
        return config.arrays * config.cols;
    return config.arrays * (config.cols / convert_lane_bits(config.accumulator_bits));
}

TilePlan plan_tile(const SliceConfig &config, const TileShape &shape)
{
    config.validate();
    shape.validate();
    const Grouping grouping(shape.k, shape.nbw, shape.group_size);
    const bool transposed = config.substrate.layout == Layout::columns;
    const bool in_array = config.substrate.accumulate == Accumulate::in_array;

    TilePlan plan;
    plan.groups = grouping.groups();
    plan.blocks = grouping.blocks();
    plan.owned = ceil_div(shape.n, config.slices);
    plan.entry_bits = shape.value_bits + ceil_log2(shape.nbw);

    if (transposed)
        plan.lane_bits = 1;
    else
        plan.lane_bits =
            in_array ? std::max<std::int64_t>(plan.entry_bits, config.accumulator_bits) : plan.entry_bits;
    if (config.cols < plan.lane_bits)
        throw std::invalid_argument("cols is " + std::to_string(config.cols) + ": one output takes " +
                                    std::to_string(plan.lane_bits) + " cells of a row");
    plan.groups_per_turn = config.dfm_split == DfmSplit::k ? config.dfms : 1;
    plan.turns = turns_of(grouping, plan.groups_per_turn);
    /* DFMs that share out the groups hold the same outputs. */
    plan.lanes = config.arrays / plan.groups_per_turn * (config.cols / plan.lane_bits);
    plan.outputs_per_pass = std::min(plan.lanes, plan.owned);
    plan.passes = ceil_div(plan.owned, plan.lanes);

    const std::int64_t table = table_rows(shape.nbw) * (transposed ? plan.entry_bits : 1);
    const std::int64_t staging = 2 * shape.nbw * (transposed ? shape.value_bits : 1);
    const std::int64_t row_of_sums = !in_array ? 0 : transposed ? config.accumulator_bits : 1;
    if (config.rows < table + staging + row_of_sums)
        throw std::invalid_argument("rows is " + std::to_string(config.rows) + ": the tile needs " +
                                    std::to_string(table + staging + row_of_sums) + " (table " +
                                    std::to_string(table) + ", staging " + std::to_string(staging) +
                                    ", sums of one batch row " + std::to_string(row_of_sums) + ")");
    plan.chunk_rows = shape.batch;
    if (in_array)
        plan.chunk_rows = std::min(shape.batch, (config.rows - table - staging) / row_of_sums);
    plan.batch_chunks = ceil_div(shape.batch, plan.chunk_rows);
    plan.rows_needed = table + staging + plan.chunk_rows * row_of_sums;

    const std::int64_t lanes = convert_lanes(config);
    plan.convert_rounds = lanes > 0 ? ceil_div(plan.outputs_per_pass, lanes) : 0;
    return plan;
}

} // namespace sailsim::pim
