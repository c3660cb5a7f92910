/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/doorbell.hh"

#include <cstring>

#include "mem/packet_access.hh"

namespace gem5::sail
{

Doorbell::Doorbell(const std::string &name, ClockedObject &port_owner, Addr first, AddrRangeList doorbells,
                   Cycles answer_latency, OnRing ring)
    : QueuedResponsePort(name, responses), owner(port_owner), responses(port_owner, *this), base(first),
      ranges(std::move(doorbells)), latency(answer_latency), on_ring(std::move(ring))
{
}

bool Doorbell::rings(PacketPtr packet)
{
    /* Not a swap, or another store of what memory holds and an operand: a doorbell holds nothing. */
    return packet->isWrite() && !packet->isRead() && packet->getSize() == sizeof(std::uint64_t);
}

Ring Doorbell::ring_of(PacketPtr packet) const
{
    Ring ring;
    ring.descriptor = packet->getLE<std::uint64_t>();
    ring.unit = static_cast<unsigned>((packet->getAddr() - base) / doorbell_stride);
    if (packet->req->hasContextId())
        ring.context = packet->req->contextId();
    ring.secure = packet->isSecure();
    return ring;
}

void Doorbell::read_zero(PacketPtr packet)
{
    if (packet->isRead())
        std::memset(packet->getPtr<std::uint8_t>(), 0, packet->getSize());
}

Tick Doorbell::recvAtomic(PacketPtr packet)
{
    read_zero(packet);
    const bool ring = rings(packet);
    const Ring value = ring ? ring_of(packet) : Ring{};
    packet->makeResponse();
    if (ring)
        on_ring(value, nullptr);
    return owner.cyclesToTicks(latency);
}

void Doorbell::recvFunctional(PacketPtr packet)
{
    /* A debugger that looks at the page must not start a tile. */
    if (responses.trySatisfyFunctional(packet))
        return;
    read_zero(packet);
    if (packet->needsResponse())
        packet->makeResponse();
}

bool Doorbell::recvTimingReq(PacketPtr packet)
{
    read_zero(packet);
    if (!rings(packet)) {
        answer(packet);
        return true;
    }
    on_ring(ring_of(packet), packet);
    return true;
}

void Doorbell::answer(PacketPtr packet)
{
    if (!packet->needsResponse()) {
        done_with.reset(packet);
        return;
    }
    packet->makeResponse();
    const Tick transport = packet->headerDelay + packet->payloadDelay;
    packet->headerDelay = packet->payloadDelay = 0;
    schedTimingResp(packet, owner.clockEdge(latency) + transport);
}

} // namespace gem5::sail
