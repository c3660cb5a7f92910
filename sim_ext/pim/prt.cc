/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/prt.hh"

#include <stdexcept>

namespace sailsim::pim
{

Prt::Prt(int entries, PrtPolicy prt_policy) : capacity(entries), policy(prt_policy)
{
    if (entries < 0)
        throw std::invalid_argument("prt_entries is " + std::to_string(entries) + ": allowed are 0 and more");
}

void Prt::flush()
{
    resident = 0;
    used = 0;
    newer[0] = 0;
    older[0] = 0;
    if (policy == PrtPolicy::direct)
        slots.fill(0);
}

void Prt::link_newest(int pattern)
{
    const auto p = static_cast<std::uint8_t>(pattern);
    older[p] = older[0];
    newer[p] = 0;
    newer[older[0]] = p;
    older[0] = p;
}

void Prt::unlink(int pattern)
{
    const auto p = static_cast<std::uint8_t>(pattern);
    newer[older[p]] = newer[p];
    older[newer[p]] = older[p];
}

bool Prt::access(int pattern)
{
    const std::uint64_t bit = std::uint64_t{1} << pattern;
    if (resident & bit) {
        if (policy == PrtPolicy::lru) {
            unlink(pattern);
            link_newest(pattern);
        }
        return true;
    }
    if (capacity == 0)
        return false;
    resident |= bit;
    if (policy == PrtPolicy::direct) {
        std::uint8_t &slot = slots[static_cast<std::size_t>(pattern % capacity)];
        if (slot != 0)
            resident &= ~(std::uint64_t{1} << slot);
        slot = static_cast<std::uint8_t>(pattern);
        return false;
    }
    if (used == capacity) {
        const int oldest = newer[0];
        unlink(oldest);
        resident &= ~(std::uint64_t{1} << oldest);
    } else {
        ++used;
    }
    link_newest(pattern);
    return false;
}

} // namespace sailsim::pim
