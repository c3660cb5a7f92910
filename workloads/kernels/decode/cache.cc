/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/cache.hh"

#include "common/random.hh"
#include "decode/vector_math.hh"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace sailsim::kernels::decode
{

namespace
{

constexpr std::size_t kFillEntries = 4096, kFillStride = 37;
constexpr float kTiny = 0x1p-100f, kLargest = 127.0f;

void to_halves(const float *x, std::size_t count, float16_t *out)
{
    for (std::size_t i = 0; i < count; i += 8)
        vst1q_f16(out + i, vcvt_high_f16_f32(vcvt_f16_f32(vld1q_f32(x + i)), vld1q_f32(x + i + 4)));
}

} // namespace

float round_head(const float *x, std::size_t count, std::int8_t *out)
{
    float32x4_t largest = vdupq_n_f32(0.0f);
    for (std::size_t i = 0; i < count; i += 4)
        largest = vmaxq_f32(largest, vabsq_f32(vld1q_f32(x + i)));
    const float most = vmaxvq_f32(largest);
    const float32x4_t factor = vdupq_n_f32(most < kTiny ? 0.0f : kLargest / most);
    for (std::size_t i = 0; i < count; i += 16) {
        const Floats16 values = load16(x + i);
        int16x4_t narrow[4];
        for (int j = 0; j < 4; ++j)
            narrow[j] = vqmovn_s32(vcvtnq_s32_f32(vmulq_f32(values.of[j], factor)));
        vst1q_s8(out + i, vcombine_s8(vqmovn_s16(vcombine_s16(narrow[0], narrow[1])),
                                      vqmovn_s16(vcombine_s16(narrow[2], narrow[3]))));
    }
    return most < kTiny ? 0.0f : most / kLargest;
}

Cache::Cache(bool int8, const Dimensions &dimensions, std::size_t batch, std::size_t positions)
    : int8_(int8), layers_(dimensions.layers), heads_(dimensions.kv_heads), head_dim_(dimensions.head_dim),
      padded_(round_up(dimensions.head_dim, kChunk)), batch_(batch),
      positions_(round_up(positions, kPositions)), element_(int8 ? 1 : 2),
      keys_(layers_ * batch * heads_ * positions_ * padded_ * element_), values_(keys_.size()),
      key_scales_(int8 ? layers_ * batch * heads_ * positions_ * sizeof(float) : 0),
      value_scales_(key_scales_.size())
{
}

void Cache::fill(std::size_t count, std::uint64_t seed)
{
    // A row longer than what is left of the table goes on at its beginning.
    std::vector<float> table(kFillEntries + kMostHeadDim + kChunk);
    Random random(seed);
    for (std::size_t i = 0; i < kFillEntries; ++i)
        table[i] = random.symmetric();
    std::copy_n(table.begin(), kMostHeadDim, table.begin() + kFillEntries);
    std::vector<float16_t> halves(table.size() / 8 * 8);
    to_halves(table.data(), halves.size(), halves.data());
    std::vector<std::int8_t> bytes(table.size());
    for (std::size_t i = 0; i < table.size(); ++i)
        bytes[i] = static_cast<std::int8_t>(std::nearbyint(table[i] * kLargest));
    const unsigned char *entries = int8_ ? reinterpret_cast<const unsigned char *>(bytes.data())
                                         : reinterpret_cast<const unsigned char *>(halves.data());
    for (std::size_t head = 0; head < layers_ * batch_ * heads_; ++head)
        for (std::size_t position = 0; position < count; ++position) {
            const std::size_t at = (head * positions_ + position) * padded_ * element_;
            const std::size_t number = 2 * (head * count + position);
            const auto copy = [&](Buffer &to, std::size_t row_number) {
                std::memcpy(to.bytes() + at, entries + row_number * kFillStride % kFillEntries * element_,
                            head_dim_ * element_);
            };
            copy(keys_, number);
            copy(values_, number + 1);
            if (int8_) {
                key_scales_.as<float>()[head * positions_ + position] = 1.0f / kLargest;
                value_scales_.as<float>()[head * positions_ + position] = 1.0f / kLargest;
            }
        }
}

void Cache::put(std::size_t layer, std::size_t b, std::size_t head, std::size_t position, const float *key,
                const float *value)
{
    const std::size_t at = row(layer, b, head, position);
    const auto keep = [&](const float *x, Buffer &to, Buffer &scales) {
        alignas(16) float whole[kMostHeadDim] = {};
        std::copy_n(x, head_dim_, whole);
        if (int8_)
            scales.as<float>()[at] = round_head(whole, padded_, to.as<std::int8_t>() + at * padded_);
        else
            to_halves(whole, padded_, to.as<float16_t>() + at * padded_);
    };
    keep(key, keys_, key_scales_);
    keep(value, values_, value_scales_);
}

} // namespace sailsim::kernels::decode
