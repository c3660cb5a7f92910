/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a scaled tile gives, by plain multiplication: the results of docs/contract.md, section 1, to the bit,
 * for whoever needs a model's numbers and not the look-ups that a unit makes for them.
 */
#ifndef SAILSIM_PIM_PRODUCT_HH
#define SAILSIM_PIM_PRODUCT_HH

#include <cstdint>
#include <vector>

#include "pim/gemv.hh"

namespace sailsim::pim
{

/* Outputs that are worked on at a time. */
constexpr std::int64_t product_outputs = 16;

/* Weights of a tensor (K, N) as words, two rows of 16 outputs side by side, and their blocks' scales. */
class ScaledWeights
{
  public:
    /* group_size: weights of a block, 0 is all; scale and minimum: fp16 (blocks, N), minimum may be null.
     * Throws std::invalid_argument. */
    ScaledWeights(const WeightCodes &weights, std::int64_t group_size, const std::uint16_t *scale,
                  const std::uint16_t *minimum);

    std::int64_t k() const { return rows; }
    std::int64_t n() const { return outputs; }
    std::int64_t blocks() const { return ceil_div(rows, block); }
    std::int64_t block_size() const { return block; }
    std::int64_t magnitude() const { return largest; }
    bool has_minimum() const { return !minima.empty(); }
    std::int64_t tiles() const { return ceil_div(outputs, product_outputs); }

    /* Pairs of rows of a block: a short one is filled with zeros. */
    std::int64_t block_pairs() const { return (block + 1) / 2; }
    const std::int16_t *tile(std::int64_t t) const { return words.data() + t * tile_words(); }
    const float *tile_scales(std::int64_t t) const { return scales.data() + t * blocks() * product_outputs; }
    const float *tile_minima(std::int64_t t) const
    {
        return has_minimum() ? minima.data() + t * blocks() * product_outputs : nullptr;
    }

  private:
    std::int64_t tile_words() const { return blocks() * block_pairs() * 2 * product_outputs; }

    std::int64_t rows;
    std::int64_t outputs;
    std::int64_t block;
    std::int64_t largest;
    std::vector<std::int16_t> words;
    std::vector<float> scales;
    std::vector<float> minima;
};

/* y (batch, n) = fp32 results of x (batch, k). Throws std::invalid_argument where the sum of a block could
 * wrap 32 bits. */
void scaled_product(const std::int16_t *x, std::int64_t batch, const float *act_scale,
                    const ScaledWeights &weights, int threads, float *y);

} // namespace sailsim::pim

#endif
