/* SPDX-License-Identifier: BSD-3-Clause */
// The table of a group of 4 activations: entry p is the sum of those whose bit is set in p, 0 <= p < 16.
//
// An entry has 10 bits, -508 .. 508 (-512 with -128), a table instruction returns bytes. So an entry is split
// into a low field of 6 bits, unsigned, and the rest, -8 .. 7: four low fields add up in a byte without a
// carry (252), and so do fifteen high ones. No look-up is rounded.
#ifndef SAILSIM_KERNELS_DECODE_LUT_TABLE_HH
#define SAILSIM_KERNELS_DECODE_LUT_TABLE_HH

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>

namespace sailsim::kernels::decode
{

constexpr std::size_t kTableBytes = 32; // 16 low fields, 16 high fields
constexpr int kLowBits = 6;

inline void make_table(const std::int8_t *four, std::uint8_t *table)
{
    static constexpr std::int16_t bit_0[8] = {0, -1, 0, -1, 0, -1, 0, -1};
    static constexpr std::int16_t bit_1[8] = {0, 0, -1, -1, 0, 0, -1, -1};
    static constexpr std::int16_t bit_2[8] = {0, 0, 0, 0, -1, -1, -1, -1};
    int16x8_t sums = vandq_s16(vdupq_n_s16(four[0]), vld1q_s16(bit_0));
    sums = vaddq_s16(sums, vandq_s16(vdupq_n_s16(four[1]), vld1q_s16(bit_1)));
    sums = vaddq_s16(sums, vandq_s16(vdupq_n_s16(four[2]), vld1q_s16(bit_2)));
    const int16x8_t with_3 = vaddq_s16(sums, vdupq_n_s16(four[3]));
    const int8x16_t all_low = vcombine_s8(vmovn_s16(sums), vmovn_s16(with_3));
    constexpr std::uint8_t low_mask = (1 << kLowBits) - 1;
    vst1q_u8(table, vandq_u8(vreinterpretq_u8_s8(all_low), vdupq_n_u8(low_mask)));
    vst1q_u8(table + 16,
             vreinterpretq_u8_s8(vcombine_s8(vshrn_n_s16(sums, kLowBits), vshrn_n_s16(with_3, kLowBits))));
}

} // namespace sailsim::kernels::decode

#endif
