/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Type conversion in memory: the row operations of int -> fp32 (docs/contract.md, section 5, has the steps in
 * a table; lut_gemv/convert.py runs them).
 */
#ifndef SAILSIM_PIM_CONVERT_HH
#define SAILSIM_PIM_CONVERT_HH

#include <cstdint>
#include <map>
#include <utility>

#include "pim/substrate.hh"

namespace sailsim::pim
{

constexpr int min_convert_bits = 2;
constexpr int max_convert_bits = 63;
constexpr int fp32_bits = 32;

/* How often each operation of each size is used. The order of the lanes does not matter: all do the same. */
using Tally = std::map<std::pair<Op, std::int64_t>, std::int64_t>;

/* What the operations cost on a substrate. */
std::int64_t cycles(const Tally &tally, const Substrate &substrate);

/* Of a sum of `bits` bits, 2..63, to the nearest fp32, whatever its value. Throws std::invalid_argument. */
Tally int_to_fp32_tally(std::int64_t bits);

/* Cells that a lane needs while it converts an accumulator of `bits` bits. */
constexpr std::int64_t convert_lane_bits(std::int64_t bits)
{
    return bits > fp32_bits ? bits : fp32_bits;
}

/* Registers that int_to_fp32 has in use at most, beside the sum that it converts: s, w, e, t, m. */
constexpr int convert_registers = 5;

/* Bits of those in use at most: of s, w, t, m and e in the search; of s, w, t, z and e when it rounds; of s,
 * w, z and t when it packs. */
constexpr std::int64_t convert_register_bits(std::int64_t bits)
{
    const std::int64_t search = 4 * bits + 8, round = bits > 24 ? 3 * bits + 40 : 0, pack = bits + 88;
    return search > round ? (search > pack ? search : pack) : (round > pack ? round : pack);
}

} // namespace sailsim::pim

#endif
