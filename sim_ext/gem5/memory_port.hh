/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The port by which a PIM unit reads and writes memory: a queue of transfers of at most one cache line each,
 * sent one a cycle, a bounded number under way. The same in timing and in atomic mode, where a response
 * comes after the latency that the memory system names.
 */
#ifndef SAILSIM_GEM5_MEMORY_PORT_HH
#define SAILSIM_GEM5_MEMORY_PORT_HH

#include <cstdint>
#include <deque>
#include <functional>
#include <utility>

#include "mem/port.hh"
#include "sim/clocked_object.hh"
#include "sim/eventq.hh"

namespace gem5
{
class System;

namespace sail
{

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

    /* Ticks up to now in which a transfer was ready and the memory system did not take it; counts from 0
     * again. */
    Tick take_refused_ticks();

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
    Tick refused_at = 0;                /* or counted up to here */
    Tick next_send = 0;                 /* one transfer a cycle */
    Tick refused = 0;
    EventFunctionWrapper send_event;
};

} // namespace sail
} // namespace gem5

#endif
