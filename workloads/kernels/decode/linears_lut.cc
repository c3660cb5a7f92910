/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/linears.hh"

#include "common/vector_math.hh"

#include <algorithm>

namespace sailsim::kernels::decode
{

namespace
{

constexpr int kHalves = 2;             // registers of 16 outputs in a panel
constexpr std::size_t kPairs = 4;      // of groups whose high fields add up in a byte: 8 * -8 .. 8 * 7
constexpr std::size_t kPairBytes = 32; // of one bit of a code

// Sums of one bit over a segment: |sum| <= 128 * 256, and -128 does not occur, so 16 bits hold it.
struct BitSums {
    int16x8_t of[2 * kHalves];
};

// The fields of some look-ups, before they are widened.
struct Fields {
    uint8x16_t low[kHalves];
    int8x16_t high[kHalves];
};

// Adds what the indices `at` find in the tables of a group.
inline __attribute__((always_inline)) void look_up(Fields &fields, const uint8x16_t *at,
                                                   const std::uint8_t *table)
{
    const uint8x16_t low = vld1q_u8(table);
    const int8x16_t high = vreinterpretq_s8_u8(vld1q_u8(table + 16));
    for (int h = 0; h < kHalves; ++h) {
        fields.low[h] = vaddq_u8(fields.low[h], vqtbl1q_u8(low, at[h]));
        fields.high[h] = vaddq_s8(fields.high[h], vqtbl1q_s8(high, at[h]));
    }
}

// Both groups of a pair: 8 activations, whose tables follow each other.
inline __attribute__((always_inline)) void look_up_pair(Fields &fields, const std::uint8_t *indices,
                                                        const std::uint8_t *tables)
{
    uint8x16_t first[kHalves], second[kHalves];
    for (int h = 0; h < kHalves; ++h) {
        const uint8x16_t packed = vld1q_u8(indices + 16 * h);
        first[h] = vandq_u8(packed, vdupq_n_u8(15));
        second[h] = vshrq_n_u8(packed, 4);
    }
    look_up(fields, first, tables);
    look_up(fields, second, tables + kTableBytes);
}

inline __attribute__((always_inline)) void flush_low(BitSums &sums, Fields &fields)
{
    for (int h = 0; h < kHalves; ++h) {
        auto *to = sums.of + 2 * h;
        to[0] = vreinterpretq_s16_u16(vaddw_u8(vreinterpretq_u16_s16(to[0]), vget_low_u8(fields.low[h])));
        to[1] = vreinterpretq_s16_u16(vaddw_high_u8(vreinterpretq_u16_s16(to[1]), fields.low[h]));
        fields.low[h] = vdupq_n_u8(0);
    }
}

inline __attribute__((always_inline)) void flush_high(BitSums &sums, const Fields &fields)
{
    for (int h = 0; h < kHalves; ++h) {
        auto *to = sums.of + 2 * h;
        to[0] = vaddq_s16(to[0], vshll_n_s8(vget_low_s8(fields.high[h]), kLowBits));
        to[1] = vaddq_s16(to[1], vshll_high_n_s8(fields.high[h], kLowBits));
    }
}

// Adds kPairs pairs, 32 weights.
inline __attribute__((always_inline)) void add_pairs(BitSums &sums, const std::uint8_t *indices,
                                                     const std::uint8_t *tables)
{
    Fields fields{};
    for (std::size_t two = 0; two < kPairs; two += 2) { // four low fields add up in a byte
        look_up_pair(fields, indices + two * kPairBytes, tables + two * 2 * kTableBytes);
        look_up_pair(fields, indices + (two + 1) * kPairBytes, tables + (two + 1) * 2 * kTableBytes);
        flush_low(sums, fields);
    }
    flush_high(sums, fields);
}

// Sums of one bit of the codes over `pairs` pairs.
inline __attribute__((always_inline)) BitSums sum_bit(const std::uint8_t *indices, const std::uint8_t *tables,
                                                      std::size_t pairs)
{
    BitSums sums{};
    for (; pairs >= kPairs; pairs -= kPairs) {
        __builtin_prefetch(indices + kPrefetchBytes, 0, 0);
        __builtin_prefetch(indices + kPrefetchBytes + kLine, 0, 0);
        add_pairs(sums, indices, tables);
        indices += kPairs * kPairBytes;
        tables += kPairs * 2 * kTableBytes;
    }
    for (; pairs > 0; --pairs) {
        Fields fields{};
        look_up_pair(fields, indices, tables);
        flush_low(sums, fields);
        flush_high(sums, fields);
        indices += kPairBytes;
        tables += 2 * kTableBytes;
    }
    return sums;
}

struct Totals {
    float32x4_t of[8];
};

// Integer sums of a block times its scales, and with minima its sum of activations times those.
inline void add_block(Totals &totals, const int32x4_t *sums, const std::uint8_t *factors, bool minimum,
                      std::int32_t block_sum)
{
    const auto *scales = reinterpret_cast<const float16_t *>(factors);
    for (int i = 0; i < 4; ++i) {
        const Floats8 scale = widen(scales + 8 * i);
        float32x4_t *to = totals.of + 2 * i;
        to[0] = vaddq_f32(to[0], vmulq_f32(vcvtq_f32_s32(sums[2 * i]), scale.low));
        to[1] = vaddq_f32(to[1], vmulq_f32(vcvtq_f32_s32(sums[2 * i + 1]), scale.high));
        if (minimum) {
            const Floats8 least = widen(scales + kLutPanel + 8 * i);
            to[0] = vaddq_f32(to[0], vmulq_n_f32(least.low, static_cast<float>(block_sum)));
            to[1] = vaddq_f32(to[1], vmulq_n_f32(least.high, static_cast<float>(block_sum)));
        }
    }
}

// A panel for one row of activations; `sums` are those of its blocks, null where the matrix needs none.
__attribute__((noinline)) void multiply_panel(const Matrix &matrix, const std::uint8_t *panel,
                                              const std::uint8_t *tables, const std::int32_t *sums,
                                              float scale, float *y)
{
    const Shape &shape = matrix.shape;
    Totals totals{};
    for (std::size_t k = 0, block = 0; k < shape.k; ++block) {
        const std::uint8_t *factors = panel;
        panel += 2 * kLutPanel * shape.factors();
        // With those of the bits no line is left out.
        for (const std::uint8_t *line = factors; line < panel; line += kLine)
            __builtin_prefetch(line + kPrefetchBytes, 0, 0);
        const std::int32_t block_sum = sums == nullptr ? 0 : sums[block];
        int32x4_t acc[8];
        for (auto &part : acc)
            part = vdupq_n_s32(-matrix.zero * block_sum);
        for (const std::size_t end = std::min(k + shape.block(), shape.k); k < end;) {
            const std::size_t weights = std::min(kSegment, end - k), pairs = parts_of(weights, 8);
            for (std::size_t bit = 0; bit < shape.wbits; ++bit) {
                const BitSums bit_sums = sum_bit(panel, tables + k / 4 * kTableBytes, pairs);
                const auto worth = static_cast<std::int16_t>(matrix.step << bit);
                for (int i = 0; i < 2 * kHalves; ++i) {
                    acc[2 * i] = vmlal_n_s16(acc[2 * i], vget_low_s16(bit_sums.of[i]), worth);
                    acc[2 * i + 1] = vmlal_high_n_s16(acc[2 * i + 1], bit_sums.of[i], worth);
                }
                panel += pairs * kPairBytes;
            }
            k += weights;
        }
        add_block(totals, acc, factors, shape.minimum, block_sum);
    }
    for (int i = 0; i < 8; ++i)
        vst1q_f32(y + 4 * i, vmulq_n_f32(totals.of[i], scale));
}

} // namespace

void LutLinears::multiply(const Product *products, std::size_t count, const Rounded &x, Worker &worker)
{
    Product by_table[kMostProducts], by_dots[kMostProducts];
    std::size_t tables = 0, dots = 0;
    const std::int32_t *sums[kMostProducts] = {};
    for (std::size_t i = 0; i < count; ++i) {
        if (products[i].matrix->lut == nullptr) {
            by_dots[dots++] = products[i];
            continue;
        }
        sums[tables] = sums_for(*products[i].matrix, x, tables, worker);
        by_table[tables++] = products[i];
    }
    const auto multiply = [&](std::size_t i, std::size_t panel) {
        const Matrix &matrix = *by_table[i].matrix;
        const Shape &shape = matrix.shape;
        for (std::size_t b = 0; b < x.batch(); ++b)
            decode::multiply_panel(matrix, matrix.lut + panel * shape.lut_panel_bytes(), x.tables(b),
                                   sums[i] == nullptr ? nullptr : sums[i] + b * shape.blocks(), x.scale(b),
                                   by_table[i].y + b * by_table[i].stride + panel * kLutPanel);
    };
    for_my_panels(by_table, tables, kLutPanel, &Shape::lut_panel_bytes, worker, multiply,
                  [&](std::size_t i, std::size_t panel) {
                      const Matrix &matrix = *by_table[i].matrix;
                      ask_for(matrix.lut + panel * matrix.shape.lut_panel_bytes());
                  });
    if (dots > 0)
        NeonLinears::multiply(by_dots, dots, x, worker);
}

} // namespace sailsim::kernels::decode
