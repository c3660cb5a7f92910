/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/plan.hh"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

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

constexpr int result_bytes = 4; /* int32 or fp32 */

/* Outputs that all arrays together hold at a time while they convert. */
std::int64_t convert_lanes(const SliceConfig &config)
{
    if (config.substrate.layout == Layout::columns)
        return config.arrays * config.cols;
    return config.arrays * (config.cols / convert_lane_bits(config.accumulator_bits));
}

/* Bytes of so many weights of each output. */
std::int64_t weight_bytes(const TileShape &shape, std::int64_t weights, std::int64_t outputs)
{
    return ceil_div(weights * outputs * shape.wbits, 8);
}

/* What a layout of a tile takes before its patterns are known: the cycles of the sequencer if every pattern
 * read the table and weights came as fast as the port takes them. Whatever repeats is played twice, for what
 * comes before the first may be another turn than what comes before the others. */
std::int64_t nominal_cycles(const LaidOutTile &tile)
{
    const TilePlan &plan = tile.plan;
    std::int64_t cycles = 0, work = 0, lookups = 0; /* `work`: of a turn, while the next one loads */
    const auto repeat = [&cycles](std::int64_t times, const auto &once) {
        if (times > 0)
            once();
        if (times > 1) {
            const std::int64_t began = cycles;
            once();
            cycles = began + (times - 1) * (cycles - began);
        }
    };
    const auto play_turn = [&](const GroupStep &turn) {
        cycles += tile.config.double_buffer ? std::max(work, turn.load_cycles) : work + turn.load_cycles;
        cycles += turn.write_back_cycles;
        work = turn.compute_cycles() + lookups;
    };
    const auto play_block = [&](const BlockTurns &block) {
        repeat(block.turns - 1, [&] { play_turn(block.full); });
        play_turn(block.last);
    };
    const auto play_chunks = [&](std::int64_t first, std::int64_t times) {
        const Span rows = plan.rows_of(first);
        const std::array<PassRun, 3> runs = tile.runs(first);
        repeat(times, [&] {
            lookups = (rows.end - rows.first) * tile.shape.abits * tile.costs.miss;
            for (const PassRun &run : runs)
                repeat(run.times, [&] {
                    repeat(plan.blocks - 1, [&] { play_block(run.block); });
                    play_block(run.last_block);
                });
        });
    };
    if (plan.batch_chunks > 1)
        play_chunks(0, plan.batch_chunks - 1);
    play_chunks(plan.batch_chunks - 1, 1);
    return cycles + work;
}

/* Weighs the layouts of a tile. */
class Planner
{
  public:
    Planner(const SliceConfig &slice, const TileShape &tile, Scaling scale)
        : config(slice), shape(tile), scaling(scale), grouping(shape.k, shape.nbw, shape.group_size),
          costs(config, shape, scaling), transposed(config.substrate.layout == Layout::columns),
          in_array(config.substrate.accumulate == Accumulate::in_array)
    {
        common.batch = shape.batch;
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
        if (scaling.scaled && config.convert == Convert::memory && convert_lanes(config) == 0)
            throw std::invalid_argument("cols is " + std::to_string(config.cols) + ": a conversion takes " +
                                        std::to_string(convert_lane_bits(config.accumulator_bits)) +
                                        " cells of a row");
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
        const std::int64_t entries = (std::int64_t{1} << shape.nbw) - 1; /* that of no weight is free */
        const std::int64_t table = entries * (transposed ? common.entry_bits : 1);
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
        for (std::int64_t bits = common.lane_bits + 1; bits <= std::min(widest.entry, config.cols); ++bits)
            weigh_lanes(lanes_of(bits));
    }

    void weigh(std::int64_t lanes, std::int64_t rows)
    {
        if (lanes < 1)
            return;
        const TilePlan plan = layout_of(lanes, rows);
        const std::int64_t cycles = nominal_cycles({config, shape, scaling, grouping, costs, plan});
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

Span groups_of_turn(const TilePlan &plan, const Grouping &grouping, std::int64_t turn)
{
    const std::int64_t per_block = ceil_div(grouping.groups_per_block(), plan.groups_per_turn);
    const std::int64_t block = turn / per_block * grouping.groups_per_block();
    const std::int64_t begin = block + turn % per_block * plan.groups_per_turn;
    const std::int64_t block_end = std::min(block + grouping.groups_per_block(), plan.groups);
    return {begin, std::min(begin + plan.groups_per_turn, block_end)};
}

GroupStep LaidOutTile::turn(std::int64_t pass, std::int64_t group) const
{
    const std::int64_t per_block = grouping.groups_per_block(), block_begin = group - group % per_block;
    const std::int64_t block_end = std::min(block_begin + per_block, plan.groups);
    const std::int64_t end = std::min(group + plan.groups_per_turn, block_end);
    const std::int64_t weights = grouping.start(end - 1) + grouping.length(end - 1) - grouping.start(group);
    const std::int64_t outputs = std::min(plan.lanes, plan.owned - pass % plan.passes * plan.lanes);
    const Span chunk = plan.rows_of(pass / plan.passes);
    const std::int64_t rows = chunk.end - chunk.first;
    const bool reads_again = pass % plan.passes > 0 && !plan.keeps_activations;

    GroupStep step;
    step.pass = pass;
    step.group = group;
    step.groups = end - group;
    step.load_bytes = weight_bytes(shape, weights, outputs);
    step.activation_bytes = reads_again ? ceil_div(rows * weights * shape.abits, 8) : 0;
    step.load_cycles =
        std::max(ceil_div(step.load_bytes + step.activation_bytes, config.port_bytes), costs.stage);
    step.build_cycles = costs.build;
    if (end < block_end)
        return step;

    const bool pass_ends = end == plan.groups;
    if (scaling.scaled || pass_ends) {
        /* The DFMs that had one of the block's groups add their sums up: in pairs that exchange halves, all
         * pairs at once, so that each ends up with its share of the outputs. */
        const std::int64_t used =
            std::min(plan.groups_per_turn, scaling.scaled ? block_end - block_begin : per_block);
        step.merges = rows * (used - 1);
        step.merge_cycles = rows * ceil_log2(used) * costs.merge;
    }
    if (scaling.scaled && config.convert != Convert::cores) {
        step.conversions = rows;
        step.convert_cycles = convert_cycles(rows, outputs, pass_ends);
        if (config.convert == Convert::unit)
            step.unit_converts = rows * outputs * (1 + (scaling.minimum ? 1 : 0) + (pass_ends ? 1 : 0));
    }
    step.write_back_bytes = written_bytes(rows, outputs, pass_ends);
    step.write_back_cycles = ceil_div(step.write_back_bytes, config.port_bytes);
    return step;
}

/* Cycles to convert and scale the sums of a block, in the arrays or beside them; with the scale of the
 * activations where a pass ends. */
std::int64_t LaidOutTile::convert_cycles(std::int64_t rows, std::int64_t outputs, bool pass_ends) const
{
    if (config.convert == Convert::memory)
        return rows * ceil_div(outputs, convert_lanes(config)) *
               (costs.block + (pass_ends ? costs.act_scale : 0));
    const auto pipelined = [this](std::int64_t sums) {
        return config.convert_latency + ceil_div(sums, config.convert_units) * config.convert_interval;
    };
    /* A minimum's product comes to each sum as another operation; the scale of the activations needs the
     * finished sum of all blocks. */
    const std::int64_t sums = rows * outputs;
    return pipelined(scaling.minimum ? 2 * sums : sums) + (pass_ends ? pipelined(sums) : 0);
}

/* What is written back at the end of a block, or of the pass. */
std::int64_t LaidOutTile::written_bytes(std::int64_t rows, std::int64_t outputs, bool pass_ends) const
{
    if (scaling.scaled && config.convert == Convert::cores)
        return ceil_div(rows * outputs * config.accumulator_bits, 8);
    return pass_ends ? rows * outputs * result_bytes : 0;
}

BlockTurns LaidOutTile::block(std::int64_t pass, std::int64_t number) const
{
    const std::int64_t first = number * grouping.groups_per_block();
    const std::int64_t groups = std::min(grouping.groups_per_block(), plan.groups - first);
    const std::int64_t turns = ceil_div(groups, plan.groups_per_turn);
    return {turns, turn(pass, first), turn(pass, first + (turns - 1) * plan.groups_per_turn)};
}

std::array<PassRun, 3> LaidOutTile::runs(std::int64_t chunk) const
{
    const auto run = [&](std::int64_t first, std::int64_t times) -> PassRun {
        if (times < 1)
            return {};
        const std::int64_t pass = chunk * plan.passes + first;
        return {times, block(pass, 0), block(pass, plan.blocks - 1)};
    };
    return {run(0, 1), run(1, plan.passes - 2), run(plan.passes - 1, plan.passes > 1 ? 1 : 0)};
}

TilePlan plan_tile(const SliceConfig &config, const TileShape &shape, Scaling scaling)
{
    config.validate();
    shape.validate();
    return Planner(config, shape, scaling).fastest();
}

} // namespace sailsim::pim
