/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/prt.hh"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace sailsim::pim
{

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

} // namespace sailsim::pim
