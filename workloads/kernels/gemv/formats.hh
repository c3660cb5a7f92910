/* SPDX-License-Identifier: BSD-3-Clause */
// The weight formats of the baseline: three with blocks of 32 weights, and Q2.
//
// A model file stores a row after the other. The kernels read panels: kRows rows side by side, so that one
// vector register holds 4 consecutive k of 4 rows and SDOT by element adds 4 products to each of 4 rows. No
// horizontal sums, every scale is applied to 4 rows at once, and a panel is one forward stream through
// memory.
#pragma once

#include "common/measure.hh"
#include "common/vector_math.hh"

#include <cmath>

namespace sailsim::kernels
{

// Activations are int8 in blocks of 32, each with an fp32 scale and the sums that formats with a minimum
// need.
constexpr std::size_t kBlock = 32;

struct alignas(16) ActivationBlock {
    std::int8_t q[kBlock];
    std::int16_t half_sum[2]; // of q[0..16) and q[16..32)
    float scale;
    float scaled_sum; // scale * (half_sum[0] + half_sum[1]), rounded once
};

constexpr std::size_t kRows = 8; // rows of a panel

// One pass over the blocks of a panel. Never inlined, so that each format's loop stands by itself in the
// binary.
template <class Format, int Batch>
__attribute__((noinline)) void multiply_panel(const typename Format::Panel *panel, std::size_t blocks,
                                              const ActivationBlock *const *x, PanelSums<Batch> &y)
{
    PanelSums<Batch> sum{};
    for (std::size_t block = 0; block < blocks; ++block, ++panel) {
        const auto ahead = reinterpret_cast<std::uintptr_t>(panel) + kPrefetchBytes;
        for (std::size_t line = 0; line < sizeof *panel; line += 64)
            __builtin_prefetch(reinterpret_cast<const void *>(ahead + line), 0, 0);
        Format::template add_block<Batch>(*panel, x, block, sum);
    }
    for (int b = 0; b < Batch; ++b)
        y[b][0] = sum[b][0], y[b][1] = sum[b][1];
}

// Random bits, of which the fp16 factors become plausible: each keeps its mantissa, and its sign if it is a
// minimum that has one, and its exponent is set: magnitudes in [2^-7, 2^-6), the order of the scales of 4-bit
// transformer weights.
template <class Format>
void randomize(typename Format::Panel &panel, Random &random)
{
    random.fill(&panel, sizeof panel);
    for (auto &factors : panel.factor)
        for (float16_t &factor : factors) {
            const bool is_signed = Format::kSignedMinimum && &factors != panel.factor;
            std::uint16_t bits;
            std::memcpy(&bits, &factor, sizeof bits);
            bits = static_cast<std::uint16_t>((bits & (is_signed ? 0x83ff : 0x03ff)) | (15 - 7) << 10);
            std::memcpy(&factor, &bits, sizeof bits);
        }
}

// A format with blocks of 32 weights of `Bits` that share a scale, and maybe a minimum: weight = scale * code
// + minimum, else scale * code. Codes with a minimum are unsigned. Model files store those of 4 bits without
// one with offset 8, a panel as two's complement, so that each half is widened with one instruction, to 16
// times the weight.
template <int Bits, bool Minimum>
struct Block32 {
    static constexpr std::size_t kWeights = 32;      // of one row in a block
    static constexpr std::size_t kBytes = 4 * Bits;  // of its codes
    static constexpr std::size_t kInByte = 8 / Bits; // codes
    static constexpr int kMostColumns = 4;           // of a pass over a panel
    static constexpr std::size_t kFactors = Minimum ? 2 : 1;
    static constexpr bool kSignedMinimum = true;

    // q[s][h]: bytes 4s .. 4s+3 of rows 4h .. 4h+3, row by row.
    struct Panel {
        float16_t factor[kFactors][kRows]; // scale, minimum
        std::uint8_t q[kBytes / 4][2][16];
    };

    // Adds the products of a block.
    template <int Batch>
    static inline __attribute__((always_inline)) void
    add_block(const Panel &panel, const ActivationBlock *const *x, std::size_t block, PanelSums<Batch> &sum)
    {
        int8x16_t in[Batch][2];
        int32x4_t dot[Batch][2];
        for (int b = 0; b < Batch; ++b) {
            in[b][0] = vld1q_s8(x[b][block].q);
            in[b][1] = vld1q_s8(x[b][block].q + 16);
            dot[b][0] = dot[b][1] = vdupq_n_s32(0);
        }
        unroll<kBytes / 4>([&](auto step) {
            constexpr std::size_t s = decltype(step)::value;
            for (std::size_t h = 0; h < 2; ++h) {
                const Codes codes = widen_codes(vld1q_u8(panel.q[s][h]));
                for (std::size_t r = 0; r < kInByte; ++r)
                    for (int b = 0; b < Batch; ++b)
                        dot[b][h] = vdotq_laneq_s32(dot[b][h], codes.of[r], in[b][r + s / 4], s % 4);
            }
        });
        const Floats8 scale = widen(panel.factor[0]);
        const Floats8 minimum = widen(panel.factor[kFactors - 1]); // unused without minima
        for (int b = 0; b < Batch; ++b) {
            const float scale_x = x[b][block].scale, sum_x = x[b][block].scaled_sum;
            sum[b][0] = vfmaq_f32(sum[b][0], to_float(dot[b][0]), vmulq_n_f32(scale.low, scale_x));
            sum[b][1] = vfmaq_f32(sum[b][1], to_float(dot[b][1]), vmulq_n_f32(scale.high, scale_x));
            if constexpr (Minimum) {
                sum[b][0] = vfmaq_n_f32(sum[b][0], minimum.low, sum_x);
                sum[b][1] = vfmaq_n_f32(sum[b][1], minimum.high, sum_x);
            }
        }
    }

    // One row's result with the kernel's rounding, block by block.
    static float reference(const Panel *panel, std::size_t row, std::size_t blocks, const ActivationBlock *x)
    {
        float sum = 0.0f;
        for (; blocks > 0; --blocks, ++panel, ++x) {
            std::int32_t dot = 0;
            for (std::size_t i = 0; i < kWeights; ++i) {
                const std::size_t byte = i % kBytes;
                const std::uint8_t packed = panel->q[byte / 4][row / 4][4 * (row % 4) + byte % 4];
                dot += code(packed, i / kBytes) * x->q[i];
            }
            const float scale = static_cast<float>(panel->factor[0][row]) * x->scale;
            sum = std::fma(static_cast<float>(dot), scale, sum);
            if constexpr (Minimum)
                sum = std::fma(static_cast<float>(panel->factor[1][row]), x->scaled_sum, sum);
        }
        return sum;
    }

  private:
    // Of 4 rows of 4 bytes, a register for each code of a byte.
    struct Codes {
        int8x16_t of[kInByte];
    };
    static inline Codes widen_codes(uint8x16_t packed)
    {
        if constexpr (Bits == 8)
            return {{vreinterpretq_s8_u8(packed)}};
        else if constexpr (Minimum)
            return {{vreinterpretq_s8_u8(vandq_u8(packed, vdupq_n_u8(0x0f))),
                     vreinterpretq_s8_u8(vshrq_n_u8(packed, 4))}};
        else
            return {{vreinterpretq_s8_u8(vshlq_n_u8(packed, 4)),
                     vreinterpretq_s8_u8(vandq_u8(packed, vdupq_n_u8(0xf0)))}};
    }
    static int code(std::uint8_t byte, std::size_t i)
    {
        const int unsigned_code = byte >> Bits * i & ((1 << Bits) - 1), top = 1 << (Bits - 1);
        return Minimum ? unsigned_code : (unsigned_code ^ top) - top;
    }

    static inline __attribute__((always_inline)) float32x4_t to_float(int32x4_t dot)
    {
        if constexpr (Bits == 4 && !Minimum)
            return vcvtq_n_f32_s32(dot, 4); // a sixteenth, exact
        else
            return vcvtq_f32_s32(dot);
    }
};

using Q8_0 = Block32<8, false>; // 8.5 bits a weight
using Q4_0 = Block32<4, false>; // 4.5 bits a weight
using Q4_1 = Block32<4, true>;  // 5 bits a weight

// A 2-bit format in the manner of Q2_K: blocks of 256 weights in 16 sub-blocks of 16; each sub-block has a
// scale and a minimum of 4 bits, the block has fp16 factors for both. 2.625 bits a weight. Unlike Q2_K's
// usual partner, the activations keep their scale per 32 values, so that all four formats read the same
// activations.
struct Q2 {
    static constexpr std::size_t kWeights = 256;
    static constexpr bool kSignedMinimum = false;
    static constexpr int kMostColumns = 2; // of a pass over a panel; 4 would not fit the registers

    // q[u][h]: sub-block u of rows 4h .. 4h+3, row by row; bits 2s hold k = 16u + 4s .. 16u + 4s+3.
    struct Panel {
        float16_t factor[2][kRows];     // weight = scale * sub-scale * code - minimum * sub-minimum
        std::uint8_t scales[16][kRows]; // of a sub-block: scale in the low half, minimum in the high
        std::uint8_t q[16][2][16];
    };

    template <int Batch>
    static inline __attribute__((always_inline)) void
    add_block(const Panel &panel, const ActivationBlock *const *x, std::size_t block, PanelSums<Batch> &sum)
    {
        const uint8x16_t bottom = vdupq_n_u8(3);
        const uint8x8_t scale_bits = vdup_n_u8(15);
        PanelSums<Batch> products{}, minima{};
        for (std::size_t part = 0; part < 8; ++part) { // 32 weights: two sub-blocks, one activation block
            int32x4_t dot[Batch][2], offset[Batch][2];
            for (std::size_t half = 0; half < 2; ++half) {
                const std::size_t u = 2 * part + half;
                const uint8x8_t bytes = vld1_u8(panel.scales[u]);
                const uint16x8_t scale = vmovl_u8(vand_u8(bytes, scale_bits));
                const int32x4_t sub_scales[2] = {vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(scale))),
                                                 vreinterpretq_s32_u32(vmovl_high_u16(scale))};
                const int16x8_t minimum = vreinterpretq_s16_u16(vmovl_u8(vshr_n_u8(bytes, 4)));
                for (int h = 0; h < 2; ++h) {
                    const uint8x16_t packed = vld1q_u8(panel.q[u][h]);
                    const int8x16_t codes[4] = {
                        vreinterpretq_s8_u8(vandq_u8(packed, bottom)),
                        vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(packed, 2), bottom)),
                        vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(packed, 4), bottom)),
                        vreinterpretq_s8_u8(vshrq_n_u8(packed, 6)),
                    };
                    const int16x4_t sub_minimum = h == 0 ? vget_low_s16(minimum) : vget_high_s16(minimum);
                    for (int b = 0; b < Batch; ++b) {
                        const ActivationBlock &in = x[b][8 * block + part];
                        const int8x16_t q = vld1q_s8(in.q + 16 * half);
                        int32x4_t raw = vdupq_n_s32(0);
                        unroll<4>([&](auto lane) {
                            constexpr int i = decltype(lane)::value;
                            raw = vdotq_laneq_s32(raw, codes[i], q, i);
                        });
                        if (half == 0) {
                            dot[b][h] = vmulq_s32(raw, sub_scales[h]);
                            offset[b][h] = vmull_n_s16(sub_minimum, in.half_sum[0]);
                        } else {
                            dot[b][h] = vmlaq_s32(dot[b][h], raw, sub_scales[h]);
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
        const Floats8 scale = widen(panel.factor[0]), minimum = widen(panel.factor[1]);
        for (int b = 0; b < Batch; ++b) {
            sum[b][0] = vfmaq_f32(sum[b][0], products[b][0], scale.low);
            sum[b][1] = vfmaq_f32(sum[b][1], products[b][1], scale.high);
            sum[b][0] = vfmsq_f32(sum[b][0], minima[b][0], minimum.low);
            sum[b][1] = vfmsq_f32(sum[b][1], minima[b][1], minimum.high);
        }
    }

    static float reference(const Panel *panel, std::size_t row, std::size_t blocks, const ActivationBlock *x)
    {
        float sum = 0.0f;
        for (; blocks > 0; --blocks, ++panel) {
            float products = 0.0f, minima = 0.0f;
            for (std::size_t part = 0; part < 8; ++part, ++x) {
                std::int32_t dot = 0, offset = 0;
                for (std::size_t j = 0; j < kBlock; ++j) {
                    const std::size_t u = 2 * part + j / 16, byte = 4 * (row % 4) + j % 4;
                    const int code = panel->q[u][row / 4][byte] >> (2 * (j / 4 % 4)) & 3;
                    dot += (panel->scales[u][row] & 15) * code * x->q[j];
                    offset += (panel->scales[u][row] >> 4) * x->q[j];
                }
                products = std::fma(static_cast<float>(dot), x->scale, products);
                minima = std::fma(static_cast<float>(offset), x->scale, minima);
            }
            sum = std::fma(products, static_cast<float>(panel->factor[0][row]), sum);
            sum = std::fma(-minima, static_cast<float>(panel->factor[1][row]), sum);
        }
        return sum;
    }
};

} // namespace sailsim::kernels
