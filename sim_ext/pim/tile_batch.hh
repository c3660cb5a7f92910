/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Many tiles of one shape, which differ in their patterns: the blocks of a model, timed side by side.
 */
#ifndef SAILSIM_PIM_TILE_BATCH_HH
#define SAILSIM_PIM_TILE_BATCH_HH

#include <vector>

#include "pim/lane_loops.hh"
#include "pim/lookup_loops.hh"
#include "pim/packed_profile.hh"
#include "pim/tile_passes.hh"
#include "pim/timing.hh"

namespace sailsim::pim
{

/* What is compiled for an instruction set. */
struct BatchLoops {
    const LaneLoops &lanes;
    const LookupLoops &lookups;
};

/* Of the sets that this processor can run, the quickest first. */
const std::vector<BatchLoops> &usable_batch_loops();

/* Tiles that differ in their patterns alone; what they share is reckoned once. */
class TileBatch
{
  public:
    /* Throws std::invalid_argument. */
    TileBatch(const SliceConfig &config, const TileShape &shape, Scaling scaling);

    const TilePlan &plan() const { return passes.plan(); }

    /* `time_tile` of every profile, which are not null. Throws std::invalid_argument. */
    std::vector<TileTiming> time(const std::vector<const PackedProfile *> &profiles, const Supply &supply,
                                 const BatchLoops &loops = usable_batch_loops().front()) const;

  private:
    SliceConfig config;
    TileShape shape;
    Scaling scaling;
    TilePasses passes;
};

/* The same of tiles that are timed once. */
std::vector<TileTiming> time_tiles(const SliceConfig &config, const TileShape &shape,
                                   const std::vector<const PatternProfile *> &profiles, Scaling scaling,
                                   const Supply &supply,
                                   const BatchLoops &loops = usable_batch_loops().front());

} // namespace sailsim::pim

#endif
