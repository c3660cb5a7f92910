/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/timing.hh"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>

#include "pim/period_search.hh"

namespace sailsim::pim
{

namespace
{

/* std::ceil of what a cycle can be; the library's is a call. */
std::int64_t whole_cycles(double cycles)
{
    const auto whole = static_cast<std::int64_t>(cycles);
    return whole + (static_cast<double>(whole) < cycles ? 1 : 0);
}

void require_rate(double bytes_per_cycle)
{
    if (!(bytes_per_cycle > 0))
        throw std::invalid_argument("bytes_per_cycle is " + std::to_string(bytes_per_cycle) +
                                    ": allowed are positive numbers");
}

/* When the next group's weights are here if they come at `bytes_per_cycle` from the start of their load. */
std::int64_t arrival(const TileSequencer &sequencer, double bytes_per_cycle)
{
    const std::int64_t bytes = sequencer.next_load()->load_bytes;
    const double cycles = std::ceil(static_cast<double>(bytes) / bytes_per_cycle);
    if (cycles > 1e15)
        throw std::invalid_argument("bytes_per_cycle is " + std::to_string(bytes_per_cycle) +
                                    ": too little to load " + std::to_string(bytes) + " bytes");
    return sequencer.load_start() + static_cast<std::int64_t>(cycles);
}

} // namespace

TileTiming time_tile(const SliceConfig &config, const TileShape &shape, const PatternProfile &profile,
                     Scaling scaling, double bytes_per_cycle)
{
    TileSequencer sequencer(config, shape, profile, scaling);
    require_rate(bytes_per_cycle);
    while (sequencer.next_load()) {
        const TileTiming began = sequencer.timing();
        const std::int64_t began_at = sequencer.load_start();
        const std::int64_t pass = sequencer.next_load()->pass;
        while (sequencer.next_load() && sequencer.next_load()->pass == pass)
            sequencer.loaded(arrival(sequencer, bytes_per_cycle));
        sequencer.skip_equal_passes(began, began_at);
    }
    return sequencer.timing();
}

namespace
{

/* A group's bytes leave the buffer; they end at a position among all of the tile. */
struct Leaving {
    double cycle;
    double end;

    bool operator==(const Leaving &other) const { return cycle == other.cycle && end == other.end; }
};

/* Where fetching stands against the arrays, from whose cycle and position all is counted: passes that begin
 * alike and have as much to do go by alike. */
struct Standing {
    double asked = 0;
    double come = 0;
    double in_turn = 0;
    double kept = 0;
    std::vector<Leaving> leaving;

    bool operator==(const Standing &other) const
    {
        return asked == other.asked && come == other.come && in_turn == other.in_turn && kept == other.kept &&
               leaving == other.leaving;
    }
};

/* When a slice's bytes are asked for, at a steady rate while the buffer has room. */
class Fetcher
{
  public:
    explicit Fetcher(const Supply &way) : supply(way), now(-way.lead) {}

    /* The cycle at which the last byte of the next group is here. */
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
            cycle += transfer(to - at);
            at = to;
        }
        position = at;
        now = cycle;
        return std::max(now, resumed) + supply.latency;
    }

    /* Against the arrays, which are at `cycle`. */
    Standing standing(std::int64_t cycle) const
    {
        const auto at = static_cast<double>(cycle);
        if (unlimited())
            return {now - at, now - at, 0, 0, {}};
        Standing found{now - at, std::max(now, resumed) - at, in_turn - at, position - freed, {}};
        for (std::size_t i = next_leaving; i < leaving.size(); ++i)
            found.leaving.push_back({leaving[i].cycle - at, leaving[i].end - position});
        return found;
    }

    /* Whether so many bytes more are all here before the arrays want the first, if fetching stands like that
     * against them. */
    bool ample(const Standing &stands, double bytes) const
    {
        return unlimited() && stands.come + supply.latency + bytes / supply.bytes_per_cycle + 1 <= 0;
    }

    /* As if `cycles` had gone by with as much of everything as before, and `asked` cycles of asking. */
    void skip(double cycles, double asked)
    {
        now += asked;
        resumed += cycles;
        in_turn += cycles;
        for (std::size_t i = next_leaving; i < leaving.size(); ++i)
            leaving[i].cycle += cycles;
    }

    /* That group's bytes were all here at `arrived` and leave the buffer at `cycle`. */
    void taken(double arrived, std::int64_t cycle)
    {
        in_turn = arrived;
        if (next_leaving == leaving.size()) {
            leaving.clear();
            next_leaving = 0;
        }
        if (!unlimited())
            leaving.push_back({static_cast<double>(cycle), position});
    }

  private:
    /* The buffer always has room. */
    bool unlimited() const { return std::isinf(supply.ahead); }

    /* What was under way has come meanwhile, so as much as may be under way can be asked for at once. Returns
     * what becomes of `now`. */
    double wait_until(double cycle, double asked)
    {
        resumed = std::max(resumed, cycle);
        return std::max(asked, cycle - supply.latency);
    }

    /* Cycles of some bytes at the steady rate; the same few sizes come again and again. */
    double transfer(double bytes)
    {
        for (const Transfer &known : transfers)
            if (known.bytes == bytes)
                return known.cycles;
        transfers[1] = transfers[0];
        transfers[0] = {bytes, whole_ticks(bytes / supply.bytes_per_cycle)};
        return transfers[0].cycles;
    }

    struct Transfer {
        double bytes = -1;
        double cycles = 0;
    };

    const Supply supply;
    double now; /* bytes up to `position` have been asked for, as the rate allows */
    double resumed = -std::numeric_limits<double>::infinity(); /* and not before here */
    double position = 0;
    double freed = 0; /* bytes that have left the buffer */
    /* From when the current group is the one that the arrays wait for. */
    double in_turn = -std::numeric_limits<double>::infinity();
    std::array<Transfer, 2> transfers;
    std::vector<Leaving> leaving;
    std::size_t next_leaving = 0; /* those before have left */
};

void require_arrival(double cycle, const Supply &supply, std::int64_t bytes)
{
    if (!(cycle < 1e15))
        throw std::invalid_argument("bytes_per_cycle is " + std::to_string(supply.bytes_per_cycle) +
                                    ": too little to load " + std::to_string(bytes) + " bytes");
}

/* Where a tile stands between two passes. */
struct Between {
    TileTiming account;
    std::int64_t cycle = 0; /* of the arrays */
    Standing fetching;
};

/* Steps over passes that go by like some before them. */
class EqualPasses
{
  public:
    EqualPasses(TileSequencer &tile, Fetcher &fetching) : sequencer(tile), fetcher(fetching) {}

    /* Called where a pass of so many bytes has ended. */
    void look(double bytes)
    {
        if (!sequencer.next_load())
            return;
        /* What the arrays are at where a chunk of the batch begins is another chunk's. */
        if (sequencer.pass_of_chunk() <= 1) {
            search.restart(between());
            return;
        }
        Between here = between();
        if (!alike(here, bytes)) {
            search.see(std::move(here));
            return;
        }
        const Between &before = search.before();
        const std::int64_t times =
            sequencer.skip_equal_passes(before.account, before.cycle, search.period(), search.period());
        const auto cycles = static_cast<double>(here.cycle - before.cycle);
        fetcher.skip(static_cast<double>(times) * cycles,
                     static_cast<double>(times) * (here.fetching.asked - before.fetching.asked + cycles));
        search.restart(between());
    }

  private:
    Between between() const
    {
        return {sequencer.timing(), sequencer.load_start(), fetcher.standing(sequencer.load_start())};
    }

    /* Whether what follows is like what followed the earlier state. It also is where weights never come late
     * and with the time only sooner. */
    bool alike(const Between &here, double bytes) const
    {
        const Standing &earlier = search.before().fetching, &now = here.fetching;
        return now == earlier || (search.period() == 1 && now.asked <= earlier.asked &&
                                  fetcher.ample(earlier, bytes) && fetcher.ample(now, bytes));
    }

    TileSequencer &sequencer;
    Fetcher &fetcher;
    PeriodSearch<Between> search;
};

} // namespace

Supply settled(const Supply &supply)
{
    require_rate(supply.bytes_per_cycle);
    const auto bad = [](double x) { return !(x >= 0); };
    if (bad(supply.latency) || bad(supply.lead) || bad(supply.ahead))
        throw std::invalid_argument("latency, lead and ahead are " + std::to_string(supply.latency) + ", " +
                                    std::to_string(supply.lead) + ", " + std::to_string(supply.ahead) +
                                    ": allowed are numbers from 0 on");
    return {supply.bytes_per_cycle, whole_ticks(supply.latency), whole_ticks(supply.lead),
            std::floor(supply.ahead)};
}

TileTiming time_tile(const SliceConfig &config, const TileShape &shape, const PatternProfile &profile,
                     Scaling scaling, const Supply &supply)
{
    TileSequencer sequencer(config, shape, profile, scaling);
    Fetcher fetcher(settled(supply));
    EqualPasses equal(sequencer, fetcher);
    while (const GroupStep *step = sequencer.next_load()) {
        const std::int64_t pass = step->pass;
        std::int64_t bytes = 0;
        while (step && step->pass == pass) {
            bytes += step->load_bytes;
            const double arrived = std::max(0.0, fetcher.arrival(step->load_bytes));
            require_arrival(arrived, supply, step->load_bytes);
            fetcher.taken(arrived, sequencer.loaded(whole_cycles(arrived)).load_end);
            step = sequencer.next_load();
        }
        equal.look(static_cast<double>(bytes));
    }
    return sequencer.timing();
}

std::vector<GroupTimes> tile_timeline(const SliceConfig &config, const TileShape &shape,
                                      const PatternProfile &profile, Scaling scaling, const Supply &supply)
{
    TileSequencer sequencer(config, shape, profile, scaling);
    Fetcher fetcher(settled(supply));
    std::vector<GroupTimes> groups;
    while (const GroupStep *step = sequencer.next_load()) {
        const double arrived = std::max(0.0, fetcher.arrival(step->load_bytes));
        require_arrival(arrived, supply, step->load_bytes);
        groups.push_back(sequencer.loaded(whole_cycles(arrived)));
        fetcher.taken(arrived, groups.back().load_end);
    }
    return groups;
}

std::vector<GroupTimes> tile_timeline(const SliceConfig &config, const TileShape &shape,
                                      const PatternProfile &profile, Scaling scaling,
                                      const std::vector<std::int64_t> &arrivals)
{
    TileSequencer sequencer(config, shape, profile, scaling);
    const TilePlan &plan = sequencer.plan();
    const auto expected = static_cast<std::size_t>(plan.total_passes() * plan.turns);
    if (arrivals.size() != expected)
        throw std::invalid_argument("arrivals has " + std::to_string(arrivals.size()) +
                                    " elements: the tile has " + std::to_string(expected) +
                                    " turns over all passes");
    std::vector<GroupTimes> groups;
    for (const std::int64_t cycle : arrivals)
        groups.push_back(sequencer.loaded(cycle));
    return groups;
}

} // namespace sailsim::pim
