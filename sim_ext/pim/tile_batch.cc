/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/tile_batch.hh"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>

#include "pim/period_search.hh"

namespace sailsim::pim
{

namespace
{

/* Cycles that a tile may take and that are counted here. */
constexpr double most_cycles = 1e15;

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

/* Up to `tile_lanes` tiles. What turns cost beside their look-ups is the same for all; when things happen is
 * reckoned for all tiles at once. */
class Batch
{
  public:
    Batch(const TilePasses &tile, const std::vector<PassCosts> &costs_of,
          const std::vector<PatternProfile> &of_tiles, const Supply &supply_, const BatchLoops &loops_)
        : passes(tile), kinds(costs_of), profiles(of_tiles), tiles(of_tiles.size()), supply(supply_),
          loops(loops_), of_group(static_cast<std::size_t>(tile.plan().groups)),
          lookups(static_cast<std::size_t>(tile.plan().turns))
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

    /* What a tile's look-ups take in each turn of a pass on some rows: of the slowest DFM. */
    void look_up(std::size_t tile, const BatchRows &rows)
    {
        const TilePlan &plan = passes.plan();
        loops.lookups.cycles(profiles[tile], passes.costs(), rows, passes.batch(), of_group.data());
        double sum = 0;
        if (plan.groups_per_turn == 1) {
            for (std::size_t turn = 0; turn < lookups.size(); ++turn) {
                lookups[turn][tile] = of_group[turn];
                sum += of_group[turn];
            }
        } else {
            std::size_t turn = 0;
            for (std::int64_t group = 0; group < plan.groups; ++turn) {
                const std::int64_t end = passes.turn_end(group);
                double most = 0;
                for (; group < end; ++group)
                    most = std::max(most, of_group[static_cast<std::size_t>(group)]);
                lookups[turn][tile] = most;
                sum += most;
            }
        }
        looked_up[tile] += sum * static_cast<double>(plan.passes);
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
    std::vector<double> of_group;
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
