/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/plan.hh"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

#include "pim/convert.hh"
#include "pim/tile.hh"

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

/* Cells of the widest table entry: values of 16 bits, sums of six. */
constexpr std::int64_t widest_lane = 19;

/* What a layout of a tile takes before its patterns are known: the cycles of the sequencer if every pattern
 * read the table and weights came as fast as the port takes them, in closed form. */
class NominalTime
{
  public:
    /* Keeps references. */
    NominalTime(const SliceConfig &config_, const TileShape &shape_, Scaling scaling_,
                const Grouping &grouping_, const PhaseCosts &costs_, const TilePlan &plan_)
        : config(config_), shape(shape_), scaling(scaling_), grouping(grouping_), costs(costs_), plan(plan_)
    {
    }

    std::int64_t cycles() const
    {
        const std::int64_t chunks = plan.batch_chunks, rows = plan.chunk_rows;
        const std::int64_t last_rows = shape.batch - (chunks - 1) * rows;
        const auto begins = [&](std::int64_t r) { return start({r, plan.outputs_per_pass, true}); };
        if (chunks == 1)
            return begins(last_rows) + chunk_cycles(last_rows, 0);
        return begins(rows) + (chunks - 2) * chunk_cycles(rows, begins(rows)) +
               chunk_cycles(rows, begins(last_rows)) + chunk_cycles(last_rows, 0);
    }

  private:
    /* Turns of a block: all but the last have the weights of whole groups. */
    struct Block {
        std::int64_t groups, turns, last_weights;
    };

    /* A pass of a chunk: which outputs of which batch rows, and whether it is the chunk's first. */
    struct Pass {
        std::int64_t rows, outputs;
        bool is_first;
    };

    /* All passes of some batch rows; every one ends with the load of what follows. */
    std::int64_t chunk_cycles(std::int64_t rows, std::int64_t next_load) const
    {
        const Pass first{rows, plan.outputs_per_pass, true}, full{rows, plan.lanes, false},
            last{rows, plan.owned - (plan.passes - 1) * plan.lanes, false};
        if (plan.passes == 1)
            return pass_cycles(first, next_load);
        const std::int64_t to_last = start(last);
        std::int64_t sum = pass_cycles(first, plan.passes == 2 ? to_last : start(full));
        if (plan.passes > 2)
            sum += (plan.passes - 3) * pass_cycles(full, start(full)) + pass_cycles(full, to_last);
        return sum + pass_cycles(last, next_load);
    }

    std::int64_t pass_cycles(const Pass &pass, std::int64_t next_load) const
    {
        const Block full = block_of(grouping.block_size());
        const Block last = block_of(shape.k - (plan.blocks - 1) * grouping.block_size());
        std::int64_t sum = block_cycles(pass, last, true, next_load);
        if (plan.blocks > 1)
            sum += (plan.blocks - 2) * block_cycles(pass, full, false, first_load(pass, full)) +
                   block_cycles(pass, full, false, first_load(pass, last));
        return sum;
    }

    std::int64_t block_cycles(const Pass &pass, const Block &block, bool pass_ends,
                              std::int64_t next_load) const
    {
        /* With double buffering the next load runs beside the work, else behind it. */
        const auto turn = [this](std::int64_t work, std::int64_t load) {
            return config.double_buffer ? std::max(work, load) : work + load;
        };
        const std::int64_t work = costs.build + pass.rows * shape.abits * costs.miss;
        const std::int64_t ending =
            merging(pass, block, pass_ends) +
            convert_cycles(config, costs, scaling, pass.rows, pass.outputs, pass_ends);
        const std::int64_t written = written_bytes(config, scaling, pass.rows, pass.outputs, pass_ends);
        std::int64_t sum = turn(work + ending, next_load) + ceil_div(written, config.port_bytes);
        if (block.turns > 1)
            sum += (block.turns - 2) * turn(work, load(pass, plan.groups_per_turn * shape.nbw)) +
                   turn(work, load(pass, block.last_weights));
        return sum;
    }

    Block block_of(std::int64_t weights) const
    {
        const std::int64_t groups = ceil_div(weights, shape.nbw);
        const std::int64_t turns = ceil_div(groups, plan.groups_per_turn);
        return {groups, turns, weights - (turns - 1) * plan.groups_per_turn * shape.nbw};
    }

    std::int64_t load(const Pass &pass, std::int64_t weights) const
    {
        return load_cycles(config, costs, shape, weights, pass.outputs,
                           pass.is_first || plan.keeps_activations ? 0 : pass.rows);
    }

    std::int64_t first_load(const Pass &pass, const Block &block) const
    {
        return load(pass, block.turns > 1 ? plan.groups_per_turn * shape.nbw : block.last_weights);
    }

    /* The first load of a pass. */
    std::int64_t start(const Pass &pass) const { return first_load(pass, block_of(grouping.block_size())); }

    std::int64_t merging(const Pass &pass, const Block &block, bool pass_ends) const
    {
        if (!scaling.scaled && !pass_ends)
            return 0;
        const std::int64_t groups = scaling.scaled ? block.groups : grouping.groups_per_block();
        return pass.rows * ceil_log2(std::min(plan.groups_per_turn, groups)) * costs.merge;
    }

    const SliceConfig &config;
    const TileShape &shape;
    const Scaling scaling;
    const Grouping &grouping;
    const PhaseCosts &costs;
    const TilePlan &plan;
};

/* Weighs the layouts of a tile. */
class Planner
{
  public:
    Planner(const SliceConfig &slice, const TileShape &tile, Scaling scale)
        : config(slice), shape(tile), scaling(scale), grouping(shape.k, shape.nbw, shape.group_size),
          costs(config, shape, scaling), transposed(config.substrate.layout == Layout::columns),
          in_array(config.substrate.accumulate == Accumulate::in_array)
    {
        common.groups = grouping.groups();
        common.blocks = grouping.blocks();
        common.groups_per_turn = config.dfm_split == DfmSplit::k ? config.dfms : 1;
        common.turns = turns_of(grouping, common.groups_per_turn);
        common.owned = ceil_div(shape.n, config.slices);
        common.entry_bits = entry_bits(shape);
        set_lanes();
        set_rows();
        set_activations();
    }

    TilePlan fastest()
    {
        weigh_rows(fewest_chunks_rows());
        const TilePlan whole = *best;
        if (whole.total_passes() == 1 || in_array)
            return whole;
        /* Fewer batch rows leave their sums room for more outputs, until all lanes are taken. */
        for (std::int64_t rows = whole.chunk_rows; rows > 1 && sums_held() / rows < all_lanes();) {
            const std::int64_t chunks = (shape.batch - 1) / (rows - 1) + 1;
            rows = ceil_div(shape.batch, chunks);
            weigh_rows(rows);
        }
        return *best;
    }

  private:
    /* The most outputs that lie in the arrays of a DFM, or of all where they share out the outputs. */
    void set_lanes()
    {
        common.lane_bits = transposed ? 1
                           : in_array ? std::max<std::int64_t>(common.entry_bits, config.accumulator_bits)
                                      : common.entry_bits;
        if (config.cols < common.lane_bits)
            throw std::invalid_argument("cols is " + std::to_string(config.cols) + ": one output takes " +
                                        std::to_string(common.lane_bits) + " cells of a row");
        most_lanes = lanes_of(common.lane_bits);
        if (in_array)
            return;
        if (sums_held() == 0)
            throw std::invalid_argument("accumulator_buffer_bits is " +
                                        std::to_string(config.accumulator_buffer_bits) +
                                        ": the sum of one output takes " +
                                        std::to_string(common.groups_per_turn * config.accumulator_bits));
    }

    void set_rows()
    {
        const std::int64_t table = table_rows(shape.nbw) * (transposed ? common.entry_bits : 1);
        const std::int64_t staging = 2 * shape.nbw * (transposed ? shape.value_bits : 1);
        row_of_sums = !in_array ? 0 : transposed ? config.accumulator_bits : 1;
        /* At a block's end the conversion has the table's rows, and more where it needs more. */
        const std::int64_t registers = register_rows();
        fixed_rows = std::max(table, registers) + staging;
        if (config.rows < fixed_rows + row_of_sums)
            throw std::invalid_argument("rows is " + std::to_string(config.rows) + ": the tile needs " +
                                        std::to_string(fixed_rows + row_of_sums) + " (" +
                                        (registers > table
                                             ? "registers of the conversion " + std::to_string(registers)
                                             : "table " + std::to_string(table)) +
                                        ", staging " + std::to_string(staging) + ", sums of one batch row " +
                                        std::to_string(row_of_sums) + ")");
    }

    std::int64_t register_rows() const
    {
        if (!scaling.scaled || config.convert != Convert::memory)
            return 0;
        return transposed ? convert_register_bits(config.accumulator_bits) : convert_registers;
    }

    /* A DFM has room for the activations of a group that is worked on and of the next. */
    void set_activations()
    {
        const std::int64_t row = 2 * shape.nbw * shape.abits;
        most_rows = config.activation_buffer_bits / row;
        if (most_rows == 0)
            throw std::invalid_argument("activation_buffer_bits is " +
                                        std::to_string(config.activation_buffer_bits) +
                                        ": two groups of one batch row take " + std::to_string(row));
        if (in_array)
            most_rows = std::min(most_rows, (config.rows - fixed_rows) / row_of_sums);
    }

    /* Outputs in the arrays where one takes so many cells of a row. */
    std::int64_t lanes_of(std::int64_t lane_bits) const
    {
        return config.arrays / common.groups_per_turn * (config.cols / lane_bits);
    }

    /* Batch rows of the fewest chunks that the buffers allow. */
    std::int64_t fewest_chunks_rows() const
    {
        const std::int64_t held = in_array ? most_rows : std::min(most_rows, sums_held());
        return ceil_div(shape.batch, ceil_div(shape.batch, held));
    }

    /* The most lanes that have outputs. */
    std::int64_t all_lanes() const { return std::min(most_lanes, common.owned); }

    /* The layouts with chunks of so many rows: with the most lanes, with fewer that leave no room in a round
     * of the conversion, and those of wider codes, so that a narrower one is never slower. */
    void weigh_rows(std::int64_t rows)
    {
        const std::int64_t room = in_array ? most_lanes : sums_held() / rows;
        std::int64_t weighed = -1; /* wider codes often have as many */
        const auto weigh_lanes = [&](std::int64_t most) {
            const std::int64_t lanes = std::min(most, room);
            if (lanes == weighed)
                return;
            weighed = lanes;
            weigh(lanes, rows);
            if (const std::int64_t whole = whole_rounds(lanes); whole != lanes)
                weigh(whole, rows);
        };
        weigh_lanes(most_lanes);
        if (transposed || in_array)
            return;
        for (std::int64_t bits = common.lane_bits + 1; bits <= std::min(widest_lane, config.cols); ++bits)
            weigh_lanes(lanes_of(bits));
    }

    void weigh(std::int64_t lanes, std::int64_t rows)
    {
        if (lanes < 1)
            return;
        const TilePlan plan = layout_of(lanes, rows);
        const std::int64_t cycles = NominalTime(config, shape, scaling, grouping, costs, plan).cycles();
        const std::array<std::int64_t, 3> its = {std::max(cycles, reading_cycles(plan)), plan.batch_chunks,
                                                 cycles};
        if (!best || its < least) {
            best = plan;
            least = its;
        }
    }

    /* While memory brings all weights, once for each chunk of the batch. */
    std::int64_t reading_cycles(const TilePlan &plan) const
    {
        return plan.batch_chunks *
               ceil_div(weight_bytes(shape, shape.k, plan.owned) * config.weights_kib_cycles, 1024);
    }

    /* Sums that the DFMs have room for, of one batch row: outputs, each as often as DFMs share out K. */
    std::int64_t sums_held() const
    {
        return config.accumulator_buffer_bits / (common.groups_per_turn * config.accumulator_bits);
    }

    /* The most lanes up to `lanes` that leave no room in a round of the conversion. */
    std::int64_t whole_rounds(std::int64_t lanes) const
    {
        if (!scaling.scaled || config.convert == Convert::cores)
            return lanes;
        const std::int64_t round =
            config.convert == Convert::memory ? convert_lanes(config) : config.convert_units;
        return round > 0 ? lanes / round * round : lanes;
    }

    TilePlan layout_of(std::int64_t lanes, std::int64_t rows) const
    {
        TilePlan plan = common;
        plan.lanes = lanes;
        plan.outputs_per_pass = std::min(lanes, plan.owned);
        plan.passes = ceil_div(plan.owned, lanes);
        plan.chunk_rows = rows;
        plan.batch_chunks = ceil_div(shape.batch, rows);
        plan.rows_needed = fixed_rows + plan.chunk_rows * row_of_sums;
        const std::int64_t round = convert_lanes(config);
        plan.convert_rounds = round > 0 ? ceil_div(plan.outputs_per_pass, round) : 0;
        /* Of the groups of a DFM. */
        plan.keeps_activations =
            plan.turns * shape.nbw * plan.chunk_rows * shape.abits <= config.activation_buffer_bits;
        return plan;
    }

    const SliceConfig &config;
    const TileShape &shape;
    const Scaling scaling;
    const Grouping grouping;
    const PhaseCosts costs;
    const bool transposed;
    const bool in_array;
    TilePlan common; /* what all layouts share */
    std::int64_t most_lanes = 0;
    std::int64_t most_rows = 0; /* of the batch in a chunk, as far as lanes do not matter */
    std::int64_t fixed_rows = 0;
    std::int64_t row_of_sums = 0;
    std::optional<TilePlan> best;
    std::array<std::int64_t, 3> least{}; /* of it: cycles, chunks of the batch, cycles but for reading */
};

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

TilePlan plan_tile(const SliceConfig &config, const TileShape &shape, Scaling scaling)
{
    config.validate();
    shape.validate();
    return Planner(config, shape, scaling).fastest();
}

} // namespace sailsim::pim
