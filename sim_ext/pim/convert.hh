/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Type conversion in memory: int -> fp32 as a program of row operations (docs/contract.md, section 5, has the
 * same steps in a table), with a tally of what it used.
 */
#ifndef SAILSIM_PIM_CONVERT_HH
#define SAILSIM_PIM_CONVERT_HH

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

#include "pim/substrate.hh"

namespace sailsim::pim
{

constexpr int min_convert_bits = 2;
constexpr int max_convert_bits = 63;
constexpr int fp32_bits = 32;

/* How often each operation of each size was used. The order of the lanes does not matter: all do the same. */
class Tally
{
  public:
    void count(Op op, int n) { ++counts[{op, n}]; }
    const std::map<std::pair<Op, int>, std::int64_t> &operations() const { return counts; }

    /* What the operations cost on a substrate. */
    std::int64_t cycles(const Substrate &substrate) const;

  private:
    std::map<std::pair<Op, int>, std::int64_t> counts;
};

/* To the nearest fp32, ties to even. `values` are two's complement of `bits` bits, 2..63; throws
 * std::invalid_argument for a value or a width outside. */
Tally int_to_fp32(const std::int64_t *values, std::size_t lanes, int bits, float *out);

/* The tally alone: it does not depend on the values. */
Tally int_to_fp32_tally(int bits);

/* Cells that a lane needs while it converts an accumulator of `bits` bits. */
constexpr int convert_lane_bits(int bits)
{
    return bits > fp32_bits ? bits : fp32_bits;
}

/* Registers that int_to_fp32 has in use at most, beside the sum that it converts: s, w, e, t, m. */
constexpr int convert_registers = 5;

/* Bits of those in use at most: of s, w, t, m and e in the search; of s, w, t, z and e when it rounds; of s,
 * w, z and t when it packs. */
constexpr int convert_register_bits(int bits)
{
    const int search = 4 * bits + 8, round = bits > 24 ? 3 * bits + 40 : 0, pack = bits + 88;
    return search > round ? (search > pack ? search : pack) : (round > pack ? round : pack);
}

} // namespace sailsim::pim

#endif
