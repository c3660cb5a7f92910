/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The functional model: LUT-GEMV as the slice unit does it, tables of subset sums from NBW weights, looked up
 * with activation bits. Exact for every width of docs/contract.md, section 1.
 */
#ifndef SAILSIM_PIM_GEMV_HH
#define SAILSIM_PIM_GEMV_HH

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "pim/parallel.hh"
#include "pim/patterns.hh"
#include "pim/tile.hh"

namespace sailsim::pim
{

/* Outputs that are worked on at a time. */
constexpr std::int64_t tile_outputs = 128;

/* The stored weights of a tensor (K, N): K rows of N codes below 2^wbits, and what each of these means. */
struct WeightCodes {
    const std::uint8_t *codes;
    std::int64_t k;
    std::int64_t n;
    int wbits;
    const std::int16_t *values;

    /* Throws std::invalid_argument naming the field, or the place of a code out of range. */
    void validate() const;
};

/* Weights of a tensor (K, N), decoded to integers: for every 128 outputs K rows, as bytes where all values
 * are bytes. */
class PackedWeights
{
  public:
    /* Throws std::invalid_argument. */
    explicit PackedWeights(const WeightCodes &weights);

    std::int64_t k() const { return rows; }
    std::int64_t n() const { return outputs; }
    std::int64_t tiles() const { return ceil_div(outputs, tile_outputs); }

    bool fit_bytes() const { return wide.empty(); }
    /* The rows of a tile; those of the storage that the values have. */
    const std::int8_t *bytes_of(std::int64_t tile) const
    {
        return narrow.data() + tile * rows * tile_outputs;
    }
    const std::int16_t *words_of(std::int64_t tile) const { return wide.data() + tile * rows * tile_outputs; }

  private:
    std::int64_t rows;
    std::int64_t outputs;
    std::vector<std::int8_t> narrow;
    std::vector<std::int16_t> wide;
};

/* Sums over 128 outputs: (batch, 128), of which `outputs` are real, starting at `first_output`. */
struct TileSums {
    std::int64_t block;
    std::int64_t first_output;
    std::int64_t outputs;
    const std::int64_t *sums;
};
using TileSink = std::function<void(const TileSums &)>;

/* y = x W, handed to `sink` 128 outputs of a block at a time, the blocks in ascending order. Threads share
 * the outputs: the sink is called from several threads at once, never twice for the same outputs and block.
 * Throws std::invalid_argument where activations have another number of columns than weights have rows. */
void lut_gemv(const Patterns &patterns, const Grouping &grouping, const PackedWeights &weights,
              bool is_signed, int threads, const TileSink &sink);

/* fp16 to fp32, exact. */
float half_to_float(std::uint16_t half);

} // namespace sailsim::pim

#endif
