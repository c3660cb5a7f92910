/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Patterns: the table indices that a DFM forms from activation bits, the pattern reuse table (PRT) that
 * remembers which of them were looked up last, and profiles: how many are zero, hit the PRT or miss it.
 */
#ifndef SAILSIM_PIM_PATTERNS_HH
#define SAILSIM_PIM_PATTERNS_HH

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "pim/tile.hh"

namespace sailsim::pim
{

/* A view of activations: batch rows of k integers, contiguous, in words of one byte, or two where abits is
 * more than 8, as in a descriptor's buffer. Higher bits of a word say nothing. */
struct Activations {
    const std::uint8_t *bytes;
    std::int64_t batch;
    std::int64_t k;
    int abits;

    int word_bytes() const { return abits <= 8 ? 1 : 2; }
    Activations row(std::int64_t b) const { return {bytes + b * k * word_bytes(), 1, k, abits}; }
};

/* The patterns of all batch rows and groups. Bit j of a pattern is the activation bit of the group's weight
 * j. */
class Patterns
{
  public:
    /* Throws std::invalid_argument for a number of rows or bits out of range, and for rows of another length
     * than the grouping's. */
    Patterns(const Activations &x, const Grouping &grouping);

    /* The pattern at every bit position (byte i: bit i) of batch row b and a group; abits 9..16 have a second
     * word with bits 8 and up. A short last group reads as if padded with zero activations. */
    const std::uint64_t *low(std::int64_t b) const { return words.data() + b * stride; }
    const std::uint64_t *high(std::int64_t b) const { return words.data() + b * stride + groups; }

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

/* The patterns of one group, or the sums of several. */
struct FedPatterns {
    std::int64_t zero = 0;
    std::int64_t hits = 0; /* as profiled, whether or not the substrate gains by them */
    std::int64_t misses = 0;
    std::int64_t lookup_cycles = 0;

    void add(const FedPatterns &other, std::int64_t times)
    {
        zero += times * other.zero;
        hits += times * other.hits;
        misses += times * other.misses;
        lookup_cycles += times * other.lookup_cycles;
    }
};

/* Counts of each group, for one pass over the tile, and what tiles ask of all its groups. */
class PatternProfile
{
  public:
    using Counts = std::vector<std::int32_t>;

    /* Patterns that are 0; of the others those that the PRT serves, and those that it does not. */
    PatternProfile(Counts zero, Counts hits, Counts misses);

    const Counts &zero() const { return kinds[0]; }
    const Counts &hits() const { return kinds[1]; }
    const Counts &misses() const { return kinds[2]; }
    std::int64_t groups() const { return static_cast<std::int64_t>(zero().size()); }

    /* The patterns of all groups; their cycles are left at 0. */
    const FedPatterns &all() const { return sum; }

  private:
    std::array<Counts, 3> kinds; /* zero, hits and misses */
    FedPatterns sum;
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

/* The reuse table of a DFM. The key is exact (group, pattern); the table is flushed when the group changes,
 * so inside one group the pattern is the key. */
class Prt
{
  public:
    /* entries = 0: no PRT, every access misses. */
    Prt(std::int64_t entries, PrtPolicy policy);

    /* Forgets everything: the table was built anew. */
    void flush();

    /* Looks up a pattern 1..63 and, on a miss, inserts it. True on a hit. */
    bool access(int pattern);

    /* True if `distinct` patterns of nbw bits can enter without any eviction: each then misses exactly once,
     * whatever the order. In a direct-mapped table that takes an entry for every pattern there is. */
    bool never_evicts(int distinct, int nbw) const
    {
        return policy == PrtPolicy::direct ? capacity >= (1 << nbw) - 1 : distinct <= capacity;
    }

  private:
    std::int64_t capacity;
    PrtPolicy policy;
    std::uint64_t resident = 0;      /* bit p: pattern p is in the table */
    std::vector<std::uint8_t> order; /* of the resident patterns, from the oldest to the newest */
    /* direct: the pattern that lies in each entry; 0 is none. */
    std::array<std::uint8_t, max_patterns> slots{};
};

/* entries = 0: no PRT. The order inside a group is batch row by batch row, bits LSB first. */
PatternProfile profile(const Patterns &patterns, std::int64_t prt_entries, PrtPolicy policy, int threads = 1);

/* Rows of activations that profiles of batches are put together from. */
class PatternPool
{
  public:
    /* `rows` stay the caller's and have to live as long as the pool. Throws std::invalid_argument for rows
     * that are no whole number of groups. */
    PatternPool(const Activations &rows, int nbw);

    /* The profile of a batch: each of its rows is `parts` rows of the pool side by side, cut to k columns.
     * `source` (batch, parts) names them. Blocks have to be whole groups, as k has. `prt`: a PRT that keeps
     * every pattern, or none. Equals `profile` of the rows put together. Not for several threads at once.
     * Throws std::invalid_argument for a row that is not in the pool and a k that the parts do not reach. */
    PatternProfile profile(const std::int64_t *source, std::int64_t batch, std::int64_t parts, std::int64_t k,
                           bool prt);

  private:
    void require(const std::int64_t *source, std::int64_t batch, std::int64_t parts, std::int64_t k) const;
    void form(std::int64_t row);

    Activations rows;
    Grouping row; /* of the pool */
    std::int64_t groups;
    std::vector<bool> formed;
    /* Of every group of every row: the patterns seen as a bit mask, and how many were not 0. Memory that is
     * not written is not taken: a batch needs few rows of a long capture. */
    std::unique_ptr<std::uint64_t[]> seen;
    std::unique_ptr<std::uint8_t[]> nonzero;
};

} // namespace sailsim::pim

#endif
