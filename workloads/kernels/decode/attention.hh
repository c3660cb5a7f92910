/* SPDX-License-Identifier: BSD-3-Clause */
// Grouped-query attention over the cache, spread over batch rows, heads and runs of kPositions positions.
//
// Query heads that share keys are worked on together, so that a key is read once. A run of positions gives
// its own largest score, sum of exponentials and weighted sum of values; `combine` puts the runs of a head
// together in order. Runs have one length whatever the threads, so no bit depends on them.
#ifndef SAILSIM_KERNELS_DECODE_ATTENTION_HH
#define SAILSIM_KERNELS_DECODE_ATTENTION_HH

#include "common/buffer.hh"
#include "decode/cache.hh"
#include "decode/image.hh"
#include "decode/rotation.hh"
#include "decode/worker.hh"

#include <cstddef>

namespace sailsim::kernels::decode
{

class Attention
{
  public:
    // For up to `positions` of each row. `cache` and `rotation` must outlive it.
    Attention(const Dimensions &dimensions, std::size_t batch, std::size_t positions, Cache &cache,
              const Rotation &rotation);

    // The parts of a block's attention, a barrier after each. q, k, v: batch rows of `*_stride` floats.
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
    template <int Queries>
    void some_heads(std::size_t layer, const Run &run, std::size_t first_query);
    std::size_t partial(std::size_t b, std::size_t query, std::size_t run) const
    {
        return (b * heads_ + query) * runs_ + run;
    }

    std::size_t heads_, kv_heads_, share_, head_dim_, padded_, batch_, runs_, mixed_stride_;
    Cache &cache_;
    const Rotation &rotation_;
    Buffer queries_, query_bytes_, query_scales_; // (batch, heads, padded), fp32 or int8
    Buffer maxima_, totals_, sums_;               // of runs: (batch, heads, runs), sums (.., padded)
    Buffer mixed_, largest_;
};

} // namespace sailsim::kernels::decode

#endif
