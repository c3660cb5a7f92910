/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/gemv.hh"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "pim/check.hh"
#include "pim/parallel.hh"

namespace sailsim::pim
{

namespace
{

/* Groups whose entries are added before they are doubled: their tables stay in a second-level cache. */
constexpr std::int64_t chunk_groups = 12;

/* A weight, an entry of a table, and the shifted sum of a chunk: wide enough for the largest of each. */
struct Narrow {
    using Weight = std::int8_t;
    using Entry = std::int16_t;
    using Chunk = std::int32_t;
};
struct Wide {
    using Weight = std::int16_t;
    using Entry = std::int32_t;
    using Chunk = std::int64_t;
};
template <class Types>
constexpr bool holds_the_largest()
{
    constexpr std::int64_t weight = -std::int64_t{std::numeric_limits<typename Types::Weight>::min()};
    constexpr std::int64_t plane = chunk_groups * max_nbw * weight;
    return plane <= std::numeric_limits<typename Types::Entry>::max() &&
           plane * ((std::int64_t{1} << max_abits) - 1) <= std::numeric_limits<typename Types::Chunk>::max();
}
static_assert(holds_the_largest<Narrow>() && holds_the_largest<Wide>());

/* One tile of 128 outputs. */
struct Job {
    const void *weights; /* k rows */
    const Patterns *patterns;
    const Grouping *grouping;
    bool is_signed;
    void *tables;       /* of a chunk */
    std::int64_t *sums; /* (batch, 128) */
};

template <class T>
using Vector __attribute__((vector_size(64), may_alias)) = T;

/* Where such vectors lie. */
struct alignas(64) Line {
    std::uint8_t bytes[64];
};

/* T[p] = sum of the weights whose bit is set in p, for p in [0, 2^nbw): each weight doubles the table. */
template <class Types>
SAILSIM_INLINED void build_table(const typename Types::Weight *weights, int length, int nbw,
                                 typename Types::Entry *table)
{
    std::fill_n(table, tile_outputs, typename Types::Entry{0});
    for (int j = 0; j < nbw; ++j) {
        typename Types::Entry *upper = table + (tile_outputs << j);
        if (j >= length) { /* a short last group is padded with zero weights */
            std::copy_n(table, tile_outputs << j, upper);
            continue;
        }
        typename Types::Entry weight[tile_outputs];
        std::copy_n(weights + j * tile_outputs, tile_outputs, weight);
        for (std::int64_t p = 0; p < tile_outputs << j; p += tile_outputs)
            for (std::int64_t i = 0; i < tile_outputs; ++i)
                upper[p + i] = static_cast<typename Types::Entry>(table[p + i] + weight[i]);
    }
}

/* Adds what one batch row looks up in the tables of a chunk to its sums. From the highest bit position down,
 * the sum so far is doubled and the position's entries are added, those of the sign's position taken away. */
template <class Types>
SAILSIM_INLINED void look_up(const Job &job, std::int64_t row, std::int64_t first, std::int64_t groups)
{
    using Entries = Vector<typename Types::Entry>;
    constexpr int count = tile_outputs * sizeof(typename Types::Entry) / sizeof(Entries);
    const Patterns &patterns = *job.patterns;
    const std::int64_t table_size = count << patterns.nbw();
    alignas(64) typename Types::Chunk chunk[tile_outputs] = {};
    for (int bit = patterns.abits() - 1; bit >= 0; --bit) {
        const std::uint64_t *words = (bit < 8 ? patterns.low(row) : patterns.high(row)) + first;
        const auto *table = static_cast<const Entries *>(job.tables);
        Entries plane[count] = {};
        for (std::int64_t g = 0; g < groups; ++g, table += table_size) {
            const Entries *entry = table + count * (words[g] >> bit % 8 * 8 & 0xff);
            for (int v = 0; v < count; ++v)
                plane[v] += entry[v];
        }
        alignas(64) typename Types::Entry sums[tile_outputs];
        __builtin_memcpy(sums, plane, sizeof sums);
        if (job.is_signed && bit == patterns.abits() - 1)
            for (std::int64_t i = 0; i < tile_outputs; ++i)
                chunk[i] = -sums[i];
        else
            for (std::int64_t i = 0; i < tile_outputs; ++i)
                chunk[i] += chunk[i] + sums[i];
    }
    for (std::int64_t i = 0; i < tile_outputs; ++i)
        job.sums[row * tile_outputs + i] += chunk[i];
}

/* Groups [first, last). */
template <class Types>
SAILSIM_INLINED void add_groups(const Job &job, std::int64_t first, std::int64_t last)
{
    const auto *weights = static_cast<const typename Types::Weight *>(job.weights);
    const int nbw = job.patterns->nbw();
    for (; first < last; first += chunk_groups) {
        const std::int64_t groups = std::min(chunk_groups, last - first);
        for (std::int64_t g = 0; g < groups; ++g)
            build_table<Types>(weights + job.grouping->start(first + g) * tile_outputs,
                               job.grouping->length(first + g), nbw,
                               static_cast<typename Types::Entry *>(job.tables) + g * (tile_outputs << nbw));
        for (std::int64_t row = 0; row < job.patterns->batch(); ++row)
            look_up<Types>(job, row, first, groups);
    }
}

SAILSIM_VECTOR_CLONES void add_narrow(const Job &job, std::int64_t first, std::int64_t last)
{
    add_groups<Narrow>(job, first, last);
}

SAILSIM_VECTOR_CLONES void add_wide(const Job &job, std::int64_t first, std::int64_t last)
{
    add_groups<Wide>(job, first, last);
}

/* Decodes codes (K, N) into tiles of 128 outputs. */
template <class T>
void fill(const WeightCodes &of, const PackedWeights &weights, std::vector<T> &tiles)
{
    const std::int64_t rows = weights.k(), outputs = weights.n();
    tiles.assign(static_cast<std::size_t>(weights.tiles() * rows * tile_outputs), 0);
    for (std::int64_t t = 0; t < weights.tiles(); ++t) {
        const std::int64_t first = t * tile_outputs, here = std::min(tile_outputs, outputs - first);
        for (std::int64_t k = 0; k < rows; ++k) {
            T *to = tiles.data() + (t * rows + k) * tile_outputs;
            const std::uint8_t *code = of.codes + k * outputs + first;
            for (std::int64_t i = 0; i < here; ++i)
                to[i] = static_cast<T>(of.values[code[i]]);
        }
    }
}

} // namespace

void WeightCodes::validate() const
{
    require_range("wbits", wbits, 1, max_wbits);
    require_range("k", k, 1, std::int64_t{1} << 32);
    require_range("n", n, 1, std::int64_t{1} << 32);
    const int code_count = 1 << wbits;
    const std::uint8_t *largest = std::max_element(codes, codes + k * n);
    if (*largest < code_count)
        return;
    const std::int64_t at = largest - codes;
    throw std::invalid_argument("codes[" + std::to_string(at / n) + ", " + std::to_string(at % n) + "] is " +
                                std::to_string(*largest) + ": allowed are 0.." +
                                std::to_string(code_count - 1) + " (wbits " + std::to_string(wbits) + ")");
}

PackedWeights::PackedWeights(const WeightCodes &weights) : rows(weights.k), outputs(weights.n)
{
    weights.validate();
    const auto [least, most] = std::minmax_element(weights.values, weights.values + (1 << weights.wbits));
    if (*least >= -128 && *most <= 127)
        fill(weights, *this, narrow);
    else
        fill(weights, *this, wide);
}

void lut_gemv(const Patterns &patterns, const Grouping &grouping, const PackedWeights &weights,
              bool is_signed, int threads, const TileSink &sink)
{
    if (grouping.k() != weights.k())
        throw std::invalid_argument("x has " + std::to_string(grouping.k()) +
                                    " columns: the weights have k = " + std::to_string(weights.k()));
    const bool bytes = weights.fit_bytes();
    const std::size_t entry_bytes = bytes ? sizeof(Narrow::Entry) : sizeof(Wide::Entry);
    for_ranges(weights.tiles(), threads, [&](std::int64_t begin, std::int64_t end) {
        std::vector<Line> tables((chunk_groups * tile_outputs << grouping.nbw()) * entry_bytes /
                                 sizeof(Line));
        std::vector<std::int64_t> acc(static_cast<std::size_t>(patterns.batch() * tile_outputs));
        for (std::int64_t t = begin; t < end; ++t) {
            const Job job{bytes ? static_cast<const void *>(weights.bytes_of(t)) : weights.words_of(t),
                          &patterns,
                          &grouping,
                          is_signed,
                          tables.data(),
                          acc.data()};
            const std::int64_t first_output = t * tile_outputs;
            const std::int64_t step = grouping.groups_per_block();
            for (std::int64_t first = 0, block = 0; first < grouping.groups(); first += step, ++block) {
                (bytes ? add_narrow : add_wide)(job, first, std::min(first + step, grouping.groups()));
                sink({block, first_output, std::min(tile_outputs, weights.n() - first_output), acc.data()});
                std::fill(acc.begin(), acc.end(), 0);
            }
        }
    });
}

float half_to_float(std::uint16_t half)
{
    /* In a float's places the exponent is 112 too small, of subnormals too: a product that is exact. */
    std::uint32_t bits = static_cast<std::uint32_t>(half & 0x7fff) << 13;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    value *= 0x1p112F;
    if ((half & 0x7c00) == 0x7c00) { /* infinity or NaN */
        bits |= 0x7f800000;
        std::memcpy(&value, &bits, sizeof value);
    }
    return std::copysign(value, half & 0x8000 ? -1.0F : 1.0F);
}

} // namespace sailsim::pim
