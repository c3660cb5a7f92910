/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/rotation.hh"

#include <arm_neon.h>
#include <cmath>

namespace sailsim::kernels::decode
{

Rotation::Rotation(std::size_t positions, std::size_t head_dim, float base)
    : pairs_(head_dim / 2), cosines_(positions * pairs_ * sizeof(float)),
      sines_(positions * pairs_ * sizeof(float))
{
    for (std::size_t i = 0; i < pairs_; ++i) {
        const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(head_dim);
        const double frequency = std::pow(static_cast<double>(base), exponent);
        for (std::size_t position = 0; position < positions; ++position) {
            const double angle = static_cast<double>(position) * frequency;
            cosines_.as<float>()[position * pairs_ + i] = static_cast<float>(std::cos(angle));
            sines_.as<float>()[position * pairs_ + i] = static_cast<float>(std::sin(angle));
        }
    }
}

void Rotation::turn(const float *x, std::size_t position, float factor, float *out) const
{
    const float *cosines = cosines_.as<float>() + position * pairs_;
    const float *sines = sines_.as<float>() + position * pairs_;
    std::size_t i = 0;
    for (; i + 4 <= pairs_; i += 4) {
        const float32x4x2_t in = vld2q_f32(x + 2 * i);
        const float32x4_t cosine = vld1q_f32(cosines + i), sine = vld1q_f32(sines + i);
        float32x4x2_t turned;
        turned.val[0] = vsubq_f32(vmulq_f32(in.val[0], cosine), vmulq_f32(in.val[1], sine));
        turned.val[1] = vaddq_f32(vmulq_f32(in.val[0], sine), vmulq_f32(in.val[1], cosine));
        turned.val[0] = vmulq_n_f32(turned.val[0], factor);
        turned.val[1] = vmulq_n_f32(turned.val[1], factor);
        vst2q_f32(out + 2 * i, turned);
    }
    for (; i < pairs_; ++i) {
        const float even = x[2 * i], odd = x[2 * i + 1];
        out[2 * i] = (even * cosines[i] - odd * sines[i]) * factor;
        out[2 * i + 1] = (even * sines[i] + odd * cosines[i]) * factor;
    }
}

} // namespace sailsim::kernels::decode
