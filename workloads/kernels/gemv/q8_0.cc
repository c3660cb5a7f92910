/* SPDX-License-Identifier: BSD-3-Clause */
#include "gemv/q8_0.hh"

#include "gemv/scales.hh"

#include <cmath>

namespace sailsim::kernels
{

template <int Batch>
void Q8_0::multiply(const Panel *panel, std::size_t blocks, const ActivationBlock *const *x,
                    PanelSums<Batch> &y)
{
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
        unroll<8>([&](auto step) {
            constexpr int s = decltype(step)::value;
            const int8x16_t w0 = vld1q_s8(panel->q[s][0]), w1 = vld1q_s8(panel->q[s][1]);
            for (int b = 0; b < Batch; ++b) {
                const int8x16_t four = s < 4 ? low[b] : high[b];
                dot[b][0] = dot_lane<s % 4>(dot[b][0], w0, four);
                dot[b][1] = dot_lane<s % 4>(dot[b][1], w1, four);
            }
        });
        const RowScales scale = widen(panel->scale);
        for (int b = 0; b < Batch; ++b) {
            const float scale_x = x[b][block].scale;
            sum[b][0] = vfmaq_f32(sum[b][0], vcvtq_f32_s32(dot[b][0]), vmulq_n_f32(scale.low, scale_x));
            sum[b][1] = vfmaq_f32(sum[b][1], vcvtq_f32_s32(dot[b][1]), vmulq_n_f32(scale.high, scale_x));
        }
    }
    for (int b = 0; b < Batch; ++b)
        y[b][0] = sum[b][0], y[b][1] = sum[b][1];
}

template void Q8_0::multiply<1>(const Panel *, std::size_t, const ActivationBlock *const *, PanelSums<1> &);
template void Q8_0::multiply<2>(const Panel *, std::size_t, const ActivationBlock *const *, PanelSums<2> &);
template void Q8_0::multiply<4>(const Panel *, std::size_t, const ActivationBlock *const *, PanelSums<4> &);

void Q8_0::randomize(Panel &panel, Random &random)
{
    random.fill(&panel, sizeof panel);
    make_scales(panel.scale);
}

Q8_0::Row Q8_0::unpack(const Panel &panel, std::size_t row)
{
    Row out{};
    out.scale = panel.scale[row];
    for (std::size_t k = 0; k < 32; ++k)
        out.q[k] = panel.q[k / 4][row / 4][4 * (row % 4) + k % 4];
    return out;
}

WeightParts Q8_0::weight(const Row &row, std::size_t i)
{
    return {static_cast<double>(row.scale) * row.q[i], 0.0};
}

float Q8_0::reference(const Row *row, std::size_t blocks, const ActivationBlock *x)
{
    float sum = 0.0f;
    for (std::size_t block = 0; block < blocks; ++block) {
        std::int32_t dot = 0;
        for (std::size_t i = 0; i < 32; ++i)
            dot += row[block].q[i] * x[block].q[i];
        const float scale = static_cast<float>(row[block].scale) * x[block].scale;
        sum = std::fma(static_cast<float>(dot), scale, sum);
    }
    return sum;
}

} // namespace sailsim::kernels
