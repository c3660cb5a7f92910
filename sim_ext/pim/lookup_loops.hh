/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the patterns of a profile take to look up, group by group. The loops are compiled for several
 * instruction sets and give the same in all; `TileSequencer::feed` is their specification, for cycles that a
 * double holds exactly.
 */
#ifndef SAILSIM_PIM_LOOKUP_LOOPS_HH
#define SAILSIM_PIM_LOOKUP_LOOPS_HH

#include <cstdint>
#include <vector>

#include "pim/sequencer.hh"

namespace sailsim::pim
{

struct LookupLoops {
    const char *name;
    /* The patterns of all groups; their cycles are left at 0. */
    FedPatterns (*sum)(const PatternProfile &patterns);
    /* The cycles of every group's patterns that some rows of a batch have. */
    void (*cycles)(const PatternProfile &patterns, const PhaseCosts &costs, const BatchRows &rows,
                   std::int64_t batch, double *of_group);
    /* The least of some numbers, at least one. */
    double (*least)(const std::vector<double> &numbers);
};

/* Those that this processor can run, the quickest first. */
const std::vector<const LookupLoops *> &usable_lookup_loops();

} // namespace sailsim::pim

#endif
