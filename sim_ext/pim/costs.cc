/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/costs.hh"

#include <algorithm>

#include "pim/convert.hh"

namespace sailsim::pim
{

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
