/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What follows a tile's last group, or the reason why there is none: results, completion record, the end.
 */
#include "gem5/pim_unit.hh"

#include <cstring>

#include "debug/SailPim.hh"
#include "sim/system.hh"

namespace gem5::sail
{

namespace pim = ::sailsim::pim;

void PimUnit::compute()
{
    pim::Execution result = tile->execute(config);
    tile->status = result.completion.status;
    tile->detail = result.completion.detail;
    if (tile->status != LUTMM_OK) {
        complete();
        return;
    }
    const pim::TileTiming timing = tile->timing();
    stats.groups += tile->total_steps();
    stats.passes += tile->total_passes();
    stats.count(timing, tile->unhindered().total);
    DPRINTF(SailPim, "computed: load %d build %d lookup %d convert %d write-back %d\n", timing.load,
            timing.build, timing.lookup, timing.convert, timing.write_back);
    tile->area(output_area).data = std::move(result.output);
    write_results();
}

void PimUnit::write_results()
{
    enter(Stage::results);
    const Addr bytes = tile->area(output_area).data.size();
    stats.resultBytes += bytes;
    tile->writes_missing = move(output_area, 0, bytes, true);
}

void PimUnit::complete()
{
    enter(Stage::completion);
    AreaBuffer &area = tile->area(completion_area);
    if (area.pieces.empty()) { /* the descriptor was refused before its buffers were looked up */
        const Addr address = tile->descriptor.completion;
        auto pieces =
            AddressSpace(system, tile->ring).pieces(address, sizeof(lutmm_completion), BaseMMU::Write);
        if (!pieces) {
            ++stats.unreported;
            finish();
            return;
        }
        area.pieces = *pieces;
    }
    lutmm_completion record{};
    record.status = tile->status;
    record.detail = tile->detail;
    if (tile->status == LUTMM_OK) {
        const pim::TileTiming timing = tile->timing();
        record.cycles = cycles_since(tile->arrived);
        record.lookups = timing.counts.lookups;
        record.prt_hits = timing.counts.prt_hits;
    }
    area.data.resize(sizeof record);
    std::memcpy(area.data.data(), &record, sizeof record);
    tile->record_parts = static_cast<std::int64_t>(tile->slices(completion_area, 0, sizeof record).size());
    write_record();
}

/* An aligned record lies in one line. One that was refused for its alignment may not: the part with the
 * status goes last. */
void PimUnit::write_record()
{
    push(tile->slices(completion_area, 0, sizeof(lutmm_completion))[--tile->record_parts], true, no_step);
    tile->writes_missing = 1;
}

void PimUnit::finish()
{
    if (tile->status == LUTMM_OK) {
        ++stats.tiles;
    } else if (tile->status != LUTMM_PENDING) {
        ++stats.errors[tile->status];
    }
    DPRINTF(SailPim, "done: status %d detail %d after %d cycles\n", tile->status, tile->detail,
            cycles_since(tile->arrived));
    tile.reset();
    fetches.clear();
    enter(Stage::idle);
    idle_since = curTick();
    wake();
}

void PimUnit::fail(std::uint32_t status, std::uint32_t detail)
{
    tile->status = status;
    tile->detail = detail;
    complete();
}

} // namespace gem5::sail
