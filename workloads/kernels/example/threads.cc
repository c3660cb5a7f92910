/* SPDX-License-Identifier: BSD-3-Clause */
// Four threads by common/team.hh add up the numbers below 1000, each its part, and the first prints the sum.
#include "common/team.hh"

#include <cstdio>

using namespace sailsim::kernels;

int main()
{
    struct alignas(64) Part { // a cache line each
        long sum = 0;
    };
    static Part parts[4];
    Team team(4);
    // No allocating, printing or errno here: threads share the first one's thread-local storage.
    team.run([](unsigned rank) {
        const Range mine = part_of(1000, rank, 4);
        for (std::size_t i = mine.first; i < mine.last; ++i)
            parts[rank].sum += static_cast<long>(i);
    });
    long sum = 0;
    for (const Part &part : parts)
        sum += part.sum;
    std::printf("sum %ld by %u threads\n", sum, team.size());
}
