/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/rounding.hh"

#include "common/vector_math.hh"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace sailsim::kernels::decode
{

namespace
{

// The tables of sixteen numbers, four each.
void make_tables(int8x16_t sixteen, std::uint8_t *tables)
{
    static constexpr std::int16_t patterns[3][8] = {
        {0, -1, 0, -1, 0, -1, 0, -1}, {0, 0, -1, -1, 0, 0, -1, -1}, {0, 0, 0, 0, -1, -1, -1, -1}};
    const int16x8_t with[3] = {vld1q_s16(patterns[0]), vld1q_s16(patterns[1]), vld1q_s16(patterns[2])};
    const int16x8_t wide[2] = {vmovl_s8(vget_low_s8(sixteen)), vmovl_high_s8(sixteen)};
    unroll<4>([&](auto group) {
        const int16x8_t of = wide[group / 2];
        constexpr int first = group % 2 * 4;
        int16x8_t sums = vandq_s16(vdupq_laneq_s16(of, first), with[0]);
        sums = vaddq_s16(sums, vandq_s16(vdupq_laneq_s16(of, first + 1), with[1]));
        sums = vaddq_s16(sums, vandq_s16(vdupq_laneq_s16(of, first + 2), with[2]));
        const int16x8_t with_3 = vaddq_s16(sums, vdupq_laneq_s16(of, first + 3));
        const int8x16_t all_low = vcombine_s8(vmovn_s16(sums), vmovn_s16(with_3));
        constexpr std::uint8_t low_mask = (1 << kLowBits) - 1;
        std::uint8_t *table = tables + group * kTableBytes;
        vst1q_u8(table, vandq_u8(vreinterpretq_u8_s8(all_low), vdupq_n_u8(low_mask)));
        vst1q_u8(table + 16, vreinterpretq_u8_s8(
                                 vcombine_s8(vshrn_n_s16(sums, kLowBits), vshrn_n_s16(with_3, kLowBits))));
    });
}

} // namespace

Rounded::Rounded(std::size_t batch, std::size_t k, const Wanted &wanted)
    : batch_(batch), k_(k), stride_(wanted.packed ? k : round_up(k, kChunk)), chunks_(parts_of(k, kChunk)),
      has_tables_(wanted.tables), values_(batch * stride_ + kChunk), scales_(batch * sizeof(float)),
      sums_(batch * chunks_ * sizeof(std::int32_t)),
      tables_(has_tables_ ? batch * chunks_ * 4 * kTableBytes : 0),
      measures_(batch * parts_of(k, kPiece) * sizeof(Measure))
{
}

std::size_t Rounded::piece_columns(std::size_t piece) const
{
    return std::min(kPiece, round_up(k_ - piece * kPiece, kChunk));
}

void Rounded::measure_norm(float *x, const float *delta, std::size_t stride, const float *weight,
                           Worker &worker)
{
    worker.pieces(batch_, pieces(), [&](std::size_t b, std::size_t piece) {
        float32x4_t squares[2] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)}, largest = squares[0];
        for (std::size_t i = 0; i < piece_columns(piece); i += 16) {
            const std::size_t column = piece * kPiece + i;
            float *at = x + b * stride + column;
            Floats16 values = load16(at);
            if (delta != nullptr) {
                const Floats16 added = load16(delta + b * stride + column);
                for (int j = 0; j < 4; ++j)
                    values.of[j] = vaddq_f32(values.of[j], added.of[j]);
                store16(at, values);
            }
            const Floats16 weights = load16(weight + column);
            for (int j = 0; j < 4; ++j) {
                squares[j % 2] = vfmaq_f32(squares[j % 2], values.of[j], values.of[j]);
                largest = vmaxq_f32(largest, vabsq_f32(vmulq_f32(values.of[j], weights.of[j])));
            }
        }
        measures_.as<Measure>()[b * pieces() + piece] = {vaddvq_f32(vaddq_f32(squares[0], squares[1])),
                                                         vmaxvq_f32(largest)};
    });
}

void Rounded::round_norm(const float *x, std::size_t stride, const float *weight, float eps, Worker &worker)
{
    std::size_t row = batch_; // of `root`
    float root = 0.0f, largest = 0.0f;
    worker.pieces(batch_, pieces(), [&](std::size_t b, std::size_t piece) {
        if (b != row) {
            row = b;
            const Measure *measures = measures_.as<Measure>() + b * pieces();
            float squares = 0.0f;
            largest = 0.0f;
            for (std::size_t i = 0; i < pieces(); ++i) {
                squares += measures[i].squares;
                largest = std::max(largest, measures[i].largest);
            }
            root = 1.0f / std::sqrt(squares / static_cast<float>(k_) + eps);
            largest *= root; // rounding keeps order: this is the largest of the rounded products
        }
        round_piece(b, piece, largest, [&](std::size_t column) {
            Floats16 values = load16(x + b * stride + column);
            const Floats16 weights = load16(weight + column);
            for (int j = 0; j < 4; ++j)
                values.of[j] = vmulq_n_f32(vmulq_f32(values.of[j], weights.of[j]), root);
            return values;
        });
    });
}

void Rounded::round_plain(const float *x, std::size_t stride, const float *largest, std::size_t count,
                          Worker &worker)
{
    std::size_t row = batch_; // of `most`: looked for once a row, as it takes every piece's largest
    float most = 0.0f;
    worker.pieces(batch_, pieces(), [&](std::size_t b, std::size_t piece) {
        if (b != row) {
            row = b;
            most = *std::max_element(largest + b * count, largest + (b + 1) * count);
        }
        round_piece(b, piece, most, [&](std::size_t column) { return load16(x + b * stride + column); });
    });
}

template <class Load>
void Rounded::round_piece(std::size_t b, std::size_t piece, float largest, Load &&load)
{
    if (piece == 0)
        scales_.as<float>()[b] = step_of(largest);
    const float32x4_t factors = vdupq_n_f32(steps_per_unit(largest));
    for (std::size_t i = 0; i < piece_columns(piece); i += kChunk) {
        const std::size_t column = piece * kPiece + i, chunk = column / kChunk;
        const int8x16_t rounded = round16(load(column), factors);
        std::int8_t *to = values_.as<std::int8_t>() + b * stride_ + column;
        if (stride_ - column >= kChunk) {
            vst1q_s8(to, rounded);
        } else { // a packed row's last columns must not reach into the next row
            std::int8_t last[kChunk];
            vst1q_s8(last, rounded);
            std::memcpy(to, last, stride_ - column);
        }
        sums_.as<std::int32_t>()[b * chunks_ + chunk] = vaddlvq_s8(rounded);
    }
    if (!has_tables_)
        return;
    // Apart from rounding, which takes its time: its chunks are under way together so.
    for (std::size_t i = 0; i < piece_columns(piece); i += kChunk) {
        const std::size_t column = piece * kPiece + i;
        make_tables(vld1q_s8(row(b) + column),
                    tables_.bytes() + (b * chunks_ + column / kChunk) * 4 * kTableBytes);
    }
}

} // namespace sailsim::kernels::decode
