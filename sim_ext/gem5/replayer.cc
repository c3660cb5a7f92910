/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/replayer.hh"

#include <algorithm>
#include <cstring>
#include <fstream>

#include "base/intmath.hh"
#include "base/output.hh"
#include "debug/SailPim.hh"
#include "gem5/checkpoint.hh"
#include "mem/physical.hh"
#include "mem/port_proxy.hh"
#include "sim/sim_exit.hh"
#include "sim/system.hh"

namespace gem5::sail
{

namespace
{

struct FileHeader {
    char magic[8];
    std::uint32_t version, abi_version;
    std::uint64_t base, image_bytes, image_offset, stored_bytes;
    std::uint64_t descriptor_offset, descriptor_count, expected_offset, json_offset, json_bytes;
    std::uint64_t reserved[5];
};
static_assert(sizeof(FileHeader) == 128, "docs/contract.md fixes the header's size");

/* Items of a trace file, as many as there are asked for. */
class Reader
{
  public:
    explicit Reader(const std::string &path) : path(path), file(path, std::ios::binary | std::ios::ate)
    {
        fatal_if(!file, "trace %s cannot be opened", path);
        size = static_cast<std::uint64_t>(file.tellg());
    }

    template <class Item>
    std::vector<Item> read(std::uint64_t offset, std::uint64_t count)
    {
        fatal_if(offset > size || count > (size - offset) / sizeof(Item), "trace %s is cut short", path);
        std::vector<Item> items(count);
        file.seekg(static_cast<std::streamoff>(offset));
        file.read(reinterpret_cast<char *>(items.data()), static_cast<std::streamsize>(count * sizeof(Item)));
        fatal_if(!file, "trace %s cannot be read", path);
        return items;
    }

  private:
    const std::string path;
    std::ifstream file;
    std::uint64_t size = 0;
};

/* Ends gem5 with a sentence for what is no whole trace of this version. */
TraceFile read_trace(const SailReplayerParams &p)
{
    fatal_if(p.units == 0, "%s: units is 0: allowed is at least 1", p.name);
    fatal_if(p.image_addr % LUTMM_BUFFER_ALIGN != 0, "%s: image_addr is %#x: allowed are multiples of %d",
             p.name, p.image_addr, LUTMM_BUFFER_ALIGN);
    Reader reader(p.trace);
    const FileHeader header = reader.read<FileHeader>(0, 1).front();
    fatal_if(std::memcmp(header.magic, "SAILTRCE", sizeof header.magic) != 0, "trace %s is no trace file",
             p.trace);
    fatal_if(header.version != 1 || header.abi_version != LUTMM_ABI_VERSION,
             "trace %s is of another version of the format", p.trace);
    fatal_if(header.stored_bytes > header.image_bytes, "trace %s stores more than its image holds", p.trace);

    TraceFile trace;
    trace.image_bytes = header.image_bytes;
    trace.stored = reader.read<std::uint8_t>(header.image_offset, header.stored_bytes);
    trace.tiles = reader.read<lutmm_descriptor>(header.descriptor_offset, header.descriptor_count);
    trace.expected = reader.read<std::uint64_t>(header.expected_offset, header.descriptor_count);

    const std::uint64_t shift = p.image_addr - header.base; /* modulo 2^64 */
    for (lutmm_descriptor &d : trace.tiles) {
        d.weights += shift;
        d.activations += shift;
        d.output += shift;
        d.completion += shift;
        if (d.scales != 0)
            d.scales += shift;
        if ((d.flags & LUTMM_F_CODE_MASK) == LUTMM_F_CODE_BOOK)
            d.codebook += shift;
    }
    for (std::uint64_t &address : trace.expected)
        if (address != 0)
            address += shift;
    return trace;
}

} // namespace

Replayer::Replayer(const SailReplayerParams &p)
    : ClockedObject(p), system(*p.system), image(p.image_addr), doorbells(p.doorbell_addr), units(p.units),
      phase_ends(p.phase_ends), poll_period(p.poll_period), trace(read_trace(p)),
      descriptors(roundUp(image + trace.image_bytes, Addr{LUTMM_BUFFER_ALIGN})), outcomes(trace.tiles.size()),
      lanes(p.units), port(name() + ".port", *this, *p.system, 2 * p.units,
                           [this](const Transfer &transfer, bool ok) { on_transfer(transfer, ok); }),
      poll_event([this] { on_poll(); }, name() + ".poll")
{
    fatal_if(!std::is_sorted(phase_ends.begin(), phase_ends.end()), "%s: phase_ends are not ascending",
             name());
    for (std::size_t unit = 0; unit < units; ++unit)
        lanes[unit].next_ring = lanes[unit].next_poll = unit;
}

Port &Replayer::getPort(const std::string &port_name, PortID index)
{
    return port_name == "port" ? port : ClockedObject::getPort(port_name, index);
}

Addr Replayer::descriptor_address(std::size_t tile) const
{
    return descriptors + tile * sizeof(lutmm_descriptor);
}

void Replayer::initState()
{
    const Addr last = descriptor_address(trace.tiles.size());
    for (Addr at : {image, last - 1})
        fatal_if(!system.isMemAddr(at), "%s: the trace takes %#x..%#x, which is more than the memory", name(),
                 image, last);
    /* Past the caches, which hold nothing yet: each of them would be asked for every line. */
    PortProxy memory([this](PacketPtr packet) { system.getPhysMem().functionalAccess(packet); },
                     system.cacheLineSize());
    memory.writeBlob(image, trace.stored.data(), trace.stored.size());
    memory.writeBlob(descriptors, trace.tiles.data(), trace.tiles.size() * sizeof(lutmm_descriptor));
    schedule(poll_event, clockEdge(Cycles(1)));
}

void Replayer::startup()
{
    ClockedObject::startup();
    if (next_look != MaxTick)
        schedule(poll_event, next_look);
}

void Replayer::on_poll()
{
    if (answered == trace.tiles.size()) {
        const bool all_good = write_report();
        exitSimLoop(all_good ? "replay done" : "replay done with errors", all_good ? 0 : 1);
        return;
    }
    work_everywhere();
    schedule(poll_event, clockEdge(poll_period));
}

void Replayer::work_everywhere()
{
    for (std::size_t unit = 0; unit < units; ++unit)
        work(unit);
}

std::size_t Replayer::open_until() const
{
    const auto end = std::upper_bound(phase_ends.begin(), phase_ends.end(), answered);
    return end == phase_ends.end() ? trace.tiles.size() : std::min<std::size_t>(*end, trace.tiles.size());
}

void Replayer::work(std::size_t unit)
{
    const Lane &lane = lanes[unit];
    if (!lane.ringing && lane.next_ring < open_until())
        ring(unit);
    if (!lane.polling && lane.next_poll < lane.next_ring && lane.next_poll < trace.tiles.size())
        poll(unit);
}

void Replayer::ring(std::size_t unit)
{
    Lane &lane = lanes[unit];
    lane.ringing = true;
    lane.doorbell_word = descriptor_address(lane.next_ring);
    port.push({doorbells + unit * doorbell_stride, sizeof lane.doorbell_word,
               reinterpret_cast<std::uint8_t *>(&lane.doorbell_word), true, static_cast<int>(unit)});
}

void Replayer::poll(std::size_t unit)
{
    Lane &lane = lanes[unit];
    lane.polling = true;
    port.push({trace.tiles[lane.next_poll].completion, sizeof lane.record,
               reinterpret_cast<std::uint8_t *>(&lane.record), false, static_cast<int>(unit)});
}

void Replayer::on_transfer(const Transfer &transfer, bool ok)
{
    panic_if(!ok, "%s: nothing answers at %#x", name(), transfer.address);
    const auto unit = static_cast<std::size_t>(transfer.area);
    Lane &lane = lanes[unit];
    if (transfer.write) {
        lane.ringing = false;
        outcomes[lane.next_ring].rung = curTick();
        lane.next_ring += units;
        work(unit);
    } else {
        lane.polling = false;
        if (lane.record.status != LUTMM_PENDING) {
            outcomes[lane.next_poll].answered = curTick();
            outcomes[lane.next_poll].record = lane.record;
            lane.next_poll += units;
            ++answered;
            if (std::binary_search(phase_ends.begin(), phase_ends.end(), answered))
                work_everywhere();
            else
                work(unit);
        }
    }
    if (draining && port.under_way() == 0)
        signalDrainDone();
}

bool Replayer::as_expected(std::size_t tile) const
{
    const lutmm_descriptor &d = trace.tiles[tile];
    if (trace.expected[tile] == 0)
        return true;
    const std::size_t bytes = std::size_t{4} * d.batch * d.n;
    std::vector<std::uint8_t> found(bytes);
    std::vector<std::uint8_t> expected(bytes);
    system.physProxy.readBlob(d.output, found.data(), bytes);
    system.physProxy.readBlob(trace.expected[tile], expected.data(), bytes);
    return found == expected;
}

bool Replayer::write_report() const
{
    OutputStream *file = simout.create("tiles.csv");
    std::ostream &out = *file->stream();
    out << "tile,unit,k,n,batch,wbits,abits,nbw,flags,status,detail,cycles,lookups,prt_hits,good,rung_ps,"
           "answered_ps\n";
    bool all_good = true;
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
        const lutmm_descriptor &d = trace.tiles[i];
        const Outcome &o = outcomes[i];
        const bool good = o.record.status == LUTMM_OK && as_expected(i);
        all_good = all_good && good;
        out << i << ',' << i % units << ',' << d.k << ',' << d.n << ',' << d.batch << ',' << +d.wbits << ','
            << +d.abits << ',' << +d.nbw << ',' << +d.flags << ',' << o.record.status << ','
            << o.record.detail << ',' << o.record.cycles << ',' << o.record.lookups << ','
            << o.record.prt_hits << ',' << good << ',' << o.rung << ',' << o.answered << '\n';
    }
    simout.close(file);
    return all_good;
}

DrainState Replayer::drain()
{
    draining = true;
    port.hold(true);
    return port.under_way() == 0 ? DrainState::Drained : DrainState::Draining;
}

void Replayer::drainResume()
{
    draining = false;
    port.hold(false);
}

void Replayer::serialize(CheckpointOut &cp) const
{
    ClockedObject::serialize(cp);
    items_out(cp, "lanes", lanes);
    items_out(cp, "outcomes", outcomes);
    items_out(cp, "waiting", port.queued());
    const Tick next_look = poll_event.scheduled() ? poll_event.when() : MaxTick;
    SERIALIZE_SCALAR(next_look);
    SERIALIZE_SCALAR(answered);
}

void Replayer::unserialize(CheckpointIn &cp)
{
    ClockedObject::unserialize(cp);
    items_in(cp, "lanes", lanes);
    items_in(cp, "outcomes", outcomes);
    fatal_if(lanes.size() != units || outcomes.size() != trace.tiles.size(),
             "%s: the checkpoint is of another trace or number of units", name());
    UNSERIALIZE_SCALAR(next_look);
    UNSERIALIZE_SCALAR(answered);
    port.hold(true);
    std::deque<Transfer> waiting;
    items_in(cp, "waiting", waiting);
    for (Transfer &transfer : waiting) {
        Lane &lane = lanes[transfer.area];
        transfer.data = reinterpret_cast<std::uint8_t *>(
            transfer.write ? static_cast<void *>(&lane.doorbell_word) : static_cast<void *>(&lane.record));
        port.push(transfer);
    }
}

} // namespace gem5::sail
