/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A tile's time in both of the core's ways, and the sequencer as gem5 drives it: the cycle before and the
 * cycle after. What a tile takes by the letter is tested in tests/pim.
 */
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
    const TileTiming timed = TileTimer(config, shape, scaling).time(profile, supply);
    TileSequencer sequencer(config, shape, profile, scaling);
    for (const GroupTimes &group : tile_timeline(config, shape, profile, scaling, supply))
        sequencer.loaded(group.load_end);
    CHECK(sequencer.next_load() == nullptr);
    const TileTiming played = sequencer.timing();
    for (const TimingField &field : timing_fields)
        CHECK_EQ(timed.*field.of, played.*field.of);
    check_sum(timed);
}

/* K = 64, N = 100: 16 groups of 4, one pass; batch 2 of 8 bits: 16 patterns a group. */
constexpr TileShape plain_tile{64, 100, 2, 4, 4, 8, 4, 0};
constexpr std::int64_t plain_groups = 16;
constexpr std::int64_t plain_load = 7; /* 4 x 100 codes of 4 bits through 32 bytes a cycle */

PatternProfile uniform(std::int32_t zero, std::int32_t hits, std::int32_t misses)
{
    const auto all = [](std::int32_t count) { return PatternProfile::Counts(plain_groups, count); };
    return {all(zero), all(hits), all(misses)};
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

TEST(timing, load_that_just_hides)
{
    const SliceConfig config = plain_slice();
    const PatternProfile profile = uniform(3, 5, 8);
    const std::int64_t compute = 11 * (2 + 1 + 1) + 16;
    for (std::int64_t late : {0, 1, 5}) {
        TileSequencer sequencer(config, plain_tile, profile, {});
        while (sequencer.next_load())
            sequencer.loaded(sequencer.load_start() + compute + late);
        /* The first load is waited for; the others only for as long as they exceed build and look-up. */
        CHECK_EQ(sequencer.timing().load, compute + late + (plain_groups - 1) * late);
        check_sum(sequencer.timing());
    }
}

TEST(timing, load_is_never_faster_than_port_and_staging)
{
    SliceConfig config = plain_slice();
    const PatternProfile profile = uniform(16, 0, 0);
    /* Data that is there at once still takes the port its time. */
    for (const std::int64_t arrival : {std::int64_t{0}, plain_load, plain_load + 1}) {
        TileSequencer sequencer(config, plain_tile, profile, {});
        sequencer.loaded(arrival);
        CHECK_EQ(sequencer.load_start(), std::max(arrival, plain_load));
    }
    const std::pair<int, int> cycles_of_ports[] = {{49, 5}, {50, 4}, {64, 4}}; /* 4 staging rows to write */
    for (const auto &[bytes, cycles] : cycles_of_ports) {
        config.port_bytes = bytes;
        CHECK_EQ(TileSequencer(config, plain_tile, profile, {}).next_load()->load_cycles, cycles);
    }
}
