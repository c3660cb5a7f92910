/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tiles that are timed without playing their groups: those whose weights come in time. A part of `TileBatch`.
 */
#ifndef SAILSIM_PIM_UNHINDERED_HH
#define SAILSIM_PIM_UNHINDERED_HH

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "pim/tile_batch.hh"

namespace sailsim::pim
{

/* Cycles that a tile may take and that are counted here. */
inline constexpr double most_cycles = 1e15;

/* Tiles whose arrays wait for weights before the first group alone: when things happen need not be reckoned
 * then, as their phases follow each other. */
class Unhindered
{
  public:
    Unhindered(const TilePasses &tile, const Supply &supply_, const BatchLoops &loops_)
        : passes(tile), supply(supply_), loops(loops_), fewest{0, fewest_rows(tile.plan(), tile.batch())},
          of_group(static_cast<std::size_t>(tile.plan().groups))
    {
        /* DFMs that share out groups wait for the slowest of them. */
        if (tile.plan().groups_per_turn > 1)
            return;
        const PassKind &first_kind = tile.kinds()[tile.runs(0).front().kind];
        const GroupStep &first =
            (first_kind.block.empty() ? first_kind.last_block : first_kind.block).front();
        wait_for_first(first);
        for (const PassKind &kind : tile.kinds()) {
            bound(kind.block);
            bound(kind.last_block);
        }
        /* Loads of the other groups, where nothing computes beside them. */
        behind_first = tile.double_buffer() ? 0 : tile.timing({}).load - first.load_cycles;
    }

    /* A tile with these patterns; none where its weights may come late. */
    std::optional<TileTiming> timing(const PackedProfile &patterns)
    {
        if (!usable || !(most_lookups(patterns) < most_cycles))
            return std::nullopt;
        /* Most tiles are on time by far. */
        if (!on_time(least_other + at_least(patterns)) && !on_time(least_other + least(patterns.counts())))
            return std::nullopt;
        FedPatterns fed;
        fed.add(patterns.all(), passes.plan().passes);
        const PhaseCosts &costs = passes.costs();
        fed.lookup_cycles = fed.zero * costs.zero + fed.hits * costs.hit + fed.misses * costs.miss;
        TileTiming found = passes.timing(fed);
        found.load = first_wait + behind_first;
        found.total = found.load + found.build + found.lookup + found.convert + found.write_back;
        return found;
    }

  private:
    /* Batch rows of the smallest chunk. */
    static std::int64_t fewest_rows(const TilePlan &plan, std::int64_t batch)
    {
        return std::min(plan.chunk_rows, batch - (plan.batch_chunks - 1) * plan.chunk_rows);
    }

    /* Cycles that no group's patterns exceed. */
    double most_lookups(const PackedProfile &patterns) const
    {
        const PhaseCosts &costs = passes.costs();
        const FedPatterns &all = patterns.all();
        return static_cast<double>(all.zero) * static_cast<double>(costs.zero) +
               static_cast<double>(all.hits) * static_cast<double>(costs.hit) +
               static_cast<double>(all.misses) * static_cast<double>(costs.miss);
    }

    /* Cycles that the patterns of a group and chunk take. Chunks of the batch share a group's patterns out
     * exactly. Each has at least what the chunk of the fewest rows would have if it were the first, whose
     * share is rounded down. */
    std::int64_t least(const PatternProfile &patterns)
    {
        loops.lookups.cycles(patterns, passes.costs(), fewest, passes.batch(), of_group.data());
        return static_cast<std::int64_t>(loops.lookups.least(of_group));
    }

    /* No more than `least`, without looking at each group. Of three shares each may be rounded down; a cycle
     * more is for the rounding here. */
    std::int64_t at_least(const PackedProfile &patterns) const
    {
        const PhaseCosts &costs = passes.costs();
        const double cycles = patterns.least_cycles(costs);
        if (fewest.end == passes.batch())
            return static_cast<std::int64_t>(cycles);
        const double part = cycles * static_cast<double>(fewest.end) / static_cast<double>(passes.batch());
        const auto lost = static_cast<double>(costs.zero + costs.hit + costs.miss + 1);
        return static_cast<std::int64_t>(std::max(0.0, part - lost));
    }

    /* Cycles until the first group can be worked on. */
    void wait_for_first(const GroupStep &step)
    {
        PassCosts costs;
        costs.load_bytes.push_back(static_cast<double>(step.load_bytes));
        costs.load_cycles.push_back(static_cast<double>(step.load_cycles));
        costs.compute_cycles.push_back(0);
        costs.write_back_cycles.push_back(0);
        LaneState state;
        state.now.fill(-supply.lead);
        loops.lanes.run_pass(costs, std::vector<Lanes>(1), supply, passes.double_buffer(), state);
        usable = !state.late;
        first_wait = usable ? static_cast<std::int64_t>(state.load[0]) : 0;
    }

    void bound(const std::vector<GroupStep> &block)
    {
        for (const GroupStep &step : block) {
            most_bytes = std::max(most_bytes, step.load_bytes);
            most_load_cycles = std::max(most_load_cycles, step.load_cycles);
            least_other = std::min(least_other, step.compute_cycles());
        }
    }

    /* Whether weights come in time if every group computes for at least so many cycles.
     *
     * Let c be these cycles, b the bytes of the largest group and m the groups of that size that fit into
     * `ahead`, the one in turn among them. A group's bytes are asked for at the supply's rate from the tile's
     * start on, but not before the group m places ahead of it has left the buffer, or (m = 0) before the one
     * ahead of it is here. The arrays have then m groups (m = 0: one) to compute, each for c cycles, before
     * they want it: they wait neither for the rate if c >= b / rate nor for the latency if m c >= latency. A
     * cycle is left for rounding. Nor do they wait for the port, which is free from the start of each group
     * on. */
    bool on_time(std::int64_t least_cycles) const
    {
        const auto cycles = static_cast<double>(least_cycles), bytes = static_cast<double>(most_bytes);
        return least_cycles >= most_load_cycles && cycles >= bytes / supply.bytes_per_cycle + 1 &&
               std::max(1.0, std::floor(supply.ahead / bytes)) * cycles >= supply.latency + 1;
    }

    const TilePasses &passes;
    const Supply &supply;
    const BatchLoops &loops;
    BatchRows fewest; /* as many as in the smallest chunk */
    bool usable = false;
    std::int64_t first_wait = 0;
    std::int64_t behind_first = 0;
    std::int64_t most_bytes = 0; /* of a group */
    std::int64_t most_load_cycles = 0;
    std::int64_t least_other = std::numeric_limits<std::int64_t>::max(); /* of computing beside look-ups */
    std::vector<double> of_group;
};

} // namespace sailsim::pim

#endif
