/* SPDX-License-Identifier: BSD-3-Clause */
#include "gemv/q2.hh"

#include "gemv/scales.hh"

#include <cmath>

namespace sailsim::kernels
{

namespace
{

// Bytes of kRows rows, a 32-bit lane for each row.
struct Lanes {
    int32x4_t low, high;
};
inline Lanes widen_to_int32(uint8x8_t bytes)
{
    const uint16x8_t shorts = vmovl_u8(bytes);
    return {vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(shorts))),
            vreinterpretq_s32_u32(vmovl_high_u16(shorts))};
}

// The products of one sub-block of 16 weights of 4 rows, before its scale.
inline int32x4_t sub_block_dot(const int8x16_t *codes, int8x16_t x)
{
    int32x4_t dot = vdupq_n_s32(0);
    dot = dot_lane<0>(dot, codes[0], x);
    dot = dot_lane<1>(dot, codes[1], x);
    dot = dot_lane<2>(dot, codes[2], x);
    return dot_lane<3>(dot, codes[3], x);
}

} // namespace

template <int Batch>
void Q2::multiply(const Panel *panel, std::size_t blocks, const ActivationBlock *const *x,
                  PanelSums<Batch> &y)
{
    const uint8x16_t bottom = vdupq_n_u8(3);
    const uint8x8_t scale_bits = vdup_n_u8(15);
    PanelSums<Batch> sum{};
    for (std::size_t block = 0; block < blocks; ++block, ++panel) {
        prefetch_ahead(panel);
        PanelSums<Batch> products{}, minima{};
        for (std::size_t part = 0; part < 8; ++part) { // 32 weights: two sub-blocks, one activation block
            int32x4_t dot[Batch][2], offset[Batch][2];
            for (std::size_t half = 0; half < 2; ++half) {
                const std::size_t u = 2 * part + half;
                const uint8x8_t bytes = vld1_u8(panel->scales[u]);
                const Lanes scale = widen_to_int32(vand_u8(bytes, scale_bits));
                const int16x8_t minimum = vreinterpretq_s16_u16(vmovl_u8(vshr_n_u8(bytes, 4)));
                for (int h = 0; h < 2; ++h) {
                    const uint8x16_t packed = vld1q_u8(panel->q[u][h]);
                    const int8x16_t codes[4] = {
                        vreinterpretq_s8_u8(vandq_u8(packed, bottom)),
                        vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(packed, 2), bottom)),
                        vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(packed, 4), bottom)),
                        vreinterpretq_s8_u8(vshrq_n_u8(packed, 6)),
                    };
                    const int32x4_t sub_scale = h == 0 ? scale.low : scale.high;
                    const int16x4_t sub_minimum = h == 0 ? vget_low_s16(minimum) : vget_high_s16(minimum);
                    for (int b = 0; b < Batch; ++b) {
                        const ActivationBlock &in = x[b][8 * block + part];
                        const int32x4_t raw = sub_block_dot(codes, vld1q_s8(in.q + 16 * half));
                        if (half == 0) {
                            dot[b][h] = vmulq_s32(raw, sub_scale);
                            offset[b][h] = vmull_n_s16(sub_minimum, in.half_sum[0]);
                        } else {
                            dot[b][h] = vmlaq_s32(dot[b][h], raw, sub_scale);
                            offset[b][h] = vmlal_n_s16(offset[b][h], sub_minimum, in.half_sum[1]);
                        }
                    }
                }
            }
            for (int b = 0; b < Batch; ++b) {
                const float scale_x = x[b][8 * block + part].scale;
                for (int h = 0; h < 2; ++h) {
                    products[b][h] = vfmaq_n_f32(products[b][h], vcvtq_f32_s32(dot[b][h]), scale_x);
                    minima[b][h] = vfmaq_n_f32(minima[b][h], vcvtq_f32_s32(offset[b][h]), scale_x);
                }
            }
        }
        const RowScales scale = widen(panel->scale), minimum = widen(panel->minimum);
        for (int b = 0; b < Batch; ++b) {
            sum[b][0] = vfmaq_f32(sum[b][0], products[b][0], scale.low);
            sum[b][1] = vfmaq_f32(sum[b][1], products[b][1], scale.high);
            sum[b][0] = vfmsq_f32(sum[b][0], minima[b][0], minimum.low);
            sum[b][1] = vfmsq_f32(sum[b][1], minima[b][1], minimum.high);
        }
    }
    for (int b = 0; b < Batch; ++b)
        y[b][0] = sum[b][0], y[b][1] = sum[b][1];
}

template void Q2::multiply<1>(const Panel *, std::size_t, const ActivationBlock *const *, PanelSums<1> &);
template void Q2::multiply<2>(const Panel *, std::size_t, const ActivationBlock *const *, PanelSums<2> &);

void Q2::randomize(Panel &panel, Random &random)
{
    random.fill(&panel, sizeof panel);
    make_scales(panel.scale);
    make_scales(panel.minimum);
}

Q2::Row Q2::unpack(const Panel &panel, std::size_t row)
{
    Row out{};
    out.scale = panel.scale[row];
    out.minimum = panel.minimum[row];
    for (std::size_t u = 0; u < 16; ++u)
        out.scales[u] = panel.scales[u][row];
    for (std::size_t i = 0; i < 256; ++i) {
        const std::uint8_t packed = panel.q[i / 16][row / 4][4 * (row % 4) + i % 4];
        const unsigned code = (packed >> (2 * (i / 4 % 4))) & 3u;
        std::uint8_t &target = out.q[32 * (i / 128) + i % 32];
        target = static_cast<std::uint8_t>(target | (code << (2 * (i / 32 % 4))));
    }
    return out;
}

WeightParts Q2::weight(const Row &row, std::size_t i)
{
    const int code = (row.q[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3;
    const int packed = row.scales[i / 16];
    return {static_cast<double>(row.scale) * (packed & 15) * code,
            -static_cast<double>(row.minimum) * (packed >> 4)};
}

float Q2::reference(const Row *row, std::size_t blocks, const ActivationBlock *x)
{
    float sum = 0.0f;
    for (std::size_t block = 0; block < blocks; ++block, ++row) {
        float products = 0.0f, minima = 0.0f;
        for (std::size_t part = 0; part < 8; ++part, ++x) {
            std::int32_t dot = 0, offset = 0;
            for (std::size_t j = 0; j < 32; ++j) {
                const std::size_t i = 32 * part + j;
                const int code = (row->q[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3;
                dot += (row->scales[i / 16] & 15) * code * x->q[j];
                offset += (row->scales[i / 16] >> 4) * x->q[j];
            }
            products = std::fma(static_cast<float>(dot), x->scale, products);
            minima = std::fma(static_cast<float>(offset), x->scale, minima);
        }
        sum = std::fma(products, static_cast<float>(row->scale), sum);
        sum = std::fma(-minima, static_cast<float>(row->minimum), sum);
    }
    return sum;
}

} // namespace sailsim::kernels
