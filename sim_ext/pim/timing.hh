/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Time of tiles in one slice (docs/contract.md, section 4), by how their weights come.
 */
#ifndef SAILSIM_PIM_TIMING_HH
#define SAILSIM_PIM_TIMING_HH

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "pim/sequencer.hh"

namespace sailsim::pim
{

/* How weights come to a slice that asks for them ahead of need; times in cycles. All times are taken as whole
 * multiples of a 2^20th of a cycle, so that sums of them are exact. As it is, all are at the port at once. */
struct Supply {
    double bytes_per_cycle = std::numeric_limits<double>::infinity();
    double latency = 0; /* from asking for a byte to having it */
    double lead = 0;    /* the first byte is asked for so long before the tile's cycle 0 */
    double ahead = std::numeric_limits<double>::infinity();
    /* Bytes that may be under way or wait for the arrays beyond the group in turn; of a part of a byte
     * nothing comes. A group leaves the buffer whole, when the port has moved it. */
};

/* Tiles that differ in their patterns alone: what each kind of turn costs beside its look-ups is reckoned
 * once, and so what all of them add up to. Where the arrays wait for weights before the first turn alone the
 * phases follow each other; else the clock goes from turn to turn. */
class TileTimer
{
  public:
    /* Throws std::invalid_argument. */
    TileTimer(const SliceConfig &config, const TileShape &shape, Scaling scaling);

    const TilePlan &plan() const { return layout; }

    /* A whole tile: to the cycle what a sequencer says that is told of each arrival (`tile_timeline`).
     * Throws std::invalid_argument. */
    TileTiming time(const PatternProfile &profile, const Supply &supply = {}) const;

  private:
    void count(const GroupStep &turn, int nbw, std::int64_t times);
    std::vector<double> lookups(const PatternProfile &profile, const Span &rows) const;
    bool on_time(std::int64_t least_cycles, const Supply &supply) const;
    std::int64_t wait_for_first(const Supply &supply) const;
    TileClock play(const PatternProfile &profile, const Supply &supply) const;

    TilePlan layout;
    PhaseCosts costs;
    bool double_buffer;
    std::vector<Span> turns;
    std::array<std::array<PassRun, 3>, 2> runs; /* of every chunk of the batch but the last, and of that */
    TileTiming account; /* but for patterns, the total and when loads overlap with work */
    /* Over all turns. */
    std::int64_t most_bytes = 0;
    std::int64_t most_load_cycles = 0;
    std::int64_t least_load_cycles = std::numeric_limits<std::int64_t>::max();
    std::int64_t least_other = std::numeric_limits<std::int64_t>::max(); /* of computing beside look-ups */
};

/* A tile's time group by group, as the sequencer is told of every arrival. */
std::vector<GroupTimes> tile_timeline(const SliceConfig &config, const TileShape &shape,
                                      const PatternProfile &profile, Scaling scaling, const Supply &supply);

} // namespace sailsim::pim

#endif
