/* SPDX-License-Identifier: BSD-3-Clause */
// Greedy sampling: the token with the largest logit, the first of equal ones.
#ifndef SAILSIM_KERNELS_DECODE_SAMPLING_HH
#define SAILSIM_KERNELS_DECODE_SAMPLING_HH

#include "common/buffer.hh"
#include "decode/worker.hh"

#include <cstddef>
#include <cstdint>

namespace sailsim::kernels::decode
{

class Sampler
{
  public:
    Sampler(std::size_t batch, unsigned threads);

    // This thread's part of the vocabulary; a barrier must follow before `pick`.
    void search(const float *logits, std::size_t stride, std::size_t vocab, Worker &worker);
    // The token of a row.
    std::uint32_t pick(std::size_t b) const;

  private:
    struct Candidate {
        float logit;
        std::uint32_t token;
    };
    std::size_t batch_, row_; // candidates of a thread, padded to whole lines
    unsigned threads_;
    Buffer candidates_;
};

} // namespace sailsim::kernels::decode

#endif
