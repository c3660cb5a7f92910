/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/packed_profile.hh"

#include <algorithm>
#include <limits>
#include <utility>

namespace sailsim::pim
{

namespace
{

std::int64_t patterns_of(const PatternProfile &counts, std::size_t group)
{
    return std::int64_t{counts.zero[group]} + counts.hits[group] + counts.misses[group];
}

/* Whether every group has as many patterns as the first, so few that 16 bits hold them. */
bool even(const PatternProfile &counts)
{
    const std::size_t groups = counts.zero.size();
    if (groups == 0 || patterns_of(counts, 0) > std::numeric_limits<std::uint16_t>::max())
        return false;
    for (std::size_t g = 1; g < groups; ++g)
        if (patterns_of(counts, g) != patterns_of(counts, 0))
            return false;
    return true;
}

} // namespace

PackedProfile::PackedProfile(PatternProfile counts) : count(counts.groups())
{
    const std::array<const std::vector<std::int32_t> *, 3> kinds{&counts.zero, &counts.hits, &counts.misses};
    const std::array<std::int64_t *, 3> sums{&sum.zero, &sum.hits, &sum.misses};
    for (std::size_t kind = 0; kind < kinds.size() && count > 0; ++kind) {
        const auto [low, high] = std::minmax_element(kinds[kind]->begin(), kinds[kind]->end());
        fewest[kind] = *low;
        most[kind] = *high;
        for (const std::int32_t each : *kinds[kind])
            *sums[kind] += each;
    }
    if (!even(counts)) {
        whole = std::move(counts);
        return;
    }
    patterns = patterns_of(counts, 0);
    hits.assign(counts.hits.begin(), counts.hits.end());
    misses.assign(counts.misses.begin(), counts.misses.end());
}

std::int64_t PackedProfile::bytes() const
{
    const auto size = [](const auto &numbers) { return sizeof numbers[0] * numbers.size(); };
    return static_cast<std::int64_t>(size(hits) + size(misses) + size(whole.zero) + size(whole.hits) +
                                     size(whole.misses));
}

PatternProfile PackedProfile::counts() const
{
    if (hits.empty())
        return whole;
    const auto groups = static_cast<std::size_t>(count);
    PatternProfile found{std::vector<std::int32_t>(groups), std::vector<std::int32_t>(groups),
                         std::vector<std::int32_t>(groups)};
    for (std::size_t g = 0; g < groups; ++g) {
        found.hits[g] = hits[g];
        found.misses[g] = misses[g];
        found.zero[g] = static_cast<std::int32_t>(patterns) - hits[g] - misses[g];
    }
    return found;
}

/* Every pattern costs the cheapest kind's cycles; those of the other two the difference to the second
 * cheapest more, of which a group has at least what the most of the cheapest kind leaves; and so on. */
double PackedProfile::least_cycles(const PhaseCosts &costs) const
{
    if (hits.empty())
        return 0;
    std::array<std::pair<std::int64_t, std::size_t>, 3> kinds{
        {{costs.zero, 0}, {costs.hit, 1}, {costs.miss, 2}}};
    std::sort(kinds.begin(), kinds.end());
    const auto [cheapest, next, dearest] = kinds;
    return static_cast<double>(cheapest.first) * static_cast<double>(patterns) +
           static_cast<double>(next.first - cheapest.first) *
               static_cast<double>(patterns - most[cheapest.second]) +
           static_cast<double>(dearest.first - next.first) * static_cast<double>(fewest[dearest.second]);
}

} // namespace sailsim::pim
