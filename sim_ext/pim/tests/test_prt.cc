/* SPDX-License-Identifier: BSD-3-Clause */
#include <vector>

#include "check.hh"
#include "pim/prt.hh"

using namespace sailsim::pim;

namespace
{

int hits(Prt &prt, const std::vector<int> &patterns)
{
    int count = 0;
    for (int p : patterns)
        count += prt.access(p);
    return count;
}

} // namespace

TEST(prt, a_pattern_hits_from_its_second_access_on)
{
    for (PrtPolicy policy : {PrtPolicy::lru, PrtPolicy::fifo, PrtPolicy::direct}) {
        Prt prt(4, policy);
        CHECK(!prt.access(3));
        CHECK(prt.access(3));
        CHECK(prt.access(3));
    }
}

TEST(prt, the_last_entry_fits_and_one_more_evicts)
{
    for (PrtPolicy policy : {PrtPolicy::lru, PrtPolicy::fifo}) {
        Prt full(4, policy);
        CHECK_EQ(hits(full, {1, 2, 3, 4, 1}), 1);
        Prt over(4, policy);
        CHECK_EQ(hits(over, {1, 2, 3, 4, 5, 1}), 0);
    }
}

TEST(prt, lru_keeps_what_was_used_fifo_does_not)
{
    Prt lru(2, PrtPolicy::lru);
    CHECK_EQ(hits(lru, {1, 2, 1, 3, 1}), 2); /* 3 evicts 2 */
    Prt fifo(2, PrtPolicy::fifo);
    CHECK_EQ(hits(fifo, {1, 2, 1, 3, 1}), 1); /* 3 evicts 1 */
}

TEST(prt, direct_mapped_entries_conflict_modulo_the_size)
{
    Prt prt(4, PrtPolicy::direct);
    CHECK_EQ(hits(prt, {1, 5, 1}), 0);
    CHECK_EQ(hits(prt, {2, 3, 2, 3}), 2);
}

TEST(prt, flush_forgets)
{
    for (PrtPolicy policy : {PrtPolicy::lru, PrtPolicy::fifo, PrtPolicy::direct}) {
        Prt prt(4, policy);
        hits(prt, {1, 2, 3, 4});
        prt.flush();
        CHECK_EQ(hits(prt, {1, 2, 3, 4}), 0);
    }
}

TEST(prt, no_entries_means_no_hits)
{
    Prt prt(0, PrtPolicy::lru);
    CHECK_EQ(hits(prt, {1, 1, 1}), 0);
    CHECK_THROWS("prt_entries is -1", Prt(-1, PrtPolicy::lru));
}

TEST(prt, policies_by_name)
{
    CHECK(prt_policy("fifo") == PrtPolicy::fifo);
    CHECK_THROWS("lru, fifo, direct", prt_policy("random"));
}
