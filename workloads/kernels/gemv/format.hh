/* SPDX-License-Identifier: BSD-3-Clause */
// What the four weight formats share: activations in blocks, and panels as the kernels read them.
//
// A model file stores a row after the other. The kernels read panels: kRows rows side by side, so that one
// vector register holds 4 consecutive k of 4 rows and SDOT by element adds 4 products to each of 4 rows. No
// horizontal sums, every scale is applied to 4 rows at once, and a panel is one forward stream through
// memory.
#pragma once

#include <arm_neon.h>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace sailsim::kernels
{

// Activations are int8 in blocks of 32, each with an fp32 scale and the sums that formats with a minimum
// need.
constexpr std::size_t kBlock = 32;

struct alignas(16) ActivationBlock {
    std::int8_t q[kBlock];
    std::int16_t half_sum[2]; // of q[0..16) and q[16..32)
    float scale;
    float scaled_sum; // scale * (half_sum[0] + half_sum[1]), rounded once
};

constexpr std::size_t kRows = 8; // rows of a panel

// One pass over a panel: results of kRows rows for Batch rows of activations.
template <int Batch>
using PanelSums = float32x4_t[Batch][2];

// How far ahead of the loads a panel is prefetched: about the bytes that one core of an N1 streams in the
// latency of DRAM (10 GB/s and 100 ns), doubled.
constexpr std::size_t kPrefetchBytes = 2048;

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

// The scales of a panel's rows, widened.
struct RowScales {
    float32x4_t low, high;
};
inline RowScales widen(const float16_t *scales)
{
    const float16x8_t halves = vld1q_f16(scales);
    return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
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

// One pass over the blocks of a panel. Never inlined, so that each format's loop stands by itself in the
// binary.
template <class Format, int Batch>
__attribute__((noinline)) void multiply_panel(const typename Format::Panel *panel, std::size_t blocks,
                                              const ActivationBlock *const *x, PanelSums<Batch> &y)
{
    PanelSums<Batch> sum{};
    for (std::size_t block = 0; block < blocks; ++block, ++panel) {
        const auto ahead = reinterpret_cast<std::uintptr_t>(panel) + kPrefetchBytes;
        for (std::size_t line = 0; line < sizeof *panel; line += 64)
            __builtin_prefetch(reinterpret_cast<const void *>(ahead + line), 0, 0);
        Format::template add_block<Batch>(*panel, x, block, sum);
    }
    for (int b = 0; b < Batch; ++b)
        y[b][0] = sum[b][0], y[b][1] = sum[b][1];
}

} // namespace sailsim::kernels
