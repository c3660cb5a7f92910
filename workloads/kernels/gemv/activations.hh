/* SPDX-License-Identifier: BSD-3-Clause */
// Activations as int8 in blocks of 32, each with an fp32 scale and the sums that formats with a minimum need.
#ifndef SAILSIM_KERNELS_GEMV_ACTIVATIONS_HH
#define SAILSIM_KERNELS_GEMV_ACTIVATIONS_HH

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sailsim::kernels
{

constexpr std::size_t kBlock = 32;

struct alignas(16) ActivationBlock {
    std::int8_t q[kBlock];
    std::int16_t half_sum[2]; // of q[0..16) and q[16..32)
    float scale;
    float scaled_sum; // scale * (half_sum[0] + half_sum[1]), rounded once
};

// `rows` rows of k values, k a multiple of kBlock.
struct Activations {
    std::size_t rows, k;
    std::vector<ActivationBlock> blocks; // (rows, k / kBlock)

    Activations(std::size_t row_count, std::size_t columns)
        : rows(row_count), k(columns), blocks(row_count * (columns / kBlock))
    {
    }
    const ActivationBlock *row(std::size_t b) const { return blocks.data() + b * (k / kBlock); }
    ActivationBlock *row(std::size_t b) { return blocks.data() + b * (k / kBlock); }
};

// Symmetric: scale = max |x| / 127, q = x / scale to the nearest integer, ties to even. A block whose largest
// magnitude is below 2^-100 becomes zeros: its reciprocal scale would overflow.
void quantize(const float *x, ActivationBlock *blocks, std::size_t count);

// The same in plain C++, equal bit for bit.
void quantize_scalar(const float *x, ActivationBlock *blocks, std::size_t count);

} // namespace sailsim::kernels

#endif
