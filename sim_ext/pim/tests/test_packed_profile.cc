/* SPDX-License-Identifier: BSD-3-Clause */
#include <algorithm>
#include <limits>

#include "check.hh"
#include "draws.hh"
#include "pim/lookup_loops.hh"
#include "pim/packed_profile.hh"
#include "support.hh"
#include "tiles.hh"

using namespace sailsim::pim;

namespace
{

void check_counts(const PatternProfile &profile)
{
    const PatternProfile found = PackedProfile(profile).counts();
    CHECK(found.zero == profile.zero);
    CHECK(found.hits == profile.hits);
    CHECK(found.misses == profile.misses);
}

} // namespace

TEST(packed_profile, counts_come_out_as_they_went_in)
{
    Numbers numbers(3);
    for (const std::int64_t patterns : {1, 8, 65535, 65536, 1 << 20})
        check_counts(drawn_profile(numbers, 17, patterns));
    PatternProfile uneven = drawn_profile(numbers, 17, 256);
    uneven.zero[11] += 1;
    check_counts(uneven);
    check_counts(PatternProfile{});
}

TEST(packed_profile, it_takes_a_third_of_the_memory_where_groups_are_even)
{
    Numbers numbers(3);
    CHECK_EQ(PackedProfile(drawn_profile(numbers, 100, 65535)).bytes(), 400);
    CHECK_EQ(PackedProfile(drawn_profile(numbers, 100, 65536)).bytes(), 1200);
}

TEST(packed_profile, its_sum_and_least_cycles_hold_for_every_group)
{
    Numbers numbers(7);
    const LookupLoops &loops = *usable_lookup_loops().front();
    int tight = 0;
    for (int trial = 0; trial < 200; ++trial) {
        const PatternProfile profile = drawn_profile(numbers, numbers.in(1, 30), numbers.in(1, 300));
        const PackedProfile packed(profile);
        const FedPatterns all = loops.sum(profile);
        CHECK_EQ(packed.all().zero, all.zero);
        CHECK_EQ(packed.all().hits, all.hits);
        CHECK_EQ(packed.all().misses, all.misses);
        PhaseCosts costs(plain_slice(), plain_tile(), {});
        costs.zero = numbers.in(0, 3);
        costs.hit = numbers.in(0, 3);
        costs.miss = numbers.in(0, 9);
        std::vector<double> of_group(profile.zero.size());
        loops.cycles(profile, costs, {0, 1}, 1, of_group.data());
        const double least = *std::min_element(of_group.begin(), of_group.end());
        CHECK(packed.least_cycles(costs) <= least);
        tight += packed.least_cycles(costs) == least;
    }
    CHECK(tight > 50);
    PatternProfile uneven = drawn_profile(numbers, 17, 256);
    uneven.zero[11] += 1;
    PhaseCosts ones(plain_slice(), plain_tile(), {});
    ones.zero = ones.hit = ones.miss = 1;
    CHECK_EQ(PackedProfile(uneven).least_cycles(ones), 0);
}
