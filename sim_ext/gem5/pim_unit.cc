/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/pim_unit.hh"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "base/intmath.hh"
#include "debug/SailPim.hh"
#include "debug/SailPimGroups.hh"
#include "gem5/checkpoint.hh"
#include "pim/config.hh"
#include "sim/system.hh"

namespace gem5::sail
{

namespace
{

pim::SliceConfig config_of(const SailPimUnitParams &p)
{
    std::ifstream file(p.unit_file);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    fatal_if(!file, "%s: unit_file is '%s': it cannot be read", p.name, p.unit_file);
    try {
        const pim::SliceConfig config = pim::read_unit(text);
        /* A descriptor is one slice's tile, and one that asks for scales gets them. */
        fatal_if(config.slices != 1, "%s: slices is %d in %s: allowed is 1", p.name, config.slices,
                 p.unit_file);
        fatal_if(config.convert == pim::Convert::cores,
                 "%s: convert is cores in %s: allowed are memory, unit", p.name, p.unit_file);
        return config;
    } catch (const std::invalid_argument &error) {
        fatal("%s: %s: %s", p.name, p.unit_file, error.what());
    }
}

/* The unit's own and those of the absent units that it answers for. */
AddrRangeList doorbells_of(const SailPimUnitParams &p)
{
    const auto range = [&p](unsigned from, unsigned to) {
        return AddrRange(p.doorbell_addr + from * doorbell_stride, p.doorbell_addr + to * doorbell_stride);
    };
    AddrRangeList ranges{range(p.unit, p.unit + 1)};
    if (p.absent_from < LUTMM_UNITS_MAX)
        ranges.push_back(range(p.absent_from, LUTMM_UNITS_MAX));
    return ranges;
}

} // namespace

PimUnit::PimUnit(const SailPimUnitParams &p)
    : ClockedObject(p), system(*p.system), unit(p.unit), depth(p.queue_depth), fetch_ahead(p.fetch_ahead),
      stores_when_idle(p.stores_when_idle), flush_time(p.flush_time), settle_time(p.settle_time),
      config(config_of(p)),
      doorbell(name() + ".doorbell", *this, p.doorbell_addr, doorbells_of(p), p.accept_latency,
               [this](const Ring &ring, PacketPtr packet) { on_ring(ring, packet); }),
      memory(name() + ".mem_side", *this, *p.system, p.max_outstanding,
             [this](const Transfer &transfer, bool ok) { on_transfer(transfer, ok); }),
      holds_lines(p.stores_when_idle), advance_event([this] { advance(); }, name() + ".advance"),
      timer([this] { on_timer(); }, name() + ".timer"),
      taken_event([this] { on_taken(); }, name() + ".taken"), stats(*this, stage)
{
    fatal_if(depth == 0, "%s: queue_depth is 0: allowed is at least 1", name());
    fatal_if(p.max_outstanding == 0, "%s: max_outstanding is 0: allowed is at least 1", name());
    fatal_if(unit >= LUTMM_UNITS_MAX, "%s: unit is %d: allowed are 0..%d", name(), unit, LUTMM_UNITS_MAX - 1);
    fatal_if(p.absent_from <= unit || p.absent_from > LUTMM_UNITS_MAX,
             "%s: absent_from is %d: allowed are %d..%d", name(), p.absent_from, unit + 1, LUTMM_UNITS_MAX);
}

void PimUnit::init()
{
    ClockedObject::init();
    fatal_if(!doorbell.isConnected(), "%s: the doorbell port is not connected", name());
    fatal_if(!memory.isConnected(), "%s: the mem_side port is not connected", name());
    doorbell.sendRangeChange();
}

Port &PimUnit::getPort(const std::string &port, PortID index)
{
    if (port == "doorbell")
        return doorbell;
    if (port == "mem_side")
        return memory;
    return ClockedObject::getPort(port, index);
}

/* -- The doorbell ------------------------------------------------------------------------------------ */

void PimUnit::on_ring(Ring ring, PacketPtr packet)
{
    ring.space = space_in(system, ring.context);
    ++stats.rings;
    DPRINTF(SailPim, "rung: descriptor %#x, context %d, %d queued\n", ring.descriptor, ring.context,
            queue.size());
    /* Atomic mode cannot hold a store back, and a store that waits would keep its core from draining. */
    if (packet && !draining && queue.size() >= depth) {
        ++stats.withheld;
        waiting.push_back({ring, packet});
        stats.heldStores = waiting.size();
        return;
    }
    admit(ring);
    if (packet)
        doorbell.answer(packet);
}

void PimUnit::admit(const Ring &ring)
{
    queue.push_back(ring);
    wake();
}

void PimUnit::admit_waiting()
{
    while (!waiting.empty() && (draining || queue.size() < depth)) {
        const Waiting next = waiting.front();
        waiting.pop_front();
        stats.heldStores = waiting.size();
        admit(next.ring);
        doorbell.answer(next.packet);
    }
}

/* -- The life of a tile ------------------------------------------------------------------------------- */

void PimUnit::wake()
{
    if (stage == Stage::idle && !queue.empty() && !advance_event.scheduled())
        schedule(advance_event, clockEdge(Cycles(1)));
}

void PimUnit::enter(Stage next)
{
    stats.spend();
    stage = next;
}

void PimUnit::advance()
{
    if (queue.empty())
        return;
    tile = std::make_unique<Tile>(queue.front(), system.cacheLineSize());
    queue.pop_front();
    if (stores_when_idle && curTick() - idle_since >= cyclesToTicks(settle_time))
        holds_lines = true;
    if (holds_lines) {
        enter(Stage::flush);
        ++stats.flushes;
        holds_lines = false;
        schedule(timer, clockEdge(flush_time));
    } else {
        fetch_descriptor();
    }
    admit_waiting();
}

void PimUnit::fetch_descriptor()
{
    enter(Stage::descriptor);
    const Addr address = tile->ring.descriptor;
    auto pieces = pieces_of(system, tile->ring, address, sizeof(lutmm_descriptor), BaseMMU::Read);
    if (!pieces || address % LUTMM_BUFFER_ALIGN != 0) {
        /* Without a descriptor there is no completion record to say so in. */
        DPRINTF(SailPim, "no descriptor at %#x\n", address);
        ++stats.errors[LUTMM_ERR_FAULT];
        ++stats.unreported;
        finish();
        return;
    }
    AreaBuffer &area = tile->areas[pim::descriptor_area];
    area.pieces = *pieces;
    area.data.resize(sizeof(lutmm_descriptor));
    tile->operands_missing = move(pim::descriptor_area, 0, sizeof(lutmm_descriptor), false);
}

void PimUnit::take_up_descriptor()
{
    lutmm_descriptor &d = tile->descriptor;
    std::memcpy(&d, tile->areas[pim::descriptor_area].data.data(), sizeof d);
    tile->arrived = clockEdge();
    if (tile->ring.unit != unit) {
        fail(LUTMM_ERR_UNIT, tile->ring.unit);
        return;
    }
    const auto pieces = [this](const pim::Buffer &buffer) {
        return pieces_of(system, tile->ring, buffer.address, buffer.bytes,
                         buffer.is_written ? BaseMMU::Write : BaseMMU::Read);
    };
    const pim::Verdict verdict = pim::validate_descriptor(
        d, config, [&pieces](const pim::Buffer &buffer) { return pieces(buffer).has_value(); });
    if (!verdict.ok()) {
        fail(verdict.status, verdict.detail);
        return;
    }
    const pim::Buffers buffers = pim::buffers_of(d);
    for (std::size_t which = 0; which < buffers.size(); ++which)
        if (buffers[which].bytes != 0) {
            tile->areas[which].pieces = pieces(buffers[which]).value();
            tile->areas[which].data.resize(buffers[which].bytes);
        }
    fetch_operands();
}

void PimUnit::fetch_operands()
{
    enter(Stage::operands);
    std::int64_t missing = 0;
    const auto fetch = [&](pim::Area which, Addr offset) {
        const Addr bytes = tile->areas[which].data.size() - offset;
        if (bytes == 0)
            return;
        missing += move(which, offset, bytes, false);
        stats.operandBytes += bytes;
    };
    fetch(pim::codebook_area, 0);
    fetch(pim::activation_area, 0);
    if (!tile->areas[pim::scale_area].data.empty()) /* the activation scales close the buffer */
        fetch(pim::scale_area,
              tile->areas[pim::scale_area].data.size() - tile->descriptor.batch * sizeof(float));
    tile->operands_missing = missing;
    if (tile->areas[pim::codebook_area].data.empty()) {
        panic_if(!tile->plan(config), "%s: a descriptor that was found good does not fit", name());
        feed(); /* weights need not wait for the activations */
    }
}

void PimUnit::start_groups()
{
    if (!tile->planned && !tile->plan(config)) {
        fail(tile->status, tile->detail);
        return;
    }
    enter(Stage::groups);
    tile->start(clockEdge());
    feed();
    take_groups();
}

/* Keeps the port busy with weights, as far ahead as the buffer allows; the group that the arrays wait for may
 * always be fetched. */
void PimUnit::feed()
{
    while (true) {
        while (fetches.empty() && !tile->all_expanded())
            for (const Transfer &read : tile->expand_next())
                fetches.push_back(read);
        if (fetches.empty())
            return;
        const Transfer &next = fetches.front();
        if (buffered + next.bytes > fetch_ahead && next.step != tile->taken)
            return;
        buffered += next.bytes;
        (next.area == pim::weight_area ? stats.weightBytes : stats.scaleBytes) += next.bytes;
        push(next);
        fetches.pop_front();
    }
}

/* Gives the arrays every group whose weights are all here, in order. */
void PimUnit::take_groups()
{
    while (!tile->waiting.empty() && tile->waiting.front().missing == 0) {
        const Addr bytes = tile->waiting.front().bytes;
        const Tick free_at = tile->take(clockEdge(), clockPeriod());
        if (tile->timed()) {
            const pim::GroupTimes &times = tile->last_group;
            DPRINTF(SailPimGroups,
                    "pass %d group %d: load %d..%d start %d build %d lookup %d convert %d write-back %d\n",
                    times.pass, times.group, times.load_start, times.load_end, times.start, times.build,
                    times.lookup, times.convert, times.write_back);
        }
        if (bytes != 0)
            releases.push_back({free_at, bytes});
        feed();
    }
    if (!releases.empty() && !taken_event.scheduled())
        schedule(taken_event, std::max(releases.front().tick, curTick()));
    if (tile->taken == tile->total_steps() && !timer.scheduled())
        schedule(timer, std::max(tile->end(clockPeriod()), clockEdge()));
}

void PimUnit::on_taken()
{
    while (!releases.empty() && releases.front().tick <= curTick()) {
        buffered -= releases.front().bytes;
        releases.pop_front();
    }
    if (!releases.empty())
        schedule(taken_event, releases.front().tick);
    if (stage == Stage::groups || stage == Stage::operands)
        feed(); /* the room is for the groups behind the one that the arrays wait for */
    if (stage == Stage::groups)
        take_groups();
}

void PimUnit::on_timer()
{
    if (stage == Stage::flush)
        fetch_descriptor();
    else
        compute();
}

/* -- Memory ------------------------------------------------------------------------------------------- */

std::int64_t PimUnit::move(pim::Area area, Addr offset, Addr bytes, bool write)
{
    std::vector<Transfer> transfers = tile->transfers(area, offset, bytes);
    for (Transfer &transfer : transfers) {
        transfer.write = write;
        push(transfer);
    }
    return static_cast<std::int64_t>(transfers.size());
}

void PimUnit::push(Transfer transfer)
{
    ++(transfer.write ? stats.writeAccesses : stats.readAccesses);
    transfer.data = tile->areas[transfer.area].data.data() + transfer.offset;
    memory.push(transfer);
}

void PimUnit::on_transfer(const Transfer &transfer, bool ok)
{
    panic_if(!ok, "%s: memory refused an access at %#x", name(), transfer.address);
    if (transfer.step >= 0) {
        --tile->waiting[transfer.step - tile->taken].missing;
        if (stage == Stage::groups)
            take_groups();
    } else if (transfer.write) {
        if (--tile->writes_missing == 0) {
            if (stage == Stage::results) {
                complete();
            } else if (tile->record_parts > 0) {
                write_record();
            } else {
                finish();
            }
        }
    } else if (--tile->operands_missing == 0) {
        if (stage == Stage::descriptor)
            take_up_descriptor();
        else
            start_groups();
    }
    if (draining && memory.under_way() == 0)
        signalDrainDone();
}

/* -- The end of a tile: what follows its last group, or the reason why there is none -----------------------
 */

void PimUnit::compute()
{
    pim::Execution result = tile->execute(config);
    tile->status = result.completion.status;
    tile->detail = result.completion.detail;
    if (tile->status != LUTMM_OK) {
        complete();
        return;
    }
    stats.groups += tile->total_steps();
    stats.passes += tile->total_passes();
    stats.count(tile->timing(), tile->unhindered().total);
    tile->areas[pim::output_area].data = std::move(result.output);
    write_results();
}

void PimUnit::write_results()
{
    enter(Stage::results);
    const Addr bytes = tile->areas[pim::output_area].data.size();
    stats.resultBytes += bytes;
    tile->writes_missing = move(pim::output_area, 0, bytes, true);
}

void PimUnit::complete()
{
    enter(Stage::completion);
    AreaBuffer &area = tile->areas[pim::completion_area];
    if (area.pieces.empty()) { /* the descriptor was refused before its buffers were looked up */
        const Addr address = tile->descriptor.completion;
        auto pieces = pieces_of(system, tile->ring, address, sizeof(lutmm_completion), BaseMMU::Write);
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
        record.cycles = divCeil(curTick() - tile->arrived, clockPeriod());
        record.lookups = timing.lookups;
        record.prt_hits = timing.prt_hits;
    }
    area.data.resize(sizeof record);
    std::memcpy(area.data.data(), &record, sizeof record);
    tile->record_parts =
        static_cast<std::int64_t>(tile->transfers(pim::completion_area, 0, sizeof record).size());
    write_record();
}

/* An aligned record lies in one line. One that was refused for its alignment may not: the part with the
 * status goes last. */
void PimUnit::write_record()
{
    Transfer part = tile->transfers(pim::completion_area, 0, sizeof(lutmm_completion))[--tile->record_parts];
    part.write = true;
    push(part);
    tile->writes_missing = 1;
}

void PimUnit::finish()
{
    if (tile->status == LUTMM_OK) {
        ++stats.tiles;
    } else if (tile->status != LUTMM_PENDING) {
        ++stats.errors[tile->status];
    }
    DPRINTF(SailPim, "done: status %d detail %d\n", tile->status, tile->detail);
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

/* -- Draining, and checkpoints. Drained means that no access is under way; everything else, a tile in the
 * middle of its groups too, stays as it is and is written down.
 * ------------------------------------------------- */

DrainState PimUnit::drain()
{
    draining = true;
    memory.hold(true);
    admit_waiting();
    return memory.under_way() == 0 ? DrainState::Drained : DrainState::Draining;
}

void PimUnit::drainResume()
{
    draining = false;
    memory.hold(false);
}

void PimUnit::serialize(CheckpointOut &cp) const
{
    ClockedObject::serialize(cp);
    SERIALIZE_ENUM(stage);
    SERIALIZE_SCALAR(buffered);
    SERIALIZE_SCALAR(holds_lines);
    SERIALIZE_SCALAR(idle_since);
    items_out(cp, "queue", queue);
    items_out(cp, "releases", releases);
    items_out(cp, "fetches", fetches);
    items_out(cp, "transfers", memory.queued());
    std::vector<Tick> event_ticks;
    for (const Event *event : {static_cast<const Event *>(&advance_event), static_cast<const Event *>(&timer),
                               static_cast<const Event *>(&taken_event)})
        event_ticks.push_back(event->scheduled() ? event->when() : MaxTick);
    SERIALIZE_CONTAINER(event_ticks);
    const bool has_tile = tile != nullptr;
    SERIALIZE_SCALAR(has_tile);
    if (has_tile)
        tile->serializeSection(cp, "tile");
}

void PimUnit::unserialize(CheckpointIn &cp)
{
    ClockedObject::unserialize(cp);
    UNSERIALIZE_ENUM(stage);
    UNSERIALIZE_SCALAR(buffered);
    UNSERIALIZE_SCALAR(holds_lines);
    UNSERIALIZE_SCALAR(idle_since);
    items_in(cp, "queue", queue);
    items_in(cp, "releases", releases);
    items_in(cp, "fetches", fetches);
    std::deque<Transfer> transfers;
    items_in(cp, "transfers", transfers);
    UNSERIALIZE_CONTAINER(event_ticks);
    bool has_tile = false;
    UNSERIALIZE_SCALAR(has_tile);
    if (has_tile) {
        tile = std::make_unique<Tile>(Ring{}, system.cacheLineSize());
        tile->unserializeSection(cp, "tile");
        tile->rebuild(config);
    }
    memory.hold(true); /* until the simulator resumes */
    for (Transfer &transfer : transfers) {
        transfer.data = tile->areas[transfer.area].data.data() + transfer.offset;
        memory.push(transfer);
    }
}

void PimUnit::startup()
{
    ClockedObject::startup();
    Event *const events[] = {&advance_event, &timer, &taken_event};
    for (std::size_t i = 0; i < event_ticks.size(); ++i)
        if (event_ticks[i] != MaxTick)
            schedule(events[i], event_ticks[i]);
    event_ticks.clear();
}

} // namespace gem5::sail
