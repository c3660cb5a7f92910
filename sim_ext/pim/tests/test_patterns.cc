/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Profiles of patterns against running a reuse table over every one, and the bound that follows from them.
 */
#include <algorithm>
#include <vector>

#include "pim/patterns.hh"
#include "support.hh"

namespace
{

PatternProfile simulated(const Patterns &patterns, std::int64_t entries, PrtPolicy policy)
{
    PatternProfile::Counts zero(static_cast<std::size_t>(patterns.group_count())), hits = zero, misses = zero;
    Prt prt(entries, policy);
    for (std::size_t g = 0; g < zero.size(); ++g, prt.flush())
        for (std::int64_t b = 0; b < patterns.batch(); ++b)
            for (int bit = 0; bit < patterns.abits(); ++bit) {
                const std::uint64_t word = (bit < 8 ? patterns.low(b) : patterns.high(b))[g];
                const auto pattern = static_cast<int>(word >> bit % 8 * 8 & 0xff);
                ++(pattern == 0 ? zero : prt.access(pattern) ? hits : misses)[g];
            }
    return {zero, hits, misses};
}

} // namespace

TEST(patterns, profile_equals_the_simulation)
{
    Numbers numbers(7);
    for (int nbw : {1, 3, 4, 5, 6})
        for (int abits : {1, 8, 16}) {
            const DrawnActivations x(numbers, 5, 61, abits, false, Drawn::few);
            const Grouping grouping(61, nbw, nbw == 4 ? 20 : 17); /* blocks with and without padding */
            const Patterns patterns(x.view(), grouping);
            for (PrtPolicy policy : {PrtPolicy::lru, PrtPolicy::fifo, PrtPolicy::direct})
                for (int entries : {0, 1, 2, 3, 7, 15, 16, 31, 32, 62, 63, 64})
                    CHECK(same(profile(patterns, entries, policy, 2), simulated(patterns, entries, policy)));
        }
}

TEST(patterns, a_batch_out_of_a_pool_has_the_profile_of_its_rows_put_together)
{
    constexpr std::int64_t rows = 9, width = 60, batch = 5, parts = 4, k = 180; /* a part is left over */
    Numbers numbers(8);
    for (int nbw = 1; nbw <= 6; ++nbw)
        for (int abits : {3, 8, 16}) {
            const DrawnActivations captured(numbers, rows, width, abits, false, Drawn::few);
            PatternPool pool(captured.view(), nbw);
            std::vector<std::int64_t> source(batch * parts);
            for (std::int64_t &row : source)
                row = numbers.in(0, rows - 1);
            DrawnActivations x(numbers, batch, k, abits, false, Drawn::few);
            const std::int64_t part_bytes = width * x.view().word_bytes();
            for (std::int64_t b = 0; b < batch; ++b)
                for (std::int64_t part = 0; part < k / width; ++part)
                    std::copy_n(captured.view().row(source[static_cast<std::size_t>(b * parts + part)]).bytes,
                                part_bytes, x.bytes.data() + (b * k / width + part) * part_bytes);
            const Patterns patterns(x.view(), Grouping(k, nbw, 0));
            for (bool prt : {false, true})
                CHECK(same(pool.profile(source.data(), batch, parts, k, prt),
                           profile(patterns, prt ? max_patterns : 0, PrtPolicy::lru)));
        }
}

TEST(patterns, no_group_takes_less_than_the_least_cycles)
{
    Numbers numbers(7);
    int tight = 0;
    for (int trial = 0; trial < 200; ++trial) {
        const PatternProfile profile = drawn_profile(numbers, numbers.in(1, 30), numbers.in(1, 300));
        PhaseCosts costs(plain_slice(), {64, 100, 2, 4, 4, 8, 4, 0}, {});
        costs.zero = numbers.in(0, 3);
        costs.hit = numbers.in(0, 3);
        costs.miss = numbers.in(0, 9);
        std::int64_t least = costs.lookups(profile.zero()[0], profile.hits()[0], profile.misses()[0]);
        for (std::size_t g = 1; g < profile.zero().size(); ++g)
            least = std::min(least, costs.lookups(profile.zero()[g], profile.hits()[g], profile.misses()[g]));
        const double bound = profile.least_cycles(costs);
        CHECK(bound <= static_cast<double>(least));
        tight += bound == static_cast<double>(least);
    }
    CHECK(tight > 50);
}
