/* SPDX-License-Identifier: BSD-3-Clause */
// Where the threads of a step meet: all that was written before is visible behind it.
#ifndef SAILSIM_KERNELS_DECODE_BARRIER_HH
#define SAILSIM_KERNELS_DECODE_BARRIER_HH

#include "common/team.hh"

#include <atomic>
#include <cstdint>

namespace sailsim::kernels::decode
{

class Barrier
{
  public:
    explicit Barrier(unsigned size) : size_(size) {}

    void wait()
    {
        const std::uint32_t round = round_.load(std::memory_order_relaxed);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        Backoff backoff;
        while (round_.load(std::memory_order_acquire) == round)
            backoff.pause();
    }

  private:
    const std::uint32_t size_;
    // Each on a line of its own: one is written by all while the other is read by all.
    alignas(64) std::atomic<std::uint32_t> arrived_{0};
    alignas(64) std::atomic<std::uint32_t> round_{0};
};

} // namespace sailsim::kernels::decode

#endif
