/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/descriptor.hh"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

#include "abi/lutmm.h"
#include "pim/gemv.hh"

/* The contract rounds after the product and after the sum; a fused multiply-add would round once. */
#pragma GCC optimize("fp-contract=off")

namespace sailsim::pim
{

namespace
{

constexpr std::int64_t unit_accumulator_bits = 32; /* results are int32 */

static_assert(sizeof(lutmm_descriptor) == 64, "the ABI fixes the descriptor's size");
static_assert(sizeof(lutmm_completion) == 32, "the ABI fixes the completion record's size");

unsigned code_of(const lutmm_descriptor &d)
{
    return d.flags & LUTMM_F_CODE_MASK;
}

bool has(const lutmm_descriptor &d, unsigned flag)
{
    return (d.flags & flag) != 0;
}

/* Where the activations' scales lie behind so many scales of blocks, each with its minimum if any. */
std::uint64_t act_scale_offset(const lutmm_descriptor &d, std::uint64_t halves)
{
    const std::uint64_t bytes = halves * sizeof(std::uint16_t) * (has(d, LUTMM_F_MINIMUM) ? 2 : 1);
    return (bytes + sizeof(float) - 1) / sizeof(float) * sizeof(float);
}

/* What each weight code means; codebook: int16[2^wbits], only for LUTMM_F_CODE_BOOK. */
std::vector<std::int16_t> values_of(const lutmm_descriptor &d, const std::uint8_t *codebook)
{
    const int count = 1 << d.wbits;
    std::vector<std::int16_t> values(static_cast<std::size_t>(count));
    if (code_of(d) == LUTMM_F_CODE_BOOK) {
        std::memcpy(values.data(), codebook, values.size() * sizeof(std::int16_t));
        return values;
    }
    for (int code = 0; code < count; ++code) {
        int value = code;
        if (code_of(d) == LUTMM_F_CODE_TWOS && code >= count / 2)
            value = code - count;
        else if (code_of(d) == LUTMM_F_CODE_OFFSET)
            value = code - static_cast<int>(d.codebook);
        else if (code_of(d) == LUTMM_F_CODE_TERNARY)
            value = code == 3 ? 0 : code - 1; /* 3 is refused before it is used */
        values[static_cast<std::size_t>(code)] = static_cast<std::int16_t>(value);
    }
    return values;
}

bool overlap(const Buffer &a, const Buffer &b)
{
    return a.bytes != 0 && b.bytes != 0 && a.address < b.address + b.bytes && b.address < a.address + a.bytes;
}

/* Bits of two's complement that hold all values. */
int signed_bits(const std::vector<std::int16_t> &values)
{
    int bits = 1;
    for (int value : values)
        while (value < -(1 << (bits - 1)) || value > (1 << (bits - 1)) - 1)
            ++bits;
    return bits;
}

TileShape shape_of(const lutmm_descriptor &d, const std::vector<std::int16_t> &values)
{
    return {d.k, d.n, d.batch, d.wbits, signed_bits(values), d.abits, d.nbw, d.group_size};
}

SliceConfig slice_of(const lutmm_descriptor &d, const SliceConfig &config)
{
    SliceConfig slice = config;
    slice.slices = 1;
    if (slice.convert == Convert::cores)
        slice.convert = Convert::memory;
    if (!has(d, LUTMM_F_PRT))
        slice.prt_entries = 0;
    return slice;
}

Scaling scaling_of(const lutmm_descriptor &d)
{
    return {has(d, LUTMM_F_CONVERT), has(d, LUTMM_F_MINIMUM)};
}

bool has_room(const SliceConfig &slice, const TileShape &shape, Scaling scaling)
{
    try {
        plan_tile(slice, shape, scaling);
        return true;
    } catch (const std::invalid_argument &) {
        return false;
    }
}

/* What depends on the weights' values: can the accumulator wrap, does the tile fit? */
Verdict check_values(const lutmm_descriptor &d, const SliceConfig &config,
                     const std::vector<std::int16_t> &values)
{
    int weight = 0;
    for (int value : values)
        weight = std::max(weight, std::abs(value));
    const std::int64_t activation = has(d, LUTMM_F_ACT_UNSIGNED) ? (1 << d.abits) - 1 : 1 << (d.abits - 1);
    std::int64_t terms = d.k;
    if (has(d, LUTMM_F_CONVERT) && d.group_size != 0)
        terms = std::min<std::int64_t>(terms, d.group_size);
    const std::int64_t bits = std::min(config.accumulator_bits, unit_accumulator_bits);
    if (weight * activation * terms > (std::int64_t{1} << (bits - 1)) - 1)
        return {LUTMM_ERR_OVERFLOW, offsetof(lutmm_descriptor, k)};

    const SliceConfig slice = slice_of(d, config);
    if (!has_room(slice, shape_of(d, values), {}))
        return {LUTMM_ERR_CAPACITY, offsetof(lutmm_descriptor, nbw)};
    if (!has_room(slice, shape_of(d, values), scaling_of(d)))
        return {LUTMM_ERR_CAPACITY, offsetof(lutmm_descriptor, flags)};
    return {};
}

} // namespace

const char *status_name(std::uint32_t status)
{
    static constexpr const char *names[] = {"PENDING",      "OK",        "ERR_WBITS",   "ERR_ABITS",
                                            "ERR_NBW",      "ERR_SHAPE", "ERR_FLAGS",   "ERR_ALIGN",
                                            "ERR_CODEBOOK", "ERR_CODE",  "ERR_VALUE",   "ERR_OVERFLOW",
                                            "ERR_CAPACITY", "ERR_FAULT", "ERR_OVERLAP", "ERR_UNIT"};
    static_assert(std::size(names) == status_count);
    return status < status_count ? names[status] : "UNKNOWN";
}

Buffers buffers_of(const lutmm_descriptor &d)
{
    const std::uint64_t k = d.k;
    const std::uint64_t n = d.n;
    const std::uint64_t batch = d.batch;
    const std::uint64_t activation_bytes = d.abits <= 8 ? 1 : 2;
    const std::uint64_t blocks = d.group_size == 0 ? 1 : (k + d.group_size - 1) / d.group_size;
    /* Beyond 2^60 scales the product below would not fit; that many cannot be in memory anyhow. */
    const std::uint64_t halves = blocks > (std::uint64_t{1} << 60) / n ? std::uint64_t{1} << 60 : blocks * n;
    const std::uint64_t scale_bytes = d.scales == 0 ? 0 : act_scale_offset(d, halves) + batch * sizeof(float);
    const std::uint64_t codebook_bytes =
        code_of(d) == LUTMM_F_CODE_BOOK ? sizeof(std::int16_t) << d.wbits : 0;
    return {{{d.weights, k * ((n * d.wbits + 7) / 8), offsetof(lutmm_descriptor, weights)},
             {d.activations, batch * k * activation_bytes, offsetof(lutmm_descriptor, activations)},
             {d.output, batch * n * 4, offsetof(lutmm_descriptor, output), true},
             {d.scales, scale_bytes, offsetof(lutmm_descriptor, scales)},
             {d.completion, sizeof(lutmm_completion), offsetof(lutmm_descriptor, completion), true,
              LUTMM_COMPLETION_ALIGN},
             {d.codebook, codebook_bytes, offsetof(lutmm_descriptor, codebook)}}};
}

Verdict validate_descriptor(const lutmm_descriptor &d, const SliceConfig &config, const Reachable &reachable)
{
    config.validate();
    const unsigned code = code_of(d);
    const bool bad_wbits =
        d.wbits < 1 || d.wbits > LUTMM_WBITS_MAX || (code == LUTMM_F_CODE_TERNARY && d.wbits != 2);
    const bool convert = has(d, LUTMM_F_CONVERT);
    const bool bad_flags =
        has(d, LUTMM_F_RESERVED) || convert != (d.scales != 0) || (has(d, LUTMM_F_MINIMUM) && !convert);
    const std::pair<bool, Verdict> findings[] = {
        {bad_wbits, {LUTMM_ERR_WBITS, offsetof(lutmm_descriptor, wbits)}},
        {d.abits < 1 || d.abits > LUTMM_ABITS_MAX, {LUTMM_ERR_ABITS, offsetof(lutmm_descriptor, abits)}},
        {d.nbw < 1 || d.nbw > LUTMM_NBW_MAX, {LUTMM_ERR_NBW, offsetof(lutmm_descriptor, nbw)}},
        {d.k == 0, {LUTMM_ERR_SHAPE, offsetof(lutmm_descriptor, k)}},
        {d.n == 0, {LUTMM_ERR_SHAPE, offsetof(lutmm_descriptor, n)}},
        {d.batch == 0, {LUTMM_ERR_SHAPE, offsetof(lutmm_descriptor, batch)}},
        {bad_flags, {LUTMM_ERR_FLAGS, offsetof(lutmm_descriptor, flags)}},
    };
    for (const auto &[found, verdict] : findings)
        if (found)
            return verdict;

    const Buffers buffers = buffers_of(d);
    for (const Buffer &buffer : buffers)
        if (buffer.bytes != 0 && buffer.address % buffer.align != 0)
            return {LUTMM_ERR_ALIGN, buffer.field};
    const bool zero_point_fits = d.codebook < std::uint64_t{1} << d.wbits;
    if ((code == LUTMM_F_CODE_BOOK && d.codebook == 0) || (code == LUTMM_F_CODE_OFFSET && !zero_point_fits) ||
        ((code == LUTMM_F_CODE_TWOS || code == LUTMM_F_CODE_TERNARY) && d.codebook != 0))
        return {LUTMM_ERR_CODEBOOK, offsetof(lutmm_descriptor, codebook)};
    for (const Buffer &buffer : buffers)
        if (buffer.bytes != 0 && (buffer.bytes > std::numeric_limits<std::uint64_t>::max() - buffer.address ||
                                  (reachable && !reachable(buffer))))
            return {LUTMM_ERR_FAULT, buffer.field};
    const Buffer &output = buffers[output_area];
    for (const Buffer &buffer : buffers)
        if (&buffer != &output && overlap(output, buffer))
            return {LUTMM_ERR_OVERLAP, output.field};

    if (code == LUTMM_F_CODE_BOOK)
        return {};
    return check_values(d, config, values_of(d, nullptr));
}

Preparation prepare_tile(const lutmm_descriptor &d, const SliceConfig &config, const std::uint8_t *codebook)
{
    const std::vector<std::int16_t> values = values_of(d, codebook);
    return {check_values(d, config, values), slice_of(d, config), shape_of(d, values), scaling_of(d)};
}

namespace
{

/* Codes, one a byte, from rows of wbits-bit codes packed LSB first. */
std::vector<std::uint8_t> unpack(const lutmm_descriptor &d, const std::uint8_t *packed)
{
    const std::int64_t n = d.n;
    const std::int64_t row_bytes = ceil_div(n * d.wbits, 8);
    const unsigned mask = (1U << d.wbits) - 1;
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(d.k * n));
    for (std::int64_t k = 0; k < d.k; ++k) {
        const std::uint8_t *row = packed + k * row_bytes;
        for (std::int64_t i = 0; i < n; ++i) {
            const std::int64_t bit = i * d.wbits;
            unsigned word = row[bit / 8];
            if (bit / 8 + 1 < row_bytes)
                word |= static_cast<unsigned>(row[bit / 8 + 1]) << 8;
            codes[static_cast<std::size_t>(k * n + i)] = static_cast<std::uint8_t>(word >> bit % 8 & mask);
        }
    }
    return codes;
}

/* A descriptor's activations; none if one lies outside abits. */
std::optional<std::vector<std::int32_t>> activations_of(const lutmm_descriptor &d, const std::uint8_t *bytes)
{
    const int width = d.abits <= 8 ? 8 : 16;
    const std::int32_t low = has(d, LUTMM_F_ACT_UNSIGNED) ? 0 : -(1 << (d.abits - 1));
    std::vector<std::int32_t> x(static_cast<std::size_t>(d.batch) * d.k);
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = width == 8 ? bytes[i] : bytes[2 * i] | bytes[2 * i + 1] << 8;
        if (low < 0 && x[i] >= 1 << (width - 1))
            x[i] -= 1 << width;
        if (x[i] < low || x[i] > low + (1 << d.abits) - 1)
            return std::nullopt;
    }
    return x;
}

Patterns patterns_of(const lutmm_descriptor &d, const std::uint8_t *activations)
{
    return {Activations{activations, d.batch, d.k, d.abits}, Grouping(d.k, d.nbw, d.group_size)};
}

/* A tile that is multiplied: `sink` gets the sums as of `lut_gemv`. */
using Multiply = std::function<void(const TileSink &sink)>;

std::vector<std::int32_t> summed(const lutmm_descriptor &d, const Multiply &multiply)
{
    std::vector<std::int32_t> y(static_cast<std::size_t>(d.batch) * d.n);
    multiply([&](const TileSums &tile) {
        for (std::int64_t b = 0; b < d.batch; ++b)
            for (std::int64_t i = 0; i < tile.outputs; ++i)
                y[static_cast<std::size_t>(b * d.n + tile.first_output + i)] +=
                    static_cast<std::int32_t>(tile.sums[b * tile_outputs + i]);
    });
    return y;
}

/* With the scales behind d.scales. A minimum goes with the sum of its block's activations. */
std::vector<float> scaled(const lutmm_descriptor &d, const Grouping &grouping,
                          const std::vector<std::int32_t> &x, const std::uint8_t *bytes,
                          const Multiply &multiply)
{
    const std::int64_t n = d.n, batch = d.batch, count = grouping.blocks() * n;
    const bool has_minimum = has(d, LUTMM_F_MINIMUM);
    std::vector<std::uint16_t> halves(static_cast<std::size_t>(has_minimum ? 2 * count : count));
    std::vector<float> act_scale(d.batch), y(static_cast<std::size_t>(batch * n));
    std::memcpy(halves.data(), bytes, halves.size() * sizeof(std::uint16_t));
    std::memcpy(act_scale.data(), bytes + act_scale_offset(d, static_cast<std::uint64_t>(count)),
                d.batch * sizeof(float));
    const auto sum_of_x = [&](std::int64_t block, std::int64_t b) {
        const std::int64_t first = block * grouping.block_size();
        const std::int64_t end = std::min<std::int64_t>(first + grouping.block_size(), d.k);
        const auto row = x.begin() + b * d.k;
        return static_cast<float>(std::accumulate(row + first, row + end, std::int64_t{0}));
    };
    multiply([&](const TileSums &tile) {
        for (std::int64_t b = 0; b < batch; ++b) {
            const float of_x = has_minimum ? sum_of_x(tile.block, b) : 0.0F;
            for (std::int64_t i = 0; i < tile.outputs; ++i) {
                const std::int64_t place = tile.block * n + tile.first_output + i;
                float &sum = y[static_cast<std::size_t>(b * n + tile.first_output + i)];
                sum += static_cast<float>(tile.sums[b * tile_outputs + i]) *
                       half_to_float(halves[static_cast<std::size_t>(place)]);
                if (has_minimum)
                    sum += half_to_float(halves[static_cast<std::size_t>(count + place)]) * of_x;
            }
        }
    });
    for (std::size_t i = 0; i < y.size(); ++i)
        y[i] *= act_scale[i / d.n];
    return y;
}

template <class Number>
std::vector<std::uint8_t> bytes_of(const std::vector<Number> &numbers)
{
    std::vector<std::uint8_t> bytes(numbers.size() * sizeof(Number));
    std::memcpy(bytes.data(), numbers.data(), bytes.size());
    return bytes;
}

lutmm_completion refusal(const Verdict &verdict)
{
    lutmm_completion completion{};
    completion.status = static_cast<std::uint32_t>(verdict.status);
    completion.detail = verdict.detail;
    return completion;
}

/* Writes the record if it can be written, and returns it. */
lutmm_completion answer(const lutmm_descriptor &d, const lutmm_completion &completion, Memory &memory)
{
    if (memory.writable(d.completion, sizeof completion))
        memory.write(d.completion, &completion, sizeof completion);
    return completion;
}

} // namespace

std::optional<PatternProfile> profile_activations(const lutmm_descriptor &d, const SliceConfig &prepared,
                                                  const std::uint8_t *activations, int threads)
{
    if (!activations_of(d, activations))
        return std::nullopt;
    return profile(patterns_of(d, activations), prepared.prt_entries, prepared.policy, threads);
}

Execution execute_operands(const lutmm_descriptor &d, const SliceConfig &config, const Operands &operands,
                           int threads)
{
    const Preparation tile = prepare_tile(d, config, operands[codebook_area]);
    if (!tile.verdict.ok())
        return {refusal(tile.verdict), {}};
    const std::vector<std::uint8_t> codes = unpack(d, operands[weight_area]);
    if (code_of(d) == LUTMM_F_CODE_TERNARY && std::find(codes.begin(), codes.end(), 3) != codes.end())
        return {refusal({LUTMM_ERR_CODE, offsetof(lutmm_descriptor, weights)}), {}};
    const auto x = activations_of(d, operands[activation_area]);
    if (!x)
        return {refusal({LUTMM_ERR_VALUE, offsetof(lutmm_descriptor, activations)}), {}};

    const Grouping grouping(d.k, d.nbw, d.group_size);
    const Patterns patterns = patterns_of(d, operands[activation_area]);
    const std::vector<std::int16_t> values = values_of(d, operands[codebook_area]);
    const PackedWeights weights({codes.data(), d.k, d.n, d.wbits, values.data()});
    const bool is_signed = !has(d, LUTMM_F_ACT_UNSIGNED);
    const Multiply multiply = [&](const TileSink &sink) {
        lut_gemv(patterns, grouping, weights, is_signed, threads, sink);
    };
    Execution result;
    result.output = has(d, LUTMM_F_CONVERT)
                        ? bytes_of(scaled(d, grouping, *x, operands[scale_area], multiply))
                        : bytes_of(summed(d, multiply));

    const TileTiming timing =
        TileTimer(tile.config, tile.shape, tile.scaling)
            .time(profile(patterns, tile.config.prt_entries, tile.config.policy, threads));
    result.completion.status = LUTMM_OK;
    result.completion.cycles = static_cast<std::uint64_t>(timing.total);
    result.completion.lookups = static_cast<std::uint64_t>(timing.lookups);
    result.completion.prt_hits = static_cast<std::uint64_t>(timing.prt_hits);
    return result;
}

lutmm_completion execute_descriptor(const lutmm_descriptor &d, const SliceConfig &config, Memory &memory,
                                    int threads)
{
    const Verdict verdict = validate_descriptor(d, config, [&memory](const Buffer &buffer) {
        return buffer.is_written ? memory.writable(buffer.address, buffer.bytes)
                                 : memory.readable(buffer.address, buffer.bytes);
    });
    if (!verdict.ok())
        return answer(d, refusal(verdict), memory);

    const Buffers buffers = buffers_of(d);
    std::array<std::vector<std::uint8_t>, buffer_count> fetched;
    Operands operands{};
    for (std::size_t area = 0; area < buffer_count; ++area) {
        const Buffer &buffer = buffers[area];
        if (buffer.is_written || buffer.bytes == 0)
            continue;
        fetched[area].resize(buffer.bytes);
        memory.read(buffer.address, fetched[area].data(), buffer.bytes);
        operands[area] = fetched[area].data();
    }
    const Execution result = execute_operands(d, config, operands, threads);
    if (result.completion.status == LUTMM_OK)
        memory.write(d.output, result.output.data(), result.output.size());
    return answer(d, result.completion, memory);
}

lutmm_completion refuse_unit(const lutmm_descriptor &d, std::uint32_t unit, Memory &memory)
{
    return answer(d, refusal({LUTMM_ERR_UNIT, unit}), memory);
}

} // namespace sailsim::pim
