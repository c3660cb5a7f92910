/* SPDX-License-Identifier: BSD-3-Clause */
// The cache of keys and values: by block of the model, batch row and head, position after position, as fp16
// or as int8 with a scale for each head and position.
#ifndef SAILSIM_KERNELS_DECODE_CACHE_HH
#define SAILSIM_KERNELS_DECODE_CACHE_HH

#include "common/buffer.hh"
#include "decode/image.hh"

#include <cstddef>
#include <cstdint>

namespace sailsim::kernels::decode
{

constexpr std::size_t kPositions = 32; // that attention works on at a time
constexpr std::size_t kMostHeadDim = 512;

// Rounds `count` numbers, a multiple of 16, as activations are rounded; returns what a step is worth.
float round_head(const float *x, std::size_t count, std::int8_t *out);

class Cache
{
  public:
    // Zeroed, for `positions` of each of `batch` rows.
    Cache(bool int8, const Dimensions &dimensions, std::size_t batch, std::size_t positions);

    bool int8() const { return int8_; }
    // Elements of a head, padded with zeros.
    std::size_t padded() const { return padded_; }

    // Fills the first `count` positions with numbers in [-1, 1): entries of a table of 4096 seeded ones.
    void fill(std::size_t count, std::uint64_t seed);

    // Keeps a key and a value of head_dim numbers.
    void put(std::size_t layer, std::size_t b, std::size_t head, std::size_t position, const float *key,
             const float *value);

    // Rows of padded() elements from `position` on.
    const void *keys(std::size_t layer, std::size_t b, std::size_t head, std::size_t position) const
    {
        return keys_.bytes() + row(layer, b, head, position) * padded_ * element_;
    }
    const void *values(std::size_t layer, std::size_t b, std::size_t head, std::size_t position) const
    {
        return values_.bytes() + row(layer, b, head, position) * padded_ * element_;
    }
    // Of int8.
    const float *key_scales(std::size_t layer, std::size_t b, std::size_t head, std::size_t position) const
    {
        return key_scales_.as<float>() + row(layer, b, head, position);
    }
    const float *value_scales(std::size_t layer, std::size_t b, std::size_t head, std::size_t position) const
    {
        return value_scales_.as<float>() + row(layer, b, head, position);
    }

  private:
    std::size_t row(std::size_t layer, std::size_t b, std::size_t head, std::size_t position) const
    {
        return ((layer * batch_ + b) * heads_ + head) * positions_ + position;
    }

    bool int8_;
    std::size_t layers_, heads_, head_dim_, padded_, batch_, positions_, element_;
    Buffer keys_, values_, key_scales_, value_scales_;
};

} // namespace sailsim::kernels::decode

#endif
