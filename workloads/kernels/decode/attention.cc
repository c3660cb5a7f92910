/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/attention.hh"

#include "decode/attention_kernels.hh"
#include "decode/vector_math.hh"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace sailsim::kernels::decode
{

namespace
{

constexpr std::size_t kMostQueries = 4; // heads that are worked on together

} // namespace

Attention::Attention(const Dimensions &dimensions, std::size_t batch, std::size_t positions, Cache &cache,
                     const Rotation &rotation)
    : heads_(dimensions.heads), kv_heads_(dimensions.kv_heads), share_(heads_ / kv_heads_),
      head_dim_(dimensions.head_dim), padded_(cache.padded()), batch_(batch),
      runs_(parts_of(positions, kPositions)), mixed_stride_(round_up(dimensions.d_attn(), kChunk)),
      cache_(cache), rotation_(rotation), queries_(batch * heads_ * padded_ * sizeof(float)),
      query_bytes_(batch * heads_ * padded_), query_scales_(batch * heads_ * sizeof(float)),
      maxima_(batch * heads_ * runs_ * sizeof(float)), totals_(maxima_.size()),
      sums_(maxima_.size() * padded_), mixed_(batch * mixed_stride_ * sizeof(float)),
      largest_(batch * heads_ * sizeof(float))
{
}

void Attention::rotate(std::size_t layer, std::size_t position, const float *q, std::size_t q_stride,
                       const float *k, const float *v, std::size_t kv_stride, Worker &worker)
{
    const std::size_t of_row = heads_ + kv_heads_;
    const float factor = 1.0f / std::sqrt(static_cast<float>(head_dim_));
    const Range mine = worker.part(batch_ * of_row);
    for (std::size_t item = mine.first; item < mine.last; ++item) {
        const std::size_t b = item / of_row, head = item % of_row;
        if (head < heads_) {
            const std::size_t row = b * heads_ + head;
            float *query = queries_.as<float>() + row * padded_;
            rotation_.turn(q + b * q_stride + head * head_dim_, position, factor, query);
            if (cache_.int8())
                query_scales_.as<float>()[row] =
                    round_head(query, padded_, query_bytes_.as<std::int8_t>() + row * padded_);
            continue;
        }
        const std::size_t kv_head = head - heads_, at = b * kv_stride + kv_head * head_dim_;
        float key[kMostHeadDim];
        rotation_.turn(k + at, position, 1.0f, key);
        cache_.put(layer, b, kv_head, position, key, v + at);
    }
}

void Attention::run(std::size_t layer, std::size_t position, Worker &worker)
{
    const std::size_t count = position + 1, runs = parts_of(count, kPositions);
    const Range mine = worker.part(batch_ * kv_heads_ * runs);
    for (std::size_t item = mine.first; item < mine.last; ++item) {
        const std::size_t at = item % runs, row = item / runs;
        const std::size_t then = std::min(item + 1, mine.last - 1);
        const Run run{
            row / kv_heads_, row % kv_heads_, at, std::min(kPositions, count - at * kPositions),
            cache_.keys(layer, then / runs / kv_heads_, then / runs % kv_heads_, then % runs * kPositions)};
        std::size_t query = 0;
        for (; query + kMostQueries <= share_; query += kMostQueries)
            some_heads<kMostQueries>(layer, run, query);
        switch (share_ - query) {
        case 3:
            some_heads<3>(layer, run, query);
            break;
        case 2:
            some_heads<2>(layer, run, query);
            break;
        case 1:
            some_heads<1>(layer, run, query);
            break;
        default:
            break;
        }
    }
}

template <int Queries>
void Attention::some_heads(std::size_t layer, const Run &run, std::size_t first_query)
{
    const std::size_t query = run.head * share_ + first_query, row = run.b * heads_ + query;
    const std::size_t position = run.run * kPositions;
    alignas(16) float weights[Queries][kPositions];
    const void *keys = cache_.keys(layer, run.b, run.head, position);
    const void *values = cache_.values(layer, run.b, run.head, position);
    if (cache_.int8())
        score_bytes<Queries>(query_bytes_.as<std::int8_t>() + row * padded_, query_scales_.as<float>() + row,
                             static_cast<const std::int8_t *>(keys),
                             cache_.key_scales(layer, run.b, run.head, position),
                             static_cast<const std::int8_t *>(values), padded_, weights);
    else
        score_halves<Queries>(queries_.as<float>() + row * padded_, static_cast<const float16_t *>(keys),
                              static_cast<const float16_t *>(values), padded_, weights);
    float *sums[Queries];
    for (int i = 0; i < Queries; ++i) {
        const std::size_t at = partial(run.b, query + static_cast<std::size_t>(i), run.run);
        exponentials(weights[i], run.valid, maxima_.as<float>()[at], totals_.as<float>()[at]);
        sums[i] = sums_.as<float>() + at * padded_;
    }
    if (cache_.int8())
        weigh_bytes<Queries>(weights, static_cast<const std::int8_t *>(values),
                             cache_.value_scales(layer, run.b, run.head, position),
                             static_cast<const std::int8_t *>(run.next), run.valid, padded_, sums);
    else
        weigh_halves<Queries>(weights, static_cast<const float16_t *>(values),
                              static_cast<const float16_t *>(run.next), run.valid, padded_, sums);
}

void Attention::combine(std::size_t position, Worker &worker)
{
    const std::size_t runs = parts_of(position + 1, kPositions);
    const Range mine = worker.part(batch_ * heads_);
    for (std::size_t item = mine.first; item < mine.last; ++item) {
        const std::size_t first = item * runs_;
        const float *maxima = maxima_.as<float>() + first, *totals = totals_.as<float>() + first;
        const float most = *std::max_element(maxima, maxima + runs);
        alignas(16) float mixed[kMostHeadDim] = {};
        float total = 0.0f;
        for (std::size_t i = 0; i < runs; ++i) {
            const float factor = vgetq_lane_f32(exp4(vdupq_n_f32(maxima[i] - most)), 0);
            const float *sums = sums_.as<float>() + (first + i) * padded_;
            total += totals[i] * factor;
            for (std::size_t j = 0; j < padded_; j += 4)
                vst1q_f32(mixed + j, vfmaq_n_f32(vld1q_f32(mixed + j), vld1q_f32(sums + j), factor));
        }
        const float reciprocal = 1.0f / total;
        float32x4_t largest = vdupq_n_f32(0.0f);
        for (std::size_t j = 0; j < padded_; j += 4) {
            const float32x4_t values = vmulq_n_f32(vld1q_f32(mixed + j), reciprocal);
            largest = vmaxq_f32(largest, vabsq_f32(values));
            vst1q_f32(mixed + j, values);
        }
        largest_.as<float>()[item] = vmaxvq_f32(largest);
        const std::size_t b = item / heads_, head = item % heads_;
        std::memcpy(mixed_.as<float>() + b * mixed_stride_ + head * head_dim_, mixed,
                    head_dim_ * sizeof(float));
    }
}

} // namespace sailsim::kernels::decode
