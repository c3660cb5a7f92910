/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/attention.hh"

#include "common/vector_math.hh"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace sailsim::kernels::decode
{

namespace
{

constexpr std::size_t kFillEntries = 4096, kFillStride = 37;

void to_halves(const float *x, std::size_t count, float16_t *out)
{
    for (std::size_t i = 0; i < count; i += 8)
        vst1q_f16(out + i, vcvt_high_f16_f32(vcvt_f16_f32(vld1q_f32(x + i)), vld1q_f32(x + i + 4)));
}

// What follows is attention of some query heads that share keys and values, over one run of kPositions
// positions.
//
// Positions that are not there yet hold zeros; their scores are worked out and then left out.
//
// A cache of many sequences comes from memory, and a core's loads alone do not keep enough lines under way:
// so values are asked for while their keys are multiplied, and the next run's keys while values are.
constexpr std::size_t kMostQueries = 4; // heads that are worked on together
constexpr std::size_t kTogether = 4;    // positions whose scores grow side by side

// Asks for the lines of `bytes` from `from` on; beside what is there it does nothing.
inline void fetch(const void *from, std::size_t bytes)
{
    for (std::size_t i = 0; i < bytes; i += kLine)
        __builtin_prefetch(static_cast<const char *>(from) + i, 0, 3);
}

// scores[i][position] = query i (rows of `padded`) . key of the position; asks for the values meanwhile
template <int Queries>
__attribute__((noinline)) void score_halves(const float *queries, const float16_t *keys,
                                            const float16_t *values, std::size_t padded,
                                            float (*scores)[kPositions])
{
    for (std::size_t position = 0; position < kPositions; position += kTogether) {
        const float16_t *key = keys + position * padded;
        fetch(values + position * padded, kTogether * padded * sizeof(float16_t));
        float32x4_t sums[Queries][kTogether] = {};
        for (std::size_t j = 0; j < padded; j += 8) {
            float32x4_t low[kTogether], high[kTogether];
            for (std::size_t p = 0; p < kTogether; ++p) {
                const float16x8_t halves = vld1q_f16(key + p * padded + j);
                low[p] = vcvt_f32_f16(vget_low_f16(halves));
                high[p] = vcvt_high_f32_f16(halves);
            }
            for (int i = 0; i < Queries; ++i) {
                const float *query = queries + static_cast<std::size_t>(i) * padded + j;
                const float32x4_t query_low = vld1q_f32(query), query_high = vld1q_f32(query + 4);
                for (std::size_t p = 0; p < kTogether; ++p)
                    sums[i][p] = vfmaq_f32(vfmaq_f32(sums[i][p], low[p], query_low), high[p], query_high);
            }
        }
        for (int i = 0; i < Queries; ++i)
            vst1q_f32(scores[i] + position,
                      vpaddq_f32(vpaddq_f32(sums[i][0], sums[i][1]), vpaddq_f32(sums[i][2], sums[i][3])));
    }
}

// Turns the first `valid` scores into e^(score - largest), the others into 0; their largest and their sum.
inline void exponentials(float *scores, std::size_t valid, float &largest, float &total)
{
    constexpr float nothing = -std::numeric_limits<float>::infinity();
    for (std::size_t position = valid; position < kPositions; ++position)
        scores[position] = nothing;
    Floats16 runs = load16(scores);
    for (std::size_t position = 16; position < kPositions; position += 16)
        runs = largest_of(runs, load16(scores + position));
    largest = largest_of(runs);
    const float32x4_t most = vdupq_n_f32(largest);
    float32x4_t sum = vdupq_n_f32(0.0f);
    for (std::size_t position = 0; position < kPositions; position += 16) {
        Floats16 weights = load16(scores + position);
        for (auto &of : weights.of)
            of = vsubq_f32(of, most);
        raise_e(weights.of);
        for (auto &of : weights.of)
            sum = vaddq_f32(sum, of);
        store16(scores + position, weights);
    }
    total = vaddvq_f32(sum);
}

// sums[i] (padded) = sum over the `valid` positions of weights[i][position] * value of the position; asks for
// the `next` run's keys meanwhile
template <int Queries>
__attribute__((noinline)) void weigh(const float (*weights)[kPositions], const float16_t *values,
                                     const float16_t *next, std::size_t valid, std::size_t padded,
                                     float *const *sums)
{
    for (std::size_t j = 0; j < padded; j += 16) {
        fetch(next + j * kPositions, 16 * kPositions * sizeof(float16_t));
        Floats16 sum[Queries] = {};
        for (std::size_t position = 0; position < valid; ++position) {
            const Floats16 wide = widen16(values + position * padded + j);
            for (int i = 0; i < Queries; ++i)
                for (int part = 0; part < 4; ++part)
                    sum[i].of[part] = vfmaq_n_f32(sum[i].of[part], wide.of[part], weights[i][position]);
        }
        for (int i = 0; i < Queries; ++i)
            store16(sums[i] + j, sum[i]);
    }
}

} // namespace

float round_head(const float *x, std::size_t count, std::int8_t *out)
{
    float32x4_t largest = vdupq_n_f32(0.0f);
    for (std::size_t i = 0; i < count; i += 4)
        largest = vmaxq_f32(largest, vabsq_f32(vld1q_f32(x + i)));
    const float most = vmaxvq_f32(largest);
    const float32x4_t factor = vdupq_n_f32(steps_per_unit(most));
    for (std::size_t i = 0; i < count; i += 16)
        vst1q_s8(out + i, round16(load16(x + i), factor));
    return step_of(most);
}

Attention::Attention(const Dimensions &dimensions, const AttentionSettings &settings, float query_factor)
    : layers_(dimensions.layers), heads_(dimensions.heads), kv_heads_(dimensions.kv_heads),
      share_(heads_ / kv_heads_), head_dim_(dimensions.head_dim), padded_(round_up(head_dim_, kChunk)),
      batch_(settings.batch), prompt_(settings.prompt), pairs_(head_dim_ / 2), query_factor_(query_factor),
      cosines_(settings.positions * pairs_ * sizeof(float)), sines_(cosines_.size()),
      queries_(batch_ * heads_ * padded_ * sizeof(float)),
      mixed_stride_(round_up(dimensions.d_attn(), kChunk)), mixed_(batch_ * mixed_stride_ * sizeof(float)),
      largest_(batch_ * heads_ * sizeof(float))
{
    for (std::size_t i = 0; i < pairs_; ++i) {
        const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(head_dim_);
        const double frequency = std::pow(static_cast<double>(dimensions.rope_base), exponent);
        for (std::size_t position = 0; position < settings.positions; ++position) {
            const double angle = static_cast<double>(position) * frequency;
            cosines_.as<float>()[position * pairs_ + i] = static_cast<float>(std::cos(angle));
            sines_.as<float>()[position * pairs_ + i] = static_cast<float>(std::sin(angle));
        }
    }
}

void Attention::turn(const float *x, std::size_t position, float factor, float *out) const
{
    const float *cosines = cosines_.as<float>() + position * pairs_;
    const float *sines = sines_.as<float>() + position * pairs_;
    std::size_t i = 0;
    for (; i + 4 <= pairs_; i += 4) {
        const float32x4x2_t in = vld2q_f32(x + 2 * i);
        const float32x4_t cosine = vld1q_f32(cosines + i), sine = vld1q_f32(sines + i);
        float32x4x2_t turned;
        turned.val[0] = vsubq_f32(vmulq_f32(in.val[0], cosine), vmulq_f32(in.val[1], sine));
        turned.val[1] = vaddq_f32(vmulq_f32(in.val[0], sine), vmulq_f32(in.val[1], cosine));
        turned.val[0] = vmulq_n_f32(turned.val[0], factor);
        turned.val[1] = vmulq_n_f32(turned.val[1], factor);
        vst2q_f32(out + 2 * i, turned);
    }
    for (; i < pairs_; ++i) {
        const float even = x[2 * i], odd = x[2 * i + 1];
        out[2 * i] = (even * cosines[i] - odd * sines[i]) * factor;
        out[2 * i + 1] = (even * sines[i] + odd * cosines[i]) * factor;
    }
}

void Attention::rotate(std::size_t layer, std::size_t position, const float *q, std::size_t q_stride,
                       const float *k, const float *v, std::size_t kv_stride, Worker &worker)
{
    const std::size_t of_row = heads_ + kv_heads_;
    const Range mine = worker.part(batch_ * of_row);
    for (std::size_t item = mine.first; item < mine.last; ++item) {
        const std::size_t b = item / of_row, head = item % of_row, at_position = position_of(position, b);
        if (head < heads_) {
            const std::size_t row = b * heads_ + head;
            turn(q + b * q_stride + head * head_dim_, at_position, query_factor_, query(row));
            keep_query(row);
            continue;
        }
        const std::size_t kv_head = head - heads_, at = b * kv_stride + kv_head * head_dim_;
        float key[kMostHeadDim];
        turn(k + at, at_position, 1.0f, key);
        keep(layer, b, kv_head, at_position, key, v + at);
    }
}

FloatAttention::FloatAttention(const Dimensions &dimensions, const AttentionSettings &settings)
    : Attention(dimensions, settings, 1.0f / std::sqrt(static_cast<float>(dimensions.head_dim))),
      runs_(parts_of(settings.positions, kPositions)), positions_(runs_ * kPositions),
      keys_(layers_ * batch_ * kv_heads_ * positions_ * padded_ * sizeof(float16_t)), values_(keys_.size()),
      maxima_(batch_ * heads_ * runs_ * sizeof(float)), totals_(maxima_.size()),
      sums_(maxima_.size() * padded_)
{
}

void FloatAttention::fill(std::size_t count, std::uint64_t seed)
{
    // A row longer than what is left of the table goes on at its beginning.
    std::vector<float> table(kFillEntries + kMostHeadDim + kChunk);
    Random random(seed);
    for (std::size_t i = 0; i < kFillEntries; ++i)
        table[i] = random.symmetric();
    std::copy_n(table.begin(), kMostHeadDim, table.begin() + kFillEntries);
    const std::vector<float16_t> halves(table.begin(), table.end());
    for (std::size_t head = 0; head < layers_ * batch_ * kv_heads_; ++head)
        for (std::size_t position = 0; position < count; ++position) {
            const std::size_t at = (head * positions_ + position) * padded_;
            const std::size_t number = 2 * (head * count + position);
            const auto copy = [&](Buffer &to, std::size_t row_number) {
                std::memcpy(to.as<float16_t>() + at, &halves[row_number * kFillStride % kFillEntries],
                            head_dim_ * sizeof(float16_t));
            };
            copy(keys_, number);
            copy(values_, number + 1);
        }
}

void FloatAttention::keep(std::size_t layer, std::size_t b, std::size_t head, std::size_t position,
                          const float *key, const float *value)
{
    const auto put = [&](const float *x, Buffer &to) {
        alignas(16) float whole[kMostHeadDim] = {};
        std::copy_n(x, head_dim_, whole);
        to_halves(whole, padded_, to.as<float16_t>() + place(layer, b, head, position));
    };
    put(key, keys_);
    put(value, values_);
}

void FloatAttention::mix(std::size_t layer, std::size_t position, Worker &worker)
{
    const std::size_t runs = parts_of(position_of(position, batch_ - 1) + 1, kPositions);
    const auto attend = [&](std::size_t item, std::size_t then) {
        const std::size_t at = item % runs, row = item / runs;
        const std::size_t count = position_of(position, row / kv_heads_) + 1;
        if (at * kPositions >= count) // of a later row of a prompt
            return;
        const std::size_t next =
            place(layer, then / runs / kv_heads_, then / runs % kv_heads_, then % runs * kPositions);
        const Run run{row / kv_heads_, row % kv_heads_, at, std::min(kPositions, count - at * kPositions),
                      keys_.as<float16_t>() + next};
        heads_from<kMostQueries>(layer, run, 0);
    };
    worker.turns(batch_ * kv_heads_ * runs, kPositions * padded_ * sizeof(float16_t), attend);
    worker.meet();
    combine(position, worker);
}

// As many heads at a time as there are, up to Queries.
template <int Queries>
void FloatAttention::heads_from(std::size_t layer, const Run &run, std::size_t query)
{
    for (; query + Queries <= share_; query += Queries)
        some_heads<Queries>(layer, run, query);
    if constexpr (Queries > 1)
        heads_from<Queries - 1>(layer, run, query);
}

template <int Queries>
void FloatAttention::some_heads(std::size_t layer, const Run &run, std::size_t first_query)
{
    const std::size_t first = run.head * share_ + first_query, row = run.b * heads_ + first;
    const std::size_t cached = place(layer, run.b, run.head, run.run * kPositions);
    alignas(16) float weights[Queries][kPositions];
    const float16_t *values = values_.as<float16_t>() + cached;
    score_halves<Queries>(query(row), keys_.as<float16_t>() + cached, values, padded_, weights);
    float *sums[Queries];
    for (int i = 0; i < Queries; ++i) {
        const std::size_t at = partial(run.b, first + static_cast<std::size_t>(i), run.run);
        exponentials(weights[i], run.valid, maxima_.as<float>()[at], totals_.as<float>()[at]);
        sums[i] = sums_.as<float>() + at * padded_;
    }
    weigh<Queries>(weights, values, run.next, run.valid, padded_, sums);
}

void FloatAttention::combine(std::size_t position, Worker &worker)
{
    const Range mine = worker.part(batch_ * heads_);
    for (std::size_t item = mine.first; item < mine.last; ++item) {
        const std::size_t b = item / heads_, head = item % heads_, first = item * runs_;
        const std::size_t runs = parts_of(position_of(position, b) + 1, kPositions);
        const float *maxima = maxima_.as<float>() + first, *totals = totals_.as<float>() + first;
        const float most = *std::max_element(maxima, maxima + runs);
        alignas(16) float mixed[kMostHeadDim] = {};
        float total = 0.0f;
        for (std::size_t i = 0; i < runs; ++i) {
            float32x4_t factors[] = {vdupq_n_f32(maxima[i] - most)};
            raise_e(factors);
            const float factor = vgetq_lane_f32(factors[0], 0);
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
        std::memcpy(mixed_.as<float>() + b * mixed_stride_ + head * head_dim_, mixed,
                    head_dim_ * sizeof(float));
    }
}

} // namespace sailsim::kernels::decode
