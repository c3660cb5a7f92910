/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The sequence of groups that a tile is worked in (docs/contract.md, section 4), with the cycles of each
 * phase. Engine and gem5 drive the same sequencer.
 */
#ifndef SAILSIM_PIM_SEQUENCER_HH
#define SAILSIM_PIM_SEQUENCER_HH

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "pim/config.hh"
#include "pim/patterns.hh"
#include "pim/plan.hh"
#include "pim/tile.hh"

namespace sailsim::pim
{

/* Cycles, of phases that exclude each other and add up to the total, and exact counts over the tile, of one
 * DFM, or of all that share out the groups (docs/contract.md, section 2). */
struct TileTiming {
    std::int64_t load = 0; /* nothing but loading happened */
    std::int64_t build = 0;
    std::int64_t lookup = 0;
    std::int64_t convert = 0;
    std::int64_t write_back = 0;
    std::int64_t total = 0;
    std::int64_t weight_bytes = 0;     /* loaded */
    std::int64_t result_bytes = 0;     /* written back */
    std::int64_t activation_bytes = 0; /* read from the slice again */
    std::int64_t unit_converts = 0;    /* sums and results that the floating-point units scaled */
    std::int64_t lookups = 0;
    std::int64_t zero_patterns = 0;
    std::int64_t prt_hits = 0;
    std::int64_t prt_misses = 0;
    std::int64_t table_builds = 0;
    std::int64_t table_adds = 0;
    std::int64_t row_reads = 0;
    std::int64_t row_writes = 0;
    std::int64_t conversions = 0;
    std::int64_t merges = 0; /* batch rows of sums that one DFM added to another's */

    /* Accounts for a turn, so many times, but not for its load's cycles; and for patterns. */
    void add(const GroupStep &step, int nbw, std::int64_t times);
    void add(const FedPatterns &fed, const PhaseCosts &costs);
};

/* A field of a timing, and whether it is one of the counts. */
struct TimingField {
    const char *name;
    std::int64_t TileTiming::*of;
    bool is_count = false;
};
inline constexpr std::array timing_fields{
    TimingField{"load", &TileTiming::load},
    TimingField{"build", &TileTiming::build},
    TimingField{"lookup", &TileTiming::lookup},
    TimingField{"convert", &TileTiming::convert},
    TimingField{"write_back", &TileTiming::write_back},
    TimingField{"total", &TileTiming::total},
    TimingField{"weight_bytes", &TileTiming::weight_bytes},
    TimingField{"result_bytes", &TileTiming::result_bytes},
    TimingField{"activation_bytes", &TileTiming::activation_bytes},
    TimingField{"unit_converts", &TileTiming::unit_converts},
    TimingField{"lookups", &TileTiming::lookups, true},
    TimingField{"zero_patterns", &TileTiming::zero_patterns, true},
    TimingField{"prt_hits", &TileTiming::prt_hits, true},
    TimingField{"prt_misses", &TileTiming::prt_misses, true},
    TimingField{"table_builds", &TileTiming::table_builds, true},
    TimingField{"table_adds", &TileTiming::table_adds, true},
    TimingField{"row_reads", &TileTiming::row_reads, true},
    TimingField{"row_writes", &TileTiming::row_writes, true},
    TimingField{"conversions", &TileTiming::conversions, true},
    TimingField{"merges", &TileTiming::merges, true},
};

/* When a group's phases happened, in cycles of the tile. Build, look-up and conversion follow each other from
 * `start` on, then the write-back; with double buffering it ends where the next group starts. */
struct GroupTimes {
    std::int64_t pass = 0;
    std::int64_t group = 0;
    std::int64_t load_start = 0; /* the port is free for it */
    std::int64_t load_end = 0;   /* its weights are here and staged */
    std::int64_t start = 0;      /* of computing */
    std::int64_t build = 0;
    std::int64_t lookup = 0;
    std::int64_t convert = 0;
    std::int64_t write_back = 0;
};

/* When port and arrays of a tile are at work. With double buffering one group loads while the one before
 * computes, and its write-back waits until the next could compute; else everything follows each other. */
class TileClock
{
  public:
    explicit TileClock(bool buffered) : double_buffer(buffered) {}

    struct Turn {
        std::int64_t load_end; /* the weights are here and staged */
        std::int64_t start;    /* of computing */
    };

    /* A turn's weights arrived at `cycle`. */
    Turn advance(std::int64_t cycle, std::int64_t load_cycles, std::int64_t compute_cycles,
                 std::int64_t write_back_cycles)
    {
        const std::int64_t arrival = std::max(cycle, port_free + load_cycles);
        const std::int64_t ready = std::max(arrival, compute_end);
        const Turn turn{arrival, ready + owed_write_back};
        load += ready - compute_end;
        compute_end = turn.start + compute_cycles;
        if (double_buffer) {
            port_free = turn.start;
            owed_write_back = write_back_cycles;
        } else {
            compute_end += write_back_cycles;
            port_free = compute_end;
        }
        return turn;
    }

    std::int64_t end() const { return compute_end + owed_write_back; }

    std::int64_t load = 0;      /* cycles in which nothing else happened */
    std::int64_t port_free = 0; /* from when the next load may start */

  private:
    bool double_buffer;
    std::int64_t compute_end = 0;     /* of the turn that was loaded last */
    std::int64_t owed_write_back = 0; /* that follows it */
};

/* Works through a tile group by group. The caller says when the weights of each group have arrived; the
 * sequencer says when the next load may start and keeps the account:
 *
 *     while (const GroupStep *step = sequencer.next_load())
 *         sequencer.loaded(<when step->load_bytes, asked for at sequencer.load_start(), have arrived>);
 *
 * Cycle 0 is the start of the tile. */
class TileSequencer
{
  public:
    /* Keeps a reference to the profile. Throws std::invalid_argument. */
    TileSequencer(const SliceConfig &config, const TileShape &shape, const PatternProfile &profile,
                  Scaling scaling);

    TileSequencer(const TileSequencer &) = delete; /* the laid out tile refers to its parts */

    /* The group to be loaded next; null when all are. */
    const GroupStep *next_load() const { return pending ? &*pending : nullptr; }

    /* The first cycle at which its load may start. */
    std::int64_t load_start() const { return clock.port_free; }

    /* Its weights arrived at `cycle`. Data ahead of the port counts from when the port is through with it. */
    GroupTimes loaded(std::int64_t cycle);

    /* The account; complete once next_load() is null. */
    TileTiming timing() const;

  private:
    FedPatterns fed(const GroupStep &step) const;

    SliceConfig config;
    TileShape shape;
    const PatternProfile &profile;
    TilePlan layout;
    Grouping grouping;
    PhaseCosts costs;
    LaidOutTile tile;

    std::optional<GroupStep> pending;
    TileClock clock;
    TileTiming account;
};

} // namespace sailsim::pim

#endif
