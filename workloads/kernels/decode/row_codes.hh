/* SPDX-License-Identifier: BSD-3-Clause */
// The codes of a chunk of the rows layout in registers: 16 weights of 8 outputs, eight registers.
#ifndef SAILSIM_KERNELS_DECODE_ROW_CODES_HH
#define SAILSIM_KERNELS_DECODE_ROW_CODES_HH

#include "gemv/format.hh"

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>

namespace sailsim::kernels::decode
{

constexpr std::size_t kRegisters = 8; // of a chunk: 4 consecutive weights of 4 outputs each

// Code `Index` of every byte of a plane of `Width` bits, moved to bit `At`.
template <int Width, int At, int Index>
inline __attribute__((always_inline)) uint8x16_t code_at(uint8x16_t packed)
{
    constexpr int from = Width * Index, move = At - from;
    constexpr std::uint8_t mask = ((1 << Width) - 1) << At;
    if constexpr (move > 0)
        packed = vshlq_n_u8(packed, move);
    if constexpr (move < 0)
        packed = vshrq_n_u8(packed, -move);
    if constexpr (move < 0 && from + Width == 8 && At == 0)
        return packed; // nothing lies above it
    else
        return vandq_u8(packed, vdupq_n_u8(mask));
}

// Adds a plane of `Width` bits, whose lowest is bit `At` of a code, to the codes.
template <int Width, int At>
inline __attribute__((always_inline)) void add_plane(const std::uint8_t *bytes, uint8x16_t *codes)
{
    constexpr int in_byte = 8 / Width;
    unroll<Width>([&](auto row) {
        constexpr int r = decltype(row)::value;
        const uint8x16_t packed = vld1q_u8(bytes + 16 * r);
        unroll<in_byte>([&](auto index) {
            constexpr int i = decltype(index)::value, code = r * in_byte + i;
            if constexpr (Width == 8)
                codes[code] = packed;
            else if constexpr (At == 0)
                codes[code] = code_at<Width, At, i>(packed);
            else
                codes[code] = vorrq_u8(codes[code], code_at<Width, At, i>(packed));
        });
    });
}

// Codes of `Bits` bits. Those of one bit become 0 and -1: one instruction instead of two.
template <int Bits>
inline __attribute__((always_inline)) void unpack(const std::uint8_t *bytes, uint8x16_t *codes)
{
    if constexpr (Bits == 1) {
        const uint8x16_t packed = vld1q_u8(bytes);
        unroll<8>([&](auto index) {
            constexpr int i = decltype(index)::value;
            codes[i] = vtstq_u8(packed, vdupq_n_u8(1 << i));
        });
        return;
    }
    constexpr int eight = Bits == 8 ? 8 : 0, four = Bits != 8 && Bits >= 4 ? 4 : 0;
    constexpr int two = Bits - eight - four >= 2 ? 2 : 0, one = Bits - eight - four - two;
    if constexpr (eight != 0)
        add_plane<8, 0>(bytes, codes);
    if constexpr (four != 0)
        add_plane<4, 0>(bytes, codes);
    if constexpr (two != 0)
        add_plane<2, four>(bytes + 16 * four, codes);
    if constexpr (one != 0)
        add_plane<1, four + two>(bytes + 16 * (four + two), codes);
}

} // namespace sailsim::kernels::decode

#endif
