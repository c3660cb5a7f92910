/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Each rule is tested on both sides: what just fits and what just does not, the cycle before and the cycle
 * after.
 */
#include <vector>

#include "pim/convert.hh"
#include "support.hh"

namespace
{

void check_sum(const TileTiming &t)
{
    CHECK_EQ(t.load + t.build + t.lookup + t.convert + t.write_back, t.total);
}

/* A tile's time against the sequencer's, which is told of every arrival: to the cycle, as what is fetched
 * comes in whole ticks, so that no sum is rounded. */
void check_played(const SliceConfig &config, const TileShape &shape, const PatternProfile &profile,
                  Scaling scaling, const Supply &supply)
{
    const TileTiming timed = time_tile(config, shape, profile, scaling, supply);
    TileSequencer sequencer(config, shape, profile, scaling);
    for (const GroupTimes &group : tile_timeline(config, shape, profile, scaling, supply))
        sequencer.loaded(group.load_end);
    CHECK(sequencer.next_load() == nullptr);
    const TileTiming played = sequencer.timing();
    for (const TimingField &field : timing_fields)
        CHECK_EQ(timed.*field.of, played.*field.of);
    check_sum(timed);
}

} // namespace

TEST(timing, a_tile_takes_what_its_groups_take)
{
    Numbers numbers(11);
    for (int trial = 0; trial < 2000; ++trial) {
        SliceConfig config = plain_slice(numbers.in(0, 3) ? "row_dfm" : "bit_serial");
        config.arrays = 2 * numbers.in(1, 2);
        config.double_buffer = numbers.in(0, 3) != 0;
        config.convert = numbers.in(0, 2) ? Convert::memory : Convert::cores;
        config.prt_entries = numbers.in(0, 3) ? 32 : 0;
        config.t_zero = numbers.in(0, 1);
        config.t_prt = numbers.in(0, 2);
        config.dfms = numbers.in(0, 1) ? 1 : config.arrays;
        config.dfm_split = numbers.in(0, 3) ? DfmSplit::k : DfmSplit::n;
        config.activation_buffer_bits = numbers.in(0, 3) ? 32768 : 256;
        /* From one pass to many; blocks of one turn, of several, and with a short one at their end; some
         * batches are worked in chunks. */
        const std::int64_t batch = numbers.in(0, 4) ? numbers.in(1, 9) : numbers.in(20, 90);
        const TileShape shape{numbers.in(1, 150),
                              numbers.in(1, 2000),
                              batch,
                              4,
                              4,
                              8,
                              static_cast<int>(numbers.in(1, 4)),
                              static_cast<std::int64_t>(one_of(numbers, {0, 4, 20, 32}))};
        const Scaling scaling{numbers.in(0, 1) != 0, false};
        Supply supply = drawn_supply(numbers);
        if (numbers.in(0, 1)) /* mostly in time */
            supply.bytes_per_cycle *= 100;
        const std::int64_t groups = plan_tile(config, shape, scaling).groups;
        check_played(config, shape, drawn_profile(numbers, groups, batch * 8), scaling, supply);
    }
}

TEST(timing, a_supply_s_latency_is_paid_once)
{
    const SliceConfig config = plain_slice();
    const PatternProfile profile = uniform(plain_groups, 3, 5, 8);
    constexpr std::int64_t last = plain_build + 16 + 25; /* the last group's work and the write-back */
    const auto total = [&](const Supply &supply) {
        return time_tile(config, plain_tile(), profile, {}, supply).total;
    };
    /* Groups of 200 bytes at 2 a cycle, less what passed before the start. */
    CHECK_EQ(total({2, 50, 0}), plain_groups * 100 + 50 + last);
    CHECK_EQ(total({2, 50, 50}), plain_groups * 100 + last);
    CHECK_EQ(total({2, 50, 51}), plain_groups * 100 - 1 + last);
    /* No room: the next group is asked for when this one is here, all of it at once (800 bytes under way). */
    CHECK_EQ(total({8, 100, 0, 0}), 25 + plain_groups * 100 + last);
    CHECK_THROWS("latency, lead and ahead", total({2, 50, 0, -1}));
    CHECK_THROWS("bytes_per_cycle is 0.000000: allowed are positive numbers", total({0, 50, 0}));
    CHECK_THROWS("too little to load 200 bytes", total({1e-30, 50, 0}));
}

TEST(timing, closed_form_of_a_uniform_profile)
{
    const SliceConfig config = plain_slice();
    const TileTiming t = time_tile(config, plain_tile(), uniform(plain_groups, 3, 5, 8), {});
    CHECK_EQ(t.load, plain_load); /* the first; all others hide */
    CHECK_EQ(t.build, plain_groups * plain_build);
    CHECK_EQ(t.lookup, plain_groups * (3 + 5 + 8));
    CHECK_EQ(t.convert, 0);
    CHECK_EQ(t.write_back, 2 * 100 * 4 / 32);
    CHECK_EQ(t.weight_bytes, plain_groups * 200);
    CHECK_EQ(t.result_bytes, 800);
    check_sum(t);
    const TileTiming &c = t;
    CHECK_EQ(c.lookups, plain_groups * 16);
    CHECK_EQ(c.zero_patterns, plain_groups * 3);
    CHECK_EQ(c.prt_hits, plain_groups * 5);
    CHECK_EQ(c.prt_misses, plain_groups * 8);
    CHECK_EQ(c.table_builds, plain_groups);
    CHECK_EQ(c.table_adds, plain_groups * 11);
    CHECK_EQ(c.row_reads, 2 * c.table_adds + c.prt_misses);
    CHECK_EQ(c.row_writes, plain_groups * 4 + c.table_adds);
    CHECK_EQ(c.conversions, 0);
}

TEST(timing, load_that_just_hides)
{
    const SliceConfig config = plain_slice();
    const PatternProfile profile = uniform(plain_groups, 3, 5, 8);
    const std::int64_t compute = plain_build + 16;
    for (std::int64_t late : {0, 1, 5}) {
        TileSequencer sequencer(config, plain_tile(), profile, {});
        std::int64_t loads = 0;
        while (sequencer.next_load()) {
            sequencer.loaded(sequencer.load_start() + compute + late);
            ++loads;
        }
        CHECK_EQ(loads, plain_groups);
        /* The first load is waited for; the others only for as long as they exceed build and look-up. */
        CHECK_EQ(sequencer.timing().load, compute + late + (plain_groups - 1) * late);
        check_sum(sequencer.timing());
    }
}

TEST(timing, load_is_never_faster_than_port_and_staging)
{
    SliceConfig config = plain_slice();
    const PatternProfile profile = uniform(plain_groups, 16, 0, 0);
    TileSequencer early(config, plain_tile(), profile, {});
    early.loaded(0); /* data that is there at once still takes the port its time */
    CHECK_EQ(early.timing().load, plain_load);
    CHECK_EQ(early.load_start(), plain_load);
    TileSequencer in_time(config, plain_tile(), profile, {});
    in_time.loaded(plain_load);
    CHECK_EQ(in_time.load_start(), plain_load);
    TileSequencer late(config, plain_tile(), profile, {});
    late.loaded(plain_load + 1);
    CHECK_EQ(late.load_start(), plain_load + 1);

    config.port_bytes = 50; /* 4 cycles: as long as 4 staging rows take to write */
    CHECK_EQ(TileSequencer(config, plain_tile(), profile, {}).next_load()->load_cycles, 4);
    config.port_bytes = 64;
    CHECK_EQ(TileSequencer(config, plain_tile(), profile, {}).next_load()->load_cycles, 4);
    config.port_bytes = 49;
    CHECK_EQ(TileSequencer(config, plain_tile(), profile, {}).next_load()->load_cycles, 5);
}

/* How a tile lies in the arrays. */

TEST(plan, of_rows)
{
    SliceConfig config = plain_slice();
    TilePlan plan = plan_tile(config, plain_tile(), {});
    CHECK_EQ(plan.entry_bits, 6);
    CHECK_EQ(plan.lanes, 4 * (256 / 6));
    CHECK_EQ(plan.outputs_per_pass, 100);
    CHECK_EQ(plan.passes, 1);
    CHECK_EQ(plan.rows_needed, 15 + 8);
    config.slices = 3;
    CHECK_EQ(plan_tile(config, plain_tile(), {}).owned, 34);

    TileShape tile = plain_tile();
    config.slices = 1;
    tile.n = 168; /* the last that fits one pass */
    CHECK_EQ(plan_tile(config, tile, {}).passes, 1);
    tile.n = 169;
    CHECK_EQ(plan_tile(config, tile, {}).passes, 2);

    tile = plain_tile();
    const int extra_bits[] = {0, 1, 2, 2, 3, 3};
    for (int nbw = 1; nbw <= 6; ++nbw) {
        tile.nbw = nbw;
        CHECK_EQ(plan_tile(config, tile, {}).entry_bits, 4 + extra_bits[nbw - 1]);
    }
}

TEST(plan, rows_that_just_fit)
{
    SliceConfig config = plain_slice();
    config.rows = 23;
    plan_tile(config, plain_tile(), {});
    config.rows = 22;
    CHECK_THROWS("rows is 22: the tile needs 23", plan_tile(config, plain_tile(), {}));

    config = plain_slice("bit_parallel"); /* one row more for a batch row's sums; lanes of 32 cells */
    config.rows = 24;
    TilePlan plan = plan_tile(config, plain_tile(), {});
    CHECK_EQ(plan.lane_bits, 32);
    CHECK_EQ(plan.batch_chunks, 2);
    config.rows = 25;
    CHECK_EQ(plan_tile(config, plain_tile(), {}).batch_chunks, 1);
    config.rows = 23;
    CHECK_THROWS("rows is 23: the tile needs 24", plan_tile(config, plain_tile(), {}));

    config = plain_slice("bit_serial"); /* 15 entries of 6 bits, 8 weights of 4, sums of 32 */
    config.rows = 15 * 6 + 8 * 4 + 32;
    plan = plan_tile(config, plain_tile(), {});
    CHECK_EQ(plan.lanes, 4 * 256);
    CHECK_EQ(plan.batch_chunks, 2);
    CHECK_EQ(plan.rows_needed, config.rows);
    config.rows += 31;
    CHECK_EQ(plan_tile(config, plain_tile(), {}).batch_chunks, 2);
    config.rows += 1;
    CHECK_EQ(plan_tile(config, plain_tile(), {}).batch_chunks, 1);
    config.rows = 15 * 6 + 8 * 4 + 31;
    CHECK_THROWS("rows is 153: the tile needs 154", plan_tile(config, plain_tile(), {}));
}

TEST(plan, registers_of_a_conversion_that_just_fit)
{
    /* Tables of one and of three rows are smaller than five registers, one of seven is larger. */
    const int needed[] = {5 + 2, 5 + 4, 7 + 6};
    for (int nbw = 1; nbw <= 3; ++nbw) {
        SliceConfig config = plain_slice();
        TileShape tile = plain_tile();
        tile.nbw = nbw;
        config.rows = needed[nbw - 1];
        CHECK_EQ(plan_tile(config, tile, {true}).rows_needed, config.rows);
        config.rows -= 1;
        if (nbw < 3) {
            CHECK_THROWS("(registers of the conversion 5, staging", plan_tile(config, tile, {true}));
            plan_tile(config, tile, {}); /* without scales there is no conversion */
            config.convert = Convert::unit;
            plan_tile(config, tile, {true}); /* nor is one in the arrays */
            config.convert = Convert::cores;
            plan_tile(config, tile, {true});
        } else {
            CHECK_THROWS("(table 7, staging", plan_tile(config, tile, {true}));
        }
    }

    /* A column's table of 90 rows is smaller than 136 bits of registers: two batch rows less in a chunk. */
    SliceConfig config = plain_slice("bit_serial");
    TileShape tile = plain_tile();
    tile.batch = 8;
    CHECK_EQ(plan_tile(config, tile, {}).chunk_rows, (256 - 90 - 32) / 32);
    CHECK_EQ(plan_tile(config, tile, {true}).chunk_rows, (256 - 136 - 32) / 32);
    config.rows = 136 + 32 + 32;
    CHECK_EQ(plan_tile(config, tile, {true}).chunk_rows, 1);
    config.rows -= 1;
    CHECK_THROWS("rows is 199: the tile needs 200 (registers of the conversion 136, staging 32, sums of one "
                 "batch row 32)",
                 plan_tile(config, tile, {true}));
}

TEST(plan, columns_that_just_fit)
{
    SliceConfig config = plain_slice();
    config.cols = 6;
    CHECK_EQ(plan_tile(config, plain_tile(), {}).lanes, 4);
    config.cols = 5;
    CHECK_THROWS("cols is 5: one output takes 6 cells", plan_tile(config, plain_tile(), {}));

    config.cols = 31; /* room for entries, not for a fp32 */
    const PatternProfile profile = uniform(plain_groups, 16, 0, 0);
    time_tile(config, plain_tile(), profile, {});
    CHECK_THROWS("cols is 31: a conversion takes 32 cells", time_tile(config, plain_tile(), profile, {true}));
    config.cols = 32;
    time_tile(config, plain_tile(), profile, {true});
}
