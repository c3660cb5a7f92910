/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The sequence of groups that a tile is worked in (docs/contract.md, section 4), with the cycles of each
 * phase. Engine and gem5 drive the same sequencer.
 */
#ifndef SAILSIM_PIM_SEQUENCER_HH
#define SAILSIM_PIM_SEQUENCER_HH

#include <algorithm>
#include <cstdint>
#include <optional>

#include "pim/config.hh"
#include "pim/costs.hh"
#include "pim/patterns.hh"
#include "pim/plan.hh"
#include "pim/shape.hh"

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
 * `start` on. A write-back follows the group's own computing; with double buffering it waits until the next
 * group could compute, and ends where that one starts. */
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

    void add(const FedPatterns &other, std::int64_t times = 1)
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

/* Works through a tile group by group. The caller says when the weights of each group have arrived; the
 * sequencer says when the next load may start and keeps the account:
 *
 *     while (const GroupStep *step = sequencer.next_load())
 *         sequencer.loaded(<when step->load_bytes, asked for at sequencer.load_start(), have arrived>);
 *
 * Cycle 0 is the start of the tile. With double buffering one group loads while the one before computes;
 * write-back has the port to itself. */
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
    std::int64_t load_start() const { return port_free; }

    /* Its weights arrived at `cycle`. Data ahead of the port counts from when the port is through with it. */
    GroupTimes loaded(std::int64_t cycle);

    /* The account; complete once next_load() is null. */
    TileTiming timing() const;

    /* Of the group to be loaded next. */
    BatchRows rows() const { return {first_row, end_row}; }

    /* The patterns that a profile, perhaps another one, feeds for some rows in the groups of a step, each by
     * a DFM of its own; the slowest decides. */
    FedPatterns feed(const PatternProfile &patterns, const GroupStep &step, const BatchRows &rows) const
    {
        FedPatterns sum;
        const auto first = static_cast<std::size_t>(step.group);
        for (std::size_t g = first; g < first + static_cast<std::size_t>(step.groups); ++g) {
            FedPatterns fed{patterns.zero[g], patterns.hits[g], patterns.misses[g], 0};
            if (rows.end - rows.first != shape.batch)
                fed = share_of(fed, rows);
            const std::int64_t cycles =
                fed.zero * costs.zero + fed.hits * costs.hit + fed.misses * costs.miss;
            sum.zero += fed.zero;
            sum.hits += fed.hits;
            sum.misses += fed.misses;
            sum.lookup_cycles = std::max(sum.lookup_cycles, cycles);
        }
        return sum;
    }

    /* An account with other patterns in the place of some. */
    TileTiming with_patterns(TileTiming timing, const FedPatterns &old, const FedPatterns &fed) const;

    /* How many passes of its chunk of the batch are before the group to be loaded next. */
    std::int64_t pass_of_chunk() const { return pending->pass % layout.passes; }

    /* Called where a pass ends, with what `timing()` and `load_start()` were where the last `period` passes
     * began: when these have as many outputs of the same batch rows as passes to come, and their weights come
     * in the same manner again and again, as many of those as make up whole periods are accounted for and
     * skipped, but for the last pass of the chunk. `behind`: how many passes of the chunk must be over; with
     * a period of 1, 1 where the times of the first one are of no interest. Returns how many periods. */
    std::int64_t skip_equal_passes(const TileTiming &began, std::int64_t began_at, std::int64_t behind = 2,
                                   std::int64_t period = 1);

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
    FedPatterns share_of(const FedPatterns &fed, const BatchRows &rows) const;
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
    std::int64_t port_free = 0;
    std::int64_t compute_end = 0;     /* of the group that was loaded last */
    std::int64_t owed_write_back = 0; /* that follows it */
    TileTiming account;
};

} // namespace sailsim::pim

#endif
