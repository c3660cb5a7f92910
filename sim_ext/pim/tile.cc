/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/tile.hh"

#include "pim/check.hh"

namespace sailsim::pim
{

namespace
{
/* The ABI holds K, N in 32 bits; the same limit keeps every product of this core inside 64 bits. */
constexpr std::int64_t max_extent = std::int64_t{1} << 32;
} // namespace

Grouping::Grouping(std::int64_t k, int nbw, std::int64_t group_size) : total(k), width(nbw)
{
    require_range("k", k, 1, max_extent);
    require_range("nbw", nbw, 1, max_nbw);
    require_range("group_size", group_size, 0, max_extent);
    block = group_size > 0 && group_size < k ? group_size : k;
    block_count = ceil_div(k, block);
    per_block = ceil_div(block, width);
    const std::int64_t last_block = k - (block_count - 1) * block;
    group_count = (block_count - 1) * per_block + ceil_div(last_block, width);
}

void TileShape::validate() const
{
    require_range("k", k, 1, max_extent);
    require_range("n", n, 1, max_extent);
    require_range("batch", batch, 1, max_batch);
    require_range("wbits", wbits, 1, max_wbits);
    require_range("value_bits", value_bits, 1, 16);
    require_range("abits", abits, 1, max_abits);
    require_range("nbw", nbw, 1, max_nbw);
    require_range("group_size", group_size, 0, max_extent);
}

std::int64_t entry_bits(const TileShape &shape)
{
    return shape.value_bits + ceil_log2(shape.nbw);
}

std::int64_t table_adds(int nbw)
{
    return (std::int64_t{1} << nbw) - nbw - 1;
}

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

PhaseCosts::PhaseCosts(const SliceConfig &config, const TileShape &shape, Scaling scaling)
{
    const Substrate &s = config.substrate;
    const Widths widths{shape.value_bits, entry_bits(shape), config.accumulator_bits};
    stage = shape.nbw * s.cycles(Phase::stage, widths);
    build = table_adds(shape.nbw) * s.cycles(Phase::table_add, widths);
    zero = config.t_zero;
    miss = s.cycles(Phase::lookup, widths);
    prt = s.prt_helps && config.prt_entries > 0;
    hit = prt ? config.t_prt + s.cycles(Phase::hit, widths) : miss;
    merge = s.cycles(Phase::merge, widths);
    block = cycles(int_to_fp32_tally(config.accumulator_bits), s) + s.cycles(Phase::scale_block, widths);
    if (scaling.minimum)
        block *= 2; /* the sum of the activations takes the same way */
    act_scale = s.cycles(Phase::scale_row, widths);
}

} // namespace sailsim::pim
