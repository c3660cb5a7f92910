/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/dots.hh"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

#include "pim/threads.hh"

namespace sailsim::pim
{

namespace
{

/* Bits of an activation that a signed byte takes, unless it is the top one, which has the sign too. */
constexpr int digit_bits = 7;

/* Rows of weights whose products are summed together, at most as many as 32 bits hold. */
struct Segment {
    std::int64_t block;
    std::int64_t first;
    std::int64_t length;
    std::int64_t offset; /* of its activations in a row of digits: in fours */
    bool ends_block;
};

std::vector<Segment> segments_of(const Grouping &grouping, Sums sums)
{
    const std::int64_t size = sums == Sums::total ? grouping.k() : grouping.block_size();
    std::vector<Segment> segments;
    std::int64_t offset = 0;
    for (std::int64_t begin = 0, block = 0; begin < grouping.k(); begin += size, ++block) {
        const std::int64_t end = std::min(begin + size, grouping.k());
        for (std::int64_t first = begin; first < end; first += most_dot_rows) {
            const std::int64_t length = std::min(most_dot_rows, end - first);
            segments.push_back({block, first, length, offset, first + length == end});
            offset += ceil_div(length, 4) * 4;
        }
    }
    return segments;
}

/* Activations as signed bytes: x = sum of digit d * 2^(7 d), each a row of its own behind the other. */
class Digits
{
  public:
    template <class T>
    Digits(const Activations<T> &x, const std::vector<Segment> &segments)
        : batch(x.batch), count(digits_of(x)), row_bytes(segments.back().offset + segments.back().length + 3),
          bytes(static_cast<std::size_t>(batch * count * row_bytes)),
          sums(segments.size() * static_cast<std::size_t>(batch))
    {
        for (std::int64_t b = 0; b < batch; ++b)
            for (std::size_t s = 0; s < segments.size(); ++s) {
                const T *from = x.data + b * x.k + segments[s].first;
                std::int8_t *to = bytes.data() + b * count * row_bytes + segments[s].offset;
                const std::int64_t length = segments[s].length;
                for (int d = 0; d < count; ++d) {
                    const std::int32_t keep = d + 1 < count ? (1 << digit_bits) - 1 : -1;
                    for (std::int64_t i = 0; i < length; ++i)
                        to[d * row_bytes + i] =
                            static_cast<std::int8_t>(std::int32_t{from[i]} >> (d * digit_bits) & keep);
                }
                sums[s * static_cast<std::size_t>(batch) + static_cast<std::size_t>(b)] =
                    std::accumulate(from, from + length, std::int64_t{0});
            }
    }

    int digits() const { return count; }
    std::int64_t rows() const { return batch * count; }
    std::int64_t stride() const { return row_bytes; }
    const std::int8_t *at(const Segment &segment) const { return bytes.data() + segment.offset; }
    /* (batch,): of the activations of a segment. */
    const std::int64_t *sums_of_x(std::size_t segment) const
    {
        return sums.data() + segment * static_cast<std::size_t>(batch);
    }

  private:
    template <class T>
    static int digits_of(const Activations<T> &x)
    {
        const int without_sign = x.is_signed ? x.abits - 1 : x.abits;
        return std::max(1, (without_sign + digit_bits - 1) / digit_bits);
    }

    std::int64_t batch;
    int count;
    std::int64_t row_bytes;
    std::vector<std::int8_t> bytes;
    std::vector<std::int64_t> sums;
};

DotKernel kernel_of(const DotKernels &kernels, WeightStorage storage)
{
    switch (storage) {
    case WeightStorage::nibbles:
        return kernels.nibbles;
    case WeightStorage::bytes:
        return kernels.bytes;
    case WeightStorage::words:
        return nullptr;
    }
    throw std::logic_error("weight storage of no kind");
}

/* Adds the sums of a segment to those of its block: digits with their weights, and what a byte of 0 means. */
void add_segment(const std::int32_t *dots, int digits, std::int64_t batch, std::int64_t base,
                 const std::int64_t *sums_of_x, std::int64_t *sums)
{
    for (std::int64_t b = 0; b < batch; ++b, sums += tile_outputs) {
        const std::int64_t offset = base * sums_of_x[b];
        for (std::int64_t i = 0; i < tile_outputs; ++i)
            sums[i] += offset;
        for (int d = 0; d < digits; ++d, dots += tile_outputs)
            for (std::int64_t i = 0; i < tile_outputs; ++i)
                sums[i] += dots[i] * (std::int64_t{1} << (d * digit_bits));
    }
}

} // namespace

const std::vector<const DotKernels *> &usable_dots()
{
    static const std::vector<const DotKernels *> usable = [] {
        std::vector<const DotKernels *> found;
#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
            if (__builtin_cpu_supports("avx512vnni"))
                found.push_back(&vnni_dots);
            found.push_back(&avx512_dots);
        }
        if (__builtin_cpu_supports("avx2"))
            found.push_back(&avx2_dots);
#endif
        return found;
    }();
    return usable;
}

bool has_dots(const DotKernels &kernels, WeightStorage storage)
{
    return kernel_of(kernels, storage) != nullptr;
}

template <class T>
void dot_gemv(const Activations<T> &x, const Grouping &grouping, const PackedWeights &weights, Sums sums,
              int threads, const TileSink &sink, const DotKernels &kernels)
{
    require_activations(x, grouping);
    require_rows(grouping, weights);
    const DotKernel kernel = kernel_of(kernels, weights.storage());
    if (kernel == nullptr)
        throw std::invalid_argument(std::string("the dots of ") + kernels.name +
                                    " have no weights that are stored so");
    const std::vector<Segment> segments = segments_of(grouping, sums);
    const Digits digits(x, segments);
    const std::int64_t base = weights.storage() == WeightStorage::nibbles ? weights.lowest() : dot_byte_base;
    for_ranges(weights.tiles(), threads, [&](std::int64_t begin, std::int64_t end) {
        std::vector<std::int32_t, LineAllocator<std::int32_t>> dots(
            static_cast<std::size_t>(digits.rows() * tile_outputs));
        std::vector<std::int64_t> total(static_cast<std::size_t>(x.batch * tile_outputs));
        for (std::int64_t t = begin; t < end; ++t) {
            const std::int64_t first = t * tile_outputs;
            for (std::size_t s = 0; s < segments.size(); ++s) {
                const Segment &segment = segments[s];
                kernel({weights.tile(t), segment.first, segment.length, digits.at(segment), digits.stride(),
                        digits.rows(), dots.data()});
                add_segment(dots.data(), digits.digits(), x.batch, base, digits.sums_of_x(s), total.data());
                if (!segment.ends_block)
                    continue;
                sink({segment.block, first, std::min(tile_outputs, weights.n() - first), total.data()});
                std::fill(total.begin(), total.end(), 0);
            }
        }
    });
}

template <class T>
void gemv(const Activations<T> &x, const Grouping &grouping, const PackedWeights &weights, Sums sums,
          int threads, const TileSink &sink)
{
    for (const DotKernels *kernels : usable_dots())
        if (has_dots(*kernels, weights.storage()))
            return dot_gemv(x, grouping, weights, sums, threads, sink, *kernels);
    lut_gemv(Patterns(x, grouping), grouping, weights, x.is_signed, sums, threads, sink);
}

#define SAILSIM_DOTS_OF(T)                                                                                   \
    template void dot_gemv(const Activations<T> &, const Grouping &, const PackedWeights &, Sums, int,       \
                           const TileSink &, const DotKernels &);                                            \
    template void gemv(const Activations<T> &, const Grouping &, const PackedWeights &, Sums, int,           \
                       const TileSink &);

SAILSIM_DOTS_OF(std::int8_t)
SAILSIM_DOTS_OF(std::uint8_t)
SAILSIM_DOTS_OF(std::int16_t)
SAILSIM_DOTS_OF(std::uint16_t)
SAILSIM_DOTS_OF(std::int32_t)

} // namespace sailsim::pim
