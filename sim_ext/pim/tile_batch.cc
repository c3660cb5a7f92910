/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/tile_batch.hh"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace sailsim::pim
{

namespace
{

/* Up to `tile_lanes` tiles. What groups cost and what is counted the sequencer of the first one says, and of
 * the others what their patterns change; when things happen is reckoned for all tiles at once. */
class Batch
{
  public:
    Batch(const SliceConfig &config, const TileShape &shape, const PatternProfile *const *profiles_,
          std::size_t tiles_, Scaling scaling, const Supply &supply_, const LaneLoops &loops_)
        : profiles(profiles_), tiles(tiles_), supply(supply_), loops(loops_),
          double_buffer(config.double_buffer), sequencer(config, shape, *profiles[0], scaling)
    {
        for (std::size_t i = 1; i < tiles; ++i)
            if (profiles[i]->groups() != profiles[0]->groups())
                throw std::invalid_argument("profile has " + std::to_string(profiles[i]->groups()) +
                                            " groups: the tile has " + std::to_string(profiles[0]->groups()));
        state.now.fill(-supply.lead);
    }

    /* Times all; false for tiles that only `time_tile` can. */
    std::vector<bool> run()
    {
        std::vector<bool> timed(tiles, true);
        while (sequencer.next_load()) {
            const std::int64_t equal = record_passes();
            run_pass();
            if (equal < 2)
                continue;
            const LaneState began = times();
            const Standing before = standing();
            run_pass();
            if (equal < 3)
                continue;
            const Standing after = standing();
            for (std::size_t i = 0; i < timed.size(); ++i)
                timed[i] = timed[i] && steady(before, after, i);
            skip(began, equal - 2);
        }
        if (state.late)
            timed.assign(timed.size(), false);
        return timed;
    }

    TileTiming timing(std::size_t tile) const
    {
        TileTiming timing = sequencer.with_patterns(sequencer.timing(), fed[0], fed[tile]);
        timing.load = static_cast<std::int64_t>(state.load[tile]);
        timing.load_busy = static_cast<std::int64_t>(state.load_busy[tile]);
        timing.total = static_cast<std::int64_t>(state.compute_end[tile] + state.owed_write_back);
        return timing;
    }

  private:
    using Standing = std::array<Lanes, 3>;

    /* What the groups of the next pass cost; the sequencer steps over it and over all that are equal. Returns
     * how many these are. */
    std::int64_t record_passes()
    {
        const std::int64_t pass = sequencer.next_load()->pass;
        const TileTiming began = sequencer.timing();
        const std::int64_t began_at = sequencer.load_start();
        costs.clear();
        steps.clear();
        others.clear();
        const BatchRows rows = sequencer.rows();
        const GroupStep *step = nullptr;
        while ((step = sequencer.next_load()) && step->pass == pass) {
            costs.load_bytes.push_back(static_cast<double>(step->load_bytes));
            costs.load_cycles.push_back(static_cast<double>(step->load_cycles));
            costs.write_back_cycles.push_back(static_cast<double>(step->write_back_cycles));
            steps.push_back(*step);
            others.push_back(step->compute_cycles() -
                             sequencer.feed(*profiles[0], *step, rows).lookup_cycles);
            sequencer.loaded(0); /* whenever: only its counts are used */
        }
        sequencer.skip_equal_passes(began, began_at, 1);
        const std::int64_t equal = step ? sequencer.next_load()->pass - pass : 1;
        record_computing(rows, equal);
        return equal;
    }

    /* What each recorded group takes to compute for every tile's patterns. */
    void record_computing(const BatchRows &rows, std::int64_t passes)
    {
        costs.compute_cycles.resize(steps.size());
        for (std::size_t i = 0; i < tiles; ++i) {
            FedPatterns sum;
            for (std::size_t g = 0; g < steps.size(); ++g) {
                const FedPatterns own = sequencer.feed(*profiles[i], steps[g], rows);
                costs.compute_cycles[g][i] = static_cast<double>(others[g] + own.lookup_cycles);
                sum.add(own);
            }
            fed[i].add(sum, passes);
        }
    }

    void run_pass() { loops.run_pass(costs, supply, double_buffer, state); }

    /* The state without its groups. */
    LaneState times() const
    {
        LaneState copy;
        copy.port_free = state.port_free;
        copy.load = state.load;
        copy.load_busy = state.load_busy;
        return copy;
    }

    /* Where fetching stands against the arrays: Fetcher::standing in timing.cc. */
    Standing standing() const
    {
        Standing found;
        for (std::size_t i = 0; i < tiles; ++i) {
            const double cycle = state.port_free[i];
            found[0][i] = std::max(state.now[i], state.resumed[i]) - cycle;
            found[1][i] = state.in_turn[i] - cycle;
            found[2][i] = state.position - freed(i);
        }
        return found;
    }

    /* Bytes of the groups that a tile has seen leave. */
    double freed(std::size_t tile) const
    {
        auto group = static_cast<std::int64_t>(state.awaited[tile]);
        group = std::min(group, static_cast<std::int64_t>(state.ends.size()) - 1);
        while (group >= 0 &&
               !(state.leaving[static_cast<std::size_t>(group)][tile] < state.awaited_until[tile]))
            --group;
        return group < 0 ? 0 : state.ends[static_cast<std::size_t>(group)];
    }

    /* As `time_tile` tells passes that take as long. */
    static bool steady(const Standing &before, const Standing &after, std::size_t tile)
    {
        return std::equal(
            before.begin(), before.end(), after.begin(),
            [tile](const Lanes &a, const Lanes &b) { return std::abs(a[tile] - b[tile]) <= 1; });
    }

    /* As if so many passes like the last one, which began like that, had gone by. */
    void skip(const LaneState &began, std::int64_t passes)
    {
        const auto times = static_cast<double>(passes);
        Lanes shift;
        for (std::size_t i = 0; i < tile_lanes; ++i) {
            shift[i] = times * (state.port_free[i] - began.port_free[i]);
            state.load[i] += times * (state.load[i] - began.load[i]);
            state.load_busy[i] += times * (state.load_busy[i] - began.load_busy[i]);
        }
        const auto move = [&shift](Lanes &cycles) {
            for (std::size_t i = 0; i < tile_lanes; ++i)
                cycles[i] += shift[i];
        };
        for (Lanes *cycles : {&state.port_free, &state.compute_end, &state.now, &state.resumed,
                              &state.in_turn, &state.awaited_until})
            move(*cycles);
        std::for_each(state.leaving.begin(), state.leaving.end(), move);
    }

    const PatternProfile *const *profiles;
    std::size_t tiles;
    const Supply &supply;
    const LaneLoops &loops;
    bool double_buffer;
    TileSequencer sequencer; /* of the first tile */
    std::array<FedPatterns, tile_lanes> fed{};
    PassCosts costs;
    std::vector<GroupStep> steps;     /* that were recorded */
    std::vector<std::int64_t> others; /* what they take to compute beside look-ups */
    LaneState state;
};

} // namespace

std::vector<TileTiming> time_tiles(const SliceConfig &config, const TileShape &shape,
                                   const std::vector<const PatternProfile *> &profiles, Scaling scaling,
                                   const Supply &supply, const LaneLoops &loops)
{
    require_supply(supply);
    std::vector<TileTiming> timings;
    for (std::size_t first = 0; first < profiles.size(); first += tile_lanes) {
        const std::size_t tiles = std::min(tile_lanes, profiles.size() - first);
        if (tiles < 2) {
            timings.push_back(time_tile(config, shape, *profiles[first], scaling, supply));
            continue;
        }
        Batch batch(config, shape, &profiles[first], tiles, scaling, supply, loops);
        const std::vector<bool> timed = batch.run();
        for (std::size_t i = 0; i < tiles; ++i)
            timings.push_back(timed[i] ? batch.timing(i)
                                       : time_tile(config, shape, *profiles[first + i], scaling, supply));
    }
    return timings;
}

} // namespace sailsim::pim
