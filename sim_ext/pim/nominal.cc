/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/nominal.hh"

#include <algorithm>

namespace sailsim::pim
{

NominalTime::NominalTime(const SliceConfig &slice, const TileShape &tile, Scaling scale,
                         const Grouping &groups, const PhaseCosts &phases)
    : config(slice), shape(tile), scaling(scale), grouping(groups), costs(phases)
{
}

std::int64_t NominalTime::cycles(const TilePlan &plan) const
{
    const std::int64_t last_rows = shape.batch - (plan.batch_chunks - 1) * plan.chunk_rows;
    const auto begins = [&](std::int64_t rows) { return start(plan, {rows, plan.outputs_per_pass, true}); };
    if (plan.batch_chunks == 1)
        return begins(last_rows) + chunk_cycles(plan, last_rows, 0);
    return begins(plan.chunk_rows) +
           (plan.batch_chunks - 2) * chunk_cycles(plan, plan.chunk_rows, begins(plan.chunk_rows)) +
           chunk_cycles(plan, plan.chunk_rows, begins(last_rows)) + chunk_cycles(plan, last_rows, 0);
}

/* All passes of some batch rows; every one ends with the load of what follows. */
std::int64_t NominalTime::chunk_cycles(const TilePlan &plan, std::int64_t rows, std::int64_t next_load) const
{
    const std::int64_t last_outputs = plan.owned - (plan.passes - 1) * plan.lanes;
    if (plan.passes == 1)
        return pass_cycles(plan, {rows, last_outputs, true}, next_load);
    const Pass full{rows, plan.lanes, false};
    const Pass last{rows, last_outputs, false};
    const std::int64_t to_last = start(plan, last);
    std::int64_t sum =
        pass_cycles(plan, {rows, plan.lanes, true}, plan.passes == 2 ? to_last : start(plan, full));
    if (plan.passes > 2)
        sum +=
            (plan.passes - 3) * pass_cycles(plan, full, start(plan, full)) + pass_cycles(plan, full, to_last);
    return sum + pass_cycles(plan, last, next_load);
}

std::int64_t NominalTime::pass_cycles(const TilePlan &plan, const Pass &pass, std::int64_t next_load) const
{
    const Block full = block_of(plan, grouping.block_size());
    const Block last = block_of(plan, shape.k - (plan.blocks - 1) * grouping.block_size());
    std::int64_t sum = block_cycles(plan, pass, last, true, next_load);
    if (plan.blocks > 1)
        sum += (plan.blocks - 2) * block_cycles(plan, pass, full, false, first_load(plan, pass, full)) +
               block_cycles(plan, pass, full, false, first_load(plan, pass, last));
    return sum;
}

std::int64_t NominalTime::block_cycles(const TilePlan &plan, const Pass &pass, const Block &block,
                                       bool pass_ends, std::int64_t next_load) const
{
    /* With double buffering the next load runs beside the work, else behind it. */
    const auto turn = [this](std::int64_t work, std::int64_t load) {
        return config.double_buffer ? std::max(work, load) : work + load;
    };
    const std::int64_t work = costs.build + pass.rows * shape.abits * costs.miss;
    const std::int64_t ending = merging(plan, pass, block, pass_ends) +
                                convert_cycles(config, costs, scaling, pass.rows, pass.outputs, pass_ends);
    std::int64_t sum = turn(work + ending, next_load) + writing(pass, pass_ends);
    if (block.turns > 1)
        sum += (block.turns - 2) * turn(work, load(plan, pass, plan.groups_per_turn * shape.nbw)) +
               turn(work, load(plan, pass, block.last_weights));
    return sum;
}

NominalTime::Block NominalTime::block_of(const TilePlan &plan, std::int64_t weights) const
{
    const std::int64_t groups = ceil_div(weights, shape.nbw);
    const std::int64_t turns = ceil_div(groups, plan.groups_per_turn);
    return {groups, turns, weights - (turns - 1) * plan.groups_per_turn * shape.nbw};
}

std::int64_t NominalTime::load(const TilePlan &plan, const Pass &pass, std::int64_t weights) const
{
    return load_cycles(config, costs, shape, weights, pass.outputs,
                       pass.is_first || plan.keeps_activations ? 0 : pass.rows);
}

std::int64_t NominalTime::first_load(const TilePlan &plan, const Pass &pass, const Block &block) const
{
    return load(plan, pass, block.turns > 1 ? plan.groups_per_turn * shape.nbw : block.last_weights);
}

/* The first load of a pass. */
std::int64_t NominalTime::start(const TilePlan &plan, const Pass &pass) const
{
    return first_load(plan, pass, block_of(plan, grouping.block_size()));
}

std::int64_t NominalTime::merging(const TilePlan &plan, const Pass &pass, const Block &block,
                                  bool pass_ends) const
{
    if (!scaling.scaled && !pass_ends)
        return 0;
    const std::int64_t groups = scaling.scaled ? block.groups : grouping.groups_per_block();
    return pass.rows * ceil_log2(std::min(plan.groups_per_turn, groups)) * costs.merge;
}

std::int64_t NominalTime::writing(const Pass &pass, bool pass_ends) const
{
    return ceil_div(written_bytes(config, scaling, pass.rows, pass.outputs, pass_ends), config.port_bytes);
}

} // namespace sailsim::pim
