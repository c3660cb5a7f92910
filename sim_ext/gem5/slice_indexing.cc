/* SPDX-License-Identifier: BSD-3-Clause */
#include "gem5/slice_indexing.hh"

#include "base/logging.hh"

namespace gem5::sail
{

SliceIndexing::SliceIndexing(const SailSliceIndexingParams &p) : BaseIndexingPolicy(p), slices(p.slices)
{
    fatal_if(slices == 0, "%s: slices is 0: allowed is at least 1", name());
}

std::vector<ReplaceableEntry *> SliceIndexing::getPossibleEntries(const Addr addr) const
{
    return sets[extractTag(addr) / slices & setMask];
}

Addr SliceIndexing::extractTag(const Addr addr) const
{
    return addr >> setShift;
}

Addr SliceIndexing::regenerateAddr(const Addr tag, const ReplaceableEntry *) const
{
    return tag << setShift;
}

} // namespace gem5::sail
