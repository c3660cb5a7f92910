/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A profile that is kept for many tiles: in a third of the memory, beside what most tiles ask of it.
 */
#ifndef SAILSIM_PIM_PACKED_PROFILE_HH
#define SAILSIM_PIM_PACKED_PROFILE_HH

#include <array>
#include <cstdint>
#include <vector>

#include "pim/sequencer.hh"

namespace sailsim::pim
{

class PackedProfile
{
  public:
    explicit PackedProfile(PatternProfile counts);

    std::int64_t groups() const { return count; }

    /* Bytes of the counts of all groups. */
    std::int64_t bytes() const;

    /* The profile itself. */
    PatternProfile counts() const;

    /* The patterns of all groups; their cycles are left at 0. */
    const FedPatterns &all() const { return sum; }

    /* Cycles that the patterns of every group take at least; 0 where the groups have not the same number of
     * patterns. */
    double least_cycles(const PhaseCosts &costs) const;

  private:
    std::int64_t count;
    /* Groups of the same number of patterns, as they all have that were scanned: what is neither a hit nor a
     * miss is zero. Others stay as they are. */
    std::vector<std::uint16_t> hits, misses;
    PatternProfile whole;
    std::int64_t patterns = 0;
    FedPatterns sum;
    std::array<std::int64_t, 3> fewest{}, most{}; /* zero, hits and misses of a group */
};

} // namespace sailsim::pim

#endif
