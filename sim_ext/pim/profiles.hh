/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Profiles of patterns that are kept for many tiles, and rows that they are put together from.
 */
#ifndef SAILSIM_PIM_PROFILES_HH
#define SAILSIM_PIM_PROFILES_HH

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "pim/patterns.hh"
#include "pim/sequencer.hh"

namespace sailsim::pim
{

/* A profile with what tiles ask of all its groups. */
class CountedProfile
{
  public:
    explicit CountedProfile(PatternProfile counts);

    const PatternProfile &counts() const { return profile; }
    std::int64_t groups() const { return profile.groups(); }

    /* The patterns of all groups; their cycles are left at 0. */
    const FedPatterns &all() const { return sum; }

    /* Cycles that the patterns of every group take at least; 0 where the groups have not the same number of
     * patterns. */
    double least_cycles(const PhaseCosts &costs) const;

  private:
    PatternProfile profile;
    FedPatterns sum;
    std::int64_t patterns = 0;                    /* of every group; 0 where they differ */
    std::array<std::int64_t, 3> fewest{}, most{}; /* zero, hits and misses of a group */
};

class PatternPool
{
  public:
    /* `rows` stay the caller's and have to live as long as the pool. Throws std::invalid_argument for rows
     * that are no whole number of groups and for an activation outside the declared width. */
    template <class T>
    PatternPool(const Activations<T> &rows, int nbw);

    /* The profile of a batch: each of its rows is `parts` rows of the pool side by side, cut to k columns.
     * `source` (batch, parts) names them. Blocks have to be whole groups, as k has. `prt`: a PRT that keeps
     * every pattern, or none. Equals `profile` of the rows put together. Not for several threads at once.
     * Throws std::invalid_argument for a row that is not in the pool and a k that the parts do not reach. */
    PatternProfile profile(const std::int64_t *source, std::int64_t batch, std::int64_t parts, std::int64_t k,
                           bool prt);

    std::int64_t row_count() const { return rows; }

  private:
    void require(const std::int64_t *source, std::int64_t batch, std::int64_t parts, std::int64_t k) const;
    void form(std::int64_t row);

    std::int64_t rows;
    std::int64_t groups; /* of a row of the pool */
    int bits;
    int width;
    std::function<Patterns(std::int64_t)> patterns_of; /* a row's */
    std::vector<bool> formed;
    /* Of every group of every row: the patterns seen as a bit mask, and how many were not 0. Memory that is
     * not written is not taken: a batch needs few rows of a long capture. */
    std::unique_ptr<std::uint64_t[]> seen;
    std::unique_ptr<std::uint8_t[]> nonzero;
};

} // namespace sailsim::pim

#endif
