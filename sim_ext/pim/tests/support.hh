/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What several tests need: a plain slice, numbers that look random but never change, what is drawn by them,
 * and what makes two profiles equal.
 */
#ifndef SAILSIM_PIM_TESTS_SUPPORT_HH
#define SAILSIM_PIM_TESTS_SUPPORT_HH

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hh"
#include "pim/gemv.hh"
#include "pim/timing.hh"

using namespace sailsim::pim;

/* The text of the shipped machine's unit with one of the shipped substrates. tests/pim/test_units.py writes
 * the files in units/ and compares them with the data that ships. */
inline std::string shipped_text(const std::string &substrate)
{
    const std::string path = std::string(SAILSIM_TEST_UNITS) + "/" + substrate + ".txt";
    std::ifstream file(path);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file)
        throw std::runtime_error(path + " cannot be read");
    return text;
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
    config.substrate = read_unit(shipped_text(substrate)).substrate;
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
    PatternProfile::Counts zero, hits, misses;
    for (std::int64_t g = 0; g < groups; ++g) {
        zero.push_back(static_cast<std::int32_t>(numbers.in(0, patterns)));
        hits.push_back(static_cast<std::int32_t>(numbers.in(0, patterns - zero.back())));
        misses.push_back(static_cast<std::int32_t>(patterns - zero.back() - hits.back()));
    }
    return {zero, hits, misses};
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
    return a.zero() == b.zero() && a.hits() == b.hits() && a.misses() == b.misses();
}

enum class Drawn {
    evenly,
    few,    /* different values: patterns repeat */
    largest /* magnitude that there is */
};

/* Activations within their width, as numbers and as they lie in memory. */
struct DrawnActivations {
    DrawnActivations(Numbers &numbers, std::int64_t rows, std::int64_t columns, int width, bool is_signed,
                     Drawn drawn = Drawn::evenly)
        : batch(rows), k(columns), abits(width)
    {
        const std::int64_t low = is_signed ? -(std::int64_t{1} << (abits - 1)) : 0;
        const std::int64_t range = (std::int64_t{1} << abits) - 1;
        for (std::int64_t i = 0; i < batch * k; ++i) {
            values.push_back(low + (drawn == Drawn::evenly ? numbers.in(0, range)
                                    : drawn == Drawn::few  ? numbers.in(0, 3) * range / 3
                                    : is_signed            ? 0
                                                           : range));
            for (int byte = 0; byte < view().word_bytes(); ++byte)
                bytes.push_back(static_cast<std::uint8_t>(values.back() >> 8 * byte & 0xff));
        }
    }

    Activations view() const { return {bytes.data(), batch, k, abits}; }

    std::int64_t batch, k;
    int abits;
    std::vector<std::int64_t> values;
    std::vector<std::uint8_t> bytes;
};

inline std::vector<std::uint8_t> drawn_codes(Numbers &numbers, std::int64_t count, int wbits)
{
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(count));
    for (std::uint8_t &code : codes)
        code = static_cast<std::uint8_t>(numbers.in(0, (1 << wbits) - 1));
    return codes;
}

/* The sums of a product by block, (blocks, batch, n). */
inline std::vector<std::int64_t> product(const Activations &x, const Grouping &grouping,
                                         const PackedWeights &weights, bool is_signed, int threads)
{
    const std::int64_t n = weights.n();
    std::vector<std::int64_t> y(static_cast<std::size_t>(grouping.blocks() * x.batch * n));
    lut_gemv(Patterns(x, grouping), grouping, weights, is_signed, threads, [&](const TileSums &tile) {
        for (std::int64_t b = 0; b < x.batch; ++b)
            std::copy_n(tile.sums + b * tile_outputs, tile.outputs,
                        y.data() + (tile.block * x.batch + b) * n + tile.first_output);
    });
    return y;
}

#endif
