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
#include "pim/turn_lookups.hh"

namespace sailsim::pim
{

/* Cycles that a tile may take and that are counted here. */
inline constexpr double most_cycles = 1e15;

/* Tiles whose arrays wait for weights before the first turn alone: when things happen need not be reckoned
 * then, as their phases follow each other. */
class Unhindered
{
  public:
    Unhindered(const TilePasses &tile, const Supply &supply_, const BatchLoops &loops_)
        : passes(tile), supply(supply_), loops(loops_), fewest{0, fewest_rows(tile.plan(), tile.batch())},
          turns(tile, loops_.lookups)
    {
        const PassKind &first_kind = tile.kinds()[tile.runs(0).front().kind];
        const GroupStep &first =
            (first_kind.block.empty() ? first_kind.last_block : first_kind.block).front();
        wait_for_first(first);
        for (const PassKind &kind : tile.kinds()) {
            bound(kind.block);
            bound(kind.last_block);
        }
        /* Loads of the other turns, where nothing computes beside them. */
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
        fed.lookup_cycles = passes.plan().groups_per_turn > 1
                                ? turn_by_turn(patterns.counts())
                                : fed.zero * costs.zero + fed.hits * costs.hit + fed.misses * costs.miss;
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

    /* Cycles of the look-ups of all passes, where DFMs wait for the slowest of them. */
    std::int64_t turn_by_turn(const PatternProfile &patterns)
    {
        double sum = 0; /* of whole numbers, no more than `most_lookups` */
        for (std::int64_t chunk = 0; chunk < passes.plan().batch_chunks; ++chunk)
            for (const double cycles : turns.cycles(patterns, passes.rows(chunk)))
                sum += cycles;
        return static_cast<std::int64_t>(sum) * passes.plan().passes;
    }

    /* Cycles that the patterns of a turn and chunk take at least. Chunks of the batch share a group's
     * patterns out exactly. Each has at least what the chunk of the fewest rows would have if it were the
     * first, whose share is rounded down. */
    std::int64_t least(const PatternProfile &patterns)
    {
        return static_cast<std::int64_t>(loops.lookups.least(turns.cycles(patterns, fewest)));
    }

    /* No more than `least`, without looking at each group. A turn takes no less than any of its groups. Of
     * three shares each may be rounded down; a cycle more is for the rounding here. */
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

    /* Cycles until the first turn can be worked on. */
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
            least_load_cycles = std::min(least_load_cycles, step.load_cycles);
            least_other = std::min(least_other, step.compute_cycles());
        }
    }

    /* Whether weights come in time if every turn computes for at least so many cycles.
     *
     * Let c be these cycles, b the bytes of the largest turn and m the turns of that size that fit into
     * `ahead`, the one at work among them. A turn's bytes are asked for at the supply's rate from the tile's
     * start on, but not before the turn m places ahead of it has left the buffer, or (m = 0) before the one
     * ahead of it is here. The arrays have then m turns (m = 0: one) to compute, each for c cycles, before
     * they want it: they wait neither for the rate if c >= b / rate nor for the latency if m c >= latency. A
     * cycle is left for rounding.
     *
     * With double buffering they do not wait for the port if c covers a load: it is free from the start of
     * each turn on. Without, every turn is loaded when the arrays are through with the one before, and has to
     * be here when that load ends, as the one before had when its own did: c has the shortest load more. */
    bool on_time(std::int64_t least_cycles) const
    {
        const bool buffered = passes.double_buffer();
        if (buffered && least_cycles < most_load_cycles)
            return false;
        const auto cycles = static_cast<double>(buffered ? least_cycles : least_cycles + least_load_cycles),
                   bytes = static_cast<double>(most_bytes);
        return cycles >= bytes / supply.bytes_per_cycle + 1 &&
               std::max(1.0, std::floor(supply.ahead / bytes)) * cycles >= supply.latency + 1;
    }

    const TilePasses &passes;
    const Supply &supply;
    const BatchLoops &loops;
    BatchRows fewest; /* as many as in the smallest chunk */
    bool usable = false;
    std::int64_t first_wait = 0;
    std::int64_t behind_first = 0;
    std::int64_t most_bytes = 0; /* of a turn */
    std::int64_t most_load_cycles = 0;
    std::int64_t least_load_cycles = std::numeric_limits<std::int64_t>::max();
    std::int64_t least_other = std::numeric_limits<std::int64_t>::max(); /* of computing beside look-ups */
    TurnLookups turns;
};

} // namespace sailsim::pim

#endif
