/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Draining a PIM unit, and taking it into a checkpoint and out of it. Drained means that no access is under
 * way; everything else, a tile in the middle of its groups too, stays as it is and is written down.
 */
#include "gem5/pim_unit.hh"

#include "sim/system.hh"

namespace gem5::sail
{

namespace
{

constexpr std::size_t ring_words = 5;

void append(std::vector<std::uint64_t> &words, const Ring &ring)
{
    words.insert(words.end(), {ring.descriptor, ring.unit, static_cast<std::uint64_t>(ring.context),
                               ring.space, ring.secure});
}

Ring ring_at(const std::vector<std::uint64_t> &words, std::size_t at)
{
    return {words[at], static_cast<unsigned>(words[at + 1]), static_cast<ContextID>(words[at + 2]),
            words[at + 3], words[at + 4] != 0};
}

} // namespace

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
    const int stage_number = static_cast<int>(stage);
    SERIALIZE_SCALAR(stage_number);
    SERIALIZE_SCALAR(buffered);
    SERIALIZE_SCALAR(holds_lines);
    SERIALIZE_SCALAR(idle_since);
    std::vector<std::uint64_t> rings;
    for (const Ring &ring : queue)
        append(rings, ring);
    arrayParamOut(cp, "queue", rings);
    std::vector<Tick> events;
    for (const Event *event : {static_cast<const Event *>(&advance_event), static_cast<const Event *>(&timer),
                               static_cast<const Event *>(&taken_event)})
        events.push_back(event->scheduled() ? event->when() : MaxTick);
    arrayParamOut(cp, "events", events);
    std::vector<Tick> freed;
    for (const Release &release : releases)
        freed.insert(freed.end(), {release.tick, release.bytes});
    arrayParamOut(cp, "releases", freed);

    const auto put = [&cp](const std::string &key, const std::deque<Transfer> &transfers) {
        std::vector<std::uint64_t> fields;
        for (const Transfer &t : transfers)
            fields.insert(fields.end(), {t.address, t.bytes, t.write, static_cast<std::uint64_t>(t.area),
                                         t.offset, static_cast<std::uint64_t>(t.step)});
        arrayParamOut(cp, key, fields);
    };
    put("fetches", fetches);
    put("transfers", memory.queued());

    const bool has_tile = tile != nullptr;
    SERIALIZE_SCALAR(has_tile);
    if (has_tile) {
        std::vector<std::uint64_t> ring;
        append(ring, tile->ring);
        arrayParamOut(cp, "ring", ring);
        tile->serializeSection(cp, "tile");
    }
}

void PimUnit::unserialize(CheckpointIn &cp)
{
    ClockedObject::unserialize(cp);
    int stage_number = 0;
    UNSERIALIZE_SCALAR(stage_number);
    stage = static_cast<Stage>(stage_number);
    UNSERIALIZE_SCALAR(buffered);
    UNSERIALIZE_SCALAR(holds_lines);
    UNSERIALIZE_SCALAR(idle_since);
    std::vector<std::uint64_t> rings;
    arrayParamIn(cp, "queue", rings);
    for (std::size_t i = 0; i < rings.size(); i += ring_words)
        queue.push_back(ring_at(rings, i));
    arrayParamIn(cp, "events", restored_events);
    std::vector<Tick> freed;
    arrayParamIn(cp, "releases", freed);
    for (std::size_t i = 0; i + 1 < freed.size(); i += 2)
        releases.push_back({freed[i], freed[i + 1]});

    bool has_tile = false;
    UNSERIALIZE_SCALAR(has_tile);
    if (has_tile) {
        std::vector<std::uint64_t> ring;
        arrayParamIn(cp, "ring", ring);
        tile = std::make_unique<Tile>(ring_at(ring, 0), system.cacheLineSize());
        tile->unserializeSection(cp, "tile");
        tile->rebuild(config);
    }
    const auto get = [&cp](const std::string &key) {
        std::vector<std::uint64_t> fields;
        arrayParamIn(cp, key, fields);
        std::deque<Transfer> transfers;
        for (std::size_t i = 0; i + 5 < fields.size(); i += 6)
            transfers.push_back({fields[i], static_cast<unsigned>(fields[i + 1]), nullptr, fields[i + 2] != 0,
                                 static_cast<int>(fields[i + 3]), fields[i + 4],
                                 static_cast<std::int64_t>(fields[i + 5])});
        return transfers;
    };
    fetches = get("fetches");
    memory.hold(true); /* until the simulator resumes */
    for (Transfer transfer : get("transfers")) {
        transfer.secure = tile->ring.secure;
        transfer.data = tile->area(static_cast<Area>(transfer.area)).data.data() + transfer.offset;
        memory.push(transfer);
    }
}

void PimUnit::startup()
{
    ClockedObject::startup();
    stats.queueLength = queue.size();
    Event *const events[] = {&advance_event, &timer, &taken_event};
    for (std::size_t i = 0; i < restored_events.size(); ++i)
        if (restored_events[i] != MaxTick)
            schedule(events[i], restored_events[i]);
    restored_events.clear();
}

} // namespace gem5::sail
