/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tiles of one shape side by side, group by group: the loop of `time_tile`, for several tiles at once. It is
 * compiled for several instruction sets and gives the same in all.
 */
#ifndef SAILSIM_PIM_LANE_LOOPS_HH
#define SAILSIM_PIM_LANE_LOOPS_HH

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "pim/timing.hh"

namespace sailsim::pim
{

/* Tiles at once: a vector of doubles. */
constexpr std::size_t tile_lanes = 8;

struct alignas(64) Lanes : std::array<double, tile_lanes> {
    explicit Lanes(double value = 0) { fill(value); }
};

/* What each turn of a pass costs, whatever the patterns of a tile. */
struct PassCosts {
    std::vector<double> load_bytes;
    std::vector<double> load_cycles;
    std::vector<double> compute_cycles; /* beside look-ups */
    std::vector<double> write_back_cycles;
};

/* Where tiles stand between two passes; in cycles, which are whole but for those of the fetching. */
struct LaneState {
    Lanes port_free;
    Lanes compute_end;
    double owed_write_back = 0;
    Lanes load; /* as in TileTiming */
    /* Of the fetching, as timing.cc has it for one tile. */
    Lanes now;
    Lanes resumed{-std::numeric_limits<double>::infinity()};
    Lanes in_turn{-std::numeric_limits<double>::infinity()};
    double position = 0;
    /* Of every group since those that no longer matter: the bytes behind it, and when its weights leave the
     * buffer. */
    std::vector<double> ends;
    std::vector<Lanes> leaving;
    std::int64_t first_kept = -1; /* the first group whose bytes still count against the buffer, but one */
    bool late = false;            /* weights come later than cycles can be counted */
};

/* `lookups`: the cycles of every tile's look-ups in each turn; `supply` is settled (timing.hh). */
struct LaneLoops {
    const char *name;
    void (*run_pass)(const PassCosts &pass, const std::vector<Lanes> &lookups, const Supply &supply,
                     bool double_buffer, LaneState &state);
};

/* Forgets the groups that have left the buffer for good. */
void forget_left(const Supply &supply, LaneState &state);

/* Those that this processor can run, the quickest first. */
const std::vector<const LaneLoops *> &usable_lane_loops();

} // namespace sailsim::pim

#endif
