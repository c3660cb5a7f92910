/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/gemv.hh"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "pim/check.hh"
#include "pim/gemv_kernel.hh"
#include "pim/instruction_sets.hh"
#include "pim/threads.hh"

namespace sailsim::pim
{

namespace
{

static_assert(tile_outputs == kernel_outputs, "the layout is the kernel's");

/* Tables of a chunk should stay in a first-level cache beside the weights and sums. */
constexpr std::int64_t table_budget_bytes = 32 * 1024;
constexpr std::int64_t max_chunk_groups = 32;

/* Which kernel, and how it splits the work so that no sum overflows its type. */
struct KernelChoice {
    Kernel kernel;
    std::int64_t entry_bytes;
    std::int64_t sum_bytes;
    std::int64_t chunk_groups;
    std::int64_t byte_groups;
    int run_planes;
};

const KernelPair &kernels_for(const KernelSet &set, WeightStorage storage, std::int64_t entry_bytes)
{
    if (storage == WeightStorage::nibbles)
        return set.nibbles_int8;
    if (storage == WeightStorage::bytes)
        return entry_bytes == 1 ? set.bytes_int8 : set.bytes_int16;
    return entry_bytes == 2 ? set.words_int16 : set.words_int32;
}

KernelChoice choose(const KernelSet &set, const Patterns &patterns, const Grouping &grouping,
                    const PackedWeights &weights)
{
    constexpr std::int64_t max16 = std::numeric_limits<std::int16_t>::max();
    constexpr std::int64_t max32 = std::numeric_limits<std::int32_t>::max();
    const int nbw = grouping.nbw();
    const std::int64_t entry = std::max<std::int64_t>(nbw * std::int64_t{weights.magnitude()}, 1);
    const std::int64_t activation = std::int64_t{1} << patterns.abits(); /* above any |x| */
    const bool word_entries = entry <= max16;

    KernelChoice choice{};
    choice.entry_bytes = word_entries ? 2 : 4;
    if (weights.storage() != WeightStorage::words && nbw * weights.lowest() >= -128 &&
        nbw * weights.highest() <= 127)
        choice.entry_bytes = 1;
    const KernelPair &pair = kernels_for(set, weights.storage(), choice.entry_bytes);
    const bool narrow_sums =
        pair.sum32 != nullptr && weights.magnitude() <= max32 / activation / grouping.k();
    choice.kernel = narrow_sums ? pair.sum32 : pair.sum64;
    choice.sum_bytes = narrow_sums ? 4 : 8;

    const std::int64_t limit = word_entries ? max16 : max32; /* of a plane's sums */
    const std::int64_t table_bytes = (tile_outputs << nbw) * choice.entry_bytes;
    const std::int64_t most = std::min(
        {limit / entry, std::max<std::int64_t>(table_budget_bytes / table_bytes, 1), max_chunk_groups});
    /* The chunks of a block as even as they can be. */
    const std::int64_t per_block = grouping.groups_per_block();
    choice.chunk_groups = ceil_div(per_block, ceil_div(per_block, most));
    choice.byte_groups = choice.chunk_groups; /* of use only where entries are bytes */
    if (weights.lowest() < 0)
        choice.byte_groups = std::min<std::int64_t>(choice.byte_groups, 128 / (nbw * -weights.lowest()));
    if (weights.highest() > 0)
        choice.byte_groups = std::min<std::int64_t>(choice.byte_groups, 127 / (nbw * weights.highest()));
    const std::int64_t plane = choice.chunk_groups * entry;
    choice.run_planes = 1;
    while (choice.run_planes < patterns.abits() &&
           plane * ((std::int64_t{2} << choice.run_planes) - 1) <= limit)
        ++choice.run_planes;
    return choice;
}

/* Where a row of 64 bytes holds output 0..63: in the even bytes, then in the odd ones. The kernel splits
 * bytes into words that way. */
constexpr std::int64_t byte_position(std::int64_t output)
{
    return output < 32 ? 2 * output : 2 * (output - 32) + 1;
}

} // namespace

PackedWeights::PackedWeights(const std::uint8_t *codes, std::int64_t k, std::int64_t n, int wbits,
                             const std::int16_t *values)
    : rows(k), outputs(n), bits(wbits)
{
    require_range("wbits", wbits, 1, max_wbits);
    require_range("k", k, 1, std::int64_t{1} << 32);
    require_range("n", n, 1, std::int64_t{1} << 32);
    const int code_count = 1 << wbits;
    const std::int64_t count = k * n;
    const std::uint8_t *largest = std::max_element(codes, codes + count);
    if (*largest >= code_count) {
        const std::int64_t at = largest - codes;
        throw std::invalid_argument("codes[" + std::to_string(at / n) + ", " + std::to_string(at % n) +
                                    "] is " + std::to_string(*largest) + ": allowed are 0.." +
                                    std::to_string(code_count - 1) + " (wbits " + std::to_string(wbits) +
                                    ")");
    }
    low = *std::min_element(values, values + code_count);
    high = *std::max_element(values, values + code_count);
    if (high - low <= 15 && max_nbw * low >= -128 && max_nbw * high <= 127)
        kind = WeightStorage::nibbles;
    else if (low >= -128 && high <= 127)
        kind = WeightStorage::bytes;
    else
        kind = WeightStorage::words;
    memory.resize(static_cast<std::size_t>(tiles() * rows * row_bytes()));
    fill(codes, values);
}

std::int64_t PackedWeights::row_bytes() const
{
    switch (kind) {
    case WeightStorage::nibbles:
        return tile_outputs / 2;
    case WeightStorage::bytes:
        return tile_outputs;
    case WeightStorage::words:
        return tile_outputs * 2;
    }
    throw std::logic_error("weight storage of no kind");
}

void PackedWeights::fill(const std::uint8_t *codes, const std::int16_t *values)
{
    std::int16_t decoded[1 << max_wbits] = {};
    for (int code = 0; code < 1 << bits; ++code)
        decoded[code] =
            static_cast<std::int16_t>(kind == WeightStorage::nibbles ? values[code] - low : values[code]);
    for (std::int64_t t = 0; t < tiles(); ++t) {
        const std::int64_t first = t * tile_outputs;
        const std::int64_t here = std::min(tile_outputs, outputs - first);
        for (std::int64_t k = 0; k < rows; ++k) {
            std::uint8_t *row = memory.data() + (t * rows + k) * row_bytes();
            const std::uint8_t *code = codes + k * outputs + first;
            for (std::int64_t n = 0; n < here; ++n) {
                const std::int16_t value = decoded[code[n]];
                if (kind == WeightStorage::nibbles) /* outputs 64..127 in the high nibbles */
                    row[byte_position(n % 64)] |= static_cast<std::uint8_t>(value << (n < 64 ? 0 : 4));
                else if (kind == WeightStorage::bytes)
                    row[n / 64 * 64 + byte_position(n % 64)] = static_cast<std::uint8_t>(value);
                else
                    std::memcpy(row + 2 * n, &value, sizeof value);
            }
        }
    }
}

void require_rows(const Grouping &grouping, const PackedWeights &weights)
{
    if (grouping.k() != weights.k())
        throw std::invalid_argument("x has " + std::to_string(grouping.k()) +
                                    " columns: the weights have k = " + std::to_string(weights.k()));
}

void lut_gemv(const Patterns &patterns, const Grouping &grouping, const PackedWeights &weights,
              bool is_signed, Sums sums, int threads, const TileSink &sink, const KernelSet &kernels)
{
    require_rows(grouping, weights);
    const KernelChoice choice = choose(kernels, patterns, grouping, weights);
    const std::int64_t batch = patterns.batch();
    const auto work = [&](std::int64_t begin, std::int64_t end) {
        std::vector<std::uint8_t, LineAllocator<std::uint8_t>> tables(static_cast<std::size_t>(
            choice.chunk_groups * (tile_outputs << grouping.nbw()) * choice.entry_bytes));
        std::vector<std::uint8_t, LineAllocator<std::uint8_t>> narrow_or_wide(
            static_cast<std::size_t>(batch * tile_outputs * choice.sum_bytes));
        std::vector<std::int64_t> wide(static_cast<std::size_t>(batch * tile_outputs));

        struct Context {
            const TileSink *sink;
            const void *sums;
            std::int64_t sum_bytes;
            std::vector<std::int64_t> *wide;
            std::int64_t first_output;
            std::int64_t outputs;
        } context{&sink, narrow_or_wide.data(), choice.sum_bytes, &wide, 0, 0};

        KernelJob job{};
        job.k = grouping.k();
        job.nbw = grouping.nbw();
        job.blocks = grouping.blocks();
        job.block_size = grouping.block_size();
        job.groups = grouping.groups();
        job.groups_per_block = grouping.groups_per_block();
        job.patterns = patterns.low(0);
        job.pattern_stride = patterns.row_stride();
        job.high_offset = patterns.group_count();
        job.batch = batch;
        job.abits = patterns.abits();
        job.is_signed = is_signed;
        job.chunk_groups = choice.chunk_groups;
        job.byte_groups = choice.byte_groups;
        job.nibble_base =
            static_cast<signed char>(weights.storage() == WeightStorage::nibbles ? weights.lowest() : 0);
        job.run_planes = choice.run_planes;
        job.tables = tables.data();
        job.sums = narrow_or_wide.data();
        job.per_block = sums == Sums::per_block;
        job.context = &context;
        job.done = [](void *opaque, std::int64_t block) {
            Context &c = *static_cast<Context *>(opaque);
            if (c.sum_bytes == 4)
                std::copy_n(static_cast<const std::int32_t *>(c.sums), c.wide->size(), c.wide->begin());
            else
                std::copy_n(static_cast<const std::int64_t *>(c.sums), c.wide->size(), c.wide->begin());
            (*c.sink)({block, c.first_output, c.outputs, c.wide->data()});
        };
        for (std::int64_t t = begin; t < end; ++t) {
            job.weights = weights.tile(t);
            context.first_output = t * tile_outputs;
            context.outputs = std::min(tile_outputs, weights.n() - context.first_output);
            choice.kernel(job);
        }
    };
    for_ranges(weights.tiles(), threads, work);
}

const std::vector<const KernelSet *> &usable_kernels()
{
    static const std::vector<const KernelSet *> usable = SAILSIM_USABLE(kernels);
    return usable;
}

const char *kernel_name(const KernelSet &kernels)
{
    return kernels.name;
}

} // namespace sailsim::pim
