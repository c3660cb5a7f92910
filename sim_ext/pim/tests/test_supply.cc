/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Passes that `time_tile` steps over, against the same tile group by group, of which every one is played.
 */
#include <cmath>
#include <vector>

#include "check.hh"
#include "draws.hh"
#include "pim/timing.hh"
#include "support.hh"
#include "tiles.hh"

using namespace sailsim::pim;

namespace
{

/* To the cycle: what is fetched comes in whole ticks, so that no sum is rounded. */
void check_played(const SliceConfig &config, const TileShape &shape, const PatternProfile &profile,
                  Scaling scaling, const Supply &supply)
{
    const TileTiming stepped = time_tile(config, shape, profile, scaling, supply);
    TileTiming played;
    std::int64_t computed = 0; /* until when the groups before are at work */
    for (const GroupTimes &group : tile_timeline(config, shape, profile, scaling, supply)) {
        played.build += group.build;
        played.lookup += group.lookup;
        played.convert += group.convert;
        played.write_back += group.write_back;
        computed = group.start + group.build + group.lookup + group.convert;
        played.total = computed + group.write_back;
    }
    CHECK_EQ(stepped.total, played.total);
    CHECK_EQ(stepped.build, played.build);
    CHECK_EQ(stepped.lookup, played.lookup);
    CHECK_EQ(stepped.convert, played.convert);
    CHECK_EQ(stepped.write_back, played.write_back);
    check_sum(stepped);
}

PatternProfile drawn_for(Numbers &numbers, const SliceConfig &config, const TileShape &shape)
{
    return drawn_profile(numbers, plan_tile(config, shape, {}).groups, shape.batch * shape.abits);
}

} // namespace

TEST(supply, passes_that_are_stepped_over_take_as_long_as_if_they_were_played)
{
    Numbers numbers(11);
    for (int trial = 0; trial < 3000; ++trial) {
        SliceConfig config = plain_slice(numbers.in(0, 3) ? "row_dfm" : "bit_serial");
        config.arrays = numbers.in(1, 3);
        config.double_buffer = numbers.in(0, 3) != 0;
        config.activation_buffer_bits = numbers.in(0, 3) ? 32768 : 256;
        const int nbw = static_cast<int>(numbers.in(1, 3));
        const TileShape shape{numbers.in(1, 40),    numbers.in(1, 4000), numbers.in(1, 3), 4, 4, 8, nbw,
                              numbers.in(0, 1) * 16};
        const Supply supply = drawn_supply(numbers);
        const Scaling scaling{numbers.in(0, 1) != 0, false};
        check_played(config, shape, drawn_for(numbers, config, shape), scaling, supply);
    }
}

TEST(supply, passes_that_are_not_steady_yet_are_not_stepped_over)
{
    /* The first two passes differ by less than a cycle, the later ones by a twentieth. */
    Numbers numbers(1);
    for (const std::int64_t arrays : {2, 4, 16})
        for (const double rate : {endless, 1.0, 3.17, 5.1, 8.0, 20.0, 33.3})
            for (const double lead : {0.0, 50.0, 123.9}) {
                SliceConfig config = plain_slice();
                config.arrays = arrays;
                const TileShape shape{17, 19131, 1, 3, 8, 8, 2, 16};
                const PatternProfile profile = drawn_for(numbers, config, shape);
                check_played(config, shape, profile, {}, Supply{rate, 123.9, lead, 448});
            }
}

TEST(supply, passes_without_end_are_stepped_over)
{
    /* Of 2^32 outputs; to play every one of 10^8 passes would take minutes. */
    const SliceConfig config = plain_slice();
    const TileShape shape{64, std::int64_t{1} << 32, 1, 4, 4, 8, 4, 0};
    const PatternProfile profile = uniform(plain_groups, 2, 3, 3);
    const std::int64_t passes = plan_tile(config, shape, {}).passes;
    CHECK(passes > 10'000'000);
    for (const double ahead : {0.0, 500.0, 4096.0, endless}) {
        const TileTiming timing = time_tile(config, shape, profile, {}, Supply{20, 123.9, 50, ahead});
        CHECK_EQ(timing.counts.table_builds, passes * plain_groups);
        check_sum(timing);
    }
}

TEST(supply, times_are_whole_ticks)
{
    const double tick = 1.0 / (1 << 20);
    for (const double cycles : {0.0, 0.3, 123.9, 411.1, 1e6 / 7, 2e9 / 3}) {
        const double settled = whole_ticks(cycles);
        CHECK_EQ(settled / tick, static_cast<double>(static_cast<std::int64_t>(settled / tick)));
        CHECK(std::abs(settled - cycles) <= tick / 2);
    }
    CHECK_EQ(whole_ticks(endless), endless);
    CHECK_EQ(settled(Supply{1, 0.25, 0.5, 99.9}).ahead, 99);
}
