/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Replays a trace without a core: puts its image into memory, rings the units' doorbells as fast as they
 * answer, polls the completion records, compares every result with the trace's and ends the simulation.
 */
#ifndef SAILSIM_GEM5_REPLAYER_HH
#define SAILSIM_GEM5_REPLAYER_HH

#include <cstdint>
#include <vector>

#include "abi/lutmm.h"
#include "gem5/ports.hh"
#include "params/SailReplayer.hh"
#include "sim/clocked_object.hh"

namespace gem5::sail
{

/* A trace file (docs/contract.md), read and relocated. */
struct TraceFile {
    std::uint64_t image_bytes = 0;       /* of memory that the trace takes */
    std::vector<std::uint8_t> stored;    /* the image's first bytes; the rest is zero */
    std::vector<lutmm_descriptor> tiles; /* addresses as they are with the image at its place */
    std::vector<std::uint64_t> expected; /* address of a tile's expected output, or 0 */
};

class Replayer : public ClockedObject
{
  public:
    explicit Replayer(const SailReplayerParams &params);

    void initState() override;
    void startup() override;
    Port &getPort(const std::string &name, PortID index) override;

    DrainState drain() override;
    void drainResume() override;
    void serialize(CheckpointOut &cp) const override;
    void unserialize(CheckpointIn &cp) override;

  private:
    /* What became of one descriptor. */
    struct Outcome {
        Tick rung = 0;     /* the doorbell's acknowledgement */
        Tick answered = 0; /* its completion record was seen */
        lutmm_completion record{};
    };

    /* One unit's share of the trace: tiles unit, unit + units, ... */
    struct Lane {
        std::uint64_t next_ring = 0; /* tile to be handed over next */
        std::uint64_t next_poll = 0; /* tile whose record is looked for */
        std::uint64_t doorbell_word = 0;
        lutmm_completion record{};
        bool ringing = false;
        bool polling = false;
    };

    /* Hands over what a lane has; looks at the records of what it has handed over. */
    void work(std::size_t unit);
    void work_everywhere();
    /* Descriptors before this one may be handed over: where the phase in turn ends. */
    std::size_t open_until() const;
    void ring(std::size_t unit);
    void poll(std::size_t unit);
    void on_poll();
    void on_transfer(const Transfer &transfer, bool ok);
    bool as_expected(std::size_t tile) const;
    /* One line a tile: tiles.csv in gem5's output directory. Whether all are as they should be. */
    bool write_report() const;
    Addr descriptor_address(std::size_t tile) const;

    System &system;
    const Addr image;
    const Addr doorbells;
    const std::size_t units;
    const std::vector<std::uint64_t> phase_ends;
    const Cycles poll_period;

    TraceFile trace;
    Addr descriptors; /* physical address of the descriptor array, behind the image */
    std::vector<Outcome> outcomes;
    std::vector<Lane> lanes;
    std::uint64_t answered = 0;
    bool draining = false;
    Tick next_look = MaxTick; /* a checkpoint's, for startup */

    MemoryPort port;
    EventFunctionWrapper poll_event;
};

} // namespace gem5::sail

#endif
