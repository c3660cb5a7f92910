/* SPDX-License-Identifier: BSD-3-Clause
 *
 * That the tally is the one of docs/contract.md is tested in tests/lut_gemv/test_convert.py.
 */
#include "pim/convert.hh"
#include "support.hh"

TEST(convert, cycles_are_the_tally_priced_by_the_table)
{
    const Substrate s = shipped("row_dfm");
    const Tally tally = int_to_fp32_tally(24); /* 5 steps; no shift to the significand */
    const std::int64_t copies = 2 * (6 + 1 + 1);
    const std::int64_t logic = 3 * (16 + 5 + 2);
    const std::int64_t adds = 6 + 5 + 1;
    const std::int64_t shifts = (1 + 2 + 4 + 8 + 16 + 5) + 24 + 32;
    CHECK_EQ(cycles(tally, s), copies + logic + adds + shifts);
    CHECK_THROWS("bits is 1", int_to_fp32_tally(1));
    CHECK_THROWS("bits is 64", int_to_fp32_tally(64));
}
