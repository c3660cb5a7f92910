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

/* Exact counts over the tile, of one DFM, or of all that share out the groups (docs/contract.md, section 2).
 */
struct TileCounts {
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
};

/* Cycles; the phases exclude each other and add up to the total. */
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
    TileCounts counts;
};

/* A field of a timing, or of its counts where `count` is set. */
struct TimingField {
    const char *name;
    std::int64_t TileTiming::*own;
    std::int64_t TileCounts::*count = nullptr;

    std::int64_t &of(TileTiming &timing) const { return count ? timing.counts.*count : timing.*own; }
    const std::int64_t &of(const TileTiming &timing) const
    {
        return count ? timing.counts.*count : timing.*own;
    }
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
    TimingField{"lookups", nullptr, &TileCounts::lookups},
    TimingField{"zero_patterns", nullptr, &TileCounts::zero_patterns},
    TimingField{"prt_hits", nullptr, &TileCounts::prt_hits},
    TimingField{"prt_misses", nullptr, &TileCounts::prt_misses},
    TimingField{"table_builds", nullptr, &TileCounts::table_builds},
    TimingField{"table_adds", nullptr, &TileCounts::table_adds},
    TimingField{"row_reads", nullptr, &TileCounts::row_reads},
    TimingField{"row_writes", nullptr, &TileCounts::row_writes},
    TimingField{"conversions", nullptr, &TileCounts::conversions},
    TimingField{"merges", nullptr, &TileCounts::merges},
};

/* One turn of one pass: a group, or as many as the DFMs share out. */
struct GroupStep {
    std::int64_t pass = 0;             /* 0 .. plan.total_passes() - 1 */
    std::int64_t group = 0;            /* the first, 0 .. plan.groups - 1 */
    std::int64_t groups = 0;           /* how many */
    std::int64_t load_bytes = 0;       /* weights to fetch */
    std::int64_t activation_bytes = 0; /* that the DFMs did not keep and read from the slice again */
    std::int64_t load_cycles = 0;      /* the least that port and staging rows take */
    std::int64_t build_cycles = 0;
    std::int64_t lookup_cycles = 0;  /* of the slowest DFM; at the end of a block with the merging of sums */
    std::int64_t convert_cycles = 0; /* at the end of a block, else 0 */
    std::int64_t write_back_cycles = 0; /* at the end of a pass (or block, when the cores convert), else 0 */
    std::int64_t write_back_bytes = 0;
    std::int64_t zero_patterns = 0;
    std::int64_t prt_hits = 0; /* as profiled, whether or not the substrate gains by them */
    std::int64_t prt_misses = 0;
    std::int64_t conversions = 0; /* batch rows converted */
    std::int64_t unit_converts = 0;
    std::int64_t merges = 0;

    std::int64_t compute_cycles() const { return build_cycles + lookup_cycles + convert_cycles; }
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

/* The patterns of one group, or the sums of several. */
struct FedPatterns {
    std::int64_t zero = 0;
    std::int64_t hits = 0; /* as profiled, whether or not the substrate gains by them */
    std::int64_t misses = 0;
    std::int64_t lookup_cycles = 0;

    void add(const FedPatterns &other, std::int64_t times)
    {
        zero += times * other.zero;
        hits += times * other.hits;
        misses += times * other.misses;
        lookup_cycles += times * other.lookup_cycles;
    }
};

/* Rows of the batch that a pass works on. */
struct BatchRows {
    std::int64_t first = 0;
    std::int64_t end = 0;
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
        std::int64_t waited;   /* while nothing but loading happened */
    };

    /* A turn's weights arrived at `cycle`. */
    Turn advance(std::int64_t cycle, std::int64_t load_cycles, std::int64_t compute_cycles,
                 std::int64_t write_back_cycles)
    {
        const std::int64_t arrival = std::max(cycle, port_free + load_cycles);
        const std::int64_t ready = std::max(arrival, compute_end);
        const Turn turn{arrival, ready + owed_write_back, ready - compute_end};
        load += turn.waited;
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

    const TilePlan &plan() const { return layout; }
    const PhaseCosts &phase_costs() const { return costs; }
    std::int64_t groups_per_block() const
    {
        return grouping.groups_per_block();
    } /* the last may have fewer */

    /* The group to be loaded next; null when all are. */
    const GroupStep *next_load() const { return pending ? &*pending : nullptr; }

    /* The first cycle at which its load may start. */
    std::int64_t load_start() const { return clock.port_free; }

    /* Its weights arrived at `cycle`. Data ahead of the port counts from when the port is through with it. */
    GroupTimes loaded(std::int64_t cycle);

    /* The account; complete once next_load() is null. */
    TileTiming timing() const;

    /* The patterns that a profile, perhaps another one, feeds for some rows in the groups of a turn, each by
     * a DFM of its own; the slowest decides. */
    FedPatterns feed(const PatternProfile &patterns, const TurnGroups &groups, const BatchRows &rows) const
    {
        FedPatterns sum;
        for (auto g = static_cast<std::size_t>(groups.begin); g < static_cast<std::size_t>(groups.end); ++g) {
            FedPatterns fed{patterns.zero[g], patterns.hits[g], patterns.misses[g], 0};
            if (rows.end - rows.first != shape.batch)
                fed = share_of(fed, rows);
            sum.zero += fed.zero;
            sum.hits += fed.hits;
            sum.misses += fed.misses;
            sum.lookup_cycles = std::max(sum.lookup_cycles, costs.lookups(fed.zero, fed.hits, fed.misses));
        }
        return sum;
    }

    /* An account with some patterns more. */
    TileTiming with_patterns(TileTiming timing, const FedPatterns &fed) const;

    /* For who asks what groups cost, whenever they come. The group to be loaded next is now the first of a
     * block of a pass. */
    void go_to(std::int64_t pass, std::int64_t block);

    /* Accounts so many times more for what was loaded since `timing()` was that. */
    void repeat_since(const TileTiming &began, std::int64_t times);

  private:
    void begin_pass(std::int64_t pass);
    void load_weights(std::int64_t weights);
    void begin_group(std::int64_t group);
    void end_block(std::int64_t rows, bool pass_ends);

    /* A chunk of the batch feeds its share of a group's patterns; over the chunks the shares are exact. Every
     * count is below 2^31 and every batch at most 2^20: the products are exact in a double, and a quotient is
     * at least 2^-20 away from every whole number that it is not, which is more than its rounding. */
    FedPatterns share_of(const FedPatterns &fed, const BatchRows &rows) const
    {
        const auto part = [this](std::int64_t product) {
            return static_cast<std::int64_t>(static_cast<double>(product) / static_cast<double>(shape.batch));
        };
        const auto share = [&](std::int64_t patterns) {
            return part(patterns * rows.end) - part(patterns * rows.first);
        };
        return {share(fed.zero), share(fed.hits), share(fed.misses), 0};
    }

    void merge_sums(std::int64_t rows, std::int64_t groups);
    void count(const GroupStep &step);
    bool has_prt() const { return config.substrate.prt_helps && config.prt_entries > 0; }

    SliceConfig config;
    TileShape shape;
    Scaling scaling;
    const PatternProfile &profile;
    TilePlan layout;
    Grouping grouping;
    PhaseCosts costs;
    std::int64_t adds; /* of one table */

    /* Of the current pass. */
    std::int64_t outputs = 0;   /* lanes in use */
    std::int64_t first_row = 0; /* batch rows of the chunk */
    std::int64_t end_row = 0;
    std::int64_t block_groups = 0;  /* of the block */
    std::int64_t left_of_block = 0; /* of them, behind the pending ones */
    std::int64_t loading = 0;       /* weights of an output that the pending group loads */

    std::optional<GroupStep> pending;
    TileClock clock;
    TileTiming account;
};

} // namespace sailsim::pim

#endif
