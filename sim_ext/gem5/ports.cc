/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/ports.hh"

#include <algorithm>
#include <cstring>

#include "mem/packet_access.hh"
#include "sim/system.hh"

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

MemoryPort::MemoryPort(const std::string &name, ClockedObject &port_owner, System &port_system, unsigned most,
                       Done on_done)
    : RequestPort(name), owner(port_owner), system(port_system),
      requestor(port_system.getRequestorId(&port_owner)), max_outstanding(most), done(std::move(on_done)),
      send_event([this] { send_next(); }, name + ".send")
{
}

void MemoryPort::push(const Transfer &transfer)
{
    queue.push_back(transfer);
    schedule_send();
}

void MemoryPort::hold(bool on)
{
    held = on;
    if (held && send_event.scheduled())
        owner.deschedule(send_event);
    schedule_send();
}

void MemoryPort::schedule_send()
{
    if (held || queue.empty() || refused_packet || outstanding >= max_outstanding || send_event.scheduled())
        return;
    owner.schedule(send_event, std::max(owner.clockEdge(), next_send));
}

PacketPtr MemoryPort::packet_of(const Transfer &transfer) const
{
    const Request::Flags flags = transfer.secure ? Request::SECURE : 0;
    auto request = std::make_shared<Request>(transfer.address, transfer.bytes, flags, requestor);
    auto *packet = new Packet(request, transfer.write ? MemCmd::WriteReq : MemCmd::ReadReq);
    packet->dataStatic(transfer.data);
    auto *flight = new Flight;
    flight->transfer = transfer;
    packet->senderState = flight;
    return packet;
}

void MemoryPort::send_next()
{
    PacketPtr packet = packet_of(queue.front());
    queue.pop_front();
    ++outstanding;
    next_send = owner.clockEdge(Cycles(1));
    if (system.isTimingMode()) {
        if (!sendTimingReq(packet)) {
            refused_packet = packet;
            return;
        }
    } else {
        const Tick latency = sendAtomic(packet);
        auto *answer = new EventFunctionWrapper([this, packet] { finish(packet); }, name() + ".answer", true);
        owner.schedule(answer, curTick() + latency);
    }
    schedule_send();
}

void MemoryPort::recvReqRetry()
{
    PacketPtr packet = std::exchange(refused_packet, nullptr);
    if (!packet)
        return;
    if (!sendTimingReq(packet)) {
        refused_packet = packet;
        return;
    }
    next_send = owner.clockEdge(Cycles(1));
    schedule_send();
}

bool MemoryPort::recvTimingResp(PacketPtr packet)
{
    finish(packet);
    return true;
}

void MemoryPort::finish(PacketPtr packet)
{
    auto *flight = dynamic_cast<Flight *>(packet->senderState);
    panic_if(!flight, "%s: a response to a request of another port", name());
    const Transfer transfer = flight->transfer;
    const bool ok = !packet->isError();
    delete flight;
    delete packet;
    --outstanding;
    schedule_send();
    done(transfer, ok);
}

} // namespace gem5::sail
