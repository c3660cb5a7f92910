/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/patterns.hh"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "pim/check.hh"
#include "pim/parallel.hh"

namespace sailsim::pim
{

namespace
{

/* Bytes of a word are rows of 8 bits: swaps bit i of byte j with bit j of byte i. */
SAILSIM_INLINED std::uint64_t transpose(std::uint64_t x)
{
    std::uint64_t swap = (x ^ (x >> 7)) & 0x00aa00aa00aa00aa;
    x ^= swap ^ (swap << 7);
    swap = (x ^ (x >> 14)) & 0x0000cccc0000cccc;
    x ^= swap ^ (swap << 14);
    swap = (x ^ (x >> 28)) & 0x00000000f0f0f0f0;
    return x ^ swap ^ (swap << 28);
}

/* How many bytes of a word are not 0; every byte is at most 127. */
SAILSIM_INLINED int nonzero_bytes(std::uint64_t word)
{
    std::uint64_t flags = ((word + 0x7f7f7f7f7f7f7f7f) >> 7) & 0x0101010101010101;
    flags += flags >> 32;
    flags += flags >> 16;
    flags += flags >> 8;
    return static_cast<int>(flags & 255);
}

/* The set of patterns in a word as a bit mask. */
SAILSIM_INLINED std::uint64_t pattern_set(std::uint64_t word)
{
    std::uint64_t set = 0;
    for (int i = 0; i < 8; ++i)
        set |= std::uint64_t{1} << ((word >> (8 * i)) & 63);
    return set;
}

/* A word whose low `count` bytes are ones. */
std::uint64_t low_bytes(int count)
{
    return count >= 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * count)) - 1;
}

/* Byte `which` of every activation of a row, each block padded with zeros to whole groups, so that group g
 * starts at byte g * nbw. */
void padded_bytes(const Activations &row, const Grouping &grouping, int which, std::uint8_t *out)
{
    /* Blocks of whole groups follow each other without padding, as one would. */
    const bool whole = grouping.block_size() % grouping.nbw() == 0;
    const std::int64_t block = whole ? grouping.k() : grouping.block_size();
    const std::int64_t per_block = whole ? grouping.groups() : grouping.groups_per_block();
    for (std::int64_t begin = 0; begin < grouping.k(); begin += block) {
        const std::int64_t end = std::min(begin + block, grouping.k());
        std::uint8_t *to = out;
        if (row.word_bytes() == 1) { /* a plain copy is much quicker */
            to = std::copy(row.bytes + begin, row.bytes + end, to);
        } else {
            for (std::int64_t k = begin; k < end; ++k)
                *to++ = row.bytes[2 * k + which];
        }
        while ((to - out) % grouping.nbw() != 0)
            *to++ = 0;
        out += per_block * grouping.nbw();
    }
}

/* The patterns of a row of padded bytes, which has 7 spare bytes behind its last. */
SAILSIM_VECTOR_CLONES void transpose_row(const std::uint8_t *bytes, std::int64_t groups, int nbw, int planes,
                                         std::uint64_t *out)
{
    const std::uint64_t keep_planes = low_bytes(planes), keep_weights = low_bytes(nbw);
    for (std::int64_t g = 0; g < groups; ++g) {
        std::uint64_t word;
        std::memcpy(&word, bytes + g * nbw, sizeof word);
        out[g] = transpose(word & keep_weights) & keep_planes;
    }
}

/* The patterns of an activation row: one word a group, or two behind each other when abits > 8. */
void row_words(const Activations &row, const Grouping &grouping, std::vector<std::uint8_t> &bytes,
               std::uint64_t *out)
{
    bytes.resize(static_cast<std::size_t>(grouping.groups() * grouping.nbw() + 7));
    for (int which = 0; which < row.word_bytes(); ++which) {
        padded_bytes(row, grouping, which, bytes.data());
        transpose_row(bytes.data(), grouping.groups(), grouping.nbw(), std::min(row.abits - 8 * which, 8),
                      out);
        out += grouping.groups();
    }
}

/* Misses of one group by looking up every pattern of every batch row. */
std::int32_t simulated_misses(const Patterns &patterns, std::int64_t group, Prt &prt)
{
    std::int32_t misses = 0;
    prt.flush();
    for (std::int64_t b = 0; b < patterns.batch(); ++b) {
        std::uint64_t word = patterns.low(b)[group];
        for (int bit = 0; bit < patterns.abits(); ++bit, word >>= 8) {
            if (bit == 8)
                word = patterns.high(b)[group];
            const auto pattern = static_cast<int>(word & 0xff);
            misses += pattern != 0 && !prt.access(pattern);
        }
    }
    return misses;
}

} // namespace

SAILSIM_VECTOR_CLONES void SeenPatterns::add(const std::uint64_t *words)
{
    const std::size_t groups = sets.size();
    for (std::size_t g = 0; g < groups; ++g)
        sets[g] |= pattern_set(words[g]);
    for (std::size_t g = 0; g < groups; ++g) /* by itself it fills vectors */
        nonzero[g] += nonzero_bytes(words[g]);
}

Patterns::Patterns(const Activations &x, const Grouping &grouping)
    : rows(x.batch), groups(grouping.groups()), bits(x.abits), width(grouping.nbw()),
      stride(x.abits > 8 ? 2 * groups : groups)
{
    require_range("batch", x.batch, 1, max_batch);
    require_range("abits", x.abits, 1, max_abits);
    if (x.k != grouping.k())
        throw std::invalid_argument("x has " + std::to_string(x.k) +
                                    " columns: allowed are k = " + std::to_string(grouping.k()));
    words.resize(static_cast<std::size_t>(rows * stride));
    std::vector<std::uint8_t> bytes;
    for (std::int64_t b = 0; b < rows; ++b)
        row_words(x.row(b), grouping, bytes, words.data() + b * stride);
}

PatternProfile profile(const Patterns &patterns, std::int64_t prt_entries, PrtPolicy policy, int threads)
{
    PatternProfile::Counts zero(static_cast<std::size_t>(patterns.group_count())), hits = zero, misses = zero;
    const std::int64_t total = patterns.batch() * patterns.abits();
    const Prt empty_prt(prt_entries, policy);
    for_ranges(patterns.group_count(), threads, [&](std::int64_t begin, std::int64_t end) {
        SeenPatterns seen(end - begin);
        for (std::int64_t b = 0; b < patterns.batch(); ++b) {
            seen.add(patterns.low(b) + begin);
            if (patterns.abits() > 8)
                seen.add(patterns.high(b) + begin);
        }
        Prt prt = empty_prt;
        for (std::int64_t group = begin; group < end; ++group) {
            const auto i = static_cast<std::size_t>(group - begin);
            const auto g = static_cast<std::size_t>(group);
            const int distinct = seen.distinct(i);
            zero[g] = static_cast<std::int32_t>(total - seen.nonzero[i]);
            if (prt_entries == 0)
                misses[g] = seen.nonzero[i];
            else if (prt.never_evicts(distinct, patterns.nbw()))
                misses[g] = distinct; /* every pattern once */
            else
                misses[g] = simulated_misses(patterns, group, prt);
            hits[g] = seen.nonzero[i] - misses[g];
        }
    });
    return {std::move(zero), std::move(hits), std::move(misses)};
}

Prt::Prt(std::int64_t entries, PrtPolicy prt_policy) : capacity(entries), policy(prt_policy)
{
    if (entries < 0)
        throw std::invalid_argument("prt_entries is " + std::to_string(entries) + ": allowed are 0 and more");
}

void Prt::flush()
{
    resident = 0;
    order.clear();
    slots.fill(0);
}

bool Prt::access(int pattern)
{
    const auto p = static_cast<std::uint8_t>(pattern);
    const std::uint64_t bit = std::uint64_t{1} << p;
    if (resident & bit) {
        if (policy == PrtPolicy::lru) {
            const auto place = std::find(order.begin(), order.end(), p);
            std::rotate(place, place + 1, order.end());
        }
        return true;
    }
    if (capacity == 0)
        return false;
    std::uint8_t evicted = 0; /* pattern 0 never enters */
    if (policy == PrtPolicy::direct) {
        evicted = std::exchange(slots[static_cast<std::size_t>(pattern % capacity)], p);
    } else {
        if (order.size() == static_cast<std::size_t>(capacity)) {
            evicted = order.front();
            order.erase(order.begin());
        }
        order.push_back(p);
    }
    if (evicted != 0)
        resident &= ~(std::uint64_t{1} << evicted);
    resident |= bit;
    return false;
}

PatternProfile::PatternProfile(Counts zero, Counts hits, Counts misses)
    : kinds{std::move(zero), std::move(hits), std::move(misses)}
{
    for (std::size_t g = 0; g < kinds[0].size(); ++g)
        sum.add({kinds[0][g], kinds[1][g], kinds[2][g], 0}, 1);
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
    SeenPatterns of_batch(wanted);
    for (std::int64_t b = 0; b < batch; ++b) {
        for (std::int64_t begin = 0; begin < wanted; begin += groups, ++source) {
            if (!formed[static_cast<std::size_t>(*source)])
                form(*source);
            const std::uint64_t *set = seen.get() + *source * groups;
            const std::uint8_t *used = nonzero.get() + *source * groups;
            const std::int64_t length = std::min(groups, wanted - begin);
            for (std::int64_t g = 0; g < length; ++g)
                of_batch.sets[static_cast<std::size_t>(begin + g)] |= set[g];
            for (std::int64_t g = 0; g < length; ++g)
                of_batch.nonzero[static_cast<std::size_t>(begin + g)] += used[g];
        }
        source += parts - ceil_div(wanted, groups); /* those that nothing is left of */
    }
    const auto total = static_cast<std::int32_t>(batch * rows.abits);
    PatternProfile::Counts zero(count), hits(count), misses(count);
    for (std::size_t g = 0; g < count; ++g) {
        zero[g] = total - of_batch.nonzero[g];
        misses[g] = prt ? of_batch.distinct(g) : of_batch.nonzero[g];
        hits[g] = of_batch.nonzero[g] - misses[g];
    }
    return {std::move(zero), std::move(hits), std::move(misses)};
}

} // namespace sailsim::pim
