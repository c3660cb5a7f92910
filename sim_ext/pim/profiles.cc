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

CountedProfile::CountedProfile(PatternProfile counts) : profile(std::move(counts))
{
    fewest.fill(std::numeric_limits<std::int64_t>::max());
    bool even = true;
    for (std::size_t g = 0; g < profile.zero.size(); ++g) {
        const std::array<std::int64_t, 3> kinds{profile.zero[g], profile.hits[g], profile.misses[g]};
        const std::int64_t all = kinds[0] + kinds[1] + kinds[2];
        even = even && (g == 0 || all == patterns);
        patterns = all;
        sum.add({kinds[0], kinds[1], kinds[2], 0}, 1);
        for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
            fewest[kind] = std::min(fewest[kind], kinds[kind]);
            most[kind] = std::max(most[kind], kinds[kind]);
        }
    }
    if (!even)
        patterns = 0;
}

/* Every pattern costs the cheapest kind's cycles; those of the other two the difference to the second
 * cheapest more, of which a group has at least what the most of the cheapest kind leaves; and so on. */
double CountedProfile::least_cycles(const PhaseCosts &costs) const
{
    if (patterns == 0)
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

template <class T>
PatternPool::PatternPool(const Activations<T> &pool, int nbw)
    : rows(pool.batch), groups(Grouping(pool.k, nbw, 0).groups()), bits(pool.abits), width(nbw),
      patterns_of([pool, nbw](std::int64_t row) {
          const Activations<T> one{pool.data + row * pool.k, 1, pool.k, pool.abits, pool.is_signed};
          return Patterns(one, Grouping(pool.k, nbw, 0));
      }),
      formed(static_cast<std::size_t>(rows)),
      seen(new std::uint64_t[static_cast<std::size_t>(rows * groups)]),
      nonzero(new std::uint8_t[static_cast<std::size_t>(rows * groups)])
{
    if (pool.k % nbw != 0)
        throw std::invalid_argument("the rows of a pool have " + std::to_string(pool.k) +
                                    " columns: allowed are multiples of nbw = " + std::to_string(nbw));
}

template PatternPool::PatternPool(const Activations<std::int8_t> &, int);
template PatternPool::PatternPool(const Activations<std::uint8_t> &, int);
template PatternPool::PatternPool(const Activations<std::int16_t> &, int);
template PatternPool::PatternPool(const Activations<std::uint16_t> &, int);
template PatternPool::PatternPool(const Activations<std::int32_t> &, int);

void PatternPool::form(std::int64_t row)
{
    const Patterns patterns = patterns_of(row);
    SeenPatterns of_row(groups);
    of_row.add(patterns.low(0));
    if (bits > 8)
        of_row.add(patterns.high(0));
    std::copy(of_row.sets.begin(), of_row.sets.end(), seen.get() + row * groups);
    std::transform(of_row.nonzero.begin(), of_row.nonzero.end(), nonzero.get() + row * groups,
                   [](std::int32_t n) { return static_cast<std::uint8_t>(n); });
    formed[static_cast<std::size_t>(row)] = true;
}

void PatternPool::require(const std::int64_t *source, std::int64_t batch, std::int64_t parts,
                          std::int64_t k) const
{
    require_range("batch", batch, 1, max_batch);
    require_range("parts", parts, 1, std::int64_t{1} << 40);
    if (k < 1 || k % width != 0 || k > parts * groups * width)
        throw std::invalid_argument(
            "k is " + std::to_string(k) + ": allowed are multiples of nbw = " + std::to_string(width) +
            " up to the " + std::to_string(parts * groups * width) + " columns of the parts of a row");
    for (std::int64_t i = 0; i < batch * parts; ++i)
        require_range("source", source[i], 0, rows - 1);
}

PatternProfile PatternPool::profile(const std::int64_t *source, std::int64_t batch, std::int64_t parts,
                                    std::int64_t k, bool prt)
{
    require(source, batch, parts, k);
    const std::int64_t wanted = k / width;
    const auto count = static_cast<std::size_t>(wanted);
    std::vector<std::uint64_t> sets(count);
    std::vector<std::int32_t> accesses(count);
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
    const auto total = static_cast<std::int32_t>(batch * bits);
    PatternProfile counts{std::vector<std::int32_t>(count), std::vector<std::int32_t>(count), accesses};
    for (std::size_t g = 0; g < count; ++g)
        counts.zero[g] = total - accesses[g];
    if (!prt)
        return counts;
    for (std::size_t g = 0; g < count; ++g) {
        counts.misses[g] = __builtin_popcountll(sets[g] & ~std::uint64_t{1});
        counts.hits[g] = accesses[g] - counts.misses[g];
    }
    return counts;
}

} // namespace sailsim::pim
