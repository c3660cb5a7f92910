/* SPDX-License-Identifier: BSD-3-Clause */
#include <algorithm>
#include <cstddef>
#include <cstring>

#include "pim/descriptor.hh"
#include "pim/descriptor_fields.hh"
#include "pim/gemv.hh"
#include "pim/scaling.hh"

namespace sailsim::pim
{

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

/* The scales behind d.scales, in three copies of their own alignment. */
struct ScaleArrays {
    std::vector<std::uint16_t> scale;
    std::vector<std::uint16_t> minimum;
    std::vector<float> act_scale;
};

ScaleArrays scales_of(const lutmm_descriptor &d, std::int64_t blocks, const std::uint8_t *bytes)
{
    const auto halves = static_cast<std::size_t>(blocks * d.n);
    ScaleArrays arrays;
    arrays.scale.resize(halves);
    std::memcpy(arrays.scale.data(), bytes, halves * sizeof(std::uint16_t));
    if (has(d, LUTMM_F_MINIMUM)) {
        arrays.minimum.resize(halves);
        std::memcpy(arrays.minimum.data(), bytes + halves * sizeof(std::uint16_t),
                    halves * sizeof(std::uint16_t));
    }
    arrays.act_scale.resize(d.batch);
    std::memcpy(arrays.act_scale.data(), bytes + act_scale_offset(d, halves), d.batch * sizeof(float));
    return arrays;
}

template <class T>
std::optional<PatternProfile> profile_of(const lutmm_descriptor &d, const SliceConfig &slice,
                                         const std::uint8_t *bytes, int threads)
{
    std::vector<T> x(static_cast<std::size_t>(d.batch) * d.k);
    std::memcpy(x.data(), bytes, x.size() * sizeof(T));
    const Activations<T> activations{x.data(), d.batch, d.k, d.abits, !has(d, LUTMM_F_ACT_UNSIGNED)};
    if (find_outside(activations) >= 0)
        return std::nullopt;
    const Patterns patterns(activations, Grouping(d.k, d.nbw, d.group_size));
    return profile(patterns, slice.prt_entries, slice.policy, threads);
}

template <class T>
void work_out(const lutmm_descriptor &d, const Operands &operands, const std::vector<std::int16_t> &values,
              int threads, Execution &result)
{
    lutmm_completion &completion = result.completion;
    const std::vector<std::uint8_t> codes = unpack(d, operands.weights);
    if (code_of(d) == LUTMM_F_CODE_TERNARY && std::find(codes.begin(), codes.end(), 3) != codes.end()) {
        completion.status = LUTMM_ERR_CODE;
        completion.detail = offsetof(lutmm_descriptor, weights);
        return;
    }
    std::vector<T> x(static_cast<std::size_t>(d.batch) * d.k);
    std::memcpy(x.data(), operands.activations, x.size() * sizeof(T));
    const Activations<T> activations{x.data(), d.batch, d.k, d.abits, !has(d, LUTMM_F_ACT_UNSIGNED)};
    if (find_outside(activations) >= 0) {
        completion.status = LUTMM_ERR_VALUE;
        completion.detail = offsetof(lutmm_descriptor, activations);
        return;
    }

    const Grouping grouping(d.k, d.nbw, d.group_size);
    const Patterns patterns(activations, grouping);
    const PackedWeights weights(codes.data(), d.k, d.n, d.wbits, values.data());
    const std::int64_t n = d.n;
    result.output.resize(static_cast<std::size_t>(d.batch) * d.n * 4);
    if (has(d, LUTMM_F_CONVERT)) {
        const ScaleArrays arrays = scales_of(d, grouping.blocks(), operands.scales);
        std::vector<std::int64_t> sums_of_x(static_cast<std::size_t>(grouping.blocks() * d.batch));
        sum_activations(activations, grouping, sums_of_x.data());
        const Scales scales{arrays.scale.data(),
                            has(d, LUTMM_F_MINIMUM) ? arrays.minimum.data() : nullptr,
                            sums_of_x.data(),
                            arrays.act_scale.data(),
                            d.batch,
                            n};
        std::vector<float> y(static_cast<std::size_t>(d.batch) * d.n);
        lut_gemv(patterns, grouping, weights, activations.is_signed, Sums::per_block, threads,
                 [&](const TileSums &tile) { add_scaled_block(tile, scales, y.data()); });
        scale_rows(scales, y.data());
        std::memcpy(result.output.data(), y.data(), result.output.size());
    } else {
        std::vector<std::int32_t> y(static_cast<std::size_t>(d.batch) * d.n);
        lut_gemv(patterns, grouping, weights, activations.is_signed, Sums::total, threads,
                 [&](const TileSums &tile) {
                     for (std::int64_t b = 0; b < d.batch; ++b)
                         for (std::int64_t i = 0; i < tile.outputs; ++i)
                             y[static_cast<std::size_t>(b * n + tile.first_output + i)] =
                                 static_cast<std::int32_t>(tile.sums[b * tile_outputs + i]);
                 });
        std::memcpy(result.output.data(), y.data(), result.output.size());
    }

    result.profile = profile(patterns, result.config.prt_entries, result.config.policy, threads);
    const TileTiming timing = time_tile(result.config, result.shape, result.profile, result.scaling);
    completion.status = LUTMM_OK;
    completion.cycles = static_cast<std::uint64_t>(timing.total);
    completion.lookups = static_cast<std::uint64_t>(timing.counts.lookups);
    completion.prt_hits = static_cast<std::uint64_t>(timing.counts.prt_hits);
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
    const bool is_unsigned = has(d, LUTMM_F_ACT_UNSIGNED);
    if (d.abits <= 8)
        return is_unsigned ? profile_of<std::uint8_t>(d, prepared, activations, threads)
                           : profile_of<std::int8_t>(d, prepared, activations, threads);
    return is_unsigned ? profile_of<std::uint16_t>(d, prepared, activations, threads)
                       : profile_of<std::int16_t>(d, prepared, activations, threads);
}

Execution execute_operands(const lutmm_descriptor &d, const SliceConfig &config, const Operands &operands,
                           int threads)
{
    Execution result;
    const Preparation tile = prepare_tile(d, config, operands.codebook);
    if (!tile.verdict.ok()) {
        result.completion = refusal(tile.verdict);
        return result;
    }
    result.config = tile.config;
    result.shape = tile.shape;
    result.scaling = tile.scaling;
    const std::vector<std::int16_t> values = values_of(d, operands.codebook);
    const bool is_unsigned = has(d, LUTMM_F_ACT_UNSIGNED);
    if (d.abits <= 8 && is_unsigned)
        work_out<std::uint8_t>(d, operands, values, threads, result);
    else if (d.abits <= 8)
        work_out<std::int8_t>(d, operands, values, threads, result);
    else if (is_unsigned)
        work_out<std::uint16_t>(d, operands, values, threads, result);
    else
        work_out<std::int16_t>(d, operands, values, threads, result);
    return result;
}

lutmm_completion execute_descriptor(const lutmm_descriptor &d, const SliceConfig &config, Memory &memory,
                                    int threads)
{
    const Verdict verdict = validate_descriptor(d, config, &memory);
    if (!verdict.ok())
        return answer(d, refusal(verdict), memory);

    const Buffers buffers = buffers_of(d);
    const auto fetch = [&](const Buffer &buffer) {
        std::vector<std::uint8_t> bytes(buffer.bytes);
        if (buffer.bytes != 0)
            memory.read(buffer.address, bytes.data(), buffer.bytes);
        return bytes;
    };
    const std::vector<std::uint8_t> weights = fetch(buffers.weights);
    const std::vector<std::uint8_t> activations = fetch(buffers.activations);
    const std::vector<std::uint8_t> scales = fetch(buffers.scales);
    const std::vector<std::uint8_t> codebook = fetch(buffers.codebook);
    const Execution result = execute_operands(
        d, config, {weights.data(), activations.data(), scales.data(), codebook.data()}, threads);
    if (result.completion.status == LUTMM_OK)
        memory.write(d.output, result.output.data(), result.output.size());
    return answer(d, result.completion, memory);
}

lutmm_completion refuse_unit(const lutmm_descriptor &d, std::uint32_t unit, Memory &memory)
{
    return answer(d, refusal({LUTMM_ERR_UNIT, unit}), memory);
}

} // namespace sailsim::pim
