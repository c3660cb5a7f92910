/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/convert.hh"

#include "pim/check.hh"
#include "pim/tile.hh"

namespace sailsim::pim
{

std::int64_t cycles(const Tally &tally, const Substrate &substrate)
{
    std::int64_t sum = 0;
    for (const auto &[operation, times] : tally)
        sum += times * substrate.cycles(operation.first, operation.second);
    return sum;
}

/* The steps of int_to_fp32(a) in docs/contract.md, by number. */
Tally int_to_fp32_tally(std::int64_t a)
{
    require_range("bits", a, min_convert_bits, max_convert_bits);
    Tally tally;
    const auto count = [&tally](Op op, std::int64_t n, int times = 1) { tally[{op, n}] += times; };
    count(Op::copy, a);                               /* 1 */
    count(Op::logic, a);                              /* 2 */
    count(Op::add, a);                                /* 3 */
    count(Op::copy, 8);                               /* 4 */
    for (int step = 0; step < ceil_log2(a); ++step) { /* 5 */
        count(Op::add, a);
        count(Op::copy, a);
        count(Op::shift, 1 << step);
        count(Op::logic, a, 3);
        count(Op::logic, 8);
        count(Op::add, 8);
    }
    count(Op::copy, 32); /* 6 */
    if (a < 24) {        /* 7 */
        count(Op::shift, 24 - a);
    } else if (a > 24) {
        count(Op::shift, a - 24, 2);
        count(Op::add, a);
    }
    count(Op::shift, 23); /* 8 */
    count(Op::add, 32);   /* 9 */
    count(Op::logic, 32); /* 10 */
    count(Op::shift, 31); /* 11 */
    count(Op::logic, 32); /* 12 */
    return tally;
}

} // namespace sailsim::pim
