/* SPDX-License-Identifier: BSD-3-Clause */
#include "common/vector_math.hh"
#include "gemv/format.hh"

#include <algorithm>
#include <cmath>

namespace sailsim::kernels
{

namespace
{

void finish(ActivationBlock &block, float largest)
{
    block.scale = step_of(largest);
    block.scaled_sum = block.scale * static_cast<float>(block.half_sum[0] + block.half_sum[1]);
}

} // namespace

void quantize(const float *x, ActivationBlock *blocks, std::size_t count)
{
    for (std::size_t i = 0; i < count; ++i, x += kBlock) {
        const Floats16 halves[2] = {load16(x), load16(x + 16)};
        float32x4_t most = vdupq_n_f32(0.0f);
        for (const Floats16 &half : halves)
            for (const float32x4_t &four : half.of)
                most = vmaxq_f32(most, vabsq_f32(four));
        const float largest = vmaxvq_f32(most);
        const float32x4_t factor = vdupq_n_f32(steps_per_unit(largest));
        for (unsigned half = 0; half < 2; ++half) {
            const int8x16_t rounded = round16(halves[half], factor);
            vst1q_s8(blocks[i].q + 16 * half, rounded);
            blocks[i].half_sum[half] = vaddlvq_s8(rounded);
        }
        finish(blocks[i], largest);
    }
}

void quantize_scalar(const float *x, ActivationBlock *blocks, std::size_t count)
{
    for (std::size_t i = 0; i < count; ++i, x += kBlock) {
        float largest = 0.0f;
        for (std::size_t j = 0; j < kBlock; ++j)
            largest = std::max(largest, std::fabs(x[j]));
        ActivationBlock &block = blocks[i];
        block.half_sum[0] = block.half_sum[1] = 0;
        for (std::size_t j = 0; j < kBlock; ++j) {
            block.q[j] = static_cast<std::int8_t>(std::nearbyint(x[j] * steps_per_unit(largest)));
            block.half_sum[j / 16] = static_cast<std::int16_t>(block.half_sum[j / 16] + block.q[j]);
        }
        finish(block, largest);
    }
}

} // namespace sailsim::kernels
