/* SPDX-License-Identifier: BSD-3-Clause */
#include <vector>

#include "check.hh"
#include "pim/pattern_loops.hh"
#include "pim/patterns.hh"
#include "support.hh"

using namespace sailsim::pim;

namespace
{

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

} // namespace

TEST(patterns, grouping_never_crosses_a_block)
{
    const Grouping g(10, 4, 6); /* blocks 0..5 and 6..9; groups 4, 2 and 4 */
    CHECK_EQ(g.blocks(), 2);
    CHECK_EQ(g.groups(), 3);
    CHECK_EQ(g.start(1), 4);
    CHECK_EQ(g.length(1), 2);
    CHECK_EQ(g.start(2), 6);
    CHECK_EQ(g.length(2), 4);
    CHECK(!g.last_of_block(0));
    CHECK(g.last_of_block(1));
    CHECK(g.last_of_block(2));
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
                    const PatternProfile exact = profile_by_simulation(patterns, entries, policy);
                    CHECK(fast.zero == exact.zero);
                    CHECK(fast.hits == exact.hits);
                    CHECK(fast.misses == exact.misses);
                    const PatternProfile streamed = profile(activations, grouping, entries, policy);
                    CHECK(streamed.zero == exact.zero);
                    CHECK(streamed.hits == exact.hits);
                    CHECK(streamed.misses == exact.misses);
                }
            }
        }
    }
}

TEST(patterns, loops_over_words)
{
    Numbers numbers(11);
    for (std::int64_t groups : {1, 3, 8, 37, 64}) {
        std::vector<std::uint8_t> bytes(static_cast<std::size_t>(4 * groups));
        for (std::uint8_t &byte : bytes)
            byte = static_cast<std::uint8_t>(numbers.in(0, 255));
        const auto count = static_cast<std::size_t>(groups);
        std::vector<std::uint64_t> words(count), seen(count, 2), wide(count, 2);
        std::vector<std::int32_t> nonzero(count, 100);
        transpose_fours(bytes.data(), groups, 0x00ffffffffffffff, words.data());
        tally_patterns(words.data(), groups, true, seen.data(), nonzero.data());
        tally_patterns(words.data(), groups, false, wide.data(), nonzero.data());
        for (std::size_t g = 0; g < count; ++g) {
            std::uint64_t patterns = 2;
            std::int32_t others = 100;
            for (int bit = 0; bit < 8; ++bit) {
                int pattern = 0;
                for (std::size_t j = 0; j < 4 && bit < 7; ++j)
                    pattern |= (bytes[4 * g + j] >> bit & 1) << j;
                patterns |= std::uint64_t{1} << pattern;
                others += 2 * (pattern != 0);
            }
            CHECK_EQ(seen[g], patterns);
            CHECK_EQ(wide[g], patterns);
            CHECK_EQ(nonzero[g], others);
        }
    }
}
