/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/tile.hh"

#include <algorithm>

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

namespace
{

constexpr int result_bytes = 4; /* int32 or fp32 */

} // namespace

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
    hit = s.prt_helps && config.prt_entries > 0 ? config.t_prt + s.cycles(Phase::hit, widths) : miss;
    merge = s.cycles(Phase::merge, widths);
    block = int_to_fp32_tally(config.accumulator_bits).cycles(s) + s.cycles(Phase::scale_block, widths);
    if (scaling.minimum)
        block *= 2; /* the sum of the activations takes the same way */
    act_scale = s.cycles(Phase::scale_row, widths);
}

std::int64_t weight_bytes(const TileShape &shape, std::int64_t weights, std::int64_t outputs)
{
    return ceil_div(weights * outputs * shape.wbits, 8);
}

std::int64_t activation_bytes(const TileShape &shape, std::int64_t weights, std::int64_t rows)
{
    return ceil_div(rows * weights * shape.abits, 8);
}

std::int64_t load_cycles(const SliceConfig &config, const PhaseCosts &costs, const TileShape &shape,
                         std::int64_t weights, std::int64_t outputs, std::int64_t rows_again)
{
    const std::int64_t bytes =
        weight_bytes(shape, weights, outputs) + activation_bytes(shape, weights, rows_again);
    return std::max(ceil_div(bytes, config.port_bytes), costs.stage);
}

std::int64_t written_bytes(const SliceConfig &config, Scaling scaling, std::int64_t rows,
                           std::int64_t outputs, bool pass_ends)
{
    if (scaling.scaled && config.convert == Convert::cores)
        return ceil_div(rows * outputs * config.accumulator_bits, 8);
    return pass_ends ? rows * outputs * result_bytes : 0;
}

std::int64_t convert_lanes(const SliceConfig &config)
{
    if (config.substrate.layout == Layout::columns)
        return config.arrays * config.cols;
    return config.arrays * (config.cols / convert_lane_bits(config.accumulator_bits));
}

std::int64_t convert_cycles(const SliceConfig &config, const PhaseCosts &costs, Scaling scaling,
                            std::int64_t rows, std::int64_t outputs, bool pass_ends)
{
    if (!scaling.scaled || config.convert == Convert::cores)
        return 0;
    if (config.convert == Convert::memory) {
        const std::int64_t lanes = convert_lanes(config);
        const std::int64_t rounds = lanes > 0 ? ceil_div(outputs, lanes) : 0;
        return rows * rounds * (costs.block + (pass_ends ? costs.act_scale : 0));
    }
    const auto pipelined = [&config](std::int64_t sums) {
        return config.convert_latency + ceil_div(sums, config.convert_units) * config.convert_interval;
    };
    /* A minimum's product comes to each sum as another operation; the scale of the activations needs the
     * finished sum of all blocks. */
    const std::int64_t sums = rows * outputs;
    return pipelined(scaling.minimum ? 2 * sums : sums) + (pass_ends ? pipelined(sums) : 0);
}

} // namespace sailsim::pim
