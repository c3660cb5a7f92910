/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What several tests need: a plain slice and tile, numbers that look random but never change, tiles and
 * supplies that are drawn, and what makes two profiles equal.
 */
#ifndef SAILSIM_PIM_TESTS_SUPPORT_HH
#define SAILSIM_PIM_TESTS_SUPPORT_HH

#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hh"
#include "pim/timing.hh"

using namespace sailsim::pim;

/* The text of the shipped machine's unit with one of the shipped substrates. The files in units/ are written
 * by tools/units.py, and a test of Python compares them with what it writes. */
inline std::string shipped_text(const std::string &substrate)
{
    const std::string path = std::string(SAILSIM_TEST_UNITS) + "/" + substrate + ".txt";
    std::ifstream file(path);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file)
        throw std::runtime_error(path + " cannot be read");
    return text;
}

inline Substrate shipped(const std::string &substrate)
{
    return read_unit(shipped_text(substrate)).substrate;
}

inline SliceConfig plain_slice(const char *substrate = "row_dfm")
{
    SliceConfig config;
    config.rows = 256;
    config.cols = 256;
    config.arrays = 4;
    config.slices = 1;
    config.port_bytes = 32;
    config.accumulator_bits = 32;
    config.activation_buffer_bits = std::int64_t{1} << 40;
    config.accumulator_buffer_bits = std::int64_t{1} << 40;
    config.prt_entries = 32;
    config.policy = PrtPolicy::lru;
    config.t_zero = 1;
    config.t_prt = 1;
    config.double_buffer = true;
    config.convert = Convert::memory;
    config.substrate = shipped(substrate);
    return config;
}

/* Uniform integers of a fixed sequence; the standard distributions differ between libraries. */
class Numbers
{
  public:
    explicit Numbers(std::uint32_t seed) : engine(seed) {}
    std::int64_t in(std::int64_t low, std::int64_t high)
    {
        const std::uint64_t word = std::uint64_t{engine()} << 32 | engine();
        const std::uint64_t count = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low) + 1;
        return static_cast<std::int64_t>(static_cast<std::uint64_t>(low) +
                                         (count == 0 ? word : word % count));
    }

  private:
    std::mt19937 engine;
};

inline constexpr double endless = std::numeric_limits<double>::infinity();

inline PatternProfile drawn_profile(Numbers &numbers, std::int64_t groups, std::int64_t patterns)
{
    PatternProfile profile;
    for (std::int64_t g = 0; g < groups; ++g) {
        const std::int64_t zero = numbers.in(0, patterns);
        const std::int64_t hits = numbers.in(0, patterns - zero);
        profile.zero.push_back(static_cast<std::int32_t>(zero));
        profile.hits.push_back(static_cast<std::int32_t>(hits));
        profile.misses.push_back(static_cast<std::int32_t>(patterns - zero - hits));
    }
    return profile;
}

inline double one_of(Numbers &numbers, const std::vector<double> &values)
{
    return values[static_cast<std::size_t>(numbers.in(0, static_cast<std::int64_t>(values.size()) - 1))];
}

inline Supply drawn_supply(Numbers &numbers)
{
    Supply supply;
    supply.bytes_per_cycle = one_of(numbers, {endless, 0.5, 2, 3.7, 8, 31.9});
    supply.latency = one_of(numbers, {0, 35.5, 120, 411.1});
    supply.lead = one_of(numbers, {0, 50, 133.3});
    supply.ahead = one_of(numbers, {0, 64, 1000, 3333.3, endless});
    return supply;
}

inline bool same(const PatternProfile &a, const PatternProfile &b)
{
    return a.zero == b.zero && a.hits == b.hits && a.misses == b.misses;
}

inline PatternProfile uniform(std::int64_t groups, std::int32_t zero, std::int32_t hits, std::int32_t misses)
{
    const auto count = static_cast<std::size_t>(groups);
    return {std::vector<std::int32_t>(count, zero), std::vector<std::int32_t>(count, hits),
            std::vector<std::int32_t>(count, misses)};
}

/* K = 64, N = 100: 16 groups of 4, one pass; batch 2 of 8 bits: 16 patterns a group. */
inline TileShape plain_tile()
{
    return {64, 100, 2, 4, 4, 8, 4, 0};
}

inline constexpr std::int64_t plain_groups = 16;
inline constexpr std::int64_t plain_load =
    200 / 32 + 1; /* 4 x 100 codes of 4 bits through 32 bytes a cycle */
inline constexpr std::int64_t plain_build = 11 * (2 + 1 + 1);

#endif
