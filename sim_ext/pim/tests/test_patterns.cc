/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Profiles of patterns against running a reuse table over every one.
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
