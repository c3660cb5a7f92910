/* SPDX-License-Identifier: BSD-3-Clause */
#include "gemv/problem.hh"

#include "common/checksum.hh"
#include "common/random.hh"
#include "gemv/formats.hh"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace sailsim::kernels
{

template <class Format>
Problem<Format>::Problem(std::size_t k, std::size_t n, std::size_t batch, std::uint64_t seed)
    : n_(n), blocks_(k / Format::kWeights), panels_((n + kRows - 1) / kRows),
      weights_(panels_ * blocks_ * sizeof(Panel)), x_(batch, k), y_(batch * panels_ * kRows * sizeof(float))
{
    Random random(seed);
    Panel *panel = weights_.as<Panel>();
    for (std::size_t i = 0; i < panels_ * blocks_; ++i)
        Format::randomize(panel[i], random);
    std::vector<float> values(k);
    for (std::size_t b = 0; b < batch; ++b) {
        for (float &value : values)
            value = random.symmetric();
        quantize(values.data(), x_.row(b), k / kBlock);
    }
}

template <class Format>
std::size_t Problem<Format>::padded_rows() const
{
    return panels_ * kRows;
}

template <class Format>
template <int Batch>
void Problem<Format>::panel_columns(const Panel *panel, std::size_t first_row, std::size_t first_column)
{
    const ActivationBlock *x[Batch];
    for (std::size_t b = 0; b < Batch; ++b)
        x[b] = x_.row(first_column + b);
    PanelSums<Batch> sums;
    multiply_panel<Format, Batch>(panel, blocks_, x, sums);
    for (std::size_t b = 0; b < Batch; ++b) {
        float *y = y_.as<float>() + (first_column + b) * padded_rows() + first_row;
        vst1q_f32(y, sums[b][0]);
        vst1q_f32(y + 4, sums[b][1]);
    }
}

template <class Format>
void Problem<Format>::multiply(Team &team)
{
    team.run([this, &team](unsigned rank) {
        const Range mine = part_of(panels_, rank, team.size());
        const Panel *panel = weights_.as<Panel>() + mine.first * blocks_;
        for (std::size_t p = mine.first; p < mine.last; ++p, panel += blocks_) {
            // The batch inside: a panel of a usual k stays in the L1 cache between the passes.
            std::size_t column = 0;
            constexpr std::size_t wide = Format::kMostColumns;
            for (; column + wide <= x_.rows; column += wide)
                panel_columns<wide>(panel, p * kRows, column);
            for (; column + 2 <= x_.rows; column += 2)
                panel_columns<2>(panel, p * kRows, column);
            if (column < x_.rows)
                panel_columns<1>(panel, p * kRows, column);
        }
    });
}

template <class Format>
Comparison Problem<Format>::compare(std::size_t rows) const
{
    Comparison comparison;
    comparison.rows = std::min(rows, n_);
    std::vector<typename Format::Row> row(blocks_);
    for (std::size_t i = 0; i < comparison.rows; ++i) {
        const std::size_t n =
            part_of(n_, static_cast<unsigned>(i), static_cast<unsigned>(comparison.rows)).first;
        const Panel *panel = weights_.as<Panel>() + n / kRows * blocks_;
        for (std::size_t block = 0; block < blocks_; ++block)
            row[block] = Format::unpack(panel[block], n % kRows);
        for (std::size_t b = 0; b < x_.rows; ++b) {
            const float y = results()[b * padded_rows() + n];
            const float expected = Format::reference(row.data(), blocks_, x_.row(b));
            comparison.mismatches += std::memcmp(&y, &expected, sizeof y) != 0;
            double exact = 0.0, magnitude = 0.0;
            for (std::size_t k = 0; k < x_.k; ++k) {
                const ActivationBlock &in = x_.row(b)[k / kBlock];
                const double in_value = static_cast<double>(in.scale) * in.q[k % kBlock];
                const WeightParts w = Format::weight(row[k / Format::kWeights], k % Format::kWeights);
                exact += (w.product + w.minimum) * in_value;
                magnitude += (std::fabs(w.product) + std::fabs(w.minimum)) * std::fabs(in_value);
            }
            // Fewer than 4 roundings of 2^-24 for every 32 weights, and a few at the end, lie on any path.
            const double roundings = 4.0 * static_cast<double>(x_.k / kBlock) + 4.0;
            const double bound = roundings * 0x1p-24 * magnitude;
            if (bound > 0.0)
                comparison.worst_error = std::max(comparison.worst_error, std::fabs(y - exact) / bound);
        }
    }
    return comparison;
}

template <class Format>
std::uint64_t Problem<Format>::result_checksum() const
{
    return checksum(y_.bytes(), y_.size());
}

template class Problem<Q8_0>;
template class Problem<Q4_0>;
template class Problem<Q4_1>;
template class Problem<Q2>;

} // namespace sailsim::kernels
