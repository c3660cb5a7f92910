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
#include <new>
#include <vector>

#include "pim/patterns.hh"
#include "pim/shape.hh"

namespace sailsim::pim
{

/* Outputs that are worked on at a time. */
constexpr std::int64_t tile_outputs = 128;

/* Memory on cache lines, for vector loads. */
template <class T>
struct LineAllocator {
    using value_type = T;
    LineAllocator() = default;
    template <class U>
    explicit LineAllocator(const LineAllocator<U> &)
    {
    }
    T *allocate(std::size_t n)
    {
        return static_cast<T *>(::operator new(n * sizeof(T), std::align_val_t{64}));
    }
    void deallocate(T *p, std::size_t) { ::operator delete(p, std::align_val_t{64}); }
    bool operator==(const LineAllocator &) const { return true; }
    bool operator!=(const LineAllocator &) const { return false; }
};
template <class T>
using LineVector = std::vector<T, LineAllocator<T>>;

/* Weights of a tensor (K, N), decoded to integers: for every 128 outputs K rows, as bytes where all values
 * are bytes. */
class PackedWeights
{
  public:
    /* codes: K rows of N codes below 2^wbits; values: what each code means, 2^wbits of them. Throws
     * std::invalid_argument naming the place of a code out of range. */
    PackedWeights(const std::uint8_t *codes, std::int64_t k, std::int64_t n, int wbits,
                  const std::int16_t *values);

    std::int64_t k() const { return rows; }
    std::int64_t n() const { return outputs; }
    int wbits() const { return bits; }
    std::int64_t tiles() const { return ceil_div(outputs, tile_outputs); }
    std::size_t bytes() const { return narrow.size() + wide.size() * sizeof(std::int16_t); }

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
    int bits;
    LineVector<std::int8_t> narrow;
    LineVector<std::int16_t> wide;
};

/* Sums over 128 outputs: (batch, 128), of which `outputs` are real, starting at `first_output`. */
struct TileSums {
    std::int64_t block;
    std::int64_t first_output;
    std::int64_t outputs;
    const std::int64_t *sums;
};
using TileSink = std::function<void(const TileSums &)>;

enum class Sums {
    total,     /* one sum over all blocks, reported as block 0 */
    per_block, /* blocks in ascending order */
};

/* y = x W, handed to `sink` 128 outputs at a time. Threads share the outputs: the sink is called from several
 * threads at once, never twice for the same outputs and block. Throws std::invalid_argument where activations
 * have another number of columns than weights have rows. */
void lut_gemv(const Patterns &patterns, const Grouping &grouping, const PackedWeights &weights,
              bool is_signed, Sums sums, int threads, const TileSink &sink);

} // namespace sailsim::pim

#endif
