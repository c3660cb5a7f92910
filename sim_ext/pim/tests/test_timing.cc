/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Each rule is tested on both sides: what just fits and what just does not, the cycle before and the cycle
 * after.
 */
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "check.hh"
#include "pim/convert.hh"
#include "pim/timing.hh"
#include "support.hh"
#include "tiles.hh"

using namespace sailsim::pim;

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
    const TileCounts &c = t.counts;
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

TEST(timing, each_kind_of_pattern_has_its_price)
{
    SliceConfig config = plain_slice();
    config.t_zero = 2;
    config.t_prt = 3;
    config.substrate.costs[static_cast<std::size_t>(Op::read)].c0 = 7;
    CHECK_EQ(time_tile(config, plain_tile(), uniform(plain_groups, 3, 5, 8), {}).lookup,
             plain_groups * (3 * 2 + 5 * 3 + 8 * 7));
    config.prt_entries = 0; /* without a PRT all but zero read the table */
    const TileTiming t = time_tile(config, plain_tile(), uniform(plain_groups, 3, 5, 8), {});
    CHECK_EQ(t.lookup, plain_groups * (3 * 2 + 13 * 7));
    CHECK_EQ(t.counts.prt_hits, 0);
    CHECK_EQ(t.counts.prt_misses, plain_groups * 13);
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

TEST(timing, without_double_buffering_everything_adds)
{
    SliceConfig config = plain_slice();
    config.double_buffer = false;
    const TileTiming t = time_tile(config, plain_tile(), uniform(plain_groups, 3, 5, 8), {});
    CHECK_EQ(t.load, plain_groups * plain_load);
    CHECK_EQ(t.total, plain_groups * (plain_load + plain_build + 16) + 25);
    check_sum(t);
}

TEST(timing, dram_share)
{
    const SliceConfig config = plain_slice();
    const PatternProfile profile = uniform(plain_groups, 3, 5, 8);
    const double just_hides = 200.0 / static_cast<double>(plain_build + 16);
    const TileTiming hidden = time_tile(config, plain_tile(), profile, {}, just_hides);
    CHECK_EQ(hidden.load, plain_build + 16);
    const TileTiming slow = time_tile(config, plain_tile(), profile, {}, 2.0);
    CHECK_EQ(slow.load, 100 + (plain_groups - 1) * (100 - plain_build - 16));
    CHECK_THROWS("bytes_per_cycle", time_tile(config, plain_tile(), profile, {}, 0.0));
    CHECK_THROWS("bytes_per_cycle", time_tile(config, plain_tile(), profile, {}, 1e-30));
}

TEST(timing, supply)
{
    const SliceConfig config = plain_slice();
    const PatternProfile profile = uniform(plain_groups, 3, 5, 8);
    constexpr std::int64_t last = plain_build + 16 + 25; /* the last group's work and the write-back */
    const auto total = [&](const Supply &supply) {
        const TileTiming t = time_tile(config, plain_tile(), profile, {}, supply);
        check_sum(t);
        return t.total;
    };
    CHECK_EQ(total({}), time_tile(config, plain_tile(), profile, {}).total);
    /* Groups of 200 bytes at 2 a cycle; the latency is paid once, less what passed before the start. */
    CHECK_EQ(total({2, 50, 0}), plain_groups * 100 + 50 + last);
    CHECK_EQ(total({2, 50, 50}), plain_groups * 100 + last);
    CHECK_EQ(total({2, 50, 51}), plain_groups * 100 - 1 + last);
    /* No room: the next group is asked for when this one is here, all of it at once (800 bytes under way). */
    CHECK_EQ(total({8, 100, 0, 0}), 25 + plain_groups * 100 + last);
    CHECK_THROWS("ahead", total({2, 50, 0, -1}));
    CHECK_THROWS("bytes_per_cycle", total({0, 50, 0}));
    CHECK_THROWS("bytes_per_cycle", total({1e-30, 50, 0}));
}

TEST(timing, time_tile_is_the_sequencer)
{
    for (const char *name : {"row_dfm", "bit_serial", "bit_parallel"}) {
        SliceConfig config = plain_slice(name);
        const TileShape tile = {61, 300, 9, 3, 3, 5, 3, 20};
        const PatternProfile profile = uniform(Grouping(61, 3, 20).groups(), 10, 15, 20);
        TileSequencer sequencer(config, tile, profile, {true});
        const TileTiming step_by_step = run(sequencer);
        const TileTiming whole = time_tile(config, tile, profile, {true});
        CHECK_EQ(step_by_step.total, whole.total);
        CHECK_EQ(step_by_step.load, whole.load);
        check_sum(whole);
        CHECK(sequencer.next_load() == nullptr);
        CHECK_THROWS("loaded", sequencer.loaded(0));
    }
}

TEST(timing, equal_passes_that_are_skipped_are_accounted_for)
{
    for (const char *name : {"row_dfm", "bit_serial", "bit_parallel"})
        for (const bool buffered : {true, false})
            for (const bool in_memory : {true, false})
                for (const double rate : {0.7, 5.0, std::numeric_limits<double>::infinity()}) {
                    SliceConfig config = plain_slice(name);
                    config.arrays = 1;
                    config.double_buffer = buffered;
                    config.convert = in_memory ? Convert::memory : Convert::cores;
                    const TileShape tile = {61, 2500, 9, 3, 3, 5, 3, 20};
                    const std::int64_t groups = Grouping(61, 3, 20).groups();
                    const PatternProfile profile = uniform(groups, 10, 15, 20);
                    CHECK(plan_tile(config, tile, {}).passes > 4);
                    TileSequencer sequencer(config, tile, profile, {true});
                    while (const GroupStep *step = sequencer.next_load())
                        sequencer.loaded(sequencer.load_start() +
                                         static_cast<std::int64_t>(
                                             std::ceil(static_cast<double>(step->load_bytes) / rate)));
                    const TileTiming every = sequencer.timing();
                    const TileTiming skipped = time_tile(config, tile, profile, {true}, rate);
                    check_sum(skipped);
                    CHECK_EQ(skipped.total, every.total);
                    CHECK_EQ(skipped.load, every.load);
                    CHECK_EQ(skipped.build, every.build);
                    CHECK_EQ(skipped.lookup, every.lookup);
                    CHECK_EQ(skipped.convert, every.convert);
                    CHECK_EQ(skipped.write_back, every.write_back);
                    CHECK_EQ(skipped.weight_bytes, every.weight_bytes);
                    CHECK_EQ(skipped.result_bytes, every.result_bytes);
                    CHECK_EQ(skipped.counts.lookups, every.counts.lookups);
                    CHECK_EQ(skipped.counts.zero_patterns, every.counts.zero_patterns);
                    CHECK_EQ(skipped.counts.prt_hits, every.counts.prt_hits);
                    CHECK_EQ(skipped.counts.prt_misses, every.counts.prt_misses);
                    CHECK_EQ(skipped.counts.table_builds, every.counts.table_builds);
                    CHECK_EQ(skipped.counts.table_adds, every.counts.table_adds);
                    CHECK_EQ(skipped.counts.row_reads, every.counts.row_reads);
                    CHECK_EQ(skipped.counts.row_writes, every.counts.row_writes);
                    CHECK_EQ(skipped.counts.conversions, every.counts.conversions);
                }
}

TEST(timing, passes_repeat_everything)
{
    SliceConfig config = plain_slice();
    config.arrays = 1; /* 42 lanes; passes of 36, 36 and 28 outputs have less to write back at the end */
    const TileTiming t = time_tile(config, plain_tile(), uniform(plain_groups, 3, 5, 8), {});
    CHECK_EQ(t.counts.lookups, 3 * plain_groups * 16);
    CHECK_EQ(t.build, 3 * plain_groups * plain_build);
    CHECK_EQ(t.weight_bytes, plain_groups * 200);
    CHECK_EQ(t.result_bytes, 800);
    CHECK_EQ(t.write_back, 2 * (2 * 36 * 4 / 32) + 2 * 28 * 4 / 32);
    CHECK_EQ(t.load, 4); /* of the first pass only: 72 bytes, 4 staging rows */
    check_sum(t);
}

TEST(timing, short_groups_load_less)
{
    const SliceConfig config = plain_slice();
    TileShape tile = plain_tile();
    tile.k = 62; /* 15 groups of 4, one of 2 */
    CHECK_EQ(time_tile(config, tile, uniform(16, 16, 0, 0), {}).weight_bytes, 62 * 100 / 2);
    tile.group_size = 31; /* two blocks of 7 groups of 4 and one of 3 */
    CHECK_EQ(time_tile(config, tile, uniform(16, 16, 0, 0), {}).weight_bytes, 62 * 100 / 2);
}

TEST(timing, conversion_in_memory)
{
    const SliceConfig config = plain_slice();
    TileShape tile = plain_tile();
    tile.group_size = 32;
    const PatternProfile profile = uniform(plain_groups, 16, 0, 0);
    const Substrate &s = config.substrate;
    const std::int64_t block = /* a sum is written from the DFM into the array */
        s.cycles(Op::write, 32) + int_to_fp32_tally(32).cycles(s) + s.cycles(Op::fp_mul, 32) +
        s.cycles(Op::fp_add, 32);
    const std::int64_t rounds = 4; /* 100 outputs, 4 arrays of 8 lanes of 32 cells */
    const std::int64_t act_scale = s.cycles(Op::fp_mul, 32);
    TileTiming t = time_tile(config, tile, profile, {true});
    CHECK_EQ(t.convert, 2 * rounds * (2 * block + act_scale));
    CHECK_EQ(t.counts.conversions, 2 * 2);
    CHECK_EQ(t.write_back, 25);
    check_sum(t);
    t = time_tile(config, tile, profile, {true, true});
    CHECK_EQ(t.convert, 2 * rounds * (4 * block + act_scale));
    tile.n = 96; /* three rounds are just enough */
    CHECK_EQ(time_tile(config, tile, profile, {true}).convert, 2 * 3 * (2 * block + act_scale));
}

TEST(timing, conversion_on_the_cores)
{
    SliceConfig config = plain_slice();
    config.convert = Convert::cores;
    config.accumulator_bits = 20;
    TileShape tile = plain_tile();
    tile.group_size = 32;
    const TileTiming t = time_tile(config, tile, uniform(plain_groups, 16, 0, 0), {true});
    CHECK_EQ(t.convert, 0);
    CHECK_EQ(t.counts.conversions, 0);
    CHECK_EQ(t.result_bytes, 2 * 500); /* 2 blocks of 2 x 100 sums of 20 bits */
    CHECK_EQ(t.write_back, 2 * 16);
    check_sum(t);
}

TEST(timing, transposed_layout)
{
    SliceConfig config = plain_slice("bit_serial");
    const PatternProfile profile = uniform(plain_groups, 3, 5, 8);
    const TileTiming t = time_tile(config, plain_tile(), profile, {});
    CHECK_EQ(t.build, plain_groups * 11 * 6); /* 6-bit adds */
    CHECK_EQ(t.lookup, plain_groups * (3 + 13 * (1 + 32)));
    CHECK_EQ(t.counts.prt_hits, 0);
    CHECK_EQ(TileSequencer(config, plain_tile(), profile, {}).next_load()->load_cycles,
             4 * 4); /* 4 bits a row */

    config.rows = 15 * 6 + 8 * 4 + 32; /* one batch row at a time */
    const TileTiming chunks = time_tile(config, plain_tile(), profile, {});
    CHECK_EQ(chunks.lookup, t.lookup);
    CHECK_EQ(chunks.build, 2 * t.build);
    CHECK_EQ(chunks.counts.lookups, t.counts.lookups);
    CHECK_EQ(chunks.counts.table_adds, 2 * t.counts.table_adds);
    CHECK_EQ(chunks.result_bytes, t.result_bytes);
    check_sum(chunks);
}

TEST(timing, accumulation_in_rows_shifts_too)
{
    const SliceConfig config = plain_slice("bit_parallel");
    const Substrate &s = config.substrate;
    const TileTiming t = time_tile(config, plain_tile(), uniform(plain_groups, 3, 5, 8), {});
    CHECK_EQ(t.lookup, plain_groups * (3 + 13 * (1 + s.cycles(Op::add, 32) + s.cycles(Op::shift, 1))) * 4);
}

TEST(timing, bad_input_names_the_field)
{
    const PatternProfile profile = uniform(plain_groups, 16, 0, 0);
    SliceConfig config = plain_slice();
    config.port_bytes = 0;
    CHECK_THROWS("port_bytes is 0: allowed are 1..", config.validate());
    config = plain_slice();
    config.accumulator_bits = 64;
    CHECK_THROWS("accumulator_bits is 64: allowed are 2..63", config.validate());
    config = plain_slice();
    config.t_prt = -1;
    CHECK_THROWS("t_prt is -1", config.validate());

    TileShape tile = plain_tile();
    tile.abits = 17;
    CHECK_THROWS("abits is 17: allowed are 1..16", plan_tile(plain_slice(), tile, {}));
    tile = plain_tile();
    tile.wbits = 0;
    CHECK_THROWS("wbits is 0", plan_tile(plain_slice(), tile, {}));
    CHECK_THROWS("profile has 15 groups: the tile has 16",
                 time_tile(plain_slice(), plain_tile(), uniform(15, 16, 0, 0), {}));
}
