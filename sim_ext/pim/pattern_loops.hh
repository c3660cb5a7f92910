/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The loops over the words of an activation row, which are nearly all the time of a scan (patterns.hh has
 * what a word is).
 */
#ifndef SAILSIM_PIM_PATTERN_LOOPS_HH
#define SAILSIM_PIM_PATTERN_LOOPS_HH

#include <cstdint>

namespace sailsim::pim
{

/* Bytes of a word are rows of 8 bits: swaps bit i of byte j with bit j of byte i. */
inline std::uint64_t transpose(std::uint64_t x)
{
    std::uint64_t swap = (x ^ (x >> 7)) & 0x00aa00aa00aa00aa;
    x ^= swap ^ (swap << 7);
    swap = (x ^ (x >> 14)) & 0x0000cccc0000cccc;
    x ^= swap ^ (swap << 14);
    swap = (x ^ (x >> 28)) & 0x00000000f0f0f0f0;
    return x ^ swap ^ (swap << 28);
}

/* The words of groups of four bytes, which lie one behind the other: transposed, masked with `keep`. */
void transpose_fours(const std::uint8_t *bytes, std::int64_t groups, std::uint64_t keep, std::uint64_t *out);

/* Adds a word of every group to the set of patterns that it has seen, as a bit mask, and to the number of
 * those that were not 0. `narrow`: patterns have at most 4 bits. */
void tally_patterns(const std::uint64_t *words, std::int64_t groups, bool narrow, std::uint64_t *seen,
                    std::int32_t *nonzero);

} // namespace sailsim::pim

#endif
