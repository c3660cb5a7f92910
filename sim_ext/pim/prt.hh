/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The pattern reuse table (PRT) of a DFM: remembers which table entries were looked up last. The key is exact
 * (group, pattern); the table is flushed when the group changes, so inside one group the pattern is the key.
 */
#ifndef SAILSIM_PIM_PRT_HH
#define SAILSIM_PIM_PRT_HH

#include <array>
#include <cstdint>
#include <vector>

#include "pim/check.hh"

namespace sailsim::pim
{

/* Patterns have at most LUTMM_NBW_MAX = 6 bits. */
constexpr int max_nbw = 6;
constexpr int max_patterns = 1 << max_nbw;

enum class PrtPolicy {
    lru,    /* evicts the entry that was used longest ago */
    fifo,   /* evicts the entry that was inserted first */
    direct, /* pattern p may only lie in entry p mod entries */
};
inline constexpr Words<PrtPolicy, 3> prt_policies{"prt_policy", {"lru", "fifo", "direct"}};

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

} // namespace sailsim::pim

#endif
