/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/substrate.hh"

#include <stdexcept>

namespace sailsim::pim
{

std::int64_t Amount::operator()(const Widths &widths) const
{
    const std::int64_t bits[] = {widths.weight, widths.entry, widths.accumulator, number};
    return bits[static_cast<std::size_t>(width)];
}

std::int64_t Substrate::cycles(Phase phase, const Widths &widths) const
{
    std::int64_t sum = 0;
    for (const Step &step : steps(phase))
        sum += step.times(widths) * cycles(step.op, step.n(widths));
    return sum;
}

void Substrate::validate() const
{
    if (name.empty() || name.find_first_of(" \t\r\n") != std::string::npos)
        throw std::invalid_argument("substrate.name is '" + name + "': allowed is one word");
    if (layout == Layout::columns && accumulate == Accumulate::behind)
        throw std::invalid_argument(
            "substrate.accumulate is behind: the layout columns accumulates in_array");
    if (prt_helps && accumulate == Accumulate::in_array && steps(Phase::hit).empty())
        throw std::invalid_argument(
            "substrate.prt_helps is true: a sum in the array is made on a hit too, so "
            "phases.hit must say how, or prt_helps be false");
    for (std::size_t op = 0; op < op_count; ++op) {
        const Cost &c = costs[op];
        const std::string field = "substrate.costs." + std::string(ops.words[op]);
        for (std::int32_t value : {c.c0, c.c1, c.c2})
            if (value < -largest_coefficient || value > largest_coefficient)
                throw std::invalid_argument(field + " has the coefficient " + std::to_string(value) +
                                            ": allowed are " + std::to_string(-largest_coefficient) + ".." +
                                            std::to_string(largest_coefficient));
        for (std::int64_t n = 1; n <= 64; ++n)
            if (c(n) < 0)
                throw std::invalid_argument(field + " is " + std::to_string(c(n)) + " cycles at n = " +
                                            std::to_string(n) + ": a cost is never negative");
    }
    for (std::size_t phase = 0; phase < phase_count; ++phase) {
        const std::string field = "substrate.phases." + std::string(phase_words.words[phase]);
        for (const Step &step : phases[phase])
            for (const Amount &amount : {step.times, step.n})
                if (amount.width == Width::number)
                    require_range(field.c_str(), amount.number, 0, most_of_step);
        require_range((field + " on the widest tile").c_str(), cycles(static_cast<Phase>(phase), widest), 0,
                      most_phase_cycles);
    }
}

} // namespace sailsim::pim
