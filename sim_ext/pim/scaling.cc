/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/scaling.hh"

#include <cstring>

/* The contract rounds after the product and after the sum; a fused multiply-add would round once. */
#pragma GCC optimize("fp-contract=off")

namespace sailsim::pim
{

float half_to_float(std::uint16_t half)
{
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000) << 16;
    const std::uint32_t exponent = half >> 10 & 0x1f;
    std::uint32_t fraction = half & 0x3ff;
    std::uint32_t bits;
    if (exponent == 0x1f) { /* infinity or NaN */
        bits = sign | 0x7f800000 | fraction << 13;
    } else if (exponent != 0) {
        bits = sign | (exponent + 127 - 15) << 23 | fraction << 13;
    } else if (fraction == 0) {
        bits = sign;
    } else { /* subnormal: normal in fp32 */
        std::uint32_t e = 127 - 15 + 1;
        while (!(fraction & 0x400)) {
            fraction <<= 1;
            --e;
        }
        bits = sign | e << 23 | (fraction & 0x3ff) << 13;
    }
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

void add_scaled_block(const TileSums &tile, const Scales &scales, float *y)
{
    float scale[tile_outputs];
    float minimum[tile_outputs];
    const std::int64_t at = tile.block * scales.n + tile.first_output;
    for (std::int64_t i = 0; i < tile.outputs; ++i) {
        scale[i] = half_to_float(scales.scale[at + i]);
        minimum[i] = scales.minimum ? half_to_float(scales.minimum[at + i]) : 0.0F;
    }
    for (std::int64_t b = 0; b < scales.batch; ++b) {
        const std::int64_t *sums = tile.sums + b * tile_outputs;
        float *row = y + b * scales.n + tile.first_output;
        for (std::int64_t i = 0; i < tile.outputs; ++i) {
            const float scaled = static_cast<float>(sums[i]) * scale[i];
            row[i] += scaled;
        }
        if (!scales.minimum)
            continue;
        const float sum_of_x = static_cast<float>(scales.sums_of_x[tile.block * scales.batch + b]);
        for (std::int64_t i = 0; i < tile.outputs; ++i) {
            const float offset = sum_of_x * minimum[i];
            row[i] += offset;
        }
    }
}

void scale_rows(const Scales &scales, float *y)
{
    for (std::int64_t b = 0; b < scales.batch; ++b)
        for (std::int64_t i = 0; i < scales.n; ++i)
            y[b * scales.n + i] *= scales.act_scale[b];
}

} // namespace sailsim::pim
