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

// Makes each number x of Count vectors e^x, within 2 units of the last place; 0 below -87.33 (where a float
// would be subnormal), e^88 above 88. The vectors take every step together: one alone waits for its own
// results.
//
// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor polynomial of degree 7, whose first term left out is
// r^8 / 8! < 6e-9; 2^n by adding n to the exponent.
template <int Count>
inline __attribute__((always_inline)) void raise_e(float32x4_t (&x)[Count])
{
    constexpr float log2_e = 1.44269504f;
    // ln 2 in two parts, of which the first has 15 bits: its product with n is exact.
    constexpr float ln2_high = 0x1.62e4p-1f, ln2_low = 1.4286068e-6f;
    uint32x4_t vanishes[Count];
    float32x4_t n[Count], p[Count];
    const auto each = [](auto &&step) { unroll<Count>([&](auto i) { step(i); }); };
    each([&](int i) { vanishes[i] = vcltq_f32(x[i], vdupq_n_f32(-87.33f)); });
    each([&](int i) { x[i] = vminq_f32(vmaxq_f32(x[i], vdupq_n_f32(-87.33f)), vdupq_n_f32(88.0f)); });
    each([&](int i) { n[i] = vrndnq_f32(vmulq_n_f32(x[i], log2_e)); });
    each([&](int i) { x[i] = vfmsq_n_f32(x[i], n[i], ln2_high); });
    each([&](int i) { x[i] = vfmsq_n_f32(x[i], n[i], ln2_low); });
    each([&](int i) { p[i] = vdupq_n_f32(1.0f / 5040.0f); });
    for (const float term : {1.0f / 720.0f, 1.0f / 120.0f, 1.0f / 24.0f, 1.0f / 6.0f, 0.5f, 1.0f, 1.0f})
        each([&](int i) { p[i] = vfmaq_f32(vdupq_n_f32(term), p[i], x[i]); });
    each([&](int i) {
        const int32x4_t exponent = vshlq_n_s32(vcvtq_s32_f32(n[i]), 23);
        const int32x4_t bits = vaddq_s32(vreinterpretq_s32_f32(p[i]), exponent);
        x[i] = vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_s32(bits), vanishes[i]));
    });
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
inline Floats16 widen16(const float16_t *x)
{
    const float16x8_t first = vld1q_f16(x), second = vld1q_f16(x + 8);
    return {{vcvt_f32_f16(vget_low_f16(first)), vcvt_high_f32_f16(first), vcvt_f32_f16(vget_low_f16(second)),
             vcvt_high_f32_f16(second)}};
}

inline Floats16 load16(const float *x)
{
    return {{vld1q_f32(x), vld1q_f32(x + 4), vld1q_f32(x + 8), vld1q_f32(x + 12)}};
}
inline void store16(float *x, const Floats16 &values)
{
    for (int i = 0; i < 4; ++i)
        vst1q_f32(x + 4 * i, values.of[i]);
}

// The lowest byte of each: numbers that fit lose nothing.
inline int8x16_t lowest_bytes(const int32x4_t (&of)[4])
{
    int16x8_t halves[2];
    for (int i = 0; i < 2; ++i)
        halves[i] = vuzp1q_s16(vreinterpretq_s16_s32(of[2 * i]), vreinterpretq_s16_s32(of[2 * i + 1]));
    return vuzp1q_s8(vreinterpretq_s8_s16(halves[0]), vreinterpretq_s8_s16(halves[1]));
}

// The largest of each; of all.
inline Floats16 largest_of(const Floats16 &x, const Floats16 &y)
{
    Floats16 largest;
    for (int i = 0; i < 4; ++i)
        largest.of[i] = vmaxq_f32(x.of[i], y.of[i]);
    return largest;
}
inline float largest_of(const Floats16 &x)
{
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.of[0], x.of[1]), vmaxq_f32(x.of[2], x.of[3])));
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
    int32x4_t rounded[4];
    for (int i = 0; i < 4; ++i)
        rounded[i] = vcvtnq_s32_f32(vmulq_f32(values.of[i], factor));
    return lowest_bytes(rounded);
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
