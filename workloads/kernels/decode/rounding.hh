/* SPDX-License-Identifier: BSD-3-Clause */
// Rows of activations rounded to int8 for the products that read them: one scale a row, as the contract has
// it. scale = largest magnitude / 127, q = x * (127 / largest) to the nearest integer, ties to even; a row
// whose largest magnitude is below 2^-100 becomes zeros.
//
// Threads share a row out in pieces of 64 columns. What all need of a whole row (its sum of squares, its
// largest magnitude) is kept by piece and put together in one order, so that no bit depends on the threads.
#pragma once

#include "decode/image.hh"
#include "decode/worker.hh"

namespace sailsim::kernels::decode
{

constexpr std::size_t kPiece = 64;

// Of look-ups: the table of a group of 4 activations, whose entry p is the sum of those whose bit is set in
// p, 0 <= p < 16.
//
// An entry has 10 bits, -508 .. 508 (-512 with -128), a table instruction returns bytes. So an entry is split
// into a low field of 6 bits, unsigned, and the rest, -8 .. 7: four low fields add up in a byte without a
// carry (252), and so do fifteen high ones. No look-up is rounded.
constexpr std::size_t kTableBytes = 32; // 16 low fields, 16 high fields
constexpr int kLowBits = 6;

// What the products want of an operand.
struct Wanted {
    bool tables; // of look-ups, else none are made
    bool packed; // rows of k bytes without padding, as a descriptor's
};

class Rounded
{
  public:
    // `batch` rows of k columns.
    Rounded(std::size_t batch, std::size_t k, const Wanted &wanted);

    std::size_t batch() const { return batch_; }
    std::size_t k() const { return k_; }
    std::size_t pieces() const { return parts_of(k_, kPiece); }
    // What is left of k from the piece on, at most a piece, padded to 16.
    std::size_t piece_columns(std::size_t piece) const;

    const std::int8_t *row(std::size_t b) const { return values_.as<std::int8_t>() + b * stride_; }
    float scale(std::size_t b) const { return scales_.as<float>()[b]; }
    const float *scales() const { return scales_.as<float>(); }
    // Sums of 16 columns each.
    const std::int32_t *sums(std::size_t b) const { return sums_.as<std::int32_t>() + b * chunks_; }
    // A table for each 4 columns.
    const std::uint8_t *tables(std::size_t b) const
    {
        return tables_.bytes() + b * chunks_ * 4 * kTableBytes;
    }

    // A norm in two halves with a barrier between. First x (rows of `stride`) += delta (null: nothing) and
    // what of each row is needed; then (x * weight) / root mean square is rounded.
    void measure_norm(float *x, const float *delta, std::size_t stride, const float *weight, Worker &worker);
    void round_norm(const float *x, std::size_t stride, const float *weight, float eps, Worker &worker);

    // Rounds x (rows of `stride`), whose largest magnitudes are `largest`, `count` numbers a row.
    void round_plain(const float *x, std::size_t stride, const float *largest, std::size_t count,
                     Worker &worker);

  private:
    struct Measure {
        float squares, largest; // of a piece
    };
    template <class Load>
    void round_piece(std::size_t b, std::size_t piece, float largest, Load &&load);

    std::size_t batch_, k_, stride_, chunks_;
    bool has_tables_;
    Buffer values_, scales_, sums_, tables_, measures_;
};

} // namespace sailsim::kernels::decode
