/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/timing.hh"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "pim/parallel.hh"

namespace sailsim::pim
{

namespace
{

/* The nearest whole multiple of a 2^20th of a cycle; from 2^31 cycles on the nearest that a double has. */
double whole_ticks(double cycles)
{
    constexpr double first_of_whole = 1.5 * 4294967296.0; /* doubles from 2^32 on have ticks as last place */
    return (cycles + first_of_whole) - first_of_whole;
}

/* std::ceil of what a cycle can be; the library's is a call. */
std::int64_t whole_cycles(double cycles)
{
    const auto whole = static_cast<std::int64_t>(cycles);
    return whole + (static_cast<double>(whole) < cycles ? 1 : 0);
}

/* The same supply with whole ticks and bytes. Throws std::invalid_argument for one that cannot be. */
Supply in_ticks(const Supply &supply)
{
    if (!(supply.bytes_per_cycle > 0))
        throw std::invalid_argument("bytes_per_cycle is " + std::to_string(supply.bytes_per_cycle) +
                                    ": allowed are positive numbers");
    const auto bad = [](double x) { return !(x >= 0); };
    if (bad(supply.latency) || bad(supply.lead) || bad(supply.ahead))
        throw std::invalid_argument("latency, lead and ahead are " + std::to_string(supply.latency) + ", " +
                                    std::to_string(supply.lead) + ", " + std::to_string(supply.ahead) +
                                    ": allowed are numbers from 0 on");
    return {supply.bytes_per_cycle, whole_ticks(supply.latency), whole_ticks(supply.lead),
            std::floor(supply.ahead)};
}

/* When a slice's bytes are asked for, at a steady rate while the buffer has room. */
class Fetcher
{
  public:
    /* Of a supply in ticks. */
    explicit Fetcher(const Supply &way) : supply(way), now(-way.lead) {}

    /* The cycle from 0 on at which the last byte of the next group is here. */
    double arrival(std::int64_t bytes)
    {
        const double end = position + static_cast<double>(bytes);
        double at = position; /* in registers: this is the engine's innermost loop */
        double cycle = now;
        while (at < end) {
            const double room = freed + supply.ahead;
            double to = end;
            if (room > at) {
                to = std::min(end, room);
            } else if (next_leaving == leaving.size() || leaving[next_leaving].cycle >= in_turn) {
                cycle = wait_until(in_turn, cycle); /* the group that the arrays wait for may always come */
            } else {
                cycle = wait_until(leaving[next_leaving].cycle, cycle);
                freed = leaving[next_leaving].end;
                ++next_leaving;
                continue;
            }
            cycle += whole_ticks((to - at) / supply.bytes_per_cycle);
            at = to;
        }
        position = at;
        now = cycle;
        in_turn = std::max(0.0, std::max(now, resumed) + supply.latency);
        if (!(in_turn < 1e15))
            throw std::invalid_argument("bytes_per_cycle is " + std::to_string(supply.bytes_per_cycle) +
                                        ": too little to load " + std::to_string(bytes) + " bytes");
        return in_turn;
    }

    /* That group's bytes leave the buffer at `cycle`. */
    void taken(std::int64_t cycle)
    {
        if (std::isinf(supply.ahead)) /* there always is room */
            return;
        if (next_leaving == leaving.size()) {
            leaving.clear();
            next_leaving = 0;
        }
        leaving.push_back({static_cast<double>(cycle), position});
    }

  private:
    /* A group's bytes leave the buffer; they end at a position among all of the tile. */
    struct Leaving {
        double cycle;
        double end;
    };

    /* What was under way has come meanwhile, so as much as may be under way can be asked for at once. Returns
     * what becomes of `now`. */
    double wait_until(double cycle, double asked)
    {
        resumed = std::max(resumed, cycle);
        return std::max(asked, cycle - supply.latency);
    }

    const Supply supply;
    double now; /* bytes up to `position` have been asked for, as the rate allows */
    double resumed = -std::numeric_limits<double>::infinity(); /* and not before here */
    double position = 0;
    double freed = 0; /* bytes that have left the buffer */
    /* From when the current group is the one that the arrays wait for. */
    double in_turn = -std::numeric_limits<double>::infinity();
    std::vector<Leaving> leaving;
    std::size_t next_leaving = 0; /* those before have left */
};

/* Cycles of every group's patterns that some rows of a batch have: what the sequencer feeds, as doubles,
 * which fill vectors. */
SAILSIM_VECTOR_CLONES void group_cycles(const PatternProfile &patterns, const PhaseCosts &costs,
                                        const Span &rows, std::int64_t batch, double *cycles)
{
    const std::int32_t *zero = patterns.zero().data(), *hits = patterns.hits().data(),
                       *misses = patterns.misses().data();
    const auto of_zero = static_cast<double>(costs.zero), of_hit = static_cast<double>(costs.hit),
               of_miss = static_cast<double>(costs.miss);
    const auto first = static_cast<double>(rows.first), end = static_cast<double>(rows.end),
               all = static_cast<double>(batch);
    const std::size_t groups = patterns.zero().size();
    if (first == 0 && end == all) {
        for (std::size_t g = 0; g < groups; ++g)
            cycles[g] = zero[g] * of_zero + hits[g] * of_hit + misses[g] * of_miss;
        return;
    }
    const auto share = [first, end, all](std::int32_t count) {
        return static_cast<std::int32_t>(count * end / all) - static_cast<std::int32_t>(count * first / all);
    };
    for (std::size_t g = 0; g < groups; ++g)
        cycles[g] = share(zero[g]) * of_zero + share(hits[g]) * of_hit + share(misses[g]) * of_miss;
}

} // namespace

TileTimer::TileTimer(const SliceConfig &config, const TileShape &shape, Scaling scaling)
    : layout(plan_tile(config, shape, scaling)), costs(config, shape, scaling),
      double_buffer(config.double_buffer)
{
    const Grouping grouping(shape.k, shape.nbw, shape.group_size);
    for (std::int64_t turn = 0; turn < layout.turns; ++turn)
        turns.push_back(groups_of_turn(layout, grouping, turn));
    const LaidOutTile tile{config, shape, scaling, grouping, costs, layout};
    const std::int64_t others = layout.batch_chunks - 1;
    runs = {tile.runs(0), tile.runs(others)};
    for (const bool last : {false, true})
        for (const PassRun &run : runs[last]) {
            const std::int64_t passes = run.times * (last ? 1 : others), full_blocks = layout.blocks - 1;
            count(run.block.full, shape.nbw, passes * full_blocks * (run.block.turns - 1));
            count(run.block.last, shape.nbw, passes * full_blocks);
            count(run.last_block.full, shape.nbw, passes * (run.last_block.turns - 1));
            count(run.last_block.last, shape.nbw, passes);
        }
}

void TileTimer::count(const GroupStep &turn, int nbw, std::int64_t times)
{
    if (times == 0)
        return;
    account.add(turn, nbw, times);
    account.load += times * turn.load_cycles;
    most_bytes = std::max(most_bytes, turn.load_bytes);
    most_load_cycles = std::max(most_load_cycles, turn.load_cycles);
    least_load_cycles = std::min(least_load_cycles, turn.load_cycles);
    least_other = std::min(least_other, turn.compute_cycles());
}

TileTiming TileTimer::time(const PatternProfile &profile, const Supply &given) const
{
    if (profile.groups() != layout.groups)
        throw std::invalid_argument("profile has " + std::to_string(profile.groups()) +
                                    " groups: the tile has " + std::to_string(layout.groups));
    const Supply supply = in_ticks(given);
    TileTiming timing = account;
    FedPatterns pass = profile.all(), fed; /* of one pass over the whole batch, and of all */
    double least_lookups = std::numeric_limits<double>::infinity(); /* of a turn and chunk of the batch */
    for (std::int64_t chunk = 0; chunk < layout.batch_chunks; ++chunk)
        for (const double cycles : lookups(profile, layout.rows_of(chunk))) {
            pass.lookup_cycles += static_cast<std::int64_t>(cycles);
            least_lookups = std::min(least_lookups, cycles);
        }
    fed.add(pass, layout.passes);
    timing.add(fed, costs);
    if (on_time(least_other + static_cast<std::int64_t>(least_lookups), supply)) {
        /* Where nothing computes beside them the loads of the other turns count too. */
        const std::int64_t others = double_buffer ? 0 : account.load - runs[0][0].block.full.load_cycles;
        timing.load = wait_for_first(supply) + others;
        timing.total = timing.load + timing.build + timing.lookup + timing.convert + timing.write_back;
    } else {
        const TileClock clock = play(profile, supply);
        timing.load = clock.load;
        timing.total = clock.end();
    }
    return timing;
}

/* Cycles of the look-ups in every turn of a pass on some rows: of the slowest of its groups. */
std::vector<double> TileTimer::lookups(const PatternProfile &profile, const Span &rows) const
{
    std::vector<double> of_group(profile.zero().size());
    group_cycles(profile, costs, rows, layout.batch, of_group.data());
    if (layout.groups_per_turn == 1)
        return of_group;
    std::vector<double> of_turn;
    of_turn.reserve(turns.size());
    for (const Span &groups : turns)
        of_turn.push_back(*std::max_element(of_group.begin() + groups.first, of_group.begin() + groups.end));
    return of_turn;
}

/* Whether weights come in time if every turn computes for at least so many cycles.
 *
 * Let c be these cycles, b the bytes of the largest turn and m the turns of that size that fit into `ahead`,
 * the one at work among them. A turn's bytes are asked for at the supply's rate from the tile's start on, but
 * not before the turn m places ahead of it has left the buffer, or (m = 0) before the one ahead of it is
 * here. The arrays have then m turns (m = 0: one) to compute, each for c cycles, before they want it: they
 * wait neither for the rate if c >= b / rate nor for the latency if m c >= latency. A cycle is left for
 * rounding.
 *
 * With double buffering they do not wait for the port if c covers a load: it is free from the start of each
 * turn on. Without, every turn is loaded when the arrays are through with the one before, and has to be here
 * when that load ends, as the one before had when its own did: c has the shortest load more. */
bool TileTimer::on_time(std::int64_t least_cycles, const Supply &supply) const
{
    if (double_buffer && least_cycles < most_load_cycles)
        return false;
    const auto cycles = static_cast<double>(double_buffer ? least_cycles : least_cycles + least_load_cycles),
               bytes = static_cast<double>(most_bytes);
    return cycles >= bytes / supply.bytes_per_cycle + 1 &&
           std::max(1.0, std::floor(supply.ahead / bytes)) * cycles >= supply.latency + 1;
}

/* Cycles until the first turn can be worked on. */
std::int64_t TileTimer::wait_for_first(const Supply &supply) const
{
    const GroupStep &first = runs[0][0].block.full;
    return std::max(whole_cycles(Fetcher(supply).arrival(first.load_bytes)), first.load_cycles);
}

/* All turns, one behind the other. */
TileClock TileTimer::play(const PatternProfile &profile, const Supply &supply) const
{
    TileClock clock(double_buffer);
    Fetcher fetcher(supply);
    for (std::int64_t chunk = 0; chunk < layout.batch_chunks; ++chunk) {
        const std::vector<double> looked_up = lookups(profile, layout.rows_of(chunk));
        for (const PassRun &run : runs[chunk + 1 == layout.batch_chunks])
            for (std::int64_t pass = 0; pass < run.times; ++pass) {
                const double *lookup = looked_up.data();
                for (std::int64_t block = 0; block < layout.blocks; ++block) {
                    const BlockTurns &kind = block + 1 < layout.blocks ? run.block : run.last_block;
                    for (std::int64_t at = 1; at <= kind.turns; ++at) {
                        const GroupStep &turn = at < kind.turns ? kind.full : kind.last;
                        const std::int64_t arrived = whole_cycles(fetcher.arrival(turn.load_bytes));
                        fetcher.taken(
                            clock
                                .advance(arrived, turn.load_cycles,
                                         turn.compute_cycles() + static_cast<std::int64_t>(*lookup++),
                                         turn.write_back_cycles)
                                .load_end);
                    }
                }
            }
    }
    return clock;
}

std::vector<GroupTimes> tile_timeline(const SliceConfig &config, const TileShape &shape,
                                      const PatternProfile &profile, Scaling scaling, const Supply &supply)
{
    TileSequencer sequencer(config, shape, profile, scaling);
    Fetcher fetcher(in_ticks(supply));
    std::vector<GroupTimes> groups;
    while (const GroupStep *step = sequencer.next_load()) {
        groups.push_back(sequencer.loaded(whole_cycles(fetcher.arrival(step->load_bytes))));
        fetcher.taken(groups.back().load_end);
    }
    return groups;
}

} // namespace sailsim::pim
