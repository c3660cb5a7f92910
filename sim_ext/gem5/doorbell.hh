/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The port on which a PIM unit takes descriptors' addresses, for itself and maybe in place of units that are
 * not there. An 8-byte store rings it; reads give 0, and nothing else does anything. The owner may keep a
 * store unanswered, which is how a full queue holds back the cores: refusing the packet would block the very
 * crossbar layer that the unit needs to make progress.
 */
#ifndef SAILSIM_GEM5_DOORBELL_HH
#define SAILSIM_GEM5_DOORBELL_HH

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/addr_range.hh"
#include "mem/qport.hh"
#include "sim/clocked_object.hh"

namespace gem5::sail
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

} // namespace gem5::sail

#endif
