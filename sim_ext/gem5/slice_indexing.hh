/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Set index of an LLC slice. Slices take cache lines in turn, so the lowest bits of a line's number are the
 * same for all lines of a slice; indexing by them, as gem5's SetAssociative does, would leave most sets
 * empty.
 */
#ifndef SAILSIM_GEM5_SLICE_INDEXING_HH
#define SAILSIM_GEM5_SLICE_INDEXING_HH

#include <vector>

#include "mem/cache/tags/indexing_policies/base.hh"
#include "params/SailSliceIndexing.hh"

namespace gem5::sail
{

class SliceIndexing : public BaseIndexingPolicy
{
  public:
    explicit SliceIndexing(const SailSliceIndexingParams &params);

    std::vector<ReplaceableEntry *> getPossibleEntries(const Addr addr) const override;

    /* The tag is the line's whole number: simple, and an address follows from it alone. */
    Addr extractTag(const Addr addr) const override;
    Addr regenerateAddr(const Addr tag, const ReplaceableEntry *entry) const override;

  private:
    const unsigned slices;
};

} // namespace gem5::sail

#endif
