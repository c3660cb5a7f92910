/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How two readers share the bandwidth of DRAM (docs/engine.md): the cores and the weight stream. Bytes count
 * for what they occupy of the peak; times in seconds. sim_ext/sim/dram.py has the same for any
 * number, and for bursts that come evenly, which those of a step do not.
 */
#ifndef SAILSIM_PIM_SHARING_HH
#define SAILSIM_PIM_SHARING_HH

#include <cstdint>
#include <limits>
#include <utility>

namespace sailsim::pim
{

struct Reader {
    double demand = 0;                                       /* bytes/s, at most */
    double window = std::numeric_limits<double>::infinity(); /* bytes under way, at most */
    double latency = 0;                                      /* of one line while nobody else reads */
    std::int64_t parts = 1; /* how many it is that read, each alike; they wait for one another too */
    double queue = 0;       /* seconds of a channel's pins that lines of it which come together take */

    /* Bytes/s when every line waits for so many seconds (Little's law). */
    double rate(double wait) const;
};

/* What a reader gets beside `load` bytes/s that give way to nobody, in bursts as its own. */
double alone(double capacity, const Reader &reader, double load = 0);

/* What each of two gets, served in the order of arrival: their lines wait behind bursts, and in proportion to
 * what they have under way where they want more than the capacity; max-min fair where one has no bound on
 * that. */
std::pair<double, double> shares(double capacity, const Reader &first, const Reader &second);

} // namespace sailsim::pim

#endif
