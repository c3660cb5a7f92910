/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tiles and supplies that are drawn, and what makes two timings equal.
 */
#ifndef SAILSIM_PIM_TESTS_DRAWS_HH
#define SAILSIM_PIM_TESTS_DRAWS_HH

#include <limits>
#include <vector>

#include "check.hh"
#include "pim/timing.hh"
#include "support.hh"

inline constexpr double endless = std::numeric_limits<double>::infinity();

inline sailsim::pim::PatternProfile drawn_profile(Numbers &numbers, std::int64_t groups,
                                                  std::int64_t patterns)
{
    sailsim::pim::PatternProfile profile;
    for (std::int64_t g = 0; g < groups; ++g) {
        const std::int64_t zero = numbers.in(0, patterns);
        const std::int64_t hits = numbers.in(0, patterns - zero);
        profile.zero.push_back(static_cast<std::int32_t>(zero));
        profile.hits.push_back(static_cast<std::int32_t>(hits));
        profile.misses.push_back(static_cast<std::int32_t>(patterns - zero - hits));
    }
    return profile;
}

inline double one_of(Numbers &numbers, const std::vector<double> &values)
{
    return values[static_cast<std::size_t>(numbers.in(0, static_cast<std::int64_t>(values.size()) - 1))];
}

inline sailsim::pim::Supply drawn_supply(Numbers &numbers)
{
    sailsim::pim::Supply supply;
    supply.bytes_per_cycle = one_of(numbers, {endless, 0.5, 2, 3.7, 8, 31.9});
    supply.latency = one_of(numbers, {0, 35.5, 120, 411.1});
    supply.lead = one_of(numbers, {0, 50, 133.3});
    supply.ahead = one_of(numbers, {0, 64, 1000, 3333.3, endless});
    return supply;
}

inline void check_equal(const sailsim::pim::TileTiming &a, const sailsim::pim::TileTiming &b)
{
    using sailsim::pim::TileCounts;
    using sailsim::pim::TileTiming;
    for (const auto field : {&TileTiming::load, &TileTiming::build, &TileTiming::lookup, &TileTiming::convert,
                             &TileTiming::write_back, &TileTiming::total, &TileTiming::weight_bytes,
                             &TileTiming::result_bytes, &TileTiming::unit_converts})
        CHECK_EQ(a.*field, b.*field);
    for (const auto field : {&TileCounts::lookups, &TileCounts::zero_patterns, &TileCounts::prt_hits,
                             &TileCounts::prt_misses, &TileCounts::table_builds, &TileCounts::table_adds,
                             &TileCounts::row_reads, &TileCounts::row_writes, &TileCounts::conversions})
        CHECK_EQ(a.counts.*field, b.counts.*field);
}

#endif
