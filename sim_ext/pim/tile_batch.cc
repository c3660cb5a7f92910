/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/tile_batch.hh"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>

#include "pim/period_search.hh"
#include "pim/turn_lookups.hh"
#include "pim/unhindered.hh"

namespace sailsim::pim
{

namespace
{

void require_groups(const PackedProfile &patterns, const TilePlan &plan)
{
    if (patterns.groups() != plan.groups)
        throw std::invalid_argument("profile has " + std::to_string(patterns.groups()) +
                                    " groups: the tile has " + std::to_string(plan.groups));
}

/* The turns of a pass one behind the other. */
PassCosts unrolled(const PassKind &kind, std::int64_t blocks)
{
    PassCosts costs;
    const auto add = [&costs](const std::vector<GroupStep> &block) {
        for (const GroupStep &step : block) {
            costs.load_bytes.push_back(static_cast<double>(step.load_bytes));
            costs.load_cycles.push_back(static_cast<double>(step.load_cycles));
            costs.compute_cycles.push_back(static_cast<double>(step.compute_cycles()));
            costs.write_back_cycles.push_back(static_cast<double>(step.write_back_cycles));
        }
    };
    for (std::int64_t block = 1; block < blocks; ++block)
        add(kind.block);
    add(kind.last_block);
    return costs;
}

/* Up to `tile_lanes` tiles. What turns cost beside their look-ups is the same for all; when things happen is
 * reckoned for all tiles at once. */
class Batch
{
  public:
    Batch(const TilePasses &tile, const std::vector<PassCosts> &costs_of,
          const std::vector<PatternProfile> &of_tiles, const Supply &supply_, const BatchLoops &loops_)
        : passes(tile), kinds(costs_of), profiles(of_tiles), tiles(of_tiles.size()), supply(supply_),
          loops(loops_), turns(tile, loops_.lookups), lookups(static_cast<std::size_t>(tile.plan().turns))
    {
        state.now.fill(-supply.lead);
    }

    /* Times all. False where it takes longer than cycles can be counted: `time_tile` says so. */
    bool run()
    {
        for (std::int64_t chunk = 0; chunk < passes.plan().batch_chunks; ++chunk) {
            for (std::size_t i = 0; i < tiles; ++i)
                look_up(i, passes.rows(chunk));
            for (const PassRun &run : passes.runs(chunk)) {
                costs = &kinds[run.kind];
                run_pass();
                search.restart(standing());
                for (std::int64_t left = run.times - 1; left > 0; --left) {
                    run_pass();
                    left -= skip_periods(left - 1);
                }
            }
        }
        for (std::size_t i = 0; i < tiles; ++i)
            state.late = state.late || !(state.compute_end[i] < most_cycles);
        return !state.late;
    }

    TileTiming timing(std::size_t tile) const
    {
        FedPatterns fed;
        fed.add(loops.lookups.sum(profiles[tile]), passes.plan().passes);
        fed.lookup_cycles = static_cast<std::int64_t>(looked_up[tile]);
        TileTiming timing = passes.timing(fed);
        timing.load = static_cast<std::int64_t>(state.load[tile]);
        timing.total = static_cast<std::int64_t>(state.compute_end[tile] + state.owed_write_back);
        return timing;
    }

  private:
    /* Where tiles stand between two passes; of fetching against the arrays, as `Standing` in timing.cc. */
    struct Standing {
        Lanes port_free;
        Lanes load;
        Lanes asked;
        Lanes come;
        Lanes in_turn;
        double kept = 0;
        std::vector<Lanes> leaving;
    };

    /* What a tile's look-ups take in each turn of a pass on some rows. */
    void look_up(std::size_t tile, const BatchRows &rows)
    {
        const std::vector<double> &cycles = turns.cycles(profiles[tile], rows);
        double sum = 0;
        for (std::size_t turn = 0; turn < lookups.size(); ++turn) {
            lookups[turn][tile] = cycles[turn];
            sum += cycles[turn];
        }
        looked_up[tile] += sum * static_cast<double>(passes.plan().passes);
    }

    void run_pass()
    {
        loops.lanes.run_pass(*costs, lookups, supply, passes.double_buffer(), state);
        forget_left(supply, state);
    }

    Standing standing() const
    {
        Standing found{state.port_free, state.load, state.now, Lanes{}, state.in_turn, 0, state.leaving};
        if (!state.ends.empty())
            found.kept = state.position - state.ends.front();
        for (std::size_t i = 0; i < tile_lanes; ++i) {
            found.come[i] = std::max(state.now[i], state.resumed[i]) - state.port_free[i];
            found.asked[i] -= state.port_free[i];
            found.in_turn[i] -= state.port_free[i];
        }
        for (Lanes &cycle : found.leaving)
            for (std::size_t i = 0; i < tile_lanes; ++i)
                cycle[i] -= state.port_free[i];
        return found;
    }

    /* Where the pass that has ended makes a period of equal passes, steps over as many of those as `most`
     * passes hold. Returns how many passes these are. */
    std::int64_t skip_periods(std::int64_t most)
    {
        const std::int64_t period = search.period();
        if (most < 1)
            return 0;
        Standing here = standing();
        if (!alike(here)) {
            search.see(std::move(here));
            return 0;
        }
        const std::int64_t times = most / period;
        skip(here, static_cast<double>(times));
        search.restart(standing());
        return times * period;
    }

    /* As `time_tile` tells passes that go by as some before them. */
    bool alike(const Standing &here) const
    {
        const Standing &earlier = search.before();
        if (std::isinf(supply.ahead))
            return all_equal(earlier.asked, here.asked) || (search.period() == 1 && ample(earlier, here));
        return earlier.kept == here.kept && all_equal(earlier.asked, here.asked) &&
               all_equal(earlier.come, here.come) && all_equal(earlier.in_turn, here.in_turn) &&
               std::equal(earlier.leaving.begin(), earlier.leaving.end(), here.leaving.begin(),
                          here.leaving.end(),
                          [this](const Lanes &a, const Lanes &b) { return all_equal(a, b); });
    }

    bool all_equal(const Lanes &a, const Lanes &b) const
    {
        return std::equal(a.begin(), a.begin() + tiles, b.begin());
    }

    /* Whether the weights of a pass are all here before it begins, more and more so. */
    bool ample(const Standing &earlier, const Standing &here) const
    {
        const double bytes = std::accumulate(costs->load_bytes.begin(), costs->load_bytes.end(), 0.0);
        const double needed = supply.latency + bytes / supply.bytes_per_cycle + 1;
        for (std::size_t i = 0; i < tiles; ++i)
            if (!(here.asked[i] <= earlier.asked[i] && earlier.asked[i] + needed <= 0))
                return false;
        return true;
    }

    /* As if so many times as much as from the earlier state to this one had gone by. */
    void skip(const Standing &here, double times)
    {
        const Standing &began = search.before();
        Lanes shift;
        for (std::size_t i = 0; i < tile_lanes; ++i) {
            const double cycles = here.port_free[i] - began.port_free[i];
            shift[i] = times * cycles;
            state.load[i] += times * (here.load[i] - began.load[i]);
            state.now[i] += times * (here.asked[i] - began.asked[i] + cycles);
        }
        const auto move = [&shift](Lanes &cycles) {
            for (std::size_t i = 0; i < tile_lanes; ++i)
                cycles[i] += shift[i];
        };
        for (Lanes *cycles : {&state.port_free, &state.compute_end, &state.resumed, &state.in_turn})
            move(*cycles);
        std::for_each(state.leaving.begin(), state.leaving.end(), move);
    }

    const TilePasses &passes;
    const std::vector<PassCosts> &kinds; /* of each kind of pass */
    const std::vector<PatternProfile> &profiles;
    std::size_t tiles;
    const Supply &supply;
    const BatchLoops &loops;
    TurnLookups turns;
    std::vector<Lanes> lookups; /* of the chunk of the batch */
    Lanes looked_up;            /* cycles of look-ups in all passes */
    const PassCosts *costs = nullptr;
    LaneState state;
    PeriodSearch<Standing> search;
};

} // namespace

const std::vector<BatchLoops> &usable_batch_loops()
{
    static const std::vector<BatchLoops> usable = [] {
        const auto &lanes = usable_lane_loops();
        const auto &lookups = usable_lookup_loops();
        std::vector<BatchLoops> sets;
        for (std::size_t i = 0; i < lanes.size(); ++i)
            sets.push_back({*lanes[i], *lookups[i]});
        return sets;
    }();
    return usable;
}

TileBatch::TileBatch(const SliceConfig &config_, const TileShape &shape_, Scaling scaling_)
    : config(config_), shape(shape_), scaling(scaling_), passes(config, shape, scaling)
{
}

std::vector<TileTiming> TileBatch::time(const std::vector<const PackedProfile *> &profiles,
                                        const Supply &asked, const BatchLoops &loops) const
{
    const Supply supply = settled(asked);
    for (const PackedProfile *patterns : profiles)
        require_groups(*patterns, plan());
    std::vector<TileTiming> timings(profiles.size());
    Unhindered unhindered(passes, supply, loops);
    std::vector<std::size_t> places; /* of the others */
    for (std::size_t i = 0; i < profiles.size(); ++i) {
        if (const std::optional<TileTiming> timing = unhindered.timing(*profiles[i]))
            timings[i] = *timing;
        else
            places.push_back(i);
    }
    std::vector<PassCosts> costs;
    for (std::size_t kind = 0; !places.empty() && kind < passes.kinds().size(); ++kind)
        costs.push_back(unrolled(passes.kinds()[kind], plan().blocks));
    for (std::size_t at = 0; at < places.size(); at += tile_lanes) {
        const std::size_t tiles = std::min(tile_lanes, places.size() - at);
        std::vector<PatternProfile> others;
        for (std::size_t i = 0; i < tiles; ++i)
            others.push_back(profiles[places[at + i]]->counts());
        Batch batch(passes, costs, others, supply, loops);
        const bool timed = batch.run();
        for (std::size_t i = 0; i < tiles; ++i)
            timings[places[at + i]] =
                timed ? batch.timing(i) : time_tile(config, shape, others[i], scaling, supply);
    }
    return timings;
}

std::vector<TileTiming> time_tiles(const SliceConfig &config, const TileShape &shape,
                                   const std::vector<const PatternProfile *> &profiles, Scaling scaling,
                                   const Supply &supply, const BatchLoops &loops)
{
    std::vector<PackedProfile> packed;
    packed.reserve(profiles.size());
    std::vector<const PackedProfile *> pointers;
    for (const PatternProfile *profile : profiles)
        pointers.push_back(&packed.emplace_back(*profile));
    return TileBatch(config, shape, scaling).time(pointers, supply, loops);
}

} // namespace sailsim::pim
