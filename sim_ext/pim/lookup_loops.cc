/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/lookup_loops.hh"

#include <array>

#include "pim/instruction_sets.hh"

namespace sailsim::pim
{

namespace
{

constexpr double whole_from = 4503599627370496.0; /* 2^52: doubles from here on are whole numbers */
constexpr std::size_t side_by_side = 8;

/* std::floor of 0 .. 2^51, in operations that every vector unit has. */
SAILSIM_INLINED double floor_of(double x)
{
    const double nearest = (x + whole_from) - whole_from;
    return nearest > x ? nearest - 1 : nearest;
}

SAILSIM_INLINED FedPatterns sum(const PatternProfile &patterns)
{
    const std::int32_t *zero = patterns.zero.data(), *hits = patterns.hits.data(),
                       *misses = patterns.misses.data();
    const std::size_t groups = patterns.zero.size();
    FedPatterns sum;
    for (std::size_t g = 0; g < groups; ++g) {
        sum.zero += zero[g];
        sum.hits += hits[g];
        sum.misses += misses[g];
    }
    return sum;
}

/* Every count is below 2^31 and every batch at most 2^20: products are exact, and a quotient is at least
 * 2^-20 away from every whole number that it is not, which is more than its rounding. So its floor is that of
 * whole numbers. */
template <class Share>
SAILSIM_INLINED void cycles_of(const PatternProfile &patterns, const PhaseCosts &costs, double *of_group,
                               const Share &share)
{
    const std::int32_t *zero = patterns.zero.data(), *hits = patterns.hits.data(),
                       *misses = patterns.misses.data();
    const auto cost_zero = static_cast<double>(costs.zero), cost_hit = static_cast<double>(costs.hit),
               cost_miss = static_cast<double>(costs.miss);
    const std::size_t groups = patterns.zero.size();
    for (std::size_t g = 0; g < groups; ++g)
        of_group[g] = share(static_cast<double>(zero[g])) * cost_zero +
                      share(static_cast<double>(hits[g])) * cost_hit +
                      share(static_cast<double>(misses[g])) * cost_miss;
}

SAILSIM_INLINED void cycles(const PatternProfile &patterns, const PhaseCosts &costs, const BatchRows &rows,
                            std::int64_t batch, double *of_group)
{
    if (rows.end - rows.first == batch) {
        cycles_of(patterns, costs, of_group, [](double count) { return count; });
        return;
    }
    const auto first = static_cast<double>(rows.first), end = static_cast<double>(rows.end),
               all = static_cast<double>(batch);
    if ((batch & (batch - 1)) == 0) { /* whose inverse is exact */
        cycles_of(patterns, costs, of_group, [first, end, part = 1 / all](double count) {
            return floor_of(count * end * part) - floor_of(count * first * part);
        });
    } else {
        cycles_of(patterns, costs, of_group, [first, end, all](double count) {
            return floor_of(count * end / all) - floor_of(count * first / all);
        });
    }
}

SAILSIM_INLINED double least(const std::vector<double> &numbers)
{
    std::array<double, side_by_side> found;
    found.fill(numbers.front());
    std::size_t at = 0;
    for (; at + side_by_side <= numbers.size(); at += side_by_side)
        for (std::size_t i = 0; i < side_by_side; ++i)
            found[i] = numbers[at + i] < found[i] ? numbers[at + i] : found[i];
    for (; at < numbers.size(); ++at)
        found[0] = numbers[at] < found[0] ? numbers[at] : found[0];
    double all = found[0];
    for (const double each : found)
        all = each < all ? each : all;
    return all;
}

#define SAILSIM_LOOKUP_LOOPS(set, target)                                                                    \
    target FedPatterns sum_##set(const PatternProfile &patterns)                                             \
    {                                                                                                        \
        return sum(patterns);                                                                                \
    }                                                                                                        \
    target void cycles_##set(const PatternProfile &patterns, const PhaseCosts &costs, const BatchRows &rows, \
                             std::int64_t batch, double *of_group)                                           \
    {                                                                                                        \
        cycles(patterns, costs, rows, batch, of_group);                                                      \
    }                                                                                                        \
    target double least_##set(const std::vector<double> &numbers)                                            \
    {                                                                                                        \
        return least(numbers);                                                                               \
    }                                                                                                        \
    constexpr LookupLoops set##_lookups{#set, sum_##set, cycles_##set, least_##set};

SAILSIM_EACH_SET(SAILSIM_LOOKUP_LOOPS)

} // namespace

const std::vector<const LookupLoops *> &usable_lookup_loops()
{
    static const std::vector<const LookupLoops *> usable = SAILSIM_USABLE(lookups);
    return usable;
}

} // namespace sailsim::pim
