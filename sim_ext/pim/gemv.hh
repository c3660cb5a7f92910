/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The functional model: LUT-GEMV as the slice unit does it - tables of subset sums from NBW weights, looked
 * up with activation bits - written for the host's wide vectors. Exact for every width of docs/contract.md,
 * section 1. Who needs the numbers alone asks dots.hh, which has the quickest way to them.
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

/* Outputs that the kernel works on at a time. */
constexpr std::int64_t tile_outputs = 128;

/* Memory on cache lines, for the kernel's aligned vector loads. */
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

/* How weights are stored: 4, 8 or 16 bits each. */
enum class WeightStorage {
    nibbles, /* value - lowest, where values span 15 at most and are so small that any sum of NBW fits a byte
              */
    bytes,
    words,
};

/* Weights of a tensor (K, N), decoded to integers and laid out for the kernel: for every 128 outputs, K rows.
 */
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
    std::size_t bytes() const { return memory.size(); }

    /* The range of the values. */
    std::int32_t lowest() const { return low; }
    std::int32_t highest() const { return high; }
    std::int32_t magnitude() const { return high > -low ? high : -low; }

    WeightStorage storage() const { return kind; }
    const void *tile(std::int64_t index) const { return memory.data() + index * rows * row_bytes(); }

  private:
    std::int64_t row_bytes() const;
    void fill(const std::uint8_t *codes, const std::int16_t *values);

    std::int64_t rows;
    std::int64_t outputs;
    int bits;
    std::int32_t low;
    std::int32_t high;
    WeightStorage kind;
    std::vector<std::uint8_t, LineAllocator<std::uint8_t>> memory;
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

/* Throws std::invalid_argument where activations have another number of columns than weights have rows. */
void require_rows(const Grouping &grouping, const PackedWeights &weights);

/* Kernels are compiled for several instruction sets. These run on this machine, the fastest first. */
struct KernelSet;
const std::vector<const KernelSet *> &usable_kernels();
const char *kernel_name(const KernelSet &kernels);

/* y = x W, handed to `sink` 128 outputs at a time. Threads share the outputs: the sink is called from several
 * threads at once, never twice for the same outputs and block. */
void lut_gemv(const Patterns &patterns, const Grouping &grouping, const PackedWeights &weights,
              bool is_signed, Sums sums, int threads, const TileSink &sink,
              const KernelSet &kernels = *usable_kernels().front());

} // namespace sailsim::pim

#endif
