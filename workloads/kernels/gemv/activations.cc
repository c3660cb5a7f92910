/* SPDX-License-Identifier: BSD-3-Clause */
#include "gemv/format.hh"

#include <algorithm>
#include <arm_neon.h>
#include <cmath>

namespace sailsim::kernels
{

namespace
{

constexpr float kTiny = 0x1p-100f;
constexpr float kLargest = 127.0f;

void finish(ActivationBlock &block, float largest)
{
    block.scale = largest < kTiny ? 0.0f : largest / kLargest;
    block.scaled_sum = block.scale * static_cast<float>(block.half_sum[0] + block.half_sum[1]);
}

float reciprocal_scale(float largest)
{
    return largest < kTiny ? 0.0f : kLargest / largest;
}

} // namespace

void quantize(const float *x, ActivationBlock *blocks, std::size_t count)
{
    for (std::size_t i = 0; i < count; ++i, x += kBlock) {
        float32x4_t values[8];
        float32x4_t largest = vdupq_n_f32(0.0f);
        for (unsigned j = 0; j < 8; ++j) {
            values[j] = vld1q_f32(x + 4 * j);
            largest = vmaxq_f32(largest, vabsq_f32(values[j]));
        }
        const float magnitude = vmaxvq_f32(largest);
        const float32x4_t factor = vdupq_n_f32(reciprocal_scale(magnitude));
        ActivationBlock &block = blocks[i];
        for (unsigned half = 0; half < 2; ++half) {
            int16x8_t narrow[2];
            for (unsigned j = 0; j < 2; ++j) {
                const float32x4_t *four = values + 4 * half + 2 * j;
                narrow[j] = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(vmulq_f32(four[0], factor))),
                                         vqmovn_s32(vcvtnq_s32_f32(vmulq_f32(four[1], factor))));
            }
            vst1q_s8(block.q + 16 * half, vcombine_s8(vqmovn_s16(narrow[0]), vqmovn_s16(narrow[1])));
            block.half_sum[half] = vaddvq_s16(vaddq_s16(narrow[0], narrow[1]));
        }
        finish(block, magnitude);
    }
}

void quantize_scalar(const float *x, ActivationBlock *blocks, std::size_t count)
{
    for (std::size_t i = 0; i < count; ++i, x += kBlock) {
        float largest = 0.0f;
        for (std::size_t j = 0; j < kBlock; ++j)
            largest = std::max(largest, std::fabs(x[j]));
        const float factor = reciprocal_scale(largest);
        ActivationBlock &block = blocks[i];
        int half_sum[2] = {0, 0};
        for (std::size_t j = 0; j < kBlock; ++j) {
            block.q[j] = static_cast<std::int8_t>(std::nearbyint(x[j] * factor));
            half_sum[j / 16] += block.q[j];
        }
        for (std::size_t half = 0; half < 2; ++half)
            block.half_sum[half] = static_cast<std::int16_t>(half_sum[half]);
        finish(block, largest);
    }
}

} // namespace sailsim::kernels
