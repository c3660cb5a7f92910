/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How a tile lies in the arrays: what just fits and what just does not.
 */
#include "check.hh"
#include "pim/plan.hh"
#include "pim/timing.hh"
#include "support.hh"
#include "tiles.hh"

using namespace sailsim::pim;

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
