/* SPDX-License-Identifier: BSD-3-Clause */
#include <vector>

#include "check.hh"
#include "pim/reuse.hh"
#include "support.hh"

using namespace sailsim::pim;

namespace
{

/* Unsigned activations of two bits: rows of k values. */
Patterns two_bits(const std::vector<std::uint8_t> &x, std::int64_t rows, int nbw)
{
    const std::int64_t k = static_cast<std::int64_t>(x.size()) / rows;
    return Patterns(Activations<std::uint8_t>{x.data(), rows, k, 2, false}, Grouping(k, nbw, 0));
}

void check_counts(const BitCounts &c, std::int64_t zero, std::int64_t hits, std::int64_t misses,
                  std::int64_t wrong)
{
    CHECK_EQ(c.zero, zero);
    CHECK_EQ(c.hits, hits);
    CHECK_EQ(c.misses, misses);
    CHECK_EQ(c.wrong, wrong);
}

} // namespace

TEST(reuse, the_sum_over_bits_is_the_profile)
{
    Numbers numbers(11);
    const std::int64_t batch = 6;
    const std::int64_t k = 61;
    std::vector<std::int16_t> x(static_cast<std::size_t>(batch * k));
    for (std::int16_t &value : x)
        value = static_cast<std::int16_t>(numbers.in(0, 5) * 300 - 700);
    for (int nbw : {1, 3, 6}) {
        const Patterns patterns(Activations<std::int16_t>{x.data(), batch, k, 11, true},
                                Grouping(k, nbw, 17));
        for (PrtPolicy policy : {PrtPolicy::lru, PrtPolicy::fifo, PrtPolicy::direct}) {
            for (int entries : {0, 1, 3, 16, 63}) {
                PrtRule rule;
                rule.entries = entries;
                rule.policy = policy;
                const PatternProfile whole = profile(patterns, entries, policy);
                BitCounts expected;
                for (std::size_t g = 0; g < whole.zero.size(); ++g) {
                    expected.zero += whole.zero[g];
                    expected.hits += whole.hits[g];
                    expected.misses += whole.misses[g];
                }
                BitCounts sum;
                for (const BitCounts &c : profile_bits(patterns, batch, rule)) {
                    sum.zero += c.zero;
                    sum.hits += c.hits;
                    sum.misses += c.misses;
                    CHECK_EQ(c.wrong, 0);
                    CHECK_EQ(c.zero + c.hits + c.misses, batch * patterns.group_count());
                }
                check_counts(sum, expected.zero, expected.hits, expected.misses, 0);
            }
        }
    }
}

TEST(reuse, each_tile_starts_with_an_empty_table)
{
    /* One group of two: bit 0 is 01, 01; bit 1 is 01, 11. */
    const Patterns patterns = two_bits({3, 0, 3, 2}, 2, 2);
    PrtRule rule;
    rule.entries = 4;
    const std::vector<BitCounts> one = profile_bits(patterns, 2, rule);
    CHECK_EQ(one.size(), std::size_t{2});
    check_counts(one[0], 0, 1, 1, 0);
    check_counts(one[1], 0, 1, 1, 0);
    const std::vector<BitCounts> two = profile_bits(patterns, 1, rule);
    CHECK_EQ(two.size(), std::size_t{4});
    check_counts(two[0], 0, 0, 1, 0); /* row 0: 01 */
    check_counts(two[1], 0, 1, 0, 0); /* 01 again */
    check_counts(two[2], 0, 0, 1, 0); /* row 1: 01 */
    check_counts(two[3], 0, 0, 1, 0); /* 11 */
}

TEST(reuse, a_table_that_is_not_flushed_answers_with_another_groups_results)
{
    const Patterns patterns = two_bits({1, 1, 1}, 1, 1); /* three groups, pattern 1 at bit 0 in each */
    PrtRule rule;
    rule.entries = 2;
    check_counts(profile_bits(patterns, 1, rule)[0], 0, 0, 3, 0);
    rule.flushed = false;
    check_counts(profile_bits(patterns, 1, rule)[0], 0, 2, 1, 2);
    rule.places = {0, 1};
    check_counts(profile_bits(patterns, 1, rule)[0], 0, 2, 1, 2);
}

TEST(reuse, a_collision_costs_a_miss_with_tags_and_the_result_without)
{
    const Patterns patterns = two_bits({3, 2}, 1, 2); /* bit 0: 01, bit 1: 11 */
    PrtRule rule;
    rule.entries = 2;
    rule.places = {0, 1, 0, 1};
    check_counts(profile_bits(patterns, 1, rule)[1], 0, 0, 1, 0);
    rule.tagged = false;
    check_counts(profile_bits(patterns, 1, rule)[1], 0, 1, 0, 1);
    rule.places = {0, 1, 1, 0};
    check_counts(profile_bits(patterns, 1, rule)[1], 0, 0, 1, 0);
}

TEST(reuse, places_modulo_the_size_are_the_direct_policy)
{
    Numbers numbers(5);
    std::vector<std::uint8_t> x(400);
    for (std::uint8_t &value : x)
        value = static_cast<std::uint8_t>(numbers.in(0, 3));
    const Patterns patterns = two_bits(x, 4, 5);
    PrtRule direct;
    direct.entries = 7;
    direct.policy = PrtPolicy::direct;
    PrtRule placed = direct;
    for (int p = 0; p < 32; ++p)
        placed.places.push_back(p % 7);
    const std::vector<BitCounts> a = profile_bits(patterns, 2, direct);
    const std::vector<BitCounts> b = profile_bits(patterns, 2, placed);
    for (std::size_t i = 0; i < a.size(); ++i)
        check_counts(b[i], a[i].zero, a[i].hits, a[i].misses, 0);
}

TEST(reuse, bad_rules_name_their_field)
{
    const Patterns patterns = two_bits({1, 2}, 1, 2);
    PrtRule rule;
    rule.entries = -1;
    CHECK_THROWS("prt_entries is -1", profile_bits(patterns, 1, rule));
    rule.entries = 2;
    rule.places = {0, 1};
    CHECK_THROWS("places has 2 elements: allowed are 2^nbw = 4", profile_bits(patterns, 1, rule));
    rule.places = {0, 1, 2, 0};
    CHECK_THROWS("places is 2: allowed are 0..1", profile_bits(patterns, 1, rule));
    rule.places.clear();
    CHECK_THROWS("tile_rows is 2", profile_bits(patterns, 2, rule));
    rule.tagged = false;
    CHECK_THROWS("tagged is false without places", profile_bits(patterns, 1, rule));
}
