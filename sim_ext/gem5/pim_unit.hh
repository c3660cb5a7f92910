/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The PIM unit of one LLC slice: takes descriptors at its doorbell, one after another fetches the tile's
 * operands by its own port, works through the groups in the time that the core (sim_ext/pim) says, writes
 * the results and at last the completion record. Read `advance` first, then the functions in its order.
 */
#ifndef SAILSIM_GEM5_PIM_UNIT_HH
#define SAILSIM_GEM5_PIM_UNIT_HH

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "gem5/ports.hh"
#include "gem5/tile.hh"
#include "gem5/unit_stats.hh"
#include "params/SailPimUnit.hh"
#include "pim/config.hh"
#include "sim/clocked_object.hh"

namespace gem5::sail
{

class PimUnit : public ClockedObject
{
  public:
    explicit PimUnit(const SailPimUnitParams &params);

    void init() override;
    void startup() override;
    Port &getPort(const std::string &name, PortID index) override;

    DrainState drain() override;
    void drainResume() override;
    void serialize(CheckpointOut &cp) const override;
    void unserialize(CheckpointIn &cp) override;

  private:
    /* The doorbell. */
    void on_ring(Ring ring, PacketPtr packet);
    void admit(const Ring &ring);
    void admit_waiting();

    /* The life of a tile. */
    void wake(); /* takes up the next descriptor in the next cycle, unless at work */
    void enter(Stage next);
    void advance();
    void fetch_descriptor();
    void take_up_descriptor();
    void fetch_operands();
    void start_groups();
    void feed();
    void take_groups();
    void compute();
    void write_results();
    void complete();
    void write_record();
    void finish();

    /* Reads or writes a part of one of the tile's buffers; how many transfers that takes. */
    std::int64_t move(pim::Area area, Addr offset, Addr bytes, bool write);
    void push(Transfer transfer);
    void on_transfer(const Transfer &transfer, bool ok);
    void on_timer();
    void on_taken();
    void fail(std::uint32_t status, std::uint32_t detail);

    struct Waiting {
        Ring ring;
        PacketPtr packet;
    };

    /* Bytes that a group no longer keeps from `tick` on. */
    struct Release {
        Tick tick = 0;
        Addr bytes = 0;
    };

    System &system;
    const unsigned unit;
    const unsigned depth;
    const Addr fetch_ahead;
    const bool stores_when_idle;
    const Cycles flush_time;
    const Cycles settle_time;
    pim::SliceConfig config;

    Doorbell doorbell;
    MemoryPort memory;

    std::deque<Ring> queue;
    std::deque<Waiting> waiting; /* stores that are not answered yet */
    bool draining = false;

    Stage stage = Stage::idle;
    std::unique_ptr<Tile> tile;
    std::deque<Transfer> fetches; /* of the groups that were expanded, not given to the port yet */
    Addr buffered = 0;            /* bytes under way or waiting to be taken */
    std::deque<Release> releases;
    bool holds_lines = false; /* capacity mode: the C-SRAM serves as cache */
    Tick idle_since = 0;

    EventFunctionWrapper advance_event;
    EventFunctionWrapper timer; /* the end of a flush or of the last group */
    EventFunctionWrapper taken_event;
    std::vector<Tick> event_ticks; /* of a checkpoint's events, for startup */

    UnitStats stats;
};

} // namespace gem5::sail

#endif
