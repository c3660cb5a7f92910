/* SPDX-License-Identifier: BSD-3-Clause */
// What measurements need: operands and a checksum of results that are the same on every machine, the time,
// and the marks of a measured pass for gem5.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>

namespace sailsim::kernels
{

// The splitmix64 sequence: a Weyl counter passed through a 64-bit mixing function.
class Random
{
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next()
    {
        state_ += 0x9e3779b97f4a7c15u;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }

    // Uniform in [0, bound), 0 < bound <= 2^32; the bias of the multiplication is below bound / 2^32.
    std::uint64_t below(std::uint64_t bound) { return ((next() >> 32) * bound) >> 32; }

    // Uniform in [-1, 1) on a grid of 2^-23.
    float symmetric()
    {
        const auto grid = static_cast<std::int32_t>(next() >> 40) - (1 << 23);
        return static_cast<float>(grid) * 0x1p-23f;
    }

    void fill(void *bytes, std::size_t size)
    {
        auto *out = static_cast<unsigned char *>(bytes);
        for (; size >= sizeof(std::uint64_t); size -= sizeof(std::uint64_t), out += sizeof(std::uint64_t)) {
            const std::uint64_t word = next();
            std::memcpy(out, &word, sizeof word);
        }
        const std::uint64_t word = next();
        std::memcpy(out, &word, size);
    }

  private:
    std::uint64_t state_;
};

// FNV-1a over the bytes of a result.
inline std::uint64_t checksum(const void *bytes, std::size_t size)
{
    std::uint64_t hash = 0xcbf29ce484222325u;
    for (std::size_t i = 0; i < size; ++i)
        hash = (hash ^ static_cast<const unsigned char *>(bytes)[i]) * 0x100000001b3u;
    return hash;
}

// Wall time. The generic counter (CNTVCT_EL0) would be cheaper, but gem5's syscall emulation has no such
// timer and stops at the read; clock_gettime works on Linux, under an emulator and in gem5, where it is
// simulated time.
inline std::uint64_t now_ns()
{
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u +
           static_cast<std::uint64_t>(time.tv_nsec);
}

// gem5's pseudo instructions: 0xff000110 | function << 16, two arguments in x0 and x1 (all zero here: no
// delay and no repetition, or work item 0 of thread 0). Elsewhere these words are illegal.
template <std::uint32_t Function>
void tell_gem5()
{
    register std::uint64_t first __asm__("x0") = 0;
    register std::uint64_t second __asm__("x1") = 0;
    __asm__ volatile(".inst %c2"
                     : "+r"(first), "+r"(second)
                     : "i"(0xff000110u | (Function << 16))
                     : "memory");
}

// Runs one measured pass; its nanoseconds, at least 1. With `in_gem5` (--m5) gem5 resets its statistics at
// the start and dumps them at the end, and the work items let a run script change the CPU model there.
template <class Pass>
std::uint64_t measured(bool in_gem5, Pass &&pass)
{
    constexpr std::uint32_t reset_stats = 0x40, dump_stats = 0x41, work_begin = 0x5a, work_end = 0x5b;
    if (in_gem5) {
        tell_gem5<work_begin>();
        tell_gem5<reset_stats>();
    }
    const std::uint64_t start = now_ns();
    pass();
    const std::uint64_t elapsed = now_ns() - start;
    if (in_gem5) {
        tell_gem5<dump_stats>();
        tell_gem5<work_end>();
    }
    return elapsed > 0 ? elapsed : 1;
}

} // namespace sailsim::kernels
