/* SPDX-License-Identifier: BSD-3-Clause */
#include <vector>

#include "check.hh"
#include "pim/pattern_pool.hh"
#include "support.hh"

using namespace sailsim::pim;

namespace
{

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
            const PatternProfile exact = profile(rows, Grouping(k, nbw, 0), entries, PrtPolicy::lru);
            CHECK(found.zero == exact.zero);
            CHECK(found.hits == exact.hits);
            CHECK(found.misses == exact.misses);
        }
    }
}

} // namespace

TEST(pattern_pool, a_batch_has_the_profile_of_its_rows_put_together)
{
    for (int nbw = 1; nbw <= 6; ++nbw) {
        check_pool<std::int8_t>(8, true, nbw, 60, 3, 120);
        check_pool<std::uint8_t>(3, false, nbw, 60, 1, 60);
        check_pool<std::int16_t>(16, true, nbw, 60, 4, 180); /* a part is left over */
        check_pool<std::int32_t>(11, true, nbw, 120, 2, 180);
    }
    check_pool<std::uint16_t>(9, false, 4, 12, 3, 28);
}

TEST(pattern_pool, errors_name_what_is_wrong)
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
