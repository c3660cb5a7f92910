/* SPDX-License-Identifier: BSD-3-Clause */
// Random bits turned into plausible fp16 scales.
#ifndef SAILSIM_KERNELS_GEMV_SCALES_HH
#define SAILSIM_KERNELS_GEMV_SCALES_HH

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sailsim::kernels
{

// Keeps sign (when `is_signed`) and mantissa of each random half and sets its exponent: magnitudes in
// [2^-7, 2^-6), the order of the scales of 4-bit transformer weights.
template <std::size_t Count>
void make_scales(float16_t (&scales)[Count], bool is_signed = false)
{
    constexpr std::uint16_t exponent = (15 - 7) << 10;
    const std::uint16_t keep = is_signed ? 0x83ff : 0x03ff;
    for (float16_t &scale : scales) {
        std::uint16_t bits;
        std::memcpy(&bits, &scale, sizeof bits);
        bits = static_cast<std::uint16_t>((bits & keep) | exponent);
        std::memcpy(&scale, &bits, sizeof bits);
    }
}

} // namespace sailsim::kernels

#endif
