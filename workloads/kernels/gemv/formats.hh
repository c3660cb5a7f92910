/* SPDX-License-Identifier: BSD-3-Clause */
// The weight formats of the baseline: three with blocks of 32 weights, and Q2.
#ifndef SAILSIM_KERNELS_GEMV_FORMATS_HH
#define SAILSIM_KERNELS_GEMV_FORMATS_HH

#include "gemv/block32.hh"
#include "gemv/q2.hh"

namespace sailsim::kernels
{

template <int Count>
struct Codes {
    int8x16_t of[Count];
};

// 32 int8 weights with one fp16 scale, 8.5 bits a weight.
struct Q8_0Code {
    static constexpr const char *kName = "q8_0";
    static constexpr std::size_t kBytes = 32;
    static constexpr bool kMinimum = false;
    static constexpr std::uint8_t kFlip = 0;
    static constexpr int kFraction = 0;

    static inline Codes<1> widen(uint8x16_t bytes) { return {{vreinterpretq_s8_u8(bytes)}}; }
    static int code(const std::uint8_t *q, std::size_t i) { return static_cast<std::int8_t>(q[i]); }
};

// Codes of 4 bits: i < 16 in the low half of byte i, i + 16 in its high half.
struct NibbleCode {
    static constexpr std::size_t kBytes = 16;
    static int nibble(const std::uint8_t *q, std::size_t i) { return i < 16 ? q[i] & 15 : q[i - 16] >> 4; }
};

// Offset 8, with one fp16 scale, 4.5 bits a weight. A panel has two's complement (the offset flips the top
// bit), so that each half is widened with one instruction, to 16 times the weight.
struct Q4_0Code : NibbleCode {
    static constexpr const char *kName = "q4_0";
    static constexpr bool kMinimum = false;
    static constexpr std::uint8_t kFlip = 0x88;
    static constexpr int kFraction = 4;

    static inline Codes<2> widen(uint8x16_t packed)
    {
        return {{vreinterpretq_s8_u8(vshlq_n_u8(packed, 4)),
                 vreinterpretq_s8_u8(vandq_u8(packed, vdupq_n_u8(0xf0)))}};
    }
    static int code(const std::uint8_t *q, std::size_t i) { return nibble(q, i) - 8; }
};

// Unsigned, with an fp16 scale and an fp16 minimum, 5 bits a weight.
struct Q4_1Code : NibbleCode {
    static constexpr const char *kName = "q4_1";
    static constexpr bool kMinimum = true;
    static constexpr std::uint8_t kFlip = 0;
    static constexpr int kFraction = 0;

    static inline Codes<2> widen(uint8x16_t packed)
    {
        return {{vreinterpretq_s8_u8(vandq_u8(packed, vdupq_n_u8(0x0f))),
                 vreinterpretq_s8_u8(vshrq_n_u8(packed, 4))}};
    }
    static int code(const std::uint8_t *q, std::size_t i) { return nibble(q, i); }
};

using Q8_0 = Block32<Q8_0Code>;
using Q4_0 = Block32<Q4_0Code>;
using Q4_1 = Block32<Q4_1Code>;

} // namespace sailsim::kernels

#endif
