/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/activation.hh"

#include "decode/rounding.hh"
#include "decode/vector_math.hh"

#include <algorithm>

namespace sailsim::kernels::decode
{

void gated_activation(float *gate, const float *up, std::size_t stride, std::size_t batch,
                      std::size_t columns, float *largest, Worker &worker)
{
    const std::size_t pieces = parts_of(columns, kPiece);
    const Range mine = worker.part(batch * pieces);
    for (std::size_t item = mine.first; item < mine.last; ++item) {
        const std::size_t first = item / pieces * stride + item % pieces * kPiece;
        const std::size_t count = std::min(kPiece, round_up(columns - item % pieces * kPiece, kChunk));
        float32x4_t most = vdupq_n_f32(0.0f);
        for (std::size_t i = 0; i < count; i += 4) {
            float *at = gate + first + i;
            const float32x4_t hidden = vmulq_f32(silu4(vld1q_f32(at)), vld1q_f32(up + first + i));
            most = vmaxq_f32(most, vabsq_f32(hidden));
            vst1q_f32(at, hidden);
        }
        largest[item] = vmaxvq_f32(most);
    }
}

} // namespace sailsim::kernels::decode
