/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/substrate.hh"

#include <stdexcept>

namespace sailsim::pim
{

namespace
{

/* The two published sets of counters that the tables draw on. */
constexpr const char *near_cache =
    " (bit-parallel near-cache array of 256 x 256, operation counters of "
    "github.com/jingyao-zhang/hybrid-cache, bit-parallel_mont_mult/kyber_ntt.cpp)";
constexpr const char *infinity_stream =
    " (bit-serial latencies of Infinity Stream, ASPLOS'23, getComputeLat of "
    "github.com/jingyao-zhang/gem-forge-gem5)";

Cost near_cache_cost(int c0, int c1, const char *what)
{
    return {c0, c1, 0, "paper", std::string(what) + near_cache};
}

Cost infinity_stream_cost(int c0, int c1, int c2, const char *what)
{
    return {c0, c1, c2, "paper", std::string(what) + infinity_stream};
}

Cost derived(int c0, int c1, int c2, const char *what)
{
    return {c0, c1, c2, "derived", what};
}

Cost assumed(int c0, int c1, int c2, const char *what)
{
    return {c0, c1, c2, "assumed", what};
}

// clang-format off

/* Entries lie bit-parallel in rows, as in the paper's mechanism; the DFM beside the arrays shifts and
 * accumulates. The cycles of the paper's arrays are not public: single rows follow the near-cache counters,
 * the adder is assumed. */
Substrate row_dfm()
{
    return {"row_dfm", "entries in rows, DFM accumulates", Layout::rows, Accumulate::behind, true, {{
        /* op        cost: c0, c1 (, c2) of c0 + c1 n + c2 n^2; source */
        /* read   */ near_cache_cost(1, 0, "read 1"),
        /* write  */ near_cache_cost(1, 0, "write 1"),
        /* logic  */ near_cache_cost(3, 0, "AND, OR, XOR, NOT 3: activate, operate, write back"),
        /* shift  */ near_cache_cost(1, 1, "shift by b: b + 1"),
        /* copy   */ derived(2, 0, 0, "one read and one write of a row"),
        /* add    */ assumed(1, 0, 0, "an adder at the sense amplifiers: one cycle a row whatever the width"),
        /* fp_mul */ derived(0, 3, 0, "n steps of: add 1, shift by one 2"),
        /* fp_add */ derived(190, 0, 0, "two cascades of 5 conditional shifts (shifts by 16, 8, 4, 2, 1: 36; "
                                        "5 copies: 10; 15 logic: 45) and 8 adds"),
    }}};
}

/* Transposed layout: a column is a lane, one bit a cycle. */
Substrate bit_serial()
{
    return {"bit_serial", "transposed, one bit a cycle", Layout::columns, Accumulate::in_array, false, {{
        /* op        cost: c0, c1 (, c2) of c0 + c1 n + c2 n^2; source */
        /* read   */ assumed(1, 0, 0, "selects the entry's rows; the add reads them"),
        /* write  */ derived(1, 0, 0, "one row: one bit of every element"),
        /* logic  */ derived(0, 1, 0, "one cycle a bit, as the sum"),
        /* shift  */ derived(0, 0, 0, "along the bits of a lane a shift is a choice of rows"),
        /* copy   */ derived(0, 1, 0, "one cycle a bit, as the sum"),
        /* add    */ infinity_stream_cost(0, 1, 0, "integer add n"),
        /* fp_mul */ infinity_stream_cost(0, 0, 1, "floating-point multiply n^2"),
        /* fp_add */ infinity_stream_cost(0, 0, 1, "floating-point add n^2"),
    }}};
}

/* Entries in rows, but everything happens in the array, with the counters of a bit-parallel near-cache design. */
Substrate bit_parallel()
{
    return {"bit_parallel", "entries in rows, accumulated in the array", Layout::rows, Accumulate::in_array, false, {{
        /* op        cost: c0, c1 (, c2) of c0 + c1 n + c2 n^2; source */
        /* read   */ near_cache_cost(1, 0, "read 1"),
        /* write  */ near_cache_cost(1, 0, "write 1"),
        /* logic  */ near_cache_cost(3, 0, "AND, OR, XOR, NOT 3: activate, operate, write back"),
        /* shift  */ near_cache_cost(1, 1, "shift by b: b + 1"),
        /* copy   */ derived(2, 0, 0, "one read and one write of a row"),
        /* add    */ near_cache_cost(-2, 8, "n AND 3, n XOR 3, n - 1 shifts by one 2"),
        /* fp_mul */ derived(0, 0, 8, "n steps of: add(n), shift by one 2"),
        /* fp_add */ derived(166, 64, 0, "two cascades of 5 conditional shifts (shifts by 16, 8, 4, 2, 1: 36; "
                                         "5 copies: 10; 15 logic: 45) and 8 add(n)"),
    }}};
}

// clang-format on

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

const char *layout_name(Layout layout)
{
    return layout == Layout::rows ? "rows" : "columns";
}

const char *accumulate_name(Accumulate accumulate)
{
    return accumulate == Accumulate::behind ? "behind" : "in_array";
}

void Substrate::validate() const
{
    if (name.empty())
        throw std::invalid_argument("substrate.name is empty: give it a name");
    if (layout == Layout::columns && accumulate == Accumulate::behind)
        throw std::invalid_argument(
            "substrate.accumulate is behind: the layout columns accumulates in_array");
    if (prt_helps && accumulate == Accumulate::in_array)
        throw std::invalid_argument("substrate.prt_helps is true: a sum in the array needs the entry on the "
                                    "bitlines, so it must be false");
    for (Op op : all_ops) {
        const Cost &c = cost(op);
        const std::string field = "substrate.costs." + std::string(op_name(op));
        if (c.source.empty())
            throw std::invalid_argument(field + ".source is empty: every constant names its source");
        if (c.kind != "measured" && c.kind != "paper" && c.kind != "derived" && c.kind != "fitted" &&
            c.kind != "assumed")
            throw std::invalid_argument(field + ".kind is '" + c.kind +
                                        "': allowed are measured, paper, derived, fitted, assumed");
        for (std::int32_t value : {c.c0, c.c1, c.c2})
            if (value < -1'000'000 || value > 1'000'000)
                throw std::invalid_argument(field + " has the coefficient " + std::to_string(value) +
                                            ": allowed are -1000000..1000000");
        for (std::int64_t n = 1; n <= 64; ++n)
            if (c(n) < 0)
                throw std::invalid_argument(field + " is " + std::to_string(c(n)) + " cycles at n = " +
                                            std::to_string(n) + ": a cost is never negative");
    }
}

const std::vector<Substrate> &substrates()
{
    static const std::vector<Substrate> tables = {row_dfm(), bit_serial(), bit_parallel()};
    return tables;
}

const Substrate &substrate(std::string_view name)
{
    std::string names;
    for (const Substrate &table : substrates()) {
        if (table.name == name)
            return table;
        names += (names.empty() ? "" : ", ") + table.name;
    }
    throw std::invalid_argument("substrate is '" + std::string(name) + "': allowed are " + names);
}

} // namespace sailsim::pim
