/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Set index of an LLC slice. Slices take cache lines in turn, so the lowest bits of a line's number are the
 * same for all lines of a slice; indexing by them, as gem5's SetAssociative does, would leave most sets
 * empty.
 */
#ifndef SAILSIM_GEM5_SLICE_INDEXING_HH
#define SAILSIM_GEM5_SLICE_INDEXING_HH

#include <vector>

#include "base/logging.hh"
#include "mem/cache/tags/indexing_policies/base.hh"
#include "params/SailSliceIndexing.hh"

namespace gem5::sail
{

class SliceIndexing : public BaseIndexingPolicy
{
  public:
    explicit SliceIndexing(const SailSliceIndexingParams &p) : BaseIndexingPolicy(p), slices(p.slices)
    {
        fatal_if(slices == 0, "%s: slices is 0: allowed is at least 1", name());
    }

    std::vector<ReplaceableEntry *> getPossibleEntries(const Addr address) const override
    {
        return sets[extractTag(address) / slices & setMask];
    }

    /* The tag is the line's whole number: simple, and an address follows from it alone. */
    Addr extractTag(const Addr addr) const override { return addr >> setShift; }
    Addr regenerateAddr(const Addr tag, const ReplaceableEntry *) const override { return tag << setShift; }

  private:
    const unsigned slices;
};

} // namespace gem5::sail

#endif
