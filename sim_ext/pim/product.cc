/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/product.hh"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "pim/gemv.hh"
#include "pim/parallel.hh"

/* The contract rounds after the product and after the sum; a fused multiply-add would round once. */
#pragma GCC optimize("fp-contract=off")

namespace sailsim::pim
{

namespace
{

/* Batch rows that are worked on at a time, at most: their sums stay in registers. */
constexpr int most_rows = 3;

/* One tile of 16 outputs, and some batch rows. */
struct Product {
    const std::int16_t *weights; /* (blocks, pairs, 16, 2) */
    const float *scales;         /* (blocks, 16) */
    const float *minima;         /* (blocks, 16) or null */
    std::int64_t blocks;
    std::int64_t pairs;      /* of a block */
    const std::int16_t *x;   /* (rows, blocks, pairs, 2) */
    const float *sums_of_x;  /* (rows, blocks) */
    std::int64_t row_stride; /* words from a batch row to the next */
    float *y;                /* (rows, 16) */
};

constexpr int lanes = 4;
constexpr int vectors = static_cast<int>(product_outputs) / lanes;
using Sums __attribute__((vector_size(lanes * 4))) = std::int32_t;
using Pairs __attribute__((vector_size(lanes * 4))) = std::int16_t;
using Floats __attribute__((vector_size(lanes * 4))) = float;

/* Multiplies words and adds the products of neighbours to `to`. */
SAILSIM_INLINED void add_pairs(Sums &to, const Pairs &a, const Pairs &b)
{
#if defined(__SSE2__)
    to += reinterpret_cast<Sums>(__builtin_ia32_pmaddwd128(a, b));
#else
    for (int i = 0; i < lanes; ++i)
        to[i] += std::int32_t{a[2 * i]} * b[2 * i] + std::int32_t{a[2 * i + 1]} * b[2 * i + 1];
#endif
}

template <int Rows>
SAILSIM_INLINED void work_rows(const Product &job)
{
    Floats y[Rows][vectors] = {};
    for (std::int64_t block = 0; block < job.blocks; ++block) {
        Sums sums[Rows][vectors] = {};
        const auto *weight = reinterpret_cast<const Pairs *>(job.weights) + block * job.pairs * vectors;
        const std::int16_t *x = job.x + 2 * block * job.pairs;
        for (std::int64_t p = 0; p < job.pairs; ++p)
            for (int r = 0; r < Rows; ++r) {
                std::int32_t pair;
                __builtin_memcpy(&pair, x + r * job.row_stride + 2 * p, sizeof pair);
                const Sums same = Sums{} + pair;
                for (int v = 0; v < vectors; ++v)
                    add_pairs(sums[r][v], weight[p * vectors + v], reinterpret_cast<Pairs>(same));
            }
        const auto *scale = reinterpret_cast<const Floats *>(job.scales) + block * vectors;
        const auto *minimum = reinterpret_cast<const Floats *>(job.minima) + block * vectors;
        for (int r = 0; r < Rows; ++r)
            for (int v = 0; v < vectors; ++v) {
                y[r][v] += __builtin_convertvector(sums[r][v], Floats) * scale[v];
                if (job.minima != nullptr)
                    y[r][v] += minimum[v] * job.sums_of_x[r * job.blocks + block];
            }
    }
    __builtin_memcpy(job.y, y, sizeof y);
}

SAILSIM_VECTOR_CLONES void work(const Product &job, int rows)
{
    if (rows == most_rows)
        work_rows<most_rows>(job);
    else if (rows == 2)
        work_rows<2>(job);
    else
        work_rows<1>(job);
}

/* Activations in the order of the weights' pairs, and the sums of each block. */
struct Operand {
    Operand(const std::int16_t *x, std::int64_t batch, const ScaledWeights &weights)
        : stride(weights.blocks() * weights.block_pairs() * 2),
          words(static_cast<std::size_t>(batch * stride)),
          sums(static_cast<std::size_t>(batch * weights.blocks()))
    {
        const std::int64_t block = weights.block_size();
        for (std::int64_t b = 0; b < batch; ++b)
            for (std::int64_t at = 0; at < weights.blocks(); ++at) {
                const std::int64_t begin = at * block;
                const std::int64_t length = std::min(block, weights.k() - begin);
                const std::int16_t *from = x + b * weights.k() + begin;
                std::copy_n(from, length, words.data() + b * stride + 2 * at * weights.block_pairs());
                std::int64_t sum = 0;
                for (std::int64_t i = 0; i < length; ++i) {
                    sum += from[i];
                    largest = std::max<std::int64_t>(largest, std::abs(std::int32_t{from[i]}));
                }
                sums[static_cast<std::size_t>(b * weights.blocks() + at)] = static_cast<float>(sum);
            }
    }

    std::int64_t stride;
    std::int64_t largest = 0;
    std::vector<std::int16_t> words;
    std::vector<float> sums;
};

} // namespace

ScaledWeights::ScaledWeights(const WeightCodes &weights, std::int64_t group_size, const std::uint16_t *scale,
                             const std::uint16_t *minimum)
    : rows(weights.k), outputs(weights.n), block(group_size == 0 ? rows : std::min(group_size, rows)),
      largest(0)
{
    weights.validate();
    const auto &[codes, k, n, wbits, values] = weights;
    for (int code = 0; code < 1 << wbits; ++code)
        largest = std::max<std::int64_t>(largest, std::abs(std::int32_t{values[code]}));
    words.resize(static_cast<std::size_t>(tiles() * tile_words()));
    for (std::int64_t row = 0; row < k; ++row) {
        const std::int64_t at = row / block * block_pairs() * 2 + row % block;
        const std::int64_t place = (at / 2) * 2 * product_outputs + at % 2;
        for (std::int64_t i = 0; i < n; ++i)
            words[static_cast<std::size_t>(i / product_outputs * tile_words() + place +
                                           2 * (i % product_outputs))] = values[codes[row * n + i]];
    }
    const auto widened = [&](const std::uint16_t *halves, auto &to) {
        to.resize(static_cast<std::size_t>(tiles() * blocks() * product_outputs));
        for (std::int64_t b = 0; b < blocks(); ++b)
            for (std::int64_t i = 0; i < n; ++i)
                to[static_cast<std::size_t>((i / product_outputs * blocks() + b) * product_outputs +
                                            i % product_outputs)] = half_to_float(halves[b * n + i]);
    };
    widened(scale, scales);
    if (minimum != nullptr)
        widened(minimum, minima);
}

void scaled_product(const std::int16_t *x, std::int64_t batch, const float *act_scale,
                    const ScaledWeights &weights, int threads, float *y)
{
    const Operand operand(x, batch, weights);
    const std::int64_t limit = (std::int64_t{1} << 31) - 1;
    if (operand.largest * weights.magnitude() > limit / weights.block_size())
        throw std::invalid_argument("a block's sum may reach " + std::to_string(operand.largest) + " * " +
                                    std::to_string(weights.magnitude()) + " * " +
                                    std::to_string(weights.block_size()) + ": allowed is what 32 bits hold");
    for_ranges(weights.tiles(), threads, [&](std::int64_t begin, std::int64_t end) {
        alignas(64) float results[most_rows * product_outputs];
        for (std::int64_t t = begin; t < end; ++t) {
            const std::int64_t first = t * product_outputs;
            const std::int64_t here = std::min(product_outputs, weights.n() - first);
            for (std::int64_t b = 0; b < batch; b += most_rows) {
                const int rows = static_cast<int>(std::min<std::int64_t>(most_rows, batch - b));
                work({weights.tile(t), weights.tile_scales(t), weights.tile_minima(t), weights.blocks(),
                      weights.block_pairs(), operand.words.data() + b * operand.stride,
                      operand.sums.data() + b * weights.blocks(), operand.stride, results},
                     rows);
                for (int r = 0; r < rows; ++r)
                    for (std::int64_t i = 0; i < here; ++i)
                        y[(b + r) * weights.n() + first + i] =
                            results[r * product_outputs + i] * act_scale[b + r];
            }
        }
    });
}

} // namespace sailsim::pim
