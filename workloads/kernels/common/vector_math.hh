/* SPDX-License-Identifier: BSD-3-Clause */
// Elementwise arithmetic, four and sixteen numbers at a time, and what passes over panels of weights share.
#pragma once

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <utility>

namespace sailsim::kernels
{

// e^x, within 2 units of the last place; 0 below -87.33 (where a float would be subnormal), e^88 above 88.
//
// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor polynomial of degree 7, whose first term left out is
// r^8 / 8! < 6e-9; 2^n by adding n to the exponent.
inline float32x4_t exp4(float32x4_t x)
{
    constexpr float log2_e = 1.44269504f;
    // ln 2 in two parts, of which the first has 15 bits: its product with n is exact.
    constexpr float ln2_high = 0x1.62e4p-1f, ln2_low = 1.4286068e-6f;
    const uint32x4_t vanishes = vcltq_f32(x, vdupq_n_f32(-87.33f));
    x = vminq_f32(vmaxq_f32(x, vdupq_n_f32(-87.33f)), vdupq_n_f32(88.0f));
    const float32x4_t n = vrndnq_f32(vmulq_n_f32(x, log2_e));
    float32x4_t r = vfmsq_n_f32(x, n, ln2_high);
    r = vfmsq_n_f32(r, n, ln2_low);
    float32x4_t p = vdupq_n_f32(1.0f / 5040.0f);
    for (const float term : {1.0f / 720.0f, 1.0f / 120.0f, 1.0f / 24.0f, 1.0f / 6.0f, 0.5f, 1.0f, 1.0f})
        p = vfmaq_f32(vdupq_n_f32(term), p, r);
    const int32x4_t exponent = vshlq_n_s32(vcvtq_s32_f32(n), 23);
    p = vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), exponent));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(p), vanishes));
}

// Eight halves, widened.
struct Floats8 {
    float32x4_t low, high;
};
inline Floats8 widen(const float16_t *x)
{
    const float16x8_t halves = vld1q_f16(x);
    return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
}

// Sixteen numbers, the unit in which rows are padded.
struct Floats16 {
    float32x4_t of[4];
};
inline Floats16 load16(const float *x)
{
    return {{vld1q_f32(x), vld1q_f32(x + 4), vld1q_f32(x + 8), vld1q_f32(x + 12)}};
}
inline void store16(float *x, const Floats16 &values)
{
    for (int i = 0; i < 4; ++i)
        vst1q_f32(x + 4 * i, values.of[i]);
}

// Rounding to int8: what a step of numbers is worth whose largest magnitude is `largest`, its reciprocal, and
// sixteen numbers rounded to the nearest step, ties to even. Below 2^-100 all become zeros.
constexpr float kTiny = 0x1p-100f, kLargest = 127.0f;
inline float step_of(float largest)
{
    return largest < kTiny ? 0.0f : largest / kLargest;
}
inline float steps_per_unit(float largest)
{
    return largest < kTiny ? 0.0f : kLargest / largest;
}
inline int8x16_t round16(const Floats16 &values, float32x4_t factor)
{
    int16x4_t narrow[4];
    for (int i = 0; i < 4; ++i)
        narrow[i] = vqmovn_s32(vcvtnq_s32_f32(vmulq_f32(values.of[i], factor)));
    return vcombine_s8(vqmovn_s16(vcombine_s16(narrow[0], narrow[1])),
                       vqmovn_s16(vcombine_s16(narrow[2], narrow[3])));
}

// How far ahead of the loads a panel is prefetched: about the bytes that one core of an N1 streams in the
// latency of DRAM (10 GB/s and 100 ns), doubled.
constexpr std::size_t kPrefetchBytes = 2048;

// Asks for the first of what is read next and lies elsewhere.
inline void ask_for(const void *from)
{
    for (std::size_t line = 0; line < kPrefetchBytes; line += 64)
        __builtin_prefetch(static_cast<const char *>(from) + line, 0, 0);
}

// Calls body(integral_constant<int, 0>) ... body(integral_constant<int, Count - 1>): lanes are immediates.
template <class Body, int... Index>
inline __attribute__((always_inline)) void unrolled(Body &&body, std::integer_sequence<int, Index...>)
{
    (body(std::integral_constant<int, Index>{}), ...);
}
template <int Count, class Body>
inline __attribute__((always_inline)) void unroll(Body &&body)
{
    unrolled(std::forward<Body>(body), std::make_integer_sequence<int, Count>{});
}

// Calls columns(integral_constant<int, Count>, first) for all `batch` columns, as many at a time as a pass
// over a panel takes: Most, then 2, then 1.
template <int Most, class Body>
inline __attribute__((always_inline)) void by_columns(std::size_t batch, Body &&columns)
{
    std::size_t first = 0;
    for (; first + Most <= batch; first += Most)
        columns(std::integral_constant<int, Most>{}, first);
    if constexpr (Most > 2)
        for (; first + 2 <= batch; first += 2)
            columns(std::integral_constant<int, 2>{}, first);
    if (first < batch)
        columns(std::integral_constant<int, 1>{}, first);
}

// What a pass over a panel, 8 rows of weights, gives for Batch rows of activations.
template <int Batch>
using PanelSums = float32x4_t[Batch][2];

} // namespace sailsim::kernels
