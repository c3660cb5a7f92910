/* SPDX-License-Identifier: BSD-3-Clause */
// Attention of some query heads that share keys and values, over one run of kPositions positions.
//
// Positions that are not there yet hold zeros; their scores are worked out and then left out.
//
// A cache of many sequences comes from memory, and a core's loads alone do not keep enough lines under way:
// so values are asked for while their keys are multiplied, and the next run's keys while values are.
#ifndef SAILSIM_KERNELS_DECODE_ATTENTION_KERNELS_HH
#define SAILSIM_KERNELS_DECODE_ATTENTION_KERNELS_HH

#include "decode/cache.hh"
#include "decode/vector_math.hh"

#include <arm_neon.h>
#include <limits>

namespace sailsim::kernels::decode
{

constexpr std::size_t kTogether = 4; // positions whose scores grow side by side

// Asks for the lines of `bytes` from `from` on; beside what is there it does nothing.
inline void fetch(const void *from, std::size_t bytes)
{
    for (std::size_t i = 0; i < bytes; i += kLine)
        __builtin_prefetch(static_cast<const char *>(from) + i, 0, 3);
}

// Scores of 4 positions from 4 vectors of partial sums.
inline float32x4_t add_across(const float32x4_t *sums)
{
    return vpaddq_f32(vpaddq_f32(sums[0], sums[1]), vpaddq_f32(sums[2], sums[3]));
}

// scores[i][position] = query i (rows of `padded`) . key of the position; asks for the values meanwhile
template <int Queries>
__attribute__((noinline)) void score_halves(const float *queries, const float16_t *keys,
                                            const float16_t *values, std::size_t padded,
                                            float (*scores)[kPositions])
{
    for (std::size_t position = 0; position < kPositions; position += kTogether) {
        const float16_t *key = keys + position * padded;
        fetch(values + position * padded, kTogether * padded * sizeof(float16_t));
        float32x4_t sums[Queries][kTogether] = {};
        for (std::size_t j = 0; j < padded; j += 8) {
            float32x4_t low[kTogether], high[kTogether];
            for (std::size_t p = 0; p < kTogether; ++p) {
                const float16x8_t halves = vld1q_f16(key + p * padded + j);
                low[p] = vcvt_f32_f16(vget_low_f16(halves));
                high[p] = vcvt_high_f32_f16(halves);
            }
            for (int i = 0; i < Queries; ++i) {
                const float *query = queries + static_cast<std::size_t>(i) * padded + j;
                const float32x4_t query_low = vld1q_f32(query), query_high = vld1q_f32(query + 4);
                for (std::size_t p = 0; p < kTogether; ++p)
                    sums[i][p] = vfmaq_f32(vfmaq_f32(sums[i][p], low[p], query_low), high[p], query_high);
            }
        }
        for (int i = 0; i < Queries; ++i)
            vst1q_f32(scores[i] + position, add_across(sums[i]));
    }
}

// The same of int8 queries and keys: exact sums times both scales.
template <int Queries>
__attribute__((noinline)) void score_bytes(const std::int8_t *queries, const float *query_scales,
                                           const std::int8_t *keys, const float *key_scales,
                                           const std::int8_t *values, std::size_t padded,
                                           float (*scores)[kPositions])
{
    for (std::size_t position = 0; position < kPositions; position += kTogether) {
        const std::int8_t *key = keys + position * padded;
        fetch(values + position * padded, kTogether * padded);
        int32x4_t sums[Queries][kTogether] = {};
        for (std::size_t j = 0; j < padded; j += 16) {
            int8x16_t bytes[kTogether];
            for (std::size_t p = 0; p < kTogether; ++p)
                bytes[p] = vld1q_s8(key + p * padded + j);
            for (int i = 0; i < Queries; ++i) {
                const int8x16_t query = vld1q_s8(queries + static_cast<std::size_t>(i) * padded + j);
                for (std::size_t p = 0; p < kTogether; ++p)
                    sums[i][p] = vdotq_s32(sums[i][p], bytes[p], query);
            }
        }
        const float32x4_t scale = vld1q_f32(key_scales + position);
        for (int i = 0; i < Queries; ++i) {
            const int32x4_t sum =
                vpaddq_s32(vpaddq_s32(sums[i][0], sums[i][1]), vpaddq_s32(sums[i][2], sums[i][3]));
            vst1q_f32(scores[i] + position,
                      vmulq_f32(vmulq_n_f32(vcvtq_f32_s32(sum), query_scales[i]), scale));
        }
    }
}

// Turns the first `valid` scores into e^(score - largest), the others into 0; their largest and their sum.
inline void exponentials(float *scores, std::size_t valid, float &largest, float &total)
{
    constexpr float nothing = -std::numeric_limits<float>::infinity();
    for (std::size_t position = valid; position < kPositions; ++position)
        scores[position] = nothing;
    float32x4_t most = vdupq_n_f32(nothing), sum = vdupq_n_f32(0.0f);
    for (std::size_t position = 0; position < kPositions; position += 4)
        most = vmaxq_f32(most, vld1q_f32(scores + position));
    largest = vmaxvq_f32(most);
    most = vdupq_n_f32(largest);
    for (std::size_t position = 0; position < kPositions; position += 4) {
        const float32x4_t weights = exp4(vsubq_f32(vld1q_f32(scores + position), most));
        sum = vaddq_f32(sum, weights);
        vst1q_f32(scores + position, weights);
    }
    total = vaddvq_f32(sum);
}

// sums[i] (padded) = sum over the `valid` positions of weights[i][position] * value of the position; asks for
// the `next` run's keys meanwhile
template <int Queries>
__attribute__((noinline)) void weigh_halves(const float (*weights)[kPositions], const float16_t *values,
                                            const float16_t *next, std::size_t valid, std::size_t padded,
                                            float *const *sums)
{
    for (std::size_t j = 0; j < padded; j += 16) {
        fetch(next + j * kPositions, 16 * kPositions * sizeof(float16_t));
        Floats16 sum[Queries] = {};
        for (std::size_t position = 0; position < valid; ++position) {
            const float16_t *value = values + position * padded + j;
            const float16x8_t first = vld1q_f16(value), second = vld1q_f16(value + 8);
            const Floats16 wide = {{vcvt_f32_f16(vget_low_f16(first)), vcvt_high_f32_f16(first),
                                    vcvt_f32_f16(vget_low_f16(second)), vcvt_high_f32_f16(second)}};
            for (int i = 0; i < Queries; ++i)
                for (int part = 0; part < 4; ++part)
                    sum[i].of[part] = vfmaq_n_f32(sum[i].of[part], wide.of[part], weights[i][position]);
        }
        for (int i = 0; i < Queries; ++i)
            store16(sums[i] + j, sum[i]);
    }
}

// The same of int8 values, whose scales go into the weights first.
template <int Queries>
__attribute__((noinline)) void weigh_bytes(float (*weights)[kPositions], const std::int8_t *values,
                                           const float *scales, const std::int8_t *next, std::size_t valid,
                                           std::size_t padded, float *const *sums)
{
    for (int i = 0; i < Queries; ++i)
        for (std::size_t position = 0; position < kPositions; position += 4)
            vst1q_f32(weights[i] + position,
                      vmulq_f32(vld1q_f32(weights[i] + position), vld1q_f32(scales + position)));
    for (std::size_t j = 0; j < padded; j += 16) {
        fetch(next + j * kPositions, 16 * kPositions);
        Floats16 sum[Queries] = {};
        for (std::size_t position = 0; position < valid; ++position) {
            const int8x16_t bytes = vld1q_s8(values + position * padded + j);
            const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
            const Floats16 wide = {
                {vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_high_s16(low)),
                 vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_high_s16(high))}};
            for (int i = 0; i < Queries; ++i)
                for (int part = 0; part < 4; ++part)
                    sum[i].of[part] = vfmaq_n_f32(sum[i].of[part], wide.of[part], weights[i][position]);
        }
        for (int i = 0; i < Queries; ++i)
            store16(sums[i] + j, sum[i]);
    }
}

} // namespace sailsim::kernels::decode

#endif
