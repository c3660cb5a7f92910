/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rows of activations that profiles of patterns are put together from.
 */
#ifndef SAILSIM_PIM_PROFILES_HH
#define SAILSIM_PIM_PROFILES_HH

#include <cstdint>
#include <memory>
#include <vector>

#include "pim/patterns.hh"

namespace sailsim::pim
{

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
