/* SPDX-License-Identifier: BSD-3-Clause */
#include "lutmm/reference.hh"

#include "lutmm/layout.hh"

#include <algorithm>
#include <arm_neon.h>
#include <cstring>

namespace sailsim::kernels
{

namespace
{

template <class T>
const T *at(std::uint64_t address)
{
    return reinterpret_cast<const T *>(static_cast<std::uintptr_t>(address));
}

// The integers that the weight codes mean, by code.
std::vector<std::int32_t> code_values(const lutmm_descriptor &d)
{
    std::vector<std::int32_t> values(std::size_t{1} << d.wbits);
    for (std::size_t code = 0; code < values.size(); ++code) {
        const auto plain = static_cast<std::int32_t>(code);
        switch (code_kind(d)) {
        case LUTMM_F_CODE_TWOS:
            values[code] = plain - (plain >> (d.wbits - 1) << d.wbits);
            break;
        case LUTMM_F_CODE_OFFSET:
            values[code] = plain - static_cast<std::int32_t>(d.codebook);
            break;
        case LUTMM_F_CODE_TERNARY:
            values[code] = plain - 1;
            break;
        default:
            values[code] = at<std::int16_t>(d.codebook)[code];
        }
    }
    return values;
}

std::int32_t weight(const lutmm_descriptor &d, const std::vector<std::int32_t> &values, std::size_t k,
                    std::size_t n)
{
    const std::uint8_t *row = at<std::uint8_t>(d.weights) + k * weight_row_bytes(d);
    std::size_t code = 0;
    for (std::size_t i = 0, bit = n * d.wbits; i < d.wbits; ++i, ++bit)
        code |= static_cast<std::size_t>((row[bit / 8] >> (bit % 8)) & 1) << i;
    return values[code];
}

std::int32_t activation(const lutmm_descriptor &d, std::size_t b, std::size_t k)
{
    const std::size_t i = b * d.k + k;
    const bool is_signed = (d.flags & LUTMM_F_ACT_UNSIGNED) == 0;
    if (d.abits <= 8)
        return is_signed ? at<std::int8_t>(d.activations)[i] : at<std::uint8_t>(d.activations)[i];
    return is_signed ? at<std::int16_t>(d.activations)[i] : at<std::uint16_t>(d.activations)[i];
}

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
                const std::int64_t w = weight(d, values, k, n);
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

} // namespace sailsim::kernels
