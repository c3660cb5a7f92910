/* SPDX-License-Identifier: BSD-3-Clause */
#include "gemv/q4_0.hh"

#include "gemv/scales.hh"

#include <cmath>

namespace sailsim::kernels
{

template <int Batch>
void Q4_0::multiply(const Panel *panel, std::size_t blocks, const ActivationBlock *const *x,
                    PanelSums<Batch> &y)
{
    const uint8x16_t top = vdupq_n_u8(0xf0);
    PanelSums<Batch> sum{};
    for (std::size_t block = 0; block < blocks; ++block, ++panel) {
        prefetch_ahead(panel);
        int8x16_t low[Batch], high[Batch];
        int32x4_t dot[Batch][2];
        for (int b = 0; b < Batch; ++b) {
            low[b] = vld1q_s8(x[b][block].q);
            high[b] = vld1q_s8(x[b][block].q + 16);
            dot[b][0] = dot[b][1] = vdupq_n_s32(0);
        }
        unroll<4>([&](auto step) {
            constexpr int s = decltype(step)::value;
            for (int h = 0; h < 2; ++h) {
                // Both halves as 16 times the weight; the conversion below divides by 16 exactly.
                const uint8x16_t packed = vld1q_u8(panel->q[s][h]);
                const int8x16_t w_low = vreinterpretq_s8_u8(vshlq_n_u8(packed, 4));
                const int8x16_t w_high = vreinterpretq_s8_u8(vandq_u8(packed, top));
                for (int b = 0; b < Batch; ++b) {
                    dot[b][h] = dot_lane<s>(dot[b][h], w_low, low[b]);
                    dot[b][h] = dot_lane<s>(dot[b][h], w_high, high[b]);
                }
            }
        });
        const RowScales scale = widen(panel->scale);
        for (int b = 0; b < Batch; ++b) {
            const float scale_x = x[b][block].scale;
            sum[b][0] = vfmaq_f32(sum[b][0], vcvtq_n_f32_s32(dot[b][0], 4), vmulq_n_f32(scale.low, scale_x));
            sum[b][1] = vfmaq_f32(sum[b][1], vcvtq_n_f32_s32(dot[b][1], 4), vmulq_n_f32(scale.high, scale_x));
        }
    }
    for (int b = 0; b < Batch; ++b)
        y[b][0] = sum[b][0], y[b][1] = sum[b][1];
}

template void Q4_0::multiply<1>(const Panel *, std::size_t, const ActivationBlock *const *, PanelSums<1> &);
template void Q4_0::multiply<2>(const Panel *, std::size_t, const ActivationBlock *const *, PanelSums<2> &);
template void Q4_0::multiply<4>(const Panel *, std::size_t, const ActivationBlock *const *, PanelSums<4> &);

void Q4_0::randomize(Panel &panel, Random &random)
{
    random.fill(&panel, sizeof panel);
    make_scales(panel.scale);
}

Q4_0::Row Q4_0::unpack(const Panel &panel, std::size_t row)
{
    Row out{};
    out.scale = panel.scale[row];
    for (std::size_t k = 0; k < 16; ++k)
        out.q[k] = panel.q[k / 4][row / 4][4 * (row % 4) + k % 4] ^ 0x88;
    return out;
}

WeightParts Q4_0::weight(const Row &row, std::size_t i)
{
    const int code = i < 16 ? row.q[i] & 15 : row.q[i - 16] >> 4;
    return {static_cast<double>(row.scale) * (code - 8), 0.0};
}

float Q4_0::reference(const Row *row, std::size_t blocks, const ActivationBlock *x)
{
    float sum = 0.0f;
    for (std::size_t block = 0; block < blocks; ++block) {
        std::int32_t dot = 0;
        for (std::size_t i = 0; i < 16; ++i) {
            dot += ((row[block].q[i] & 15) - 8) * x[block].q[i];
            dot += ((row[block].q[i] >> 4) - 8) * x[block].q[i + 16];
        }
        const float scale = static_cast<float>(row[block].scale) * x[block].scale;
        sum = std::fma(static_cast<float>(dot), scale, sum);
    }
    return sum;
}

} // namespace sailsim::kernels
