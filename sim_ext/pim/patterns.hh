/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Patterns: the table indices that a DFM forms from activation bits, and how many of them are zero, hit the
 * PRT or miss it.
 */
#ifndef SAILSIM_PIM_PATTERNS_HH
#define SAILSIM_PIM_PATTERNS_HH

#include <cstdint>
#include <vector>

#include "pim/prt.hh"
#include "pim/tile.hh"

namespace sailsim::pim
{

/* A view of activations: batch rows of k integers, contiguous. */
template <class T>
struct Activations {
    const T *data;
    std::int64_t batch;
    std::int64_t k;
    int abits;
    bool is_signed;
};

/* The place (row * k + column) of the first activation outside the declared width; -1 if there is none. */
template <class T>
std::int64_t find_outside(const Activations<T> &x);

/* The patterns of all batch rows and groups. Bit j of a pattern is the activation bit of the group's weight
 * j. */
class Patterns
{
  public:
    /* Throws std::invalid_argument for a number of rows or bits out of range, for rows of another length than
     * the grouping's, and for an activation outside the declared width, naming its place. */
    template <class T>
    Patterns(const Activations<T> &x, const Grouping &grouping);

    /* The pattern at every bit position (byte i: bit i) of batch row b and a group; abits 9..16 have a second
     * word with bits 8 and up. A short last group reads as if padded with zero activations. */
    const std::uint64_t *low(std::int64_t b) const { return words.data() + b * stride; }
    const std::uint64_t *high(std::int64_t b) const { return words.data() + b * stride + groups; }

    int at(std::int64_t b, std::int64_t group, int bit) const
    {
        const std::uint64_t word = bit < 8 ? low(b)[group] : high(b)[group];
        return static_cast<int>(word >> (bit % 8 * 8) & 0xff);
    }

    std::int64_t batch() const { return rows; }
    std::int64_t group_count() const { return groups; }
    int abits() const { return bits; }
    int nbw() const { return width; }

  private:
    std::int64_t rows;
    std::int64_t groups;
    int bits;
    int width;
    std::int64_t stride; /* words of a batch row: groups, or 2 * groups when abits > 8 */
    std::vector<std::uint64_t> words;
};

/* Counts of each group, for one pass over the tile. */
struct PatternProfile {
    std::vector<std::int32_t> zero;   /* patterns that are 0 */
    std::vector<std::int32_t> hits;   /* of the others: served by the PRT */
    std::vector<std::int32_t> misses; /* of the others: not */

    std::int64_t groups() const { return static_cast<std::int64_t>(zero.size()); }
};

/* Which patterns each of some groups has seen, as a bit mask, and how many of them were not 0. */
struct SeenPatterns {
    explicit SeenPatterns(std::int64_t groups)
        : sets(static_cast<std::size_t>(groups)), nonzero(static_cast<std::size_t>(groups))
    {
    }

    /* A word of every group. */
    void add(const std::uint64_t *words);

    /* How many different ones but 0. */
    int distinct(std::size_t group) const { return __builtin_popcountll(sets[group] & ~std::uint64_t{1}); }

    std::vector<std::uint64_t> sets;
    std::vector<std::int32_t> nonzero;
};

/* entries = 0: no PRT. The order inside a group is batch row by batch row, bits LSB first. */
PatternProfile profile(const Patterns &patterns, std::int64_t prt_entries, PrtPolicy policy, int threads = 1);

} // namespace sailsim::pim

#endif
