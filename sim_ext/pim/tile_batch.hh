/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Many tiles of one shape, which differ in their patterns: the blocks of a model, timed side by side.
 */
#ifndef SAILSIM_PIM_TILE_BATCH_HH
#define SAILSIM_PIM_TILE_BATCH_HH

#include <vector>

#include "pim/lane_loops.hh"
#include "pim/timing.hh"

namespace sailsim::pim
{

/* `time_tile` of every profile, which are not null. Throws std::invalid_argument. */
std::vector<TileTiming> time_tiles(const SliceConfig &config, const TileShape &shape,
                                   const std::vector<const PatternProfile *> &profiles, Scaling scaling,
                                   const Supply &supply,
                                   const LaneLoops &loops = *usable_lane_loops().front());

} // namespace sailsim::pim

#endif
