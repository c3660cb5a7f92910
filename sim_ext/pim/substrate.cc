/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/substrate.hh"

#include <stdexcept>

#include "pim/check.hh"

namespace sailsim::pim
{

namespace
{

constexpr std::int32_t max_amount = 64; /* of operations, or bits, in one step of a phase */

/* Cycles of a phase on the widest tile: a bound like that of coefficients, so that sums fit 64 bits. */
constexpr Widths widest = {16, 19, 63};
constexpr std::int64_t max_phase_cycles = std::int64_t{1} << 32;

} // namespace

const char *op_name(Op op)
{
    switch (op) {
    case Op::read:
        return "read";
    case Op::write:
        return "write";
    case Op::logic:
        return "logic";
    case Op::shift:
        return "shift";
    case Op::copy:
        return "copy";
    case Op::add:
        return "add";
    case Op::fp_mul:
        return "fp_mul";
    case Op::fp_add:
        return "fp_add";
    }
    throw std::invalid_argument("op is not one of the eight operations");
}

Op op_of(const std::string &name)
{
    std::string names;
    for (Op op : all_ops) {
        if (name == op_name(op))
            return op;
        names += (names.empty() ? "" : ", ") + std::string(op_name(op));
    }
    throw std::invalid_argument("op is '" + name + "': allowed are " + names);
}

std::int64_t Amount::operator()(const Widths &widths) const
{
    switch (width) {
    case Width::number:
        return number;
    case Width::weight:
        return widths.weight;
    case Width::entry:
        return widths.entry;
    case Width::accumulator:
        return widths.accumulator;
    }
    throw std::invalid_argument("width is not one of the four");
}

const char *phase_name(Phase phase)
{
    switch (phase) {
    case Phase::stage:
        return "stage";
    case Phase::table_add:
        return "table_add";
    case Phase::lookup:
        return "lookup";
    case Phase::hit:
        return "hit";
    case Phase::merge:
        return "merge";
    case Phase::scale_block:
        return "scale_block";
    case Phase::scale_row:
        return "scale_row";
    }
    throw std::invalid_argument("phase is not one of the seven");
}

Phase phase_of(const std::string &name)
{
    std::string names;
    for (Phase phase : all_phases) {
        if (name == phase_name(phase))
            return phase;
        names += (names.empty() ? "" : ", ") + std::string(phase_name(phase));
    }
    throw std::invalid_argument("phase is '" + name + "': allowed are " + names);
}

std::int64_t Substrate::cycles(Phase phase, const Widths &widths) const
{
    std::int64_t sum = 0;
    for (const Step &step : steps(phase))
        sum += step.times(widths) * cycles(step.op, step.n(widths));
    return sum;
}

std::int64_t Substrate::cycles(Phase phase, Op op, const Widths &widths) const
{
    std::int64_t sum = 0;
    for (const Step &step : steps(phase))
        if (step.op == op)
            sum += step.times(widths) * cycles(op, step.n(widths));
    return sum;
}

std::int64_t Substrate::times(Phase phase, Op op, const Widths &widths) const
{
    std::int64_t sum = 0;
    for (const Step &step : steps(phase))
        if (step.op == op)
            sum += step.times(widths);
    return sum;
}

const char *layout_name(Layout layout)
{
    return layout == Layout::rows ? "rows" : "columns";
}

const char *accumulate_name(Accumulate accumulate)
{
    return accumulate == Accumulate::behind ? "behind" : "in_array";
}

Layout layout_of(const std::string &name)
{
    for (Layout layout : {Layout::rows, Layout::columns})
        if (name == layout_name(layout))
            return layout;
    throw std::invalid_argument("layout is '" + name + "': allowed are rows, columns");
}

Accumulate accumulate_of(const std::string &name)
{
    for (Accumulate accumulate : {Accumulate::behind, Accumulate::in_array})
        if (name == accumulate_name(accumulate))
            return accumulate;
    throw std::invalid_argument("accumulate is '" + name + "': allowed are behind, in_array");
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
    for (Op op : all_ops) {
        const Cost &c = cost(op);
        const std::string field = "substrate.costs." + std::string(op_name(op));
        for (std::int32_t value : {c.c0, c.c1, c.c2})
            if (value < -1'000'000 || value > 1'000'000)
                throw std::invalid_argument(field + " has the coefficient " + std::to_string(value) +
                                            ": allowed are -1000000..1000000");
        for (std::int64_t n = 1; n <= 64; ++n)
            if (c(n) < 0)
                throw std::invalid_argument(field + " is " + std::to_string(c(n)) + " cycles at n = " +
                                            std::to_string(n) + ": a cost is never negative");
    }
    for (Phase phase : all_phases) {
        const std::string field = "substrate.phases." + std::string(phase_name(phase));
        for (const Step &step : steps(phase))
            for (const Amount &amount : {step.times, step.n})
                if (amount.width == Width::number)
                    require_range(field.c_str(), amount.number, 0, max_amount);
        require_range((field + " on the widest tile").c_str(), cycles(phase, widest), 0, max_phase_cycles);
    }
}

} // namespace sailsim::pim
