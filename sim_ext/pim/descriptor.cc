/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/descriptor.hh"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>
#include <stdexcept>

#include "pim/descriptor_fields.hh"

namespace sailsim::pim
{

namespace
{

constexpr int unit_accumulator_bits = 32; /* results are int32 */

static_assert(sizeof(lutmm_descriptor) == 64, "the ABI fixes the descriptor's size");
static_assert(sizeof(lutmm_completion) == 32, "the ABI fixes the completion record's size");

/* One buffer with the place of its address in the descriptor. */
struct Field {
    Buffer buffer;
    std::uint32_t offset;
    bool is_written;
    std::uint64_t align;
};

/* In the order in which findings are reported. */
std::array<Field, 6> fields_of(const lutmm_descriptor &d)
{
    const Buffers b = buffers_of(d);
    return {{{b.weights, offsetof(lutmm_descriptor, weights), false, LUTMM_BUFFER_ALIGN},
             {b.activations, offsetof(lutmm_descriptor, activations), false, LUTMM_BUFFER_ALIGN},
             {b.output, offsetof(lutmm_descriptor, output), true, LUTMM_BUFFER_ALIGN},
             {b.scales, offsetof(lutmm_descriptor, scales), false, LUTMM_BUFFER_ALIGN},
             {b.completion, offsetof(lutmm_descriptor, completion), true, LUTMM_COMPLETION_ALIGN},
             {b.codebook, offsetof(lutmm_descriptor, codebook), false, LUTMM_BUFFER_ALIGN}}};
}

bool reachable(const Field &f, const Memory *memory)
{
    const Buffer &b = f.buffer;
    if (b.bytes > std::numeric_limits<std::uint64_t>::max() - b.address)
        return false;
    if (memory == nullptr)
        return true;
    return f.is_written ? memory->writable(b.address, b.bytes) : memory->readable(b.address, b.bytes);
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
        const TilePlan plan = plan_tile(slice, shape, scaling);
        return !scaling.scaled || slice.convert != Convert::memory || plan.convert_rounds > 0;
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
    const int bits = std::min(config.accumulator_bits, unit_accumulator_bits);
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

std::uint64_t act_scale_offset(const lutmm_descriptor &d, std::uint64_t halves)
{
    const std::uint64_t bytes = halves * sizeof(std::uint16_t) * (has(d, LUTMM_F_MINIMUM) ? 2 : 1);
    return (bytes + sizeof(float) - 1) / sizeof(float) * sizeof(float);
}

Buffers buffers_of(const lutmm_descriptor &d)
{
    const std::uint64_t k = d.k;
    const std::uint64_t n = d.n;
    const std::uint64_t batch = d.batch;
    const std::uint64_t activation_bytes = d.abits <= 8 ? 1 : 2;
    Buffers b;
    b.weights = {d.weights, k * ((n * d.wbits + 7) / 8)};
    b.activations = {d.activations, batch * k * activation_bytes};
    if (d.scales != 0) {
        const std::uint64_t blocks = d.group_size == 0 ? 1 : (k + d.group_size - 1) / d.group_size;
        /* Beyond 2^60 scales the product below would not fit; that many cannot be in memory anyhow. */
        const std::uint64_t halves =
            blocks > (std::uint64_t{1} << 60) / n ? std::uint64_t{1} << 60 : blocks * n;
        b.scales = {d.scales, act_scale_offset(d, halves) + batch * sizeof(float)};
    }
    if (code_of(d) == LUTMM_F_CODE_BOOK)
        b.codebook = {d.codebook, sizeof(std::int16_t) << d.wbits};
    b.output = {d.output, batch * n * 4};
    b.completion = {d.completion, sizeof(lutmm_completion)};
    return b;
}

Verdict validate_descriptor(const lutmm_descriptor &d, const SliceConfig &config, const Memory *memory)
{
    config.validate();
    const unsigned code = code_of(d);
    if (d.wbits < 1 || d.wbits > LUTMM_WBITS_MAX || (code == LUTMM_F_CODE_TERNARY && d.wbits != 2))
        return {LUTMM_ERR_WBITS, offsetof(lutmm_descriptor, wbits)};
    if (d.abits < 1 || d.abits > LUTMM_ABITS_MAX)
        return {LUTMM_ERR_ABITS, offsetof(lutmm_descriptor, abits)};
    if (d.nbw < 1 || d.nbw > LUTMM_NBW_MAX)
        return {LUTMM_ERR_NBW, offsetof(lutmm_descriptor, nbw)};
    if (d.k == 0)
        return {LUTMM_ERR_SHAPE, offsetof(lutmm_descriptor, k)};
    if (d.n == 0)
        return {LUTMM_ERR_SHAPE, offsetof(lutmm_descriptor, n)};
    if (d.batch == 0)
        return {LUTMM_ERR_SHAPE, offsetof(lutmm_descriptor, batch)};
    const bool convert = has(d, LUTMM_F_CONVERT);
    if (has(d, LUTMM_F_RESERVED) || convert != (d.scales != 0) || (has(d, LUTMM_F_MINIMUM) && !convert))
        return {LUTMM_ERR_FLAGS, offsetof(lutmm_descriptor, flags)};

    const std::array<Field, 6> fields = fields_of(d);
    for (const Field &f : fields)
        if (f.buffer.bytes != 0 && f.buffer.address % f.align != 0)
            return {LUTMM_ERR_ALIGN, f.offset};
    const bool zero_point_fits = d.codebook < std::uint64_t{1} << d.wbits;
    if ((code == LUTMM_F_CODE_BOOK && d.codebook == 0) || (code == LUTMM_F_CODE_OFFSET && !zero_point_fits) ||
        ((code == LUTMM_F_CODE_TWOS || code == LUTMM_F_CODE_TERNARY) && d.codebook != 0))
        return {LUTMM_ERR_CODEBOOK, offsetof(lutmm_descriptor, codebook)};
    for (const Field &f : fields)
        if (f.buffer.bytes != 0 && !reachable(f, memory))
            return {LUTMM_ERR_FAULT, f.offset};
    const Buffer output = buffers_of(d).output;
    for (const Field &f : fields)
        if (f.offset != offsetof(lutmm_descriptor, output) && overlap(output, f.buffer))
            return {LUTMM_ERR_OVERLAP, offsetof(lutmm_descriptor, output)};

    if (code == LUTMM_F_CODE_BOOK)
        return {};
    return check_values(d, config, values_of(d, nullptr));
}

Preparation prepare_tile(const lutmm_descriptor &d, const SliceConfig &config, const std::uint8_t *codebook)
{
    const std::vector<std::int16_t> values = values_of(d, codebook);
    return {check_values(d, config, values), slice_of(d, config), shape_of(d, values), scaling_of(d)};
}

} // namespace sailsim::pim
