/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where the reuse of patterns comes from: outcomes by bit position, under any rule by which a PRT could find
 * its entries. A measurement; the simulated unit has the one rule of prt.hh.
 */
#ifndef SAILSIM_PIM_REUSE_HH
#define SAILSIM_PIM_REUSE_HH

#include <cstdint>
#include <vector>

#include "pim/patterns.hh"
#include "pim/prt.hh"

namespace sailsim::pim
{

/* How a PRT finds an entry. The default with a policy is the unit's own PRT. */
struct PrtRule {
    int entries = 0; /* 0: no PRT */
    PrtPolicy policy = PrtPolicy::lru;
    /* The one entry that each pattern may lie in, 2^NBW of them (a hash); empty: the policy chooses. */
    std::vector<int> places;
    bool tagged = true;  /* an entry knows its pattern; else it is taken for any that may lie in its place */
    bool flushed = true; /* emptied when the table changes; else entries of earlier tables are found */

    /* Throws std::invalid_argument naming the field. */
    void validate(int nbw) const;
};

/* What became of the patterns of one bit position. */
struct BitCounts {
    std::int64_t zero = 0;
    std::int64_t hits = 0; /* the wrong ones included */
    std::int64_t misses = 0;
    std::int64_t wrong = 0; /* hits on the result of another pattern or of another table */
};

/* Rows are cut into tiles of `tile_rows` rows, each of which starts with an empty PRT; inside a tile the
 * order is that of `profile`. Returns tiles x abits counts, bit 0 first.
 * Throws std::invalid_argument when the rows are no whole number of tiles. */
std::vector<BitCounts> profile_bits(const Patterns &patterns, std::int64_t tile_rows, const PrtRule &rule);

} // namespace sailsim::pim

#endif
