/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/unit_stats.hh"

#include "pim/descriptor.hh"
#include "sim/cur_tick.hh"

#include <vector>

namespace gem5::sail
{

namespace
{

using ::sailsim::pim::TileTiming;
using statistics::units::Byte;
using statistics::units::Count;
using statistics::units::Cycle;
using AveragedCount = statistics::units::Rate<Count, statistics::units::Tick>;

/* A statistic that is the sum over tiles of a field of their timings, or of two. */
struct Sum {
    const char *name;
    const statistics::units::Base *unit;
    const char *what;
    std::int64_t TileTiming::*field;
    std::int64_t TileTiming::*other = nullptr;
};
const std::vector<Sum> &sums_of_timings()
{
    static const std::vector<Sum> all{
        {"loadCycles", Cycle::get(), "Cycles in which a tile did nothing but load", &TileTiming::load},
        {"buildCycles", Cycle::get(), "Cycles of building tables", &TileTiming::build},
        {"lookupCycles", Cycle::get(), "Cycles of looking up", &TileTiming::lookup},
        {"convertCycles", Cycle::get(), "Cycles of converting and scaling sums", &TileTiming::convert},
        {"writeBackCycles", Cycle::get(), "Cycles of moving results out of the arrays",
         &TileTiming::write_back},
        {"lookups", Count::get(), "Energy event: patterns that the DFM formed", &TileTiming::lookups},
        {"zeroPatterns", Count::get(), "Of those, patterns without a set bit", &TileTiming::zero_patterns},
        {"prtHits", Count::get(), "Of those, patterns that hit the PRT", &TileTiming::prt_hits},
        {"prtMisses", Count::get(), "Of those, patterns that read a table entry", &TileTiming::prt_misses},
        {"tableBuilds", Count::get(), "Tables built", &TileTiming::table_builds},
        {"tableAdds", Count::get(), "Energy event: additions that built them, rows of an array",
         &TileTiming::table_adds},
        {"rowReads", Count::get(), "Energy event: row reads of one array", &TileTiming::row_reads},
        {"rowWrites", Count::get(), "Energy event: row writes of one array", &TileTiming::row_writes},
        {"conversions", Count::get(), "Energy event: conversions of a batch row's block sums",
         &TileTiming::conversions},
        {"portBytes", Byte::get(),
         "Energy event: bytes of weights and results between the slice and its arrays",
         &TileTiming::weight_bytes, &TileTiming::result_bytes},
        {"accumulations", Count::get(), "Energy event: table entries that were shifted and added",
         &TileTiming::prt_hits, &TileTiming::prt_misses}};
    return all;
}

} // namespace

UnitStats::UnitStats(statistics::Group &unit, const Stage &of_unit)
    : statistics::Group(&unit), ADD_STAT(rings, Count::get(), "Stores that rang the doorbell"),
      ADD_STAT(withheld, Count::get(), "Of those, stores that had to wait for room in the queue"),
      ADD_STAT(heldStores, AveragedCount::get(), "Stores that wait for room, averaged over time"),
      ADD_STAT(tiles, Count::get(), "Tiles that ended well"),
      ADD_STAT(unreported, Count::get(), "Descriptors with an error and no place to write it to"),
      ADD_STAT(errors, Count::get(), "Descriptors that ended in an error, by status"),
      ADD_STAT(groups, Count::get(), "Groups that the arrays took, over all passes"),
      ADD_STAT(passes, Count::get(), "Passes over the weights"),
      ADD_STAT(readAccesses, Count::get(), "Energy event: reads of memory, of a cache line at most"),
      ADD_STAT(writeAccesses, Count::get(), "Energy event: writes to memory, of a cache line at most"),
      ADD_STAT(weightBytes, Byte::get(), "Bytes of weights that were asked for"),
      ADD_STAT(scaleBytes, Byte::get(), "Bytes of block scales and minima that were asked for"),
      ADD_STAT(operandBytes, Byte::get(),
               "Bytes of activations, codebooks and activation scales that were asked for"),
      ADD_STAT(resultBytes, Byte::get(), "Bytes of results that were written"),
      ADD_STAT(stageTicks, statistics::units::Tick::get(),
               "Time without work, and by what the unit waited for or did"),
      ADD_STAT(weightStallCycles, Cycle::get(), "Cycles that tiles took longer because weights came late"),
      ADD_STAT(flushes, Count::get(),
               "Times that cache lines had to leave the C-SRAM before it could compute"),
      stage(of_unit)
{
    using statistics::nozero;
    errors.init(::sailsim::pim::status_count).flags(nozero);
    for (std::uint32_t status = 0; status < ::sailsim::pim::status_count; ++status)
        errors.subname(status, ::sailsim::pim::status_name(status));

    stageTicks.init(stage_count);
    static const char *const stages[stage_count] = {"idle",   "flush",   "descriptor", "operands",
                                                    "groups", "results", "completion"};
    for (int each = 0; each < stage_count; ++each)
        stageTicks.subname(each, stages[each]);

    for (const Sum &sum : sums_of_timings())
        sums.emplace_back(this, sum.name, sum.unit, sum.what);
}

void UnitStats::spend()
{
    stageTicks[static_cast<int>(stage)] += curTick() - counted_to;
    counted_to = curTick();
}

void UnitStats::resetStats()
{
    Group::resetStats();
    counted_to = curTick();
}

void UnitStats::count(const ::sailsim::pim::TileTiming &timing, std::int64_t unhindered)
{
    weightStallCycles += timing.total - unhindered;
    for (std::size_t i = 0; i < sums.size(); ++i) {
        const Sum &sum = sums_of_timings()[i];
        sums[i] += timing.*sum.field + (sum.other ? timing.*sum.other : 0);
    }
}

} // namespace gem5::sail
