/* SPDX-License-Identifier: BSD-3-Clause */
// One GEMV problem in one format: random weights in panels, quantized activations, the threaded product,
// checks.
#ifndef SAILSIM_KERNELS_GEMV_PROBLEM_HH
#define SAILSIM_KERNELS_GEMV_PROBLEM_HH

#include "common/buffer.hh"
#include "common/team.hh"
#include "gemv/activations.hh"

#include <cstddef>
#include <cstdint>

namespace sailsim::kernels
{

// What a comparison of checked rows found.
struct Comparison {
    std::size_t rows = 0;       // of the weight matrix, each for all batch rows
    std::size_t mismatches = 0; // results that differ in any bit from the scalar reference
    double worst_error = 0.0;   // largest error against the float64 product, over its rounding bound
};

template <class Format>
class Problem
{
  public:
    // n outputs of k weights each, k a multiple of Format::kWeights; batch rows of activations.
    Problem(std::size_t k, std::size_t n, std::size_t batch, std::uint64_t seed);

    void multiply(Team &team);

    // Checks `rows` rows spread evenly over the matrix.
    Comparison compare(std::size_t rows) const;

    // Batch columns of which each has padded_rows() results: y[b * padded_rows() + n].
    const float *results() const { return y_.as<float>(); }
    std::size_t padded_rows() const;
    std::size_t weight_bytes() const { return weights_.size(); }
    std::uint64_t result_checksum() const;

  private:
    using Panel = typename Format::Panel;
    template <int Batch>
    void panel_columns(const Panel *panel, std::size_t first_row, std::size_t first_column);

    std::size_t n_, blocks_, panels_;
    Buffer weights_; // (panels, blocks) of Panel
    Activations x_;
    Buffer y_;
};

} // namespace sailsim::kernels

#endif
