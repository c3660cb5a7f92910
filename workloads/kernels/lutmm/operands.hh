/* SPDX-License-Identifier: BSD-3-Clause */
// Reading a descriptor's operands one by one (sim_ext/abi/lutmm.h), for descriptors whose fields are legal.
#ifndef SAILSIM_KERNELS_LUTMM_OPERANDS_HH
#define SAILSIM_KERNELS_LUTMM_OPERANDS_HH

#include "lutmm/layout.hh"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sailsim::kernels
{

template <class T>
const T *at(std::uint64_t address)
{
    return reinterpret_cast<const T *>(static_cast<std::uintptr_t>(address));
}

// The code of the weight of output n at k.
inline std::size_t weight_code(const lutmm_descriptor &d, std::size_t k, std::size_t n)
{
    const std::uint8_t *row = at<std::uint8_t>(d.weights) + k * weight_row_bytes(d);
    std::size_t code = 0;
    for (std::size_t i = 0, bit = n * d.wbits; i < d.wbits; ++i, ++bit)
        code |= static_cast<std::size_t>((row[bit / 8] >> (bit % 8)) & 1) << i;
    return code;
}

inline std::int32_t activation(const lutmm_descriptor &d, std::size_t b, std::size_t k)
{
    const std::size_t i = b * d.k + k;
    const bool is_signed = (d.flags & LUTMM_F_ACT_UNSIGNED) == 0;
    if (d.abits <= 8)
        return is_signed ? at<std::int8_t>(d.activations)[i] : at<std::uint8_t>(d.activations)[i];
    return is_signed ? at<std::int16_t>(d.activations)[i] : at<std::uint16_t>(d.activations)[i];
}

// The integers that the weight codes mean, by code; 0 for ternary 3, which has no meaning.
std::vector<std::int32_t> code_values(const lutmm_descriptor &d);

} // namespace sailsim::kernels

#endif
