/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The two ports of a PIM unit: the doorbell on which it takes descriptors' addresses, and the port by which
 * it reads and writes memory.
 */
#ifndef SAILSIM_GEM5_PORTS_HH
#define SAILSIM_GEM5_PORTS_HH

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/addr_range.hh"
#include "mem/port.hh"
#include "mem/qport.hh"
#include "sim/clocked_object.hh"
#include "sim/eventq.hh"

namespace gem5
{
class System;

namespace sail
{

/* Bytes between the doorbells of two units: a page, so that a process can be given units one by one. */
constexpr Addr doorbell_stride = 4096;

/* A store to a doorbell. */
struct Ring {
    std::uint64_t descriptor = 0;
    unsigned unit = 0;                    /* whose doorbell it was */
    ContextID context = InvalidContextID; /* none: the address is physical */
    std::uint64_t space = 0;              /* the thread's: it may end, and another take its context */
    bool secure = false; /* of the store: secure memory is another memory at the same addresses */
};

/* Takes addresses for a unit, and maybe in place of units that are not there. An 8-byte store rings it; reads
 * give 0, and nothing else does anything. The owner may keep a store unanswered, which is how a full queue
 * holds back the cores: refusing the packet would block the very crossbar layer that the unit needs to make
 * progress. */
class Doorbell : public QueuedResponsePort
{
  public:
    /* `on_ring` gets the packet to be answered with answer(), or null in atomic mode. */
    using OnRing = std::function<void(const Ring &, PacketPtr)>;

    /* `base` is the address of unit 0's doorbell; `ranges` are whole doorbells. */
    Doorbell(const std::string &name, ClockedObject &owner, Addr base, AddrRangeList ranges, Cycles latency,
             OnRing on_ring);

    /* Lets a store that was kept complete. */
    void answer(PacketPtr packet);

    AddrRangeList getAddrRanges() const override { return ranges; }

  protected:
    Tick recvAtomic(PacketPtr packet) override;
    void recvFunctional(PacketPtr packet) override;
    bool recvTimingReq(PacketPtr packet) override;

  private:
    static bool rings(PacketPtr packet);
    Ring ring_of(PacketPtr packet) const;
    static void read_zero(PacketPtr packet);

    ClockedObject &owner;
    RespPacketQueue responses;
    const Addr base;
    const AddrRangeList ranges;
    const Cycles latency;
    const OnRing on_ring;
    std::unique_ptr<Packet> done_with; /* the sender may look at it until the next call */
};

/* One access within a cache line. */
struct Transfer {
    Addr address = 0; /* physical */
    unsigned bytes = 0;
    std::uint8_t *data = nullptr; /* where a read goes, where a write comes from; outlives the transfer */
    bool write = false;
    int area = 0;           /* the owner's name for the buffer ... */
    Addr offset = 0;        /* ... and the place in it, from which a checkpoint finds `data` again */
    std::int64_t step = -1; /* the owner's: of which turn it is */
    bool secure = false;
};

/* A queue of transfers of at most one cache line each, sent one a cycle, a bounded number under way. The same
 * in timing and in atomic mode, where a response comes after the latency that the memory system names. */
class MemoryPort : public RequestPort
{
  public:
    /* `done` is called for each transfer; ok is false when nothing answers at its address. */
    using Done = std::function<void(const Transfer &, bool ok)>;

    MemoryPort(const std::string &name, ClockedObject &owner, System &system, unsigned max_outstanding,
               Done done);

    void push(const Transfer &transfer);

    /* Transfers not sent yet, oldest first, with their `data` left out. */
    std::deque<Transfer> queued() const
    {
        std::deque<Transfer> all = queue;
        for (Transfer &transfer : all)
            transfer.data = nullptr;
        return all;
    }
    /* Transfers under way: none must be when the simulator is drained. */
    unsigned under_way() const { return outstanding; }

    /* While held nothing new is sent; what is queued stays. */
    void hold(bool on);

  protected:
    bool recvTimingResp(PacketPtr packet) override;
    void recvReqRetry() override;

  private:
    struct Flight : public Packet::SenderState {
        Transfer transfer;
    };

    PacketPtr packet_of(const Transfer &transfer) const;
    void send_next();
    void schedule_send();
    void finish(PacketPtr packet);

    ClockedObject &owner;
    System &system;
    const RequestorID requestor;
    const unsigned max_outstanding;
    const Done done;

    std::deque<Transfer> queue;
    unsigned outstanding = 0;
    bool held = false;
    PacketPtr refused_packet = nullptr; /* waits for the retry */
    Tick next_send = 0;                 /* one transfer a cycle */
    EventFunctionWrapper send_event;
};

} // namespace sail
} // namespace gem5

#endif
