/* SPDX-License-Identifier: BSD-3-Clause */
#include "lutmm/verdict.hh"

#include "lutmm/operands.hh"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <limits>

namespace sailsim::kernels
{

namespace
{

#define FIELD(name) static_cast<std::uint32_t>(offsetof(lutmm_descriptor, name))

constexpr std::uint64_t kTooMany = std::numeric_limits<std::uint64_t>::max();

struct Range {
    std::uint32_t field;
    std::uint64_t address, bytes; // bytes 0: the descriptor has no such buffer
    unsigned align;
    bool to_write;
};

// Sizes that 64 bits cannot hold, and so no memory, become kTooMany.
std::uint64_t product(std::uint64_t a, std::uint64_t b)
{
    std::uint64_t result;
    return __builtin_mul_overflow(a, b, &result) ? kTooMany : result;
}

std::uint64_t scale_range(const lutmm_descriptor &d)
{
    const std::uint64_t halves =
        product(product(block_count(d), d.n), (d.flags & LUTMM_F_MINIMUM) != 0 ? 2 : 1);
    const std::uint64_t bytes = product(halves, 2);
    return bytes > kTooMany - 8 * std::uint64_t{65536} ? kTooMany : scale_bytes(d);
}

// In the order in which findings are reported.
std::array<Range, 6> ranges(const lutmm_descriptor &d)
{
    const std::uint64_t book = code_kind(d) == LUTMM_F_CODE_BOOK ? codebook_bytes(d) : 0;
    const std::uint64_t scales = d.scales != 0 ? scale_range(d) : 0;
    return {{{FIELD(weights), d.weights, product(d.k, weight_row_bytes(d)), LUTMM_BUFFER_ALIGN, false},
             {FIELD(activations), d.activations, activation_bytes(d), LUTMM_BUFFER_ALIGN, false},
             {FIELD(output), d.output, output_bytes(d), LUTMM_BUFFER_ALIGN, true},
             {FIELD(scales), d.scales, scales, LUTMM_BUFFER_ALIGN, false},
             {FIELD(completion), d.completion, sizeof(lutmm_completion), LUTMM_COMPLETION_ALIGN, true},
             {FIELD(codebook), d.codebook, book, LUTMM_BUFFER_ALIGN, false}}};
}

ExpectedVerdict of_fields(const lutmm_descriptor &d)
{
    const unsigned kind = code_kind(d);
    if (d.wbits < 1 || d.wbits > 8 || (kind == LUTMM_F_CODE_TERNARY && d.wbits != 2))
        return {LUTMM_ERR_WBITS, FIELD(wbits)};
    if (d.abits < 1 || d.abits > 16)
        return {LUTMM_ERR_ABITS, FIELD(abits)};
    if (d.nbw < 1 || d.nbw > 6)
        return {LUTMM_ERR_NBW, FIELD(nbw)};
    if (d.k == 0)
        return {LUTMM_ERR_SHAPE, FIELD(k)};
    if (d.n == 0)
        return {LUTMM_ERR_SHAPE, FIELD(n)};
    if (d.batch == 0)
        return {LUTMM_ERR_SHAPE, FIELD(batch)};
    const bool converts = (d.flags & LUTMM_F_CONVERT) != 0;
    if ((d.flags & LUTMM_F_RESERVED) != 0 || converts != (d.scales != 0) ||
        ((d.flags & LUTMM_F_MINIMUM) != 0 && !converts))
        return {LUTMM_ERR_FLAGS, FIELD(flags)};
    return {};
}

bool codebook_is_wrong(const lutmm_descriptor &d)
{
    switch (code_kind(d)) {
    case LUTMM_F_CODE_BOOK:
        return d.codebook == 0;
    case LUTMM_F_CODE_OFFSET:
        return d.codebook >> d.wbits != 0;
    default:
        return d.codebook != 0;
    }
}

ExpectedVerdict of_buffers(const lutmm_descriptor &d, const std::vector<Extent> &memory)
{
    const std::array<Range, 6> all = ranges(d);
    for (const Range &range : all)
        if (range.bytes != 0 && range.address % range.align != 0)
            return {LUTMM_ERR_ALIGN, range.field};
    if (codebook_is_wrong(d))
        return {LUTMM_ERR_CODEBOOK, FIELD(codebook)};
    for (const Range &range : all)
        if (range.bytes != 0 && !reachable(memory, range.address, range.bytes, range.to_write))
            return {LUTMM_ERR_FAULT, range.field};
    for (const Range &range : all)
        if (range.bytes != 0 && range.field != FIELD(output) && range.address < d.output + output_bytes(d) &&
            d.output < range.address + range.bytes)
            return {LUTMM_ERR_OVERLAP, FIELD(output)};
    return {};
}

ExpectedVerdict of_operands(const lutmm_descriptor &d)
{
    const bool is_signed = (d.flags & LUTMM_F_ACT_UNSIGNED) == 0;
    const std::int64_t low = is_signed ? -(std::int64_t{1} << (d.abits - 1)) : 0;
    const std::int64_t high = (std::int64_t{1} << (is_signed ? d.abits - 1 : d.abits)) - 1;
    std::int64_t largest_weight = 0;
    for (const std::int32_t value : code_values(d))
        largest_weight = std::max<std::int64_t>(largest_weight, std::abs(value));
    const auto terms = static_cast<std::int64_t>(d.scales != 0 ? block_length(d) : d.k);
    if (largest_weight * std::max(-low, high) * terms > std::numeric_limits<std::int32_t>::max())
        return {LUTMM_ERR_OVERFLOW, FIELD(k)};
    if (code_kind(d) == LUTMM_F_CODE_TERNARY)
        for (std::size_t k = 0; k < d.k; ++k)
            for (std::size_t n = 0; n < d.n; ++n)
                if (weight_code(d, k, n) == 3)
                    return {LUTMM_ERR_CODE, FIELD(weights)};
    for (std::size_t b = 0; b < d.batch; ++b)
        for (std::size_t k = 0; k < d.k; ++k)
            if (activation(d, b, k) < low || activation(d, b, k) > high)
                return {LUTMM_ERR_VALUE, FIELD(activations)};
    return {};
}

#undef FIELD

} // namespace

bool reachable(const std::vector<Extent> &memory, std::uint64_t address, std::uint64_t bytes, bool to_write)
{
    return std::any_of(memory.begin(), memory.end(), [&](const Extent &extent) {
        return address >= extent.first && address < extent.end && bytes <= extent.end - address &&
               (extent.writable || !to_write);
    });
}

ExpectedVerdict expected_verdict(const lutmm_descriptor &d, const std::vector<Extent> &memory)
{
    ExpectedVerdict verdict = of_fields(d);
    if (verdict.status == LUTMM_OK)
        verdict = of_buffers(d, memory);
    if (verdict.status == LUTMM_OK)
        verdict = of_operands(d);
    return verdict;
}

} // namespace sailsim::kernels
