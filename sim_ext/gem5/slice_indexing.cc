/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/slice_indexing.hh"

#include "base/logging.hh"

namespace gem5::sail
{

SliceIndexing::SliceIndexing(const SailSliceIndexingParams &p) : SizedPolicy(p), slices(p.slices)
{
    fatal_if(slices == 0, "%s: slices is 0: allowed is at least 1", name());
}

std::vector<ReplaceableEntry *> SliceIndexing::getPossibleEntries(IndexKey key) const
{
    return sets[extractTag(address_of(key)) / slices & setMask];
}

Addr SliceIndexing::extractTag(const Addr addr) const
{
    return addr >> setShift;
}

Addr SliceIndexing::regenerateAddr(IndexKey tag, const ReplaceableEntry *) const
{
    return address_of(tag) << setShift;
}

} // namespace gem5::sail
