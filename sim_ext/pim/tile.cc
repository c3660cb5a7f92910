/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/tile.hh"

#include "pim/check.hh"
#include "pim/convert.hh"
#include "pim/prt.hh"

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
