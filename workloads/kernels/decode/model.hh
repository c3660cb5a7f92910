/* SPDX-License-Identifier: BSD-3-Clause */
// A decoder of the Llama family: one step takes a token of each batch row and gives the next.
#pragma once

#include "decode/attention.hh"
#include "decode/linears.hh"

namespace sailsim::kernels::decode
{

class Model
{
  public:
    // Image and linears must outlive it.
    Model(const Image &image, Linears &linears, const AttentionSettings &settings);

    // From now on the operands of all products go to a place with room for them, one after the other: batch
    // rows of k int8, then a scale for each row. They are what another implementation is compared with number
    // by number, as a rounding that falls the other way changes all that follows.
    void record(unsigned char *to) { recorded_ = to; }
    // Most bytes of the operands of one step, the head's product among them.
    std::size_t operand_bytes() const;
    const unsigned char *end_of_record() const { return recorded_; }

    Attention &attention() { return *attention_; }
    // Logits are rows of this many floats.
    std::size_t logits_stride() const { return round_up(image_.dimensions().vocab, kOutputPadding); }

    // What all threads do at `position` with tokens[b], b < batch. With `logits` (batch rows of
    // logits_stride(), zeroed) the next tokens are in tokens[b] when all threads have met again; null: the
    // step only fills the cache.
    void step(std::uint32_t *tokens, std::size_t position, float *logits, Worker &worker);
    // A step is so many parts, one after the other, each with the products of one operand. The last one
    // works out logits and `chosen`, of a prompt those of its last row.
    std::size_t parts() const { return 4 * image_.dimensions().layers + 1; }
    void part(std::size_t number, const std::uint32_t *tokens, std::size_t position, float *logits,
              std::uint32_t *chosen, Worker &worker);

  private:
    void embed(const std::uint32_t *tokens, Worker &worker);
    void norm(Rounded &to, std::size_t row, const float *delta, Worker &worker);
    void attend(std::size_t layer, std::size_t position, Worker &worker);
    void sample(std::uint32_t *tokens, const float *logits, Worker &worker);
    void multiply(Part part, const Product *products, std::size_t count, const Rounded &x, Worker &worker);

    const Image &image_;
    Linears &linears_;
    unsigned char *recorded_ = nullptr;
    std::size_t batch_, width_, q_width_, kv_width_, ffn_width_; // widths of rows, padded
    std::unique_ptr<Attention> attention_;
    Rounded normed_, mixed_, hidden_, last_; // last_: of the head
    // Of each thread's part of the vocabulary, by thread and row: a thread's on lines of their own.
    struct Candidate {
        float logit;
        std::uint32_t token;
    };
    std::size_t candidates_of_thread_;
    Buffer candidates_;
    Buffer x_, delta_, q_, k_, v_, gate_, up_, largest_;
};

} // namespace sailsim::kernels::decode
