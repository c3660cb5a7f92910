/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/sharing.hh"

#include <algorithm>
#include <cmath>

namespace sailsim::pim
{

namespace
{

constexpr double inf = std::numeric_limits<double>::infinity();

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

/* They want more than there is: all lines wait equally long. */
std::pair<double, double> crowded(double capacity, const Reader &first, const Reader &second)
{
    double low = 0;
    double high = (first.window + second.window) / capacity;
    for (int i = 0; i < 60; ++i) {
        const double wait = (low + high) / 2;
        (first.rate(wait) + second.rate(wait) > capacity ? low : high) = wait;
    }
    return {first.rate(high), second.rate(high)};
}

/* They fit: each waits behind the other's bursts, and behind those of its own other parts. */
std::pair<double, double> queued(double capacity, double queue, const Reader &first, const Reader &second,
                                 std::pair<double, double> rates)
{
    auto &[a, b] = rates;
    for (int i = 0; i < 60; ++i) {
        const double total = a + b;
        const auto slower = [&](const Reader &reader, double rate) {
            const double others = total - rate / static_cast<double>(reader.parts);
            return reader.rate(waiting(queue, others / capacity));
        };
        const double slower_a = slower(first, a);
        const double slower_b = slower(second, b);
        const double step = std::max(std::abs(slower_a - a), std::abs(slower_b - b));
        a = (slower_a + a) / 2;
        b = (slower_b + b) / 2;
        if (step <= 1e-9 * capacity)
            break;
    }
    return rates;
}

} // namespace

double Reader::rate(double wait) const
{
    const double time = latency + wait;
    return time > 0 ? std::min(demand, window / time) : demand;
}

double alone(double capacity, double queue, const Reader &reader, double load)
{
    const double most = std::max(0.0, std::min(reader.rate(0), capacity - load));
    const double others = 1 - 1 / static_cast<double>(reader.parts);
    if (queue == 0 || (load == 0 && others == 0))
        return most;
    double low = 0;
    double high = most; /* its rate falls as what it takes grows, so there is one that fits */
    for (int i = 0; i < 50; ++i) {
        const double rate = (low + high) / 2;
        const bool fits = reader.rate(waiting(queue, (load + others * rate) / capacity)) >= rate;
        (fits ? low : high) = rate;
    }
    return high == most ? high : low;
}

std::pair<double, double> shares(double capacity, double queue, const Reader &first, const Reader &second)
{
    const double a = first.rate(0);
    const double b = second.rate(0);
    if (first.window == inf || second.window == inf)
        return max_min(capacity, a, b);
    if ((a > 0) != (b > 0)) {
        const auto only = [&](const Reader &reader) {
            return reader.demand > 0 ? alone(capacity, queue, reader) : 0.0;
        };
        return {only(first), only(second)};
    }
    if (a + b > capacity)
        return crowded(capacity, first, second);
    return queue > 0 ? queued(capacity, queue, first, second, {a, b}) : std::pair(a, b);
}

} // namespace sailsim::pim
