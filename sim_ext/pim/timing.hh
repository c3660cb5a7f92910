/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Time of one tile in one slice (docs/contract.md, section 4), by how its weights come.
 */
#ifndef SAILSIM_PIM_TIMING_HH
#define SAILSIM_PIM_TIMING_HH

#include <cstdint>
#include <limits>
#include <vector>

#include "pim/sequencer.hh"

namespace sailsim::pim
{

/* The whole tile when every load takes its least time, or longer where the slice's share of the DRAM
 * bandwidth (bytes a cycle) does not allow that. */
TileTiming time_tile(const SliceConfig &config, const TileShape &shape, const PatternProfile &profile,
                     Scaling scaling, double bytes_per_cycle = std::numeric_limits<double>::infinity());

/* How weights come to a slice that asks for them ahead of need; times in cycles. All times are taken as whole
 * multiples of a 2^20th of a cycle, so that sums of them are exact and equal passes stay equal. */
struct Supply {
    double bytes_per_cycle = std::numeric_limits<double>::infinity();
    double latency = 0; /* from asking for a byte to having it */
    double lead = 0;    /* the first byte is asked for so long before the tile's cycle 0 */
    double ahead = std::numeric_limits<double>::infinity();
    /* Bytes that may be under way or wait for the arrays beyond the group in turn; of a part of a byte
     * nothing comes. A group leaves the buffer whole, when the port has moved it. */
};

/* The nearest whole multiple of a 2^20th of a cycle; from 2^31 cycles on the nearest that a double has. */
inline double whole_ticks(double cycles)
{
    constexpr double first_of_whole = 1.5 * 4294967296.0; /* doubles from 2^32 on have ticks as last place */
    return (cycles + first_of_whole) - first_of_whole;
}

/* The same supply with whole ticks and bytes. Throws std::invalid_argument for one that cannot be. */
Supply settled(const Supply &supply);

/* The whole tile when its weights come like that. Throws std::invalid_argument. */
TileTiming time_tile(const SliceConfig &config, const TileShape &shape, const PatternProfile &profile,
                     Scaling scaling, const Supply &supply);

/* The same, group by group. */
std::vector<GroupTimes> tile_timeline(const SliceConfig &config, const TileShape &shape,
                                      const PatternProfile &profile, Scaling scaling, const Supply &supply);

/* Group by group, when the weights of each group have arrived at the given cycles. */
std::vector<GroupTimes> tile_timeline(const SliceConfig &config, const TileShape &shape,
                                      const PatternProfile &profile, Scaling scaling,
                                      const std::vector<std::int64_t> &arrivals);

} // namespace sailsim::pim

#endif
