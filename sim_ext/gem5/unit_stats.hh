/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a PIM unit counts: the life of its tiles, what it waits for, and the events that energy is reckoned
 * from.
 */
#ifndef SAILSIM_GEM5_UNIT_STATS_HH
#define SAILSIM_GEM5_UNIT_STATS_HH

#include <cstdint>
#include <deque>

#include "base/statistics.hh"
#include "base/types.hh"
#include "pim/timing.hh"

namespace gem5::sail
{

/* What a unit is about. */
enum class Stage {
    idle,
    flush,      /* the C-SRAM held cache lines: they leave it first */
    descriptor, /* its 64 bytes are on their way */
    operands,   /* activations, codebook and activation scales are on their way */
    groups,     /* weights stream in, groups are built and looked up */
    results,    /* result words are on their way out */
    completion  /* and the completion record */
};
constexpr int stage_count = 7;

struct UnitStats : public statistics::Group {
    /* `stage`: what the unit is about. */
    UnitStats(statistics::Group &unit, const Stage &stage);

    void preDumpStats() override { spend(); }
    void resetStats() override;

    /* Counts the time up to now for the stage. */
    void spend();
    /* A tile was worked out in `timing`; it would have been in `unhindered` cycles with all weights in time.
     */
    void count(const ::sailsim::pim::TileTiming &timing, std::int64_t unhindered);

    statistics::Scalar rings, withheld;
    statistics::Average heldStores;
    statistics::Scalar tiles, unreported;
    statistics::Vector errors;
    statistics::Scalar groups, passes;
    statistics::Scalar readAccesses, writeAccesses;
    statistics::Scalar weightBytes, scaleBytes, operandBytes, resultBytes;
    statistics::Vector stageTicks;
    statistics::Scalar weightStallCycles, flushes;
    std::deque<statistics::Scalar> sums; /* over tiles, of what their timings say */

  private:
    const Stage &stage;
    Tick counted_to = 0;
};

} // namespace gem5::sail

#endif
