/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Set index of an LLC slice. Slices take cache lines in turn, so the lowest bits of a line's number are the
 * same for all lines of a slice; indexing by them, as gem5's SetAssociative does, would leave most sets
 * empty.
 *
 * gem5's classes for this are not the same in every version: a cache's policy is asked about an address, or
 * about an address with its security; and it reckons its sets itself, or is told how many entries there are.
 * Both are read off here from gem5's own declarations.
 */
#ifndef SAILSIM_GEM5_SLICE_INDEXING_HH
#define SAILSIM_GEM5_SLICE_INDEXING_HH

#include <type_traits>
#include <vector>

#include "base/intmath.hh"
#include "base/logging.hh"
#include "mem/cache/tags/indexing_policies/base.hh"
#include "mem/cache/tags/tagged_entry.hh"
#include "params/BaseTags.hh"
#include "params/SailSliceIndexing.hh"

namespace gem5::sail
{

/* What a cache's tags are indexed by. */
using IndexingPolicy = std::remove_pointer_t<decltype(BaseTagsParams::indexing_policy)>;

template <class Method>
struct FirstArgument;
template <class Result, class Class, class First, class... Rest>
struct FirstArgument<Result (Class::*)(First, Rest...) const> {
    using type = First;
};

/* What the policy is asked about: Addr in gem5 24.0, a reference to a key later. */
using IndexKey = FirstArgument<decltype(&IndexingPolicy::getPossibleEntries)>::type;

template <class Key>
Addr address_of(const Key &key)
{
    if constexpr (std::is_same_v<Key, Addr>)
        return key;
    else
        return key.address;
}

/* The policy as it is constructed where it reckons its sets itself ... */
template <class Policy, bool by_itself>
class SizedPolicy : public Policy
{
  protected:
    explicit SizedPolicy(const SailSliceIndexingParams &p) : Policy(p) {}
};

/* ... and where it is told. */
template <class Policy>
class SizedPolicy<Policy, false> : public Policy
{
  protected:
    explicit SizedPolicy(const SailSliceIndexingParams &p)
        : Policy(p, p.size / p.entry_size, floorLog2(p.entry_size))
    {
    }
};

class SliceIndexing : public SizedPolicy<IndexingPolicy, std::is_same_v<IndexKey, Addr>>
{
  public:
    explicit SliceIndexing(const SailSliceIndexingParams &p) : SizedPolicy(p), slices(p.slices)
    {
        fatal_if(slices == 0, "%s: slices is 0: allowed is at least 1", name());
    }

    std::vector<ReplaceableEntry *> getPossibleEntries(IndexKey key) const override
    {
        return sets[extractTag(address_of(key)) / slices & setMask];
    }

    /* The tag is the line's whole number: simple, and an address follows from it alone. */
    Addr extractTag(const Addr addr) const override { return addr >> setShift; }
    Addr regenerateAddr(IndexKey tag, const ReplaceableEntry *) const override
    {
        return address_of(tag) << setShift;
    }

  private:
    const unsigned slices;
};

} // namespace gem5::sail

#endif
