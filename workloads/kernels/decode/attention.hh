/* SPDX-License-Identifier: BSD-3-Clause */
// Attention: the cache of keys and values, the rotation of positions, and what mixes values.
#pragma once

#include "decode/image.hh"
#include "decode/worker.hh"

namespace sailsim::kernels::decode
{

constexpr std::size_t kPositions = 32; // that attention works on at a time

// The cache of keys and values: by block of the model, batch row and head, position after position, as fp16
// or as int8 with a scale for each head and position.
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

    // Where a row of padded() elements lies, from which on those of later positions follow.
    std::size_t row(std::size_t layer, std::size_t b, std::size_t head, std::size_t position) const
    {
        return ((layer * batch_ + b) * heads_ + head) * positions_ + position;
    }
    const void *keys(std::size_t row) const { return keys_.bytes() + row * padded_ * element_; }
    const void *values(std::size_t row) const { return values_.bytes() + row * padded_ * element_; }
    // Of int8.
    const float *key_scales(std::size_t row) const { return key_scales_.as<float>() + row; }
    const float *value_scales(std::size_t row) const { return value_scales_.as<float>() + row; }

  private:
    bool int8_;
    std::size_t layers_, heads_, head_dim_, padded_, batch_, positions_, element_;
    Buffer keys_, values_, key_scales_, value_scales_;
};

// Grouped-query attention over the cache, spread over batch rows, heads and runs of kPositions positions.
//
// Query heads that share keys are worked on together, so that a key is read once. A run of positions gives
// its own largest score, sum of exponentials and weighted sum of values; `combine` puts the runs of a head
// together in order. Runs have one length whatever the threads, so no bit depends on them.
class Attention
{
  public:
    // For up to `positions` of each of `batch` rows.
    Attention(const Dimensions &dimensions, std::size_t batch, std::size_t positions, bool int8_cache);

    Cache &cache() { return cache_; }

    // The parts of a block's attention, a barrier after each. q, k, v: batch rows of `*_stride` floats.
    // Rotation: pair i of a head is turned by position * base^(-2 i / head_dim).
    void rotate(std::size_t layer, std::size_t position, const float *q, std::size_t q_stride, const float *k,
                const float *v, std::size_t kv_stride, Worker &worker);
    void run(std::size_t layer, std::size_t position, Worker &worker);
    // The mixed values, (batch, heads * head_dim) in rows of mixed_stride(), and each head's largest
    // magnitude, (batch, heads).
    void combine(std::size_t position, Worker &worker);

    const float *mixed() const { return mixed_.as<float>(); }
    std::size_t mixed_stride() const { return mixed_stride_; }
    const float *largest() const { return largest_.as<float>(); }

  private:
    struct Run {
        std::size_t b, head, run, valid; // head of keys; positions that are there
        const void *next;                // keys that this thread works on next
    };
    // out[2i], out[2i + 1] = the pair x[2i], x[2i + 1] of a head turned by angle i, times `factor`.
    void turn(const float *x, std::size_t position, float factor, float *out) const;
    template <int Queries, class Element>
    void heads_from(std::size_t layer, const Run &run, std::size_t query);
    template <int Queries, class Element>
    void some_heads(std::size_t layer, const Run &run, std::size_t first_query);
    std::size_t partial(std::size_t b, std::size_t query, std::size_t run) const
    {
        return (b * heads_ + query) * runs_ + run;
    }

    Cache cache_;
    std::size_t heads_, kv_heads_, share_, head_dim_, pairs_, padded_, batch_, runs_, mixed_stride_;
    Buffer cosines_, sines_;                      // of all positions' angles: (positions, pairs)
    Buffer queries_, query_bytes_, query_scales_; // (batch, heads, padded), fp32 or int8
    Buffer maxima_, totals_, sums_;               // of runs: (batch, heads, runs), sums (.., padded)
    Buffer mixed_, largest_;
};

} // namespace sailsim::kernels::decode
