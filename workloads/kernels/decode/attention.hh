/* SPDX-License-Identifier: BSD-3-Clause */
// Attention: the rotation of positions, the cache of keys and values, and what mixes values, on the cores or
// on PIM units.
#pragma once

#include "decode/tiles.hh"

#include <arm_neon.h>
#include <memory>

namespace sailsim::kernels::decode
{

struct AttentionSettings {
    std::size_t batch = 1, positions = 1; // for up to so many positions of each of `batch` rows
    unsigned threads = 1;
    bool prompt = false; // rows are tokens of one sequence, each a position behind the row before
    bool on_units = false;
    unsigned bits = 16;        // of a key's or value's number: 16 (fp16) or 8 on the cores, 2..8 on units
    std::size_t tile_most = 0; // outputs of a tile of keys or values on units; 0: any number
    std::size_t row = 0;       // Shape::row of these tiles
    UnitSettings unit{};
};

// What both have in common.
class Attention
{
  public:
    Attention(const Dimensions &dimensions, const AttentionSettings &settings, float query_factor);
    virtual ~Attention() = default;
    Attention(const Attention &) = delete;
    Attention &operator=(const Attention &) = delete;

    // Fills the first `count` positions, perhaps all, with seeded numbers in [-1, 1].
    virtual void fill(std::size_t count, std::uint64_t seed) = 0;

    // The parts of a block's attention, a barrier after each. q, k, v: batch rows of `*_stride` floats.
    // Rotation: pair i of a head is turned by position * base^(-2 i / head_dim).
    void rotate(std::size_t layer, std::size_t position, const float *q, std::size_t q_stride, const float *k,
                const float *v, std::size_t kv_stride, Worker &worker);
    virtual void mix(std::size_t layer, std::size_t position, Worker &worker) = 0;
    // The mixed values, (batch, heads * head_dim) in rows of mixed_stride(), and each head's largest
    // magnitude, (batch, heads).
    const float *mixed() const { return mixed_.as<float>(); }
    std::size_t mixed_stride() const { return mixed_stride_; }
    const float *largest() const { return largest_.as<float>(); }

    // Most bytes of the operands of the units' products in a block; copies those of the last `mix` to `to`
    // and returns their end: of the scores, then of the values, all rows, then a scale for each row.
    virtual std::size_t operand_bytes() const { return 0; }
    virtual unsigned char *record(std::size_t, unsigned char *to) const { return to; }
    // What went wrong in some thread, as a sentence; empty where nothing did.
    virtual std::string problem() const { return ""; }

  protected:
    // A query that has been turned is at query(row). Keeps a key and a value of head_dim numbers.
    virtual void keep_query(std::size_t row) = 0;
    virtual void keep(std::size_t layer, std::size_t b, std::size_t head, std::size_t position,
                      const float *key, const float *value) = 0;
    float *query(std::size_t row) const { return queries_.as<float>() + row * padded_; }

    // Of a row in a step that begins at `position`.
    std::size_t position_of(std::size_t position, std::size_t b) const
    {
        return position + (prompt_ ? b : 0);
    }

    std::size_t layers_, heads_, kv_heads_, share_, head_dim_, padded_, batch_;
    bool prompt_;

  private:
    // out[2i], out[2i + 1] = the pair x[2i], x[2i + 1] of a head turned by angle i, times `factor`.
    void turn(const float *x, std::size_t position, float factor, float *out) const;

    std::size_t pairs_;
    float query_factor_;
    Buffer cosines_, sines_; // of all positions' angles: (positions, pairs)
    Buffer queries_;         // (batch, heads, padded)

  protected:
    std::size_t mixed_stride_;
    Buffer mixed_, largest_;
};

// On the cores, or as AttentionSettings say on units.
std::unique_ptr<Attention> make_attention(const Dimensions &dimensions, const AttentionSettings &settings);

// Rounds `count` numbers, a multiple of 16, as activations are rounded; returns what a step is worth.
float round_head(const float *x, std::size_t count, std::int8_t *out);

constexpr std::size_t kPositions = 32; // that attention on the cores works on at a time

// Grouped-query attention over a cache of fp16, which has position after position of a block of the model,
// batch row and head, spread over batch rows, heads and runs of kPositions positions.
//
// Query heads that share keys are worked on together, so that a key is read once. A run of positions gives
// its own largest score, sum of exponentials and weighted sum of values; `combine` puts the runs of a head
// together in order. Runs have one length whatever the threads, so no bit depends on them.
class FloatAttention : public Attention
{
  public:
    FloatAttention(const Dimensions &dimensions, const AttentionSettings &settings);

    // With entries of a table of 4096 seeded numbers.
    void fill(std::size_t count, std::uint64_t seed) override;
    void mix(std::size_t layer, std::size_t position, Worker &worker) override;

  private:
    struct Run {
        std::size_t b, head, run, valid; // head of keys; positions that are there
        const float16_t *next;           // keys that this thread works on next
    };
    void keep_query(std::size_t) override {}
    void keep(std::size_t layer, std::size_t b, std::size_t head, std::size_t position, const float *key,
              const float *value) override;
    // Where a row of padded elements lies, from which on those of later positions follow; a prompt has the
    // places of row 0.
    std::size_t place(std::size_t layer, std::size_t b, std::size_t head, std::size_t position) const
    {
        return (((layer * batch_ + (prompt_ ? 0 : b)) * kv_heads_ + head) * positions_ + position) * padded_;
    }
    void combine(std::size_t position, Worker &worker);
    template <int Queries>
    void heads_from(std::size_t layer, const Run &run, std::size_t query);
    template <int Queries>
    void some_heads(std::size_t layer, const Run &run, std::size_t first_query);
    std::size_t partial(std::size_t b, std::size_t query, std::size_t run) const
    {
        return (b * heads_ + query) * runs_ + run;
    }

    std::size_t runs_, positions_;
    Buffer keys_, values_;
    Buffer maxima_, totals_, sums_; // of runs: (batch, heads, runs), sums (.., padded)
};

} // namespace sailsim::kernels::decode
