/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One sentence for a number out of range, and for a word that is none of those allowed.
 */
#ifndef SAILSIM_PIM_CHECK_HH
#define SAILSIM_PIM_CHECK_HH

#include <array>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace sailsim::pim
{

inline void require_range(const char *field, std::int64_t value, std::int64_t low, std::int64_t high)
{
    if (value < low || value > high)
        throw std::invalid_argument(std::string(field) + " is " + std::to_string(value) + ": allowed are " +
                                    std::to_string(low) + ".." + std::to_string(high));
}

/* Words for the values of an enumeration, which are 0, 1, ... */
template <class Enum, std::size_t Count>
struct Words {
    const char *field;
    std::array<const char *, Count> words;

    const char *of(Enum value) const { return words.at(static_cast<std::size_t>(value)); }

    /* The value that a word means. Throws std::invalid_argument for one that is not among them. */
    Enum value(std::string_view word) const
    {
        std::string all;
        for (std::size_t i = 0; i < Count; ++i) {
            if (word == words[i])
                return static_cast<Enum>(i);
            all += (i == 0 ? "" : ", ") + std::string(words[i]);
        }
        throw std::invalid_argument(field + (" is '" + std::string(word)) + "': allowed are " + all);
    }
};

} // namespace sailsim::pim

#endif
