/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/sharing.hh"

#include <algorithm>
#include <cmath>

namespace sailsim::pim
{

namespace
{

constexpr double inf = std::numeric_limits<double>::infinity();

/* OPEN_LOAD of sim_ext/sim/dram.py, where it comes from. */
constexpr double open_load = 0.9;

/* Mean wait of a line behind those of others that take `load` (0..1) of the peak: batches of fixed work. */
double waiting(double queue, double load)
{
    return queue * load / (2 * (1 - std::min(load, 0.999)));
}

/* Every demand is met or gets an equal share of what the smaller one leaves. */
std::pair<double, double> max_min(double capacity, double first, double second)
{
    const double less = std::min(std::min(first, second), capacity / 2);
    const double more = std::min(std::max(first, second), capacity - less);
    return second < first ? std::pair(more, less) : std::pair(less, more);
}

/* What two get whose lines wait so long, or all as long as it takes for the capacity to suffice. */
std::pair<double, double> crowded(double capacity, const Reader &first, const Reader &second, double wait_a,
                                  double wait_b)
{
    const auto rates = [&](double least) {
        return std::pair(first.rate(std::max(wait_a, least)), second.rate(std::max(wait_b, least)));
    };
    const auto fits = [&](std::pair<double, double> found) { return found.first + found.second <= capacity; };
    if (const auto found = rates(0); fits(found))
        return found;
    double low = 0;
    double high = (first.window + second.window) / capacity;
    for (int i = 0; i < 60; ++i) {
        const double least = (low + high) / 2;
        (fits(rates(least)) ? high : low) = least;
    }
    return rates(high);
}

/* Seconds that a line of a reader waits behind bursts of the other and of its own other parts. */
double behind_bursts(double capacity, const Reader &reader, double rate, const Reader &other, double beside)
{
    const double own = rate * (1 - 1 / static_cast<double>(reader.parts)) / capacity;
    const double takes = beside / capacity;
    const double most = std::max(open_load, own);
    return (own * reader.queue + takes * other.queue) / (2 * (1 - std::min({own + takes, most, 0.999})));
}

} // namespace

double Reader::rate(double wait) const
{
    const double time = latency + wait;
    return time > 0 ? std::min(demand, window / time) : demand;
}

double alone(double capacity, const Reader &reader, double load)
{
    const double most = std::max(0.0, std::min(reader.rate(0), capacity - load));
    const double others = 1 - 1 / static_cast<double>(reader.parts);
    if (reader.queue == 0 || (load == 0 && others == 0))
        return most;
    double low = 0;
    double high = most; /* its rate falls as what it takes grows, so there is one that fits */
    for (int i = 0; i < 50; ++i) {
        const double rate = (low + high) / 2;
        const bool fits = reader.rate(waiting(reader.queue, (load + others * rate) / capacity)) >= rate;
        (fits ? low : high) = rate;
    }
    return high == most ? high : low;
}

std::pair<double, double> shares(double capacity, const Reader &first, const Reader &second)
{
    const double most_a = first.rate(0);
    const double most_b = second.rate(0);
    if (first.window == inf || second.window == inf)
        return max_min(capacity, most_a, most_b);
    if ((most_a > 0) != (most_b > 0)) {
        const auto only = [&](const Reader &reader) {
            return reader.demand > 0 ? alone(capacity, reader) : 0.0;
        };
        return {only(first), only(second)};
    }
    auto [a, b] = crowded(capacity, first, second, 0, 0);
    double part = 0.5;
    double last = inf;
    for (int i = 0; i < 100; ++i) {
        const auto [found_a, found_b] =
            crowded(capacity, first, second, behind_bursts(capacity, first, a, second, b),
                    behind_bursts(capacity, second, b, first, a));
        const double step = std::max(std::abs(found_a - a), std::abs(found_b - b));
        if (step <= 1e-9 * capacity)
            break;
        if (step >= last)
            part /= 2; /* not to and fro for ever */
        last = step;
        a += part * (found_a - a);
        b += part * (found_b - b);
    }
    return {a, b};
}

} // namespace sailsim::pim
