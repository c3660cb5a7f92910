/* SPDX-License-Identifier: BSD-3-Clause */
#include "check.hh"
#include "support.hh"

using namespace sailsim::pim;

TEST(substrate, near_cache_counters)
{
    const Substrate s = shipped("bit_parallel");
    CHECK_EQ(s.cycles(Op::read), 1);
    CHECK_EQ(s.cycles(Op::write), 1);
    CHECK_EQ(s.cycles(Op::logic, 16), 3);
    CHECK_EQ(s.cycles(Op::shift, 5), 6);
    CHECK_EQ(s.cycles(Op::add, 16), 16 * 3 + 16 * 3 + 15 * 2);
    CHECK_EQ(s.cycles(Op::fp_mul, 32), 32 * (s.cycles(Op::add, 32) + s.cycles(Op::shift, 1)));
}

TEST(substrate, fp_add_follows_from_the_table)
{
    for (const char *name : {"row_dfm", "bit_parallel"}) {
        const Substrate s = shipped(name);
        std::int64_t cascade = 0;
        for (int d = 1; d <= 16; d *= 2)
            cascade += s.cycles(Op::shift, d) + s.cycles(Op::copy, 32) + 3 * s.cycles(Op::logic, 32);
        CHECK_EQ(s.cycles(Op::fp_add, 32), 2 * cascade + 8 * s.cycles(Op::add, 32));
    }
}

TEST(substrate, bit_serial_latencies)
{
    const Substrate s = shipped("bit_serial");
    CHECK_EQ(s.cycles(Op::add, 8), 8);
    CHECK_EQ(s.cycles(Op::fp_mul, 32), 1024);
    CHECK_EQ(s.cycles(Op::fp_add, 32), 1024);
}

TEST(substrate, validation_names_the_field)
{
    Substrate s = shipped("row_dfm");
    s.name = "two words";
    CHECK_THROWS("substrate.name is 'two words'", s.validate());

    s = shipped("row_dfm");
    s.costs[5].c0 = -1;
    CHECK_THROWS("substrate.costs.add is -1 cycles", s.validate());

    s = shipped("row_dfm");
    s.costs[2].c1 = 2'000'000;
    CHECK_THROWS("substrate.costs.logic has the coefficient 2000000", s.validate());

    s = shipped("bit_serial");
    s.accumulate = Accumulate::behind;
    CHECK_THROWS("substrate.accumulate", s.validate());

    s = shipped("bit_parallel");
    s.prt_helps = true;
    CHECK_THROWS("substrate.prt_helps", s.validate());
}
