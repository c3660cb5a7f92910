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

/* Tiles whose arrays wait for weights before the first group alone: when things happen need not be reckoned
 * then, as their phases follow each other. */
class Unhindered
{
  public:
    Unhindered(const SliceConfig &config, const TileShape &shape, const PatternProfile &first_,
               Scaling scaling, const Supply &supply_, const LaneLoops &loops)
        : supply(supply_), sequencer(config, shape, first_, scaling), plan(sequencer.plan()),
          batch{0, shape.batch}, fewest{0, fewest_rows(plan, shape.batch)},
          double_buffer(config.double_buffer)
    {
        /* DFMs that share out groups wait for the slowest of them. */
        if (plan.groups_per_turn > 1)
            return;
        wait_for_first(loops);
        const std::int64_t first_load = sequencer.next_load()->load_cycles;
        while (sequencer.next_load())
            account_for_pass();
        account = sequencer.timing();
        first = fed(first_).sum;
        behind_first = double_buffer ? 0 : account.load - first_load;
    }

    /* A tile with these patterns; none where its weights may come late. */
    std::optional<TileTiming> timing(const PatternProfile &patterns) const
    {
        if (!usable || patterns.groups() != plan.groups)
            return std::nullopt;
        const Fed its = fed(patterns);
        if (!on_time(least_other + its.least_cycles))
            return std::nullopt;
        TileTiming found = sequencer.with_patterns(account, first, its.sum);
        found.load = first_wait + behind_first;
        found.total = found.load + found.build + found.lookup + found.convert + found.write_back;
        return found;
    }

  private:
    /* The patterns of all passes, and cycles that the look-ups of no group are below. */
    struct Fed {
        FedPatterns sum;
        std::int64_t least_cycles = std::numeric_limits<std::int64_t>::max();
    };

    Fed fed(const PatternProfile &patterns) const
    {
        Fed found;
        FedPatterns pass;
        GroupStep step;
        step.groups = 1;
        for (; step.group < plan.groups; ++step.group) {
            const FedPatterns group = sequencer.feed(patterns, step, batch);
            pass.add(group);
            /* Chunks of the batch share a group's patterns out exactly. Each has at least what the chunk of
             * the fewest rows would have if it were the first, whose share is rounded down. */
            const std::int64_t least = fewest.end == batch.end
                                           ? group.lookup_cycles
                                           : sequencer.feed(patterns, step, fewest).lookup_cycles;
            found.least_cycles = std::min(found.least_cycles, least);
        }
        found.sum.add(pass, plan.passes);
        return found;
    }

    /* Batch rows of the smallest chunk. */
    static std::int64_t fewest_rows(const TilePlan &plan, std::int64_t batch)
    {
        return std::min(plan.chunk_rows, batch - (plan.batch_chunks - 1) * plan.chunk_rows);
    }

    /* Cycles until the first group can be worked on. */
    void wait_for_first(const LaneLoops &loops)
    {
        const GroupStep &step = *sequencer.next_load();
        PassCosts costs;
        costs.load_bytes.push_back(static_cast<double>(step.load_bytes));
        costs.load_cycles.push_back(static_cast<double>(step.load_cycles));
        costs.write_back_cycles.push_back(0);
        costs.compute_cycles.emplace_back();
        LaneState state;
        state.now.fill(-supply.lead);
        loops.run_pass(costs, supply, double_buffer, state);
        usable = !state.late;
        first_wait = usable ? static_cast<std::int64_t>(state.load[0]) : 0;
    }

    void account_for_pass()
    {
        const std::int64_t pass = sequencer.next_load()->pass;
        const TileTiming began = sequencer.timing();
        const std::int64_t began_at = sequencer.load_start();
        const GroupStep *step = nullptr;
        while ((step = sequencer.next_load()) && step->pass == pass) {
            most_bytes = std::max(most_bytes, step->load_bytes);
            most_load_cycles = std::max(most_load_cycles, step->load_cycles);
            least_other = std::min(least_other, step->compute_cycles() - step->lookup_cycles);
            sequencer.loaded(0); /* whenever: what it costs does not depend on that */
        }
        sequencer.skip_equal_passes(began, began_at, 1);
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

    const Supply &supply;
    TileSequencer sequencer; /* of the first tile */
    TilePlan plan;
    BatchRows batch;
    BatchRows fewest; /* as many as in the smallest chunk */
    bool double_buffer;
    bool usable = false;
    std::int64_t first_wait = 0;
    std::int64_t behind_first = 0; /* cycles of loads of the other groups, where nothing computes beside */
    std::int64_t most_bytes = 0;   /* of a group */
    std::int64_t most_load_cycles = 0;
    std::int64_t least_other = std::numeric_limits<std::int64_t>::max(); /* of computing beside look-ups */
    TileTiming account;
    FedPatterns first;
};

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

    /* Times all. False where weights come later than cycles can be counted: `time_tile` says so. */
    bool run()
    {
        while (sequencer.next_load()) {
            const std::int64_t equal = record_passes();
            run_pass();
            search.restart(standing());
            for (std::int64_t left = equal - 1; left > 0; --left) {
                run_pass();
                left -= skip_periods(left - 1);
            }
        }
        return !state.late;
    }

    TileTiming timing(std::size_t tile) const
    {
        TileTiming timing = sequencer.with_patterns(sequencer.timing(), fed[0], fed[tile]);
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

    void run_pass()
    {
        loops.run_pass(costs, supply, double_buffer, state);
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
        const double bytes = std::accumulate(costs.load_bytes.begin(), costs.load_bytes.end(), 0.0);
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
    PeriodSearch<Standing> search;
};

} // namespace

std::vector<TileTiming> time_tiles(const SliceConfig &config, const TileShape &shape,
                                   const std::vector<const PatternProfile *> &profiles, Scaling scaling,
                                   const Supply &asked, const LaneLoops &loops)
{
    const Supply supply = settled(asked);
    std::vector<TileTiming> timings(profiles.size());
    if (profiles.empty())
        return timings;
    const Unhindered unhindered(config, shape, *profiles.front(), scaling, supply, loops);
    std::vector<std::size_t> places; /* of the others */
    std::vector<const PatternProfile *> others;
    for (std::size_t i = 0; i < profiles.size(); ++i) {
        if (const std::optional<TileTiming> timing = unhindered.timing(*profiles[i])) {
            timings[i] = *timing;
        } else {
            places.push_back(i);
            others.push_back(profiles[i]);
        }
    }
    for (std::size_t at = 0; at < others.size(); at += tile_lanes) {
        const std::size_t tiles = std::min(tile_lanes, others.size() - at);
        bool timed = false;
        if (tiles > 1) {
            Batch batch(config, shape, &others[at], tiles, scaling, supply, loops);
            timed = batch.run();
            for (std::size_t i = 0; timed && i < tiles; ++i)
                timings[places[at + i]] = batch.timing(i);
        }
        for (std::size_t i = 0; !timed && i < tiles; ++i)
            timings[places[at + i]] = time_tile(config, shape, *others[at + i], scaling, supply);
    }
    return timings;
}

} // namespace sailsim::pim
