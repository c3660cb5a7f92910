/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/convert.hh"

#include "pim/check.hh"
#include "pim/tile.hh"

namespace sailsim::pim
{

std::int64_t Tally::cycles(const Substrate &substrate) const
{
    std::int64_t sum = 0;
    for (const auto &[operation, times] : counts)
        sum += times * substrate.cycles(operation.first, operation.second);
    return sum;
}

/* The steps of int_to_fp32(a) in docs/contract.md, by number. */
Tally int_to_fp32_tally(std::int64_t a)
{
    require_range("bits", a, min_convert_bits, max_convert_bits);
    Tally tally;
    tally.count(Op::copy, a);                         /* 1 */
    tally.count(Op::logic, a);                        /* 2 */
    tally.count(Op::add, a);                          /* 3 */
    tally.count(Op::copy, 8);                         /* 4 */
    for (int step = 0; step < ceil_log2(a); ++step) { /* 5 */
        tally.count(Op::add, a);
        tally.count(Op::copy, a);
        tally.count(Op::shift, 1 << step);
        tally.count(Op::logic, a, 3);
        tally.count(Op::logic, 8);
        tally.count(Op::add, 8);
    }
    tally.count(Op::copy, 32); /* 6 */
    if (a < 24) {              /* 7 */
        tally.count(Op::shift, 24 - a);
    } else if (a > 24) {
        tally.count(Op::shift, a - 24, 2);
        tally.count(Op::add, a);
    }
    tally.count(Op::shift, 23); /* 8 */
    tally.count(Op::add, 32);   /* 9 */
    tally.count(Op::logic, 32); /* 10 */
    tally.count(Op::shift, 31); /* 11 */
    tally.count(Op::logic, 32); /* 12 */
    return tally;
}

} // namespace sailsim::pim
