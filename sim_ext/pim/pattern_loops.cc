/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/pattern_loops.hh"

#include <array>
#include <cstring>

#include "pim/vector_clones.hh"

namespace sailsim::pim
{

namespace
{

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

/* The sets of two patterns of at most 4 bits. */
constexpr std::array<std::uint32_t, 256> sets_of_two()
{
    std::array<std::uint32_t, 256> sets{};
    for (std::size_t both = 0; both < sets.size(); ++both)
        sets[both] = std::uint32_t{1} << (both & 15) | std::uint32_t{1} << (both >> 4);
    return sets;
}

/* `pattern_set` of a word whose patterns have at most 4 bits. */
SAILSIM_INLINED std::uint64_t narrow_pattern_set(std::uint64_t word)
{
    static constexpr std::array<std::uint32_t, 256> sets = sets_of_two();
    const std::uint64_t pairs = word | word >> 4; /* in the bytes 0, 2, 4, 6 */
    return sets[pairs & 255] | sets[pairs >> 16 & 255] | sets[pairs >> 32 & 255] | sets[pairs >> 48 & 255];
}

} // namespace

SAILSIM_VECTOR_CLONES void transpose_fours(const std::uint8_t *bytes, std::int64_t groups, std::uint64_t keep,
                                           std::uint64_t *out)
{
    for (std::int64_t g = 0; g < groups; ++g) {
        std::uint32_t word;
        std::memcpy(&word, bytes + g * 4, sizeof word);
        out[g] = transpose(word) & keep;
    }
}

SAILSIM_VECTOR_CLONES void tally_patterns(const std::uint64_t *words, std::int64_t groups, bool narrow,
                                          std::uint64_t *seen, std::int32_t *nonzero)
{
    if (narrow)
        for (std::int64_t g = 0; g < groups; ++g)
            seen[g] |= narrow_pattern_set(words[g]);
    else
        for (std::int64_t g = 0; g < groups; ++g)
            seen[g] |= pattern_set(words[g]);
    for (std::int64_t g = 0; g < groups; ++g) /* by itself it fills vectors */
        nonzero[g] += nonzero_bytes(words[g]);
}

} // namespace sailsim::pim
