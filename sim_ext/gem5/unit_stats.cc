/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/unit_stats.hh"

#include "pim/descriptor.hh"
#include "sim/cur_tick.hh"

#include <cctype>
#include <string>
#include <string_view>

namespace gem5::sail
{

namespace
{

using statistics::units::Byte;
using statistics::units::Count;
using statistics::units::Cycle;
using statistics::units::Ratio;
using AveragedCount = statistics::units::Rate<Count, statistics::units::Tick>;

/* "wbits" for ERR_WBITS: names of a statistic's parts are short and lower case. */
std::string part_name(std::string_view status)
{
    constexpr std::string_view prefix = "ERR_";
    if (status.substr(0, prefix.size()) == prefix)
        status.remove_prefix(prefix.size());
    std::string name(status);
    for (char &letter : name)
        letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    return name;
}

} // namespace

UnitStats::UnitStats(statistics::Group &unit, unsigned queue_depth)
    : statistics::Group(&unit), ADD_STAT(rings, Count::get(), "Stores that rang the doorbell"),
      ADD_STAT(withheld, Count::get(), "Of those, stores that had to wait for room in the queue"),
      ADD_STAT(heldStores, AveragedCount::get(), "Stores that wait for room, averaged over time"),
      ADD_STAT(queueLength, AveragedCount::get(), "Descriptors in the queue, averaged over time"),
      ADD_STAT(queueAtRing, Count::get(), "Descriptors that were in the queue when one rang"),
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
      ADD_STAT(loadCycles, Cycle::get(), "Cycles in which a tile did nothing but load"),
      ADD_STAT(buildCycles, Cycle::get(), "Cycles of building tables"),
      ADD_STAT(lookupCycles, Cycle::get(), "Cycles of looking up"),
      ADD_STAT(convertCycles, Cycle::get(), "Cycles of converting and scaling sums"),
      ADD_STAT(writeBackCycles, Cycle::get(), "Cycles of moving results out of the arrays"),
      ADD_STAT(weightStallCycles, Cycle::get(), "Cycles that tiles took longer because weights came late"),
      ADD_STAT(refusedTicks, statistics::units::Tick::get(),
               "Time in which the memory system did not take a request"),
      ADD_STAT(flushes, Count::get(),
               "Times that cache lines had to leave the C-SRAM before it could compute"),
      ADD_STAT(lookups, Count::get(), "Energy event: patterns that the DFM formed"),
      ADD_STAT(zeroPatterns, Count::get(), "Of those, patterns without a set bit"),
      ADD_STAT(prtHits, Count::get(), "Of those, patterns that hit the PRT"),
      ADD_STAT(prtMisses, Count::get(), "Of those, patterns that read a table entry"),
      ADD_STAT(tableBuilds, Count::get(), "Tables built"),
      ADD_STAT(tableAdds, Count::get(), "Energy event: additions that built them, rows of an array"),
      ADD_STAT(rowReads, Count::get(), "Energy event: row reads of one array"),
      ADD_STAT(rowWrites, Count::get(), "Energy event: row writes of one array"),
      ADD_STAT(conversions, Count::get(), "Energy event: conversions of a batch row's block sums"),
      ADD_STAT(portBytes, Byte::get(),
               "Energy event: bytes of weights and results between the slice and its arrays"),
      ADD_STAT(prtHitRate, Ratio::get(), "PRT hits of the patterns that are not zero",
               prtHits / (prtHits + prtMisses)),
      ADD_STAT(accumulations, Count::get(), "Energy event: table entries that were shifted and added",
               prtHits + prtMisses)
{
    using statistics::nozero;
    errors.init(::sailsim::pim::status_count).flags(nozero);
    for (std::uint32_t status = 0; status < ::sailsim::pim::status_count; ++status)
        errors.subname(status, part_name(::sailsim::pim::status_name(status)));

    stageTicks.init(stage_count);
    static const char *const stages[stage_count] = {"idle",   "flush",   "descriptor", "operands",
                                                    "groups", "results", "completion"};
    for (int stage = 0; stage < stage_count; ++stage)
        stageTicks.subname(stage, stages[stage]);

    queueAtRing.init(0, queue_depth, 1).flags(nozero);
}

void UnitStats::spend(Stage stage)
{
    stageTicks[static_cast<int>(stage)] += curTick() - counted_to;
    restart();
}

void UnitStats::restart()
{
    counted_to = curTick();
}

void UnitStats::count(const ::sailsim::pim::TileTiming &timing, std::int64_t unhindered)
{
    loadCycles += timing.load;
    buildCycles += timing.build;
    lookupCycles += timing.lookup;
    convertCycles += timing.convert;
    writeBackCycles += timing.write_back;
    weightStallCycles += timing.total - unhindered;
    lookups += timing.counts.lookups;
    zeroPatterns += timing.counts.zero_patterns;
    prtHits += timing.counts.prt_hits;
    prtMisses += timing.counts.prt_misses;
    tableBuilds += timing.counts.table_builds;
    tableAdds += timing.counts.table_adds;
    rowReads += timing.counts.row_reads;
    rowWrites += timing.counts.row_writes;
    conversions += timing.counts.conversions;
    portBytes += timing.weight_bytes + timing.result_bytes;
}

} // namespace gem5::sail
