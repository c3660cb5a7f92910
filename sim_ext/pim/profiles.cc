/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/profiles.hh"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "pim/check.hh"

namespace sailsim::pim
{

PatternProfile::PatternProfile(Counts zero, Counts hits, Counts misses)
    : kinds{std::move(zero), std::move(hits), std::move(misses)}
{
    fewest.fill(std::numeric_limits<std::int64_t>::max());
    bool even = true;
    for (std::size_t g = 0; g < kinds[0].size(); ++g) {
        const std::array<std::int64_t, 3> counts{kinds[0][g], kinds[1][g], kinds[2][g]};
        const std::int64_t all = counts[0] + counts[1] + counts[2];
        even = even && (g == 0 || all == patterns);
        patterns = all;
        sum.add({counts[0], counts[1], counts[2], 0}, 1);
        for (std::size_t kind = 0; kind < counts.size(); ++kind) {
            fewest[kind] = std::min(fewest[kind], counts[kind]);
            most[kind] = std::max(most[kind], counts[kind]);
        }
    }
    if (!even)
        patterns = 0;
}

/* Every pattern costs the cheapest kind's cycles; those of the other two the difference to the second
 * cheapest more, of which a group has at least what the most of the cheapest kind leaves; and so on. */
double PatternProfile::least_cycles(const PhaseCosts &costs) const
{
    if (patterns == 0)
        return 0;
    std::array<std::pair<std::int64_t, std::size_t>, 3> by_cost{
        {{costs.zero, 0}, {costs.hit, 1}, {costs.miss, 2}}};
    std::sort(by_cost.begin(), by_cost.end());
    const auto [cheapest, next, dearest] = by_cost;
    return static_cast<double>(cheapest.first) * static_cast<double>(patterns) +
           static_cast<double>(next.first - cheapest.first) *
               static_cast<double>(patterns - most[cheapest.second]) +
           static_cast<double>(dearest.first - next.first) * static_cast<double>(fewest[dearest.second]);
}

PatternPool::PatternPool(const Activations &pool, int nbw)
    : rows(pool), row(pool.k, nbw, 0), groups(row.groups()), formed(static_cast<std::size_t>(pool.batch)),
      seen(new std::uint64_t[static_cast<std::size_t>(pool.batch * groups)]),
      nonzero(new std::uint8_t[static_cast<std::size_t>(pool.batch * groups)])
{
    if (pool.k % nbw != 0)
        throw std::invalid_argument("the rows of a pool have " + std::to_string(pool.k) +
                                    " columns: allowed are multiples of nbw = " + std::to_string(nbw));
}

void PatternPool::form(std::int64_t at)
{
    const Patterns patterns(rows.row(at), row);
    SeenPatterns of_row(groups);
    of_row.add(patterns.low(0));
    if (rows.abits > 8)
        of_row.add(patterns.high(0));
    std::copy(of_row.sets.begin(), of_row.sets.end(), seen.get() + at * groups);
    std::transform(of_row.nonzero.begin(), of_row.nonzero.end(), nonzero.get() + at * groups,
                   [](std::int32_t n) { return static_cast<std::uint8_t>(n); });
    formed[static_cast<std::size_t>(at)] = true;
}

void PatternPool::require(const std::int64_t *source, std::int64_t batch, std::int64_t parts,
                          std::int64_t k) const
{
    require_range("batch", batch, 1, max_batch);
    require_range("parts", parts, 1, std::int64_t{1} << 40);
    if (k < 1 || k % row.nbw() != 0 || k > parts * rows.k)
        throw std::invalid_argument(
            "k is " + std::to_string(k) + ": allowed are multiples of nbw = " + std::to_string(row.nbw()) +
            " up to the " + std::to_string(parts * rows.k) + " columns of the parts of a row");
    for (std::int64_t i = 0; i < batch * parts; ++i)
        require_range("source", source[i], 0, rows.batch - 1);
}

PatternProfile PatternPool::profile(const std::int64_t *source, std::int64_t batch, std::int64_t parts,
                                    std::int64_t k, bool prt)
{
    require(source, batch, parts, k);
    const std::int64_t wanted = k / row.nbw();
    const auto count = static_cast<std::size_t>(wanted);
    std::vector<std::uint64_t> sets(count);
    PatternProfile::Counts zero(count), accesses(count);
    for (std::int64_t b = 0; b < batch; ++b) {
        for (std::int64_t begin = 0; begin < wanted; begin += groups, ++source) {
            if (!formed[static_cast<std::size_t>(*source)])
                form(*source);
            const std::uint64_t *set = seen.get() + *source * groups;
            const std::uint8_t *used = nonzero.get() + *source * groups;
            const std::int64_t length = std::min(groups, wanted - begin);
            for (std::int64_t g = 0; g < length; ++g)
                sets[static_cast<std::size_t>(begin + g)] |= set[g];
            for (std::int64_t g = 0; g < length; ++g)
                accesses[static_cast<std::size_t>(begin + g)] += used[g];
        }
        source += parts - ceil_div(wanted, groups); /* those that nothing is left of */
    }
    const auto total = static_cast<std::int32_t>(batch * rows.abits);
    for (std::size_t g = 0; g < count; ++g)
        zero[g] = total - accesses[g];
    if (!prt)
        return {std::move(zero), PatternProfile::Counts(count), std::move(accesses)};
    PatternProfile::Counts hits(count), misses(count);
    for (std::size_t g = 0; g < count; ++g) {
        misses[g] = __builtin_popcountll(sets[g] & ~std::uint64_t{1});
        hits[g] = accesses[g] - misses[g];
    }
    return {std::move(zero), std::move(hits), std::move(misses)};
}

} // namespace sailsim::pim
