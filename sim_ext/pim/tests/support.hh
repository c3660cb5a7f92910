/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What several tests need: a plain slice, and numbers that look random but never change.
 */
#ifndef SAILSIM_PIM_TESTS_SUPPORT_HH
#define SAILSIM_PIM_TESTS_SUPPORT_HH

#include <cstdint>
#include <fstream>
#include <iterator>
#include <random>
#include <stdexcept>
#include <string>

#include "pim/unit_text.hh"

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

inline sailsim::pim::Substrate shipped(const std::string &substrate)
{
    return sailsim::pim::read_unit(shipped_text(substrate)).substrate;
}

inline sailsim::pim::SliceConfig plain_slice(const char *substrate = "row_dfm")
{
    sailsim::pim::SliceConfig config;
    config.rows = 256;
    config.cols = 256;
    config.arrays = 4;
    config.slices = 1;
    config.port_bytes = 32;
    config.accumulator_bits = 32;
    config.activation_buffer_bits = std::int64_t{1} << 40;
    config.accumulator_buffer_bits = std::int64_t{1} << 40;
    config.prt_entries = 32;
    config.policy = sailsim::pim::PrtPolicy::lru;
    config.t_zero = 1;
    config.t_prt = 1;
    config.double_buffer = true;
    config.convert = sailsim::pim::Convert::memory;
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

#endif
