/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A tile's time in both of the core's ways, the sequencer's as gem5 drives it. What a tile takes by the
 * letter is tested in tests/pim.
 */
#include "support.hh"

namespace
{

/* A tile's time against the sequencer's, which is told of every arrival: to the cycle, as what is fetched
 * comes in whole ticks, so that no sum is rounded. */
void check_played(const SliceConfig &config, const TileShape &shape, const PatternProfile &profile,
                  Scaling scaling, const Supply &supply)
{
    const TileTiming timed = TileTimer(config, shape, scaling).time(profile, supply);
    TileSequencer sequencer(config, shape, profile, scaling);
    for (const GroupTimes &group : tile_timeline(config, shape, profile, scaling, supply)) {
        CHECK_EQ(sequencer.load_start(), group.load_start);
        CHECK(group.load_start + sequencer.next_load()->load_cycles <= group.load_end);
        sequencer.loaded(group.load_end);
    }
    CHECK(sequencer.next_load() == nullptr);
    const TileTiming played = sequencer.timing();
    for (const TimingField &field : timing_fields)
        CHECK_EQ(timed.*field.of, played.*field.of);
    CHECK_EQ(timed.load + timed.build + timed.lookup + timed.convert + timed.write_back, timed.total);
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
