/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One sentence for a number out of range.
 */
#ifndef SAILSIM_PIM_CHECK_HH
#define SAILSIM_PIM_CHECK_HH

#include <cstdint>
#include <stdexcept>
#include <string>

namespace sailsim::pim
{

inline void require_range(const char *field, std::int64_t value, std::int64_t low, std::int64_t high)
{
    if (value < low || value > high)
        throw std::invalid_argument(std::string(field) + " is " + std::to_string(value) + ": allowed are " +
                                    std::to_string(low) + ".." + std::to_string(high));
}

} // namespace sailsim::pim

#endif
