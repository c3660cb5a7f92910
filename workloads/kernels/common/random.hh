/* SPDX-License-Identifier: BSD-3-Clause */
// A small deterministic generator for operands: the same seed gives the same bytes on every machine.
#ifndef SAILSIM_KERNELS_COMMON_RANDOM_HH
#define SAILSIM_KERNELS_COMMON_RANDOM_HH

#include <cstddef>
#include <cstdint>
#include <cstring>

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

} // namespace sailsim::kernels

#endif
