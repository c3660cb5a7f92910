/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/reuse.hh"

#include <array>
#include <stdexcept>
#include <string>

#include "pim/check.hh"

namespace sailsim::pim
{

namespace
{

enum class Outcome { hit, wrong, miss };

/* The unit's PRT, with the group that each pattern's result was read for. */
class ByPolicy
{
  public:
    explicit ByPolicy(const PrtRule &rule) : prt(rule.entries, rule.policy) {}

    void flush() { prt.flush(); }

    Outcome access(int pattern, std::int64_t group)
    {
        std::int64_t &read_for = groups[static_cast<std::size_t>(pattern)];
        if (prt.access(pattern))
            return read_for == group ? Outcome::hit : Outcome::wrong;
        read_for = group;
        return Outcome::miss;
    }

  private:
    Prt prt;
    std::array<std::int64_t, max_patterns> groups{};
};

/* A table in which every pattern has one place. */
class ByPlace
{
  public:
    explicit ByPlace(const PrtRule &prt_rule)
        : rule(prt_rule), entries(static_cast<std::size_t>(prt_rule.entries))
    {
    }

    void flush() { ++epoch; }

    Outcome access(int pattern, std::int64_t group)
    {
        Entry &entry = entries[static_cast<std::size_t>(rule.places[static_cast<std::size_t>(pattern)])];
        const bool held = entry.epoch == epoch;
        const bool same = held && entry.pattern == pattern;
        if (same || (held && !rule.tagged))
            return same && entry.group == group ? Outcome::hit : Outcome::wrong;
        entry = {epoch, group, pattern};
        return Outcome::miss;
    }

  private:
    struct Entry {
        std::int64_t epoch = 0; /* that it was entered in; one before the present was flushed away */
        std::int64_t group = 0;
        int pattern = 0;
    };

    const PrtRule &rule;
    std::vector<Entry> entries;
    std::int64_t epoch = 1;
};

template <class Table>
void count_tile(const Patterns &patterns, std::int64_t first_row, std::int64_t end_row, bool flushed,
                Table &table, BitCounts *counts)
{
    table.flush();
    for (std::int64_t group = 0; group < patterns.group_count(); ++group) {
        if (flushed)
            table.flush();
        for (std::int64_t b = first_row; b < end_row; ++b) {
            std::uint64_t word = patterns.low(b)[group];
            for (int bit = 0; bit < patterns.abits(); ++bit, word >>= 8) {
                if (bit == 8)
                    word = patterns.high(b)[group];
                BitCounts &c = counts[bit];
                const auto pattern = static_cast<int>(word & 0xff);
                if (pattern == 0) {
                    ++c.zero;
                    continue;
                }
                const Outcome outcome = table.access(pattern, group);
                c.hits += outcome != Outcome::miss;
                c.misses += outcome == Outcome::miss;
                c.wrong += outcome == Outcome::wrong;
            }
        }
    }
}

template <class Table>
std::vector<BitCounts> count_tiles(const Patterns &patterns, std::int64_t tile_rows, bool flushed,
                                   Table table)
{
    std::vector<BitCounts> counts(static_cast<std::size_t>(patterns.batch() / tile_rows * patterns.abits()));
    BitCounts *of_tile = counts.data();
    for (std::int64_t row = 0; row < patterns.batch(); row += tile_rows, of_tile += patterns.abits())
        count_tile(patterns, row, row + tile_rows, flushed, table, of_tile);
    return counts;
}

} // namespace

void PrtRule::validate(int nbw) const
{
    require_range("prt_entries", entries, 0, 1 << 20);
    if (!places.empty()) {
        if (places.size() != std::size_t{1} << nbw)
            throw std::invalid_argument("places has " + std::to_string(places.size()) +
                                        " elements: allowed are 2^nbw = " + std::to_string(1 << nbw));
        for (int place : places)
            require_range("places", place, 0, entries - 1);
    } else if (!tagged) {
        throw std::invalid_argument("tagged is false without places: without tags a pattern has one place");
    }
}

std::vector<BitCounts> profile_bits(const Patterns &patterns, std::int64_t tile_rows, const PrtRule &rule)
{
    rule.validate(patterns.nbw());
    require_range("tile_rows", tile_rows, 1, max_batch);
    if (patterns.batch() % tile_rows != 0)
        throw std::invalid_argument("tile_rows is " + std::to_string(tile_rows) + ": the " +
                                    std::to_string(patterns.batch()) + " rows are no whole number of tiles");
    if (rule.places.empty())
        return count_tiles(patterns, tile_rows, rule.flushed, ByPolicy(rule));
    return count_tiles(patterns, tile_rows, rule.flushed, ByPlace(rule));
}

} // namespace sailsim::pim
