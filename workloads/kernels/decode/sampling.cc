/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/sampling.hh"

#include "decode/layout.hh"

#include <arm_neon.h>
#include <limits>

namespace sailsim::kernels::decode
{

Sampler::Sampler(std::size_t batch, unsigned threads)
    : batch_(batch), row_(round_up(batch, kLine / sizeof(Candidate))), threads_(threads),
      candidates_(threads * row_ * sizeof(Candidate))
{
}

void Sampler::search(const float *logits, std::size_t stride, std::size_t vocab, Worker &worker)
{
    const Range mine = worker.part(vocab);
    for (std::size_t b = 0; b < batch_; ++b) {
        const float *row = logits + b * stride;
        std::size_t i = mine.first;
        float32x4_t most = vdupq_n_f32(-std::numeric_limits<float>::infinity());
        for (; i + 4 <= mine.last; i += 4)
            most = vmaxnmq_f32(most, vld1q_f32(row + i));
        float largest = vmaxnmvq_f32(most);
        for (; i < mine.last; ++i)
            largest = row[i] > largest ? row[i] : largest;
        std::size_t first = mine.first; // where it is, in a second pass that stops there
        while (first < mine.last && row[first] != largest)
            ++first;
        candidates_.as<Candidate>()[worker.rank() * row_ + b] = {largest, static_cast<std::uint32_t>(first)};
    }
}

std::uint32_t Sampler::pick(std::size_t b) const
{
    Candidate best{-std::numeric_limits<float>::infinity(), 0};
    for (unsigned thread = 0; thread < threads_; ++thread) {
        const Candidate &candidate = candidates_.as<Candidate>()[thread * row_ + b];
        if (candidate.logit > best.logit)
            best = candidate;
    }
    return best.token;
}

} // namespace sailsim::kernels::decode
