/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Substrates: what one operation inside the compute-capable SRAM costs. A substrate is a table, one row an
 * operation. The tables are data: those that ship are the files sim_ext/sim/substrates/<name>.toml, with the
 * source of every cost, and come here as part of a unit's text form (unit_text.hh).
 */
#ifndef SAILSIM_PIM_SUBSTRATE_HH
#define SAILSIM_PIM_SUBSTRATE_HH

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace sailsim::pim
{

/* Operations that a substrate charges for. */
enum class Op {
    read,   /* one row, or one table entry where an entry is a row */
    write,  /* one row */
    logic,  /* a two-input bitwise function of n bits */
    shift,  /* by n bit positions inside a lane */
    copy,   /* n bits of a lane */
    add,    /* n-bit integer sum */
    fp_mul, /* n-bit floating-point product */
    fp_add, /* n-bit floating-point sum */
};
constexpr std::size_t op_count = 8;
constexpr std::array<Op, op_count> all_ops = {Op::read, Op::write, Op::logic,  Op::shift,
                                              Op::copy, Op::add,   Op::fp_mul, Op::fp_add};

const char *op_name(Op op);

/* Throws std::invalid_argument for an unknown name. */
Op op_of(const std::string &name);

/* Cycles of an n-bit operation: c0 + c1 n + c2 n^2. */
struct Cost {
    std::int32_t c0 = 0;
    std::int32_t c1 = 0;
    std::int32_t c2 = 0;

    std::int64_t operator()(std::int64_t n) const { return c0 + c1 * n + c2 * n * n; }
};

/* How a table entry lies in an array. */
enum class Layout {
    rows,    /* all bits of an entry in one row */
    columns, /* transposed: one bit a row */
};

/* Where the looked-up entries are summed. */
enum class Accumulate {
    behind,   /* in the DFM, pipelined behind the read: no cycles of its own */
    in_array, /* in the array, by shift and add */
};

const char *layout_name(Layout layout);
const char *accumulate_name(Accumulate accumulate);

/* Throw std::invalid_argument for an unknown name. */
Layout layout_of(const std::string &name);
Accumulate accumulate_of(const std::string &name);

struct Substrate {
    std::string name; /* one word */
    Layout layout = Layout::rows;
    Accumulate accumulate = Accumulate::behind;
    bool prt_helps = false; /* can a PRT hit save the access of the array? */
    std::array<Cost, op_count> costs;

    const Cost &cost(Op op) const { return costs[static_cast<std::size_t>(op)]; }
    std::int64_t cycles(Op op, std::int64_t n = 1) const { return cost(op)(n); }

    /* Throws std::invalid_argument naming the field. */
    void validate() const;
};

} // namespace sailsim::pim

#endif
