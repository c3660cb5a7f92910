/* SPDX-License-Identifier: BSD-3-Clause */
#include "lutmm/reference.hh"

#include "lutmm/operands.hh"

#include <algorithm>
#include <arm_neon.h>
#include <cstring>

namespace sailsim::kernels
{

namespace
{

float half(std::uint64_t address, std::size_t i)
{
    return static_cast<float>(at<float16_t>(address)[i]);
}

template <class T>
std::uint32_t bits_of(T value)
{
    static_assert(sizeof value == sizeof(std::uint32_t));
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

} // namespace

std::vector<std::uint32_t> reference_output(const lutmm_descriptor &d)
{
    const std::vector<std::int32_t> values = code_values(d);
    const std::size_t words = output_words(d), length = block_length(d), blocks = block_count(d);
    const std::uint64_t minima = d.scales + 2 * blocks * d.n, row_scales = d.scales + block_scale_bytes(d);
    std::vector<std::int64_t> sum(words);
    std::vector<float> scaled(words);
    for (std::size_t block = 0; block < blocks; ++block) {
        const std::size_t first = block * length, last = std::min<std::size_t>(first + length, d.k);
        std::vector<std::int64_t> input_sum(d.batch);
        if (d.scales != 0)
            std::fill(sum.begin(), sum.end(), 0);
        for (std::size_t k = first; k < last; ++k) {
            for (std::size_t b = 0; b < d.batch; ++b)
                input_sum[b] += activation(d, b, k);
            for (std::size_t n = 0; n < d.n; ++n) {
                const std::int64_t w = values[weight_code(d, k, n)];
                for (std::size_t b = 0; b < d.batch; ++b)
                    sum[b * d.n + n] += activation(d, b, k) * w;
            }
        }
        if (d.scales == 0)
            continue;
        for (std::size_t i = 0; i < words; ++i) {
            const std::size_t scale = block * d.n + i % d.n;
            scaled[i] += static_cast<float>(sum[i]) * half(d.scales, scale);
            if ((d.flags & LUTMM_F_MINIMUM) != 0)
                scaled[i] += static_cast<float>(input_sum[i / d.n]) * half(minima, scale);
        }
    }
    std::vector<std::uint32_t> output(words);
    for (std::size_t i = 0; i < words; ++i)
        output[i] = d.scales == 0 ? bits_of(static_cast<std::int32_t>(sum[i]))
                                  : bits_of(scaled[i] * at<float>(row_scales)[i / d.n]);
    return output;
}

std::size_t wrong_words(const lutmm_descriptor &d, const std::uint32_t *expected)
{
    const auto is_nan = [](std::uint32_t word) { return (word & 0x7fffffffu) > 0x7f800000u; };
    const auto *output = at<std::uint32_t>(d.output);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < output_words(d); ++i)
        wrong += output[i] != expected[i] && !(d.scales != 0 && is_nan(output[i]) && is_nan(expected[i]));
    return wrong;
}

} // namespace sailsim::kernels
