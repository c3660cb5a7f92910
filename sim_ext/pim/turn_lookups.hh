/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the look-ups of a tile take turn by turn: the DFMs that share out the groups of a block wait for the
 * slowest of them. A part of `TileBatch`.
 */
#ifndef SAILSIM_PIM_TURN_LOOKUPS_HH
#define SAILSIM_PIM_TURN_LOOKUPS_HH

#include <algorithm>
#include <cstdint>
#include <vector>

#include "pim/lookup_loops.hh"
#include "pim/tile_passes.hh"

namespace sailsim::pim
{

class TurnLookups
{
  public:
    TurnLookups(const TilePasses &tile, const LookupLoops &loops_)
        : passes(tile), loops(loops_), of_group(static_cast<std::size_t>(tile.plan().groups))
    {
        if (tile.plan().groups_per_turn == 1)
            return;
        for (std::int64_t group = 0; group < tile.plan().groups; group = ends.back())
            ends.push_back(tile.turn_end(group));
        of_turn.resize(ends.size());
    }

    /* The cycles of every turn of a pass on some rows of the batch; of the profile that was asked for last.
     */
    const std::vector<double> &cycles(const PatternProfile &patterns, const BatchRows &rows)
    {
        loops.cycles(patterns, passes.costs(), rows, passes.batch(), of_group.data());
        if (ends.empty()) /* a group is a turn */
            return of_group;
        const double *group = of_group.data();
        for (std::size_t turn = 0; turn < ends.size(); ++turn) {
            const double *end = of_group.data() + ends[turn];
            double most = *group;
            while (++group < end)
                most = std::max(most, *group);
            of_turn[turn] = most;
        }
        return of_turn;
    }

  private:
    const TilePasses &passes;
    const LookupLoops &loops;
    std::vector<std::int64_t> ends; /* of each turn: the group behind it; none where a group is a turn */
    std::vector<double> of_group, of_turn;
};

} // namespace sailsim::pim

#endif
