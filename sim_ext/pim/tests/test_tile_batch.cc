/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tiles side by side are, to the cycle, what each of them is alone: the loop of one tile is the
 * specification.
 */
#include <vector>

#include "check.hh"
#include "draws.hh"
#include "pim/tile_batch.hh"
#include "support.hh"
#include "tiles.hh"

using namespace sailsim::pim;

TEST(tile_batch, tiles_side_by_side_are_each_alone_on_every_instruction_set)
{
    Numbers numbers(5);
    for (int trial = 0; trial < 300; ++trial) {
        SliceConfig config = plain_slice(numbers.in(0, 3) ? "row_dfm" : "bit_serial");
        config.double_buffer = numbers.in(0, 3) != 0;
        config.convert = numbers.in(0, 2) ? Convert::memory : Convert::cores;
        config.prt_entries = numbers.in(0, 3) ? 32 : 0;
        config.t_prt = static_cast<int>(numbers.in(0, 2));
        config.dfms = numbers.in(0, 3) ? 1 : 2 * numbers.in(1, 2);
        config.dfm_split = numbers.in(0, 1) ? DfmSplit::k : DfmSplit::n;
        /* From one pass to many, some with batches that are worked in chunks. */
        const std::int64_t batch = numbers.in(0, 4) ? numbers.in(1, 9) : numbers.in(200, 400);
        const TileShape shape{numbers.in(1, 400),       numbers.in(1, 3000), batch, 4, 4, 8, 4,
                              numbers.in(0, 1) ? 32 : 0};
        const Scaling scaling{numbers.in(0, 1) != 0, false};
        const Supply supply = drawn_supply(numbers);
        const TilePlan plan = plan_tile(config, shape, scaling);
        std::vector<PatternProfile> profiles;
        for (std::int64_t i = numbers.in(1, 11); i > 0; --i)
            profiles.push_back(drawn_profile(numbers, plan.groups, batch * 8));
        std::vector<const PatternProfile *> pointers;
        for (const PatternProfile &profile : profiles)
            pointers.push_back(&profile);
        for (const BatchLoops &loops : usable_batch_loops()) {
            const std::vector<TileTiming> found = time_tiles(config, shape, pointers, scaling, supply, loops);
            CHECK_EQ(found.size(), profiles.size());
            for (std::size_t i = 0; i < profiles.size(); ++i)
                check_equal(found[i], time_tile(config, shape, profiles[i], scaling, supply));
        }
    }
}

/* Weights come in time mostly: then no group is played, and the slowest DFM of each turn still decides. */
TEST(tile_batch, dfms_that_share_groups_out_wait_for_the_slowest)
{
    Numbers numbers(11);
    for (int trial = 0; trial < 150; ++trial) {
        SliceConfig config = plain_slice("row_dfm");
        config.double_buffer = numbers.in(0, 1) != 0;
        config.prt_entries = numbers.in(0, 3) ? 32 : 0;
        config.t_zero = static_cast<int>(numbers.in(0, 1));
        config.t_prt = static_cast<int>(numbers.in(0, 1));
        config.dfms = 2 * numbers.in(1, 2);
        config.dfm_split = DfmSplit::k;
        /* Blocks of one turn, of several, and with a short one at their end; batches in chunks of a part. */
        const std::int64_t batch = numbers.in(0, 2) ? numbers.in(1, 9) : numbers.in(200, 400);
        const auto block = static_cast<std::int64_t>(one_of(numbers, {0, 4, 20, 32}));
        const TileShape shape{numbers.in(1, 400), numbers.in(1, 3000), batch, 4, 4, 8, 4, block};
        const Scaling scaling{numbers.in(0, 1) != 0, false};
        Supply supply = drawn_supply(numbers);
        supply.bytes_per_cycle *= 100;
        const TilePlan plan = plan_tile(config, shape, scaling);
        CHECK_EQ(plan.groups_per_turn, config.dfms);
        const PatternProfile profile = drawn_profile(numbers, plan.groups, batch * 8);
        for (const BatchLoops &loops : usable_batch_loops())
            check_equal(time_tiles(config, shape, {&profile}, scaling, supply, loops).front(),
                        time_tile(config, shape, profile, scaling, supply));
    }
}

TEST(tile_batch, what_one_tile_refuses_is_refused)
{
    const SliceConfig config = plain_slice();
    const PatternProfile good = uniform(plain_groups, 3, 5, 8), bad = uniform(plain_groups - 1, 3, 5, 8);
    CHECK_THROWS("profile has 15 groups: the tile has 16",
                 time_tiles(config, plain_tile(), {&good, &bad}, {}, {}));
    CHECK_THROWS("latency, lead and ahead",
                 time_tiles(config, plain_tile(), {&good, &good}, {}, Supply{1, -1, 0, 0}));
    CHECK_THROWS("too little to load",
                 time_tiles(config, plain_tile(), {&good, &good}, {}, Supply{1e-300, 0, 0, endless}));
    CHECK(time_tiles(config, plain_tile(), {}, {}, {}).empty());
}
