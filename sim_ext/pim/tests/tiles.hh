/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A plain tile, and how to walk through it.
 */
#ifndef SAILSIM_PIM_TESTS_TILES_HH
#define SAILSIM_PIM_TESTS_TILES_HH

#include <cstdint>
#include <vector>

#include "check.hh"
#include "pim/timing.hh"

inline sailsim::pim::PatternProfile uniform(std::int64_t groups, std::int32_t zero, std::int32_t hits,
                                            std::int32_t misses)
{
    const auto count = static_cast<std::size_t>(groups);
    return {std::vector<std::int32_t>(count, zero), std::vector<std::int32_t>(count, hits),
            std::vector<std::int32_t>(count, misses)};
}

/* K = 64, N = 100: 16 groups of 4, one pass; batch 2 of 8 bits: 16 patterns a group. */
inline sailsim::pim::TileShape plain_tile()
{
    return {64, 100, 2, 4, 4, 8, 4, 0};
}

inline constexpr std::int64_t plain_groups = 16;
inline constexpr std::int64_t plain_load =
    200 / 32 + 1; /* 4 x 100 codes of 4 bits through 32 bytes a cycle */
inline constexpr std::int64_t plain_build = 11 * (2 + 1 + 1);

/* A sequencer whose every load takes its least time. */
inline sailsim::pim::TileTiming run(sailsim::pim::TileSequencer &sequencer)
{
    while (const sailsim::pim::GroupStep *step = sequencer.next_load())
        sequencer.loaded(sequencer.load_start() + step->load_cycles);
    return sequencer.timing();
}

inline void check_sum(const sailsim::pim::TileTiming &t)
{
    CHECK_EQ(t.load + t.build + t.lookup + t.convert + t.write_back, t.total);
}

#endif
