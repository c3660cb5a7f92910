/* SPDX-License-Identifier: BSD-3-Clause */
// A format with blocks of 32 weights that share a scale, and maybe a minimum. `Code` is what such formats
// differ in:
//
//   kName, kBytes: of a row's codes in a block; kMinimum: weight = scale * code + minimum, else scale * code;
//   kFlip: bits of every byte that are flipped in a panel;
//   kFraction: the products of SDOT are 2^kFraction times those of the codes;
//   widen(bytes): 4 rows of 4 packed bytes as int8 codes, a register for each weight of a byte;
//   code(q, i): code i of a row.
#ifndef SAILSIM_KERNELS_GEMV_BLOCK32_HH
#define SAILSIM_KERNELS_GEMV_BLOCK32_HH

#include "common/random.hh"
#include "gemv/format.hh"
#include "gemv/scales.hh"

#include <cmath>

namespace sailsim::kernels
{

template <class Code>
struct Block32 {
    static constexpr const char *kName = Code::kName;
    static constexpr std::size_t kWeights = 32;    // of one row in a block
    static constexpr std::size_t kMostColumns = 4; // of a pass over a panel
    static constexpr std::size_t kFactors = Code::kMinimum ? 2 : 1;

    struct Row {
        float16_t factor[kFactors]; // scale, minimum
        std::uint8_t q[Code::kBytes];
    };
    // q[s][h]: bytes 4s .. 4s+3 of rows 4h .. 4h+3, row by row.
    struct Panel {
        float16_t factor[kFactors][kRows];
        std::uint8_t q[Code::kBytes / 4][2][16];
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
        unroll<Code::kBytes / 4>([&](auto step) {
            constexpr std::size_t s = decltype(step)::value;
            for (std::size_t h = 0; h < 2; ++h) {
                const auto codes = Code::widen(vld1q_u8(panel.q[s][h]));
                constexpr std::size_t registers = sizeof(codes) / sizeof(int8x16_t);
                for (std::size_t r = 0; r < registers; ++r)
                    for (int b = 0; b < Batch; ++b)
                        dot[b][h] = dot_lane<s % 4>(dot[b][h], codes.of[r], in[b][r + s / 4]);
            }
        });
        const RowScales scale = widen(panel.factor[0]);
        const RowScales minimum = widen(panel.factor[kFactors - 1]); // unused without minima
        for (int b = 0; b < Batch; ++b) {
            const float scale_x = x[b][block].scale, sum_x = x[b][block].scaled_sum;
            sum[b][0] = vfmaq_f32(sum[b][0], to_float(dot[b][0]), vmulq_n_f32(scale.low, scale_x));
            sum[b][1] = vfmaq_f32(sum[b][1], to_float(dot[b][1]), vmulq_n_f32(scale.high, scale_x));
            if constexpr (Code::kMinimum) {
                sum[b][0] = vfmaq_n_f32(sum[b][0], minimum.low, sum_x);
                sum[b][1] = vfmaq_n_f32(sum[b][1], minimum.high, sum_x);
            }
        }
    }

    static void randomize(Panel &panel, Random &random)
    {
        random.fill(&panel, sizeof panel);
        make_scales(panel.factor[0]);
        if constexpr (Code::kMinimum)
            make_scales(panel.factor[1], true);
    }

    static Row unpack(const Panel &panel, std::size_t row)
    {
        Row out{};
        for (std::size_t f = 0; f < kFactors; ++f)
            out.factor[f] = panel.factor[f][row];
        for (std::size_t i = 0; i < Code::kBytes; ++i)
            out.q[i] = panel.q[i / 4][row / 4][4 * (row % 4) + i % 4] ^ Code::kFlip;
        return out;
    }

    static WeightParts weight(const Row &row, std::size_t i)
    {
        return {static_cast<double>(row.factor[0]) * Code::code(row.q, i),
                Code::kMinimum ? static_cast<double>(row.factor[kFactors - 1]) : 0.0};
    }

    // One row's result with the kernel's rounding, block by block.
    static float reference(const Row *row, std::size_t blocks, const ActivationBlock *x)
    {
        float sum = 0.0f;
        for (std::size_t block = 0; block < blocks; ++block) {
            std::int32_t dot = 0;
            for (std::size_t i = 0; i < kWeights; ++i)
                dot += Code::code(row[block].q, i) * x[block].q[i];
            const float scale = static_cast<float>(row[block].factor[0]) * x[block].scale;
            sum = std::fma(static_cast<float>(dot), scale, sum);
            if constexpr (Code::kMinimum)
                sum = std::fma(static_cast<float>(row[block].factor[1]), x[block].scaled_sum, sum);
        }
        return sum;
    }

  private:
    static inline __attribute__((always_inline)) float32x4_t to_float(int32x4_t dot)
    {
        if constexpr (Code::kFraction == 0)
            return vcvtq_f32_s32(dot);
        else
            return vcvtq_n_f32_s32(dot, Code::kFraction); // exact
    }
};

} // namespace sailsim::kernels

#endif
