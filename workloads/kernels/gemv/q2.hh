/* SPDX-License-Identifier: BSD-3-Clause */
// A 2-bit format in the manner of Q2_K: blocks of 256 weights in 16 sub-blocks of 16; each sub-block has a
// scale and a minimum of 4 bits, the block has fp16 factors for both. 2.625 bits a weight. Unlike Q2_K's
// usual partner, the activations keep their scale per 32 values, so that all four formats read the same
// activations.
#ifndef SAILSIM_KERNELS_GEMV_Q2_HH
#define SAILSIM_KERNELS_GEMV_Q2_HH

#include "common/random.hh"
#include "gemv/format.hh"

namespace sailsim::kernels
{

struct Q2 {
    static constexpr const char *kName = "q2";
    static constexpr std::size_t kWeights = 256;
    static constexpr std::size_t kMostColumns = 2; // of a pass over a panel; 4 would not fit the registers

    struct Row {
        std::uint8_t scales[16];  // of a sub-block: scale in the low half, minimum in the high half
        std::uint8_t q[64];       // code of weight i: bits 2*(i/32 % 4) of q[32*(i/128) + i % 32]
        float16_t scale, minimum; // weight = scale * sub-scale * code - minimum * sub-minimum
    };
    // q[u][h]: sub-block u of rows 4h .. 4h+3, row by row; bits 2s hold k = 16u + 4s .. 16u + 4s+3.
    struct Panel {
        float16_t scale[kRows], minimum[kRows];
        std::uint8_t scales[16][kRows];
        std::uint8_t q[16][2][16];
    };

    // Adds the products of a block.
    template <int Batch>
    static void add_block(const Panel &panel, const ActivationBlock *const *x, std::size_t block,
                          PanelSums<Batch> &sum);
    static void randomize(Panel &panel, Random &random);
    static Row unpack(const Panel &panel, std::size_t row);
    static WeightParts weight(const Row &row, std::size_t i);
    static float reference(const Row *row, std::size_t blocks, const ActivationBlock *x);
};

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

template <int Batch>
inline __attribute__((always_inline)) void Q2::add_block(const Panel &panel, const ActivationBlock *const *x,
                                                         std::size_t block, PanelSums<Batch> &sum)
{
    const uint8x16_t bottom = vdupq_n_u8(3);
    const uint8x8_t scale_bits = vdup_n_u8(15);
    PanelSums<Batch> products{}, minima{};
    for (std::size_t part = 0; part < 8; ++part) { // 32 weights: two sub-blocks, one activation block
        int32x4_t dot[Batch][2], offset[Batch][2];
        for (std::size_t half = 0; half < 2; ++half) {
            const std::size_t u = 2 * part + half;
            const uint8x8_t bytes = vld1_u8(panel.scales[u]);
            const Lanes scale = widen_to_int32(vand_u8(bytes, scale_bits));
            const int16x8_t minimum = vreinterpretq_s16_u16(vmovl_u8(vshr_n_u8(bytes, 4)));
            for (int h = 0; h < 2; ++h) {
                const uint8x16_t packed = vld1q_u8(panel.q[u][h]);
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
    const RowScales scale = widen(panel.scale), minimum = widen(panel.minimum);
    for (int b = 0; b < Batch; ++b) {
        sum[b][0] = vfmaq_f32(sum[b][0], products[b][0], scale.low);
        sum[b][1] = vfmaq_f32(sum[b][1], products[b][1], scale.high);
        sum[b][0] = vfmsq_f32(sum[b][0], minima[b][0], minimum.low);
        sum[b][1] = vfmsq_f32(sum[b][1], minima[b][1], minimum.high);
    }
}

} // namespace sailsim::kernels

#endif
