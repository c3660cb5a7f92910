/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/lane_loops.hh"

#include <algorithm>
#include <cmath>

#include "pim/instruction_sets.hh"

namespace sailsim::pim
{

namespace
{

constexpr double most_cycles = 1e15;
constexpr double whole_from = 4503599627370496.0; /* 2^52: doubles from here on are whole numbers */

SAILSIM_INLINED double larger(double a, double b)
{
    return a < b ? b : a;
}

/* std::ceil of 0 .. most_cycles, in operations that every vector unit has. */
SAILSIM_INLINED double whole_cycles(double cycles)
{
    const double nearest = (cycles + whole_from) - whole_from;
    return nearest < cycles ? nearest + 1 : nearest;
}

/* Asks for the bytes of the next group, up to `end`: see Fetcher::arrival in timing.cc. The bytes that a tile
 * may ask for depend on how many groups have left its buffer, and which those are only on the sizes of
 * groups, so it is the same group for every tile. A tile whose group has not left when the arrays wait for
 * the next one asks for the rest of it at that cycle, and then is done. */
SAILSIM_INLINED void fetch_group(double end, const Supply &supply, LaneState &s)
{
    const auto group = static_cast<std::int64_t>(s.leaving.size());
    Lanes done;
    double at = s.position;
    while (at < end) {
        const auto freed = [&s](std::int64_t g) { return g < 0 ? 0 : s.ends[static_cast<std::size_t>(g)]; };
        while (s.first_kept < group && !(freed(s.first_kept) + supply.ahead > at))
            ++s.first_kept;
        const bool never = s.first_kept == group; /* the group itself must leave first */
        const double to = never ? end : std::min(end, freed(s.first_kept) + supply.ahead);
        const double piece = whole_ticks((to - at) / supply.bytes_per_cycle);
        const double rest = whole_ticks((end - at) / supply.bytes_per_cycle);
        if (s.first_kept < 0) {
            for (std::size_t i = 0; i < tile_lanes; ++i)
                s.now[i] += piece;
        } else {
            const Lanes leaving = never ? s.in_turn : s.leaving[static_cast<std::size_t>(s.first_kept)];
            for (std::size_t i = 0; i < tile_lanes; ++i) {
                const bool on = done[i] == 0;
                const bool in_turn = leaving[i] >= s.in_turn[i];
                const double cycle = in_turn ? s.in_turn[i] : leaving[i];
                const double resumed = larger(s.resumed[i], cycle);
                const double now = larger(s.now[i], cycle - supply.latency) + (in_turn ? rest : piece);
                s.resumed[i] = on ? resumed : s.resumed[i];
                s.now[i] = on ? now : s.now[i];
                done[i] = in_turn ? 1 : done[i];
            }
        }
        at = to;
    }
    s.position = at;
}

SAILSIM_INLINED void run_pass(const PassCosts &pass, const std::vector<Lanes> &lookups, const Supply &supply,
                              bool double_buffer, LaneState &s)
{
    for (std::size_t g = 0; g < pass.load_bytes.size(); ++g) {
        fetch_group(s.position + pass.load_bytes[g], supply, s);
        s.ends.push_back(s.position);
        s.leaving.emplace_back();
        const Lanes &lookup = lookups[g];
        const double compute = pass.compute_cycles[g];
        const double load_cycles = pass.load_cycles[g], write_back = pass.write_back_cycles[g];
        const double owed = s.owed_write_back, owed_after = double_buffer ? write_back : 0;
        Lanes &leaving = s.leaving.back();
        double late = 0;
        for (std::size_t i = 0; i < tile_lanes; ++i) {
            const double arrived = larger(0, larger(s.now[i], s.resumed[i]) + supply.latency);
            late = arrived < most_cycles ? late : 1;
            s.in_turn[i] = arrived;
            /* TileSequencer::loaded */
            const double arrival = larger(whole_cycles(arrived), s.port_free[i] + load_cycles);
            const double ready = larger(arrival, s.compute_end[i]);
            s.load[i] += ready - s.compute_end[i];
            const double start = ready + owed;
            const double computed = start + (compute + lookup[i]);
            s.compute_end[i] = double_buffer ? computed : computed + write_back;
            s.port_free[i] = double_buffer ? start : computed + write_back;
            leaving[i] = arrival;
        }
        s.owed_write_back = owed_after;
        s.late = s.late || late != 0;
    }
}

#define SAILSIM_LANE_LOOPS(set, target)                                                                      \
    target void run_pass_##set(const PassCosts &pass, const std::vector<Lanes> &lookups,                     \
                               const Supply &supply, bool double_buffer, LaneState &state)                   \
    {                                                                                                        \
        run_pass(pass, lookups, supply, double_buffer, state);                                               \
    }                                                                                                        \
    constexpr LaneLoops set##_loops{#set, run_pass_##set};

SAILSIM_EACH_SET(SAILSIM_LANE_LOOPS)

} // namespace

void forget_left(const Supply &supply, LaneState &state)
{
    /* With room for everything nobody asks when a group has left. */
    const std::int64_t left =
        std::isinf(supply.ahead) ? static_cast<std::int64_t>(state.ends.size()) : state.first_kept;
    if (left <= 0)
        return;
    state.ends.erase(state.ends.begin(), state.ends.begin() + left);
    state.leaving.erase(state.leaving.begin(), state.leaving.begin() + left);
    state.first_kept = std::min<std::int64_t>(state.first_kept, 0);
}

const std::vector<const LaneLoops *> &usable_lane_loops()
{
    static const std::vector<const LaneLoops *> usable = SAILSIM_USABLE(loops);
    return usable;
}

} // namespace sailsim::pim
