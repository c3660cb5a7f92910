/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The pattern reuse table, patterns of activations and their profiles.
 */
#include <algorithm>
#include <vector>

#include "pim/profiles.hh"
#include "support.hh"

namespace
{

int hits(Prt &prt, const std::vector<int> &patterns)
{
    int count = 0;
    for (int p : patterns)
        count += prt.access(p);
    return count;
}

/* The profile by running a Prt over every pattern. */
PatternProfile simulated(const Patterns &patterns, std::int64_t entries, PrtPolicy policy)
{
    PatternProfile counts = uniform(patterns.group_count(), 0, 0, 0);
    Prt prt(entries, policy);
    for (std::size_t g = 0; g < counts.zero.size(); ++g, prt.flush())
        for (std::int64_t b = 0; b < patterns.batch(); ++b)
            for (int bit = 0; bit < patterns.abits(); ++bit) {
                const int pattern = patterns.at(b, static_cast<std::int64_t>(g), bit);
                ++(pattern == 0 ? counts.zero : prt.access(pattern) ? counts.hits : counts.misses)[g];
            }
    return counts;
}

template <class T>
void check_patterns(int abits, bool is_signed, int nbw, std::int64_t k, std::int64_t group_size)
{
    const std::int64_t batch = 3;
    const std::int64_t low = is_signed ? -(std::int64_t{1} << (abits - 1)) : 0;
    const std::int64_t high = low + (std::int64_t{1} << abits) - 1;
    Numbers numbers(static_cast<std::uint32_t>(abits * 1000 + nbw * 100 + k));
    std::vector<T> x(static_cast<std::size_t>(batch * k));
    for (T &value : x)
        value = static_cast<T>(numbers.in(low, high));
    const Grouping grouping(k, nbw, group_size);
    const Patterns patterns(Activations<T>{x.data(), batch, k, abits, is_signed}, grouping);
    CHECK_EQ(patterns.group_count(), grouping.groups());
    for (std::int64_t b = 0; b < batch; ++b) {
        for (std::int64_t g = 0; g < grouping.groups(); ++g) {
            for (int bit = 0; bit < abits; ++bit) {
                int expected = 0;
                for (int j = 0; j < grouping.length(g); ++j) {
                    const auto value =
                        static_cast<std::int64_t>(x[static_cast<std::size_t>(b * k + grouping.start(g) + j)]);
                    expected |= static_cast<int>(static_cast<std::uint64_t>(value) >> bit & 1) << j;
                }
                CHECK_EQ(patterns.at(b, g, bit), expected);
            }
        }
    }
}

constexpr std::int64_t pool_rows = 9;

/* Batches out of a pool against the profile of their rows written side by side. */
template <class T>
void check_pool(int abits, bool is_signed, int nbw, std::int64_t width, std::int64_t parts, std::int64_t k)
{
    const std::int64_t low = is_signed ? -(std::int64_t{1} << (abits - 1)) : 0;
    Numbers numbers(static_cast<std::uint32_t>(abits * 1000 + nbw * 100 + k));
    std::vector<T> pool(static_cast<std::size_t>(pool_rows * width));
    for (T &value : pool) /* few different values: patterns repeat */
        value = static_cast<T>(low + numbers.in(0, 3) * ((std::int64_t{1} << abits) - 1) / 3);
    PatternPool sets(Activations<T>{pool.data(), pool_rows, width, abits, is_signed}, nbw);
    for (std::int64_t batch : {1, 2, 5}) {
        std::vector<std::int64_t> source(static_cast<std::size_t>(batch * parts));
        std::vector<T> x;
        for (std::int64_t &row : source)
            row = numbers.in(0, pool_rows - 1);
        for (std::int64_t b = 0; b < batch; ++b) {
            for (std::int64_t column = 0; column < k; ++column) {
                const std::int64_t row = source[static_cast<std::size_t>(b * parts + column / width)];
                x.push_back(pool[static_cast<std::size_t>(row * width + column % width)]);
            }
        }
        const Activations<T> rows{x.data(), batch, k, abits, is_signed};
        for (int entries : {0, 64}) {
            const PatternProfile found = sets.profile(source.data(), batch, parts, k, entries > 0);
            const PatternProfile exact =
                profile(Patterns(rows, Grouping(k, nbw, 0)), entries, PrtPolicy::lru);
            CHECK(same(found, exact));
        }
    }
}

} // namespace

TEST(prt, a_pattern_hits_from_its_second_access_on_until_it_is_evicted_or_flushed)
{
    const auto hits_of = [](int entries, PrtPolicy policy, const std::vector<int> &patterns) {
        Prt prt(entries, policy);
        const int count = hits(prt, patterns);
        prt.flush();
        CHECK_EQ(hits(prt, {patterns.front()}), 0);
        return count;
    };
    for (PrtPolicy policy : {PrtPolicy::lru, PrtPolicy::fifo, PrtPolicy::direct}) {
        CHECK_EQ(hits_of(4, policy, {3, 3, 3}), 2);
        CHECK_EQ(hits_of(0, policy, {1, 1, 1}), 0);
    }
    for (PrtPolicy policy : {PrtPolicy::lru, PrtPolicy::fifo}) {
        CHECK_EQ(hits_of(4, policy, {1, 2, 3, 4, 1}), 1);
        CHECK_EQ(hits_of(4, policy, {1, 2, 3, 4, 5, 1}), 0);
    }
    CHECK_EQ(hits_of(2, PrtPolicy::lru, {1, 2, 1, 3, 1}), 2);  /* 3 evicts 2 */
    CHECK_EQ(hits_of(2, PrtPolicy::fifo, {1, 2, 1, 3, 1}), 1); /* 3 evicts 1 */
    CHECK_EQ(hits_of(4, PrtPolicy::direct, {1, 5, 1}), 0);     /* one entry for both */
    CHECK_EQ(hits_of(4, PrtPolicy::direct, {2, 3, 2, 3}), 2);
    CHECK_THROWS("prt_entries is -1", Prt(-1, PrtPolicy::lru));
    CHECK_THROWS("prt_policy is 'random': allowed are lru, fifo, direct", prt_policies.value("random"));
}

TEST(patterns, grouping_never_crosses_a_block)
{
    const Grouping g(10, 4, 6); /* blocks 0..5 and 6..9; groups 4, 2 and 4 */
    CHECK_EQ(g.blocks(), 2);
    CHECK_EQ(g.groups(), 3);
    CHECK_EQ(g.start(1), 4);
    CHECK_EQ(g.length(1), 2);
    CHECK_EQ(g.start(2), 6);
    CHECK_EQ(g.length(2), 4);
    CHECK_EQ(Grouping(10, 4, 0).groups(), 3);
    CHECK_EQ(Grouping(10, 4, 100).blocks(), 1);
    CHECK_THROWS("nbw is 7: allowed are 1..6", Grouping(10, 7, 0));
    CHECK_THROWS("k is 0", Grouping(0, 4, 0));
}

TEST(patterns, bits_of_the_activations)
{
    for (int nbw = 1; nbw <= 6; ++nbw) {
        check_patterns<std::int8_t>(8, true, nbw, 29, 0);
        check_patterns<std::uint8_t>(8, false, nbw, 29, 10);
        check_patterns<std::int8_t>(1, true, nbw, 7, 3);
        check_patterns<std::int16_t>(16, true, nbw, 29, 10);
        check_patterns<std::uint16_t>(16, false, nbw, 29, 0);
        check_patterns<std::int32_t>(11, true, nbw, 29, 7);
    }
}

TEST(patterns, an_activation_at_the_limit_passes_and_one_beyond_does_not)
{
    const Grouping grouping(2, 2, 0);
    std::vector<std::int32_t> x = {-8, 7};
    const Activations<std::int32_t> view{x.data(), 1, 2, 4, true};
    Patterns(view, grouping);
    x[1] = 8;
    CHECK_THROWS("x[0, 1] is 8: allowed are -8..7", Patterns(view, grouping));
    CHECK_EQ(find_outside(view), 1);
    x = {-9, 7};
    CHECK_THROWS("x[0, 0] is -9", Patterns(view, grouping));
}

TEST(patterns, profile_equals_the_simulation)
{
    Numbers numbers(7);
    for (int nbw : {1, 3, 4, 5, 6}) {
        for (int abits : {1, 8, 16}) {
            const std::int64_t batch = 5;
            const std::int64_t k = 61;
            std::vector<std::int32_t> x(static_cast<std::size_t>(batch * k));
            for (std::int32_t &value : x) /* few different values: hits, and many in common */
                value = static_cast<std::int32_t>(numbers.in(0, 3) * ((1 << abits) - 1) / 3);
            const Activations<std::int32_t> activations{x.data(), batch, k, abits, false};
            const Grouping grouping(k, nbw, nbw == 4 ? 20 : 17); /* blocks with and without padding */
            const Patterns patterns(activations, grouping);
            for (PrtPolicy policy : {PrtPolicy::lru, PrtPolicy::fifo, PrtPolicy::direct}) {
                for (int entries : {0, 1, 2, 3, 7, 15, 16, 31, 32, 62, 63, 64}) {
                    const PatternProfile fast = profile(patterns, entries, policy, 2);
                    const PatternProfile exact = simulated(patterns, entries, policy);
                    CHECK(same(fast, exact));
                }
            }
        }
    }
}

TEST(profiles, no_group_takes_less_than_the_least_cycles)
{
    Numbers numbers(7);
    int tight = 0;
    for (int trial = 0; trial < 200; ++trial) {
        const PatternProfile profile = drawn_profile(numbers, numbers.in(1, 30), numbers.in(1, 300));
        PhaseCosts costs(plain_slice(), plain_tile(), {});
        costs.zero = numbers.in(0, 3);
        costs.hit = numbers.in(0, 3);
        costs.miss = numbers.in(0, 9);
        std::vector<std::int64_t> cycles;
        for (std::size_t g = 0; g < profile.zero.size(); ++g)
            cycles.push_back(costs.lookups(profile.zero[g], profile.hits[g], profile.misses[g]));
        const auto least = static_cast<double>(*std::min_element(cycles.begin(), cycles.end()));
        const double bound = CountedProfile(profile).least_cycles(costs);
        CHECK(bound <= least);
        tight += bound == least;
    }
    CHECK(tight > 50);
}

TEST(profiles, a_batch_has_the_profile_of_its_rows_put_together)
{
    for (int nbw = 1; nbw <= 6; ++nbw) {
        check_pool<std::int8_t>(8, true, nbw, 60, 3, 120);
        check_pool<std::uint8_t>(3, false, nbw, 60, 1, 60);
        check_pool<std::int16_t>(16, true, nbw, 60, 4, 180); /* a part is left over */
        check_pool<std::int32_t>(11, true, nbw, 120, 2, 180);
    }
    check_pool<std::uint16_t>(9, false, 4, 12, 3, 28);
}

TEST(profiles, errors_name_what_is_wrong)
{
    const std::vector<std::int8_t> codes(24);
    const Activations<std::int8_t> rows{codes.data(), 2, 12, 8, true};
    CHECK_THROWS("12 columns: allowed are multiples of nbw = 5", PatternPool(rows, 5));
    PatternPool pool(rows, 4);
    CHECK_EQ(pool.row_count(), 2);
    const std::int64_t source[] = {0, 2};
    CHECK_THROWS("source is 2: allowed are 0..1", pool.profile(source, 1, 2, 24, true));
    CHECK_THROWS("k is 28", pool.profile(source, 1, 2, 28, true));
    CHECK_THROWS("k is 10", pool.profile(source, 1, 1, 10, true));
    CHECK_THROWS("batch is 0", pool.profile(source, 0, 1, 12, true));
    const std::vector<std::int8_t> wide(12, 9);
    PatternPool narrow(Activations<std::int8_t>{wide.data(), 1, 12, 4, true}, 4);
    CHECK_THROWS("is 9: allowed are -8..7", narrow.profile(source, 1, 1, 12, true));
}
