/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a tile took, for one tile and for many side by side.
 */
#ifndef SAILSIM_BINDINGS_BIND_TILE_TIMINGS_HH
#define SAILSIM_BINDINGS_BIND_TILE_TIMINGS_HH

#include <vector>

#include <nanobind/nanobind.h>

#include "pim/timing.hh"

namespace sailsim::bindings
{

/* Of many tiles: Python sees every field of a `TileTiming` as an array. */
struct TileTimings {
    std::vector<pim::TileTiming> tiles;
};

void bind_tile_timings(nanobind::module_ &m);

} // namespace sailsim::bindings

#endif
