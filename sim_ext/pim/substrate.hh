/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Substrates: what one operation inside the compute-capable SRAM costs. A substrate is a table, one row an
 * operation. The tables are data: those that ship are the files sailsim/sim/data/substrates/<name>.toml, with
 * the source of every cost, and come here as part of a unit's text form (config.hh).
 */
#ifndef SAILSIM_PIM_SUBSTRATE_HH
#define SAILSIM_PIM_SUBSTRATE_HH

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "pim/check.hh"

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
inline constexpr Words<Op, op_count> ops{
    "op", {"read", "write", "logic", "shift", "copy", "add", "fp_mul", "fp_add"}};

/* Cycles of an n-bit operation: c0 + c1 n + c2 n^2. */
struct Cost {
    std::int32_t c0 = 0;
    std::int32_t c1 = 0;
    std::int32_t c2 = 0;

    std::int64_t operator()(std::int64_t n) const { return c0 + c1 * n + c2 * n * n; }
};

/* Bits of a tile that the tally of a phase may name. */
struct Widths {
    std::int64_t weight = 0;      /* signed bits of the weight values */
    std::int64_t entry = 0;       /* of a table entry */
    std::int64_t accumulator = 0; /* of an integer sum */
};
enum class Width { weight, entry, accumulator, number };
inline constexpr std::array<const char *, 3> width_words{"weight", "entry", "accumulator"};

/* Of the widest tile. */
inline constexpr Widths widest = {16, 19, 63};

/* Bounds of what a substrate may say: operations, or bits, in one step of a phase, a coefficient of a cost,
 * and the cycles of a phase on the widest tile; sums of them fit 64 bits. */
constexpr std::int32_t most_of_step = 64;
constexpr std::int32_t largest_coefficient = 1'000'000;
constexpr std::int64_t most_phase_cycles = std::int64_t{1} << 32;

/* A number, or one of a tile's widths. */
struct Amount {
    Width width = Width::number;
    std::int32_t number = 1; /* where no width is named */

    std::int64_t operator()(const Widths &widths) const;
};

/* An operation on `n` bits, `times` times. */
struct Step {
    Amount times;
    Op op = Op::read;
    Amount n;
};

/* What is done once for ... */
enum class Phase {
    stage,       /* a weight, to lie in its staging row (or rows) */
    table_add,   /* a table entry, from two others */
    lookup,      /* a pattern that reads the table, with the sum if that is in the array */
    hit,         /* a pattern that the PRT holds: what it does not spare the arrays */
    merge,       /* a batch row of sums that one DFM adds to another's */
    scale_block, /* a batch row and round of a block, after int_to_fp32 */
    scale_row,   /* a batch row and round at the end of a pass: the scale of its activations */
};
constexpr std::size_t phase_count = 7;
inline constexpr Words<Phase, phase_count> phase_words{
    "phase", {"stage", "table_add", "lookup", "hit", "merge", "scale_block", "scale_row"}};

/* How a table entry lies in an array. */
enum class Layout {
    rows,    /* all bits of an entry in one row */
    columns, /* transposed: one bit a row */
};
inline constexpr Words<Layout, 2> layouts{"layout", {"rows", "columns"}};

/* Where the looked-up entries are summed. */
enum class Accumulate {
    behind,   /* in the DFM, pipelined behind the read: no cycles of its own */
    in_array, /* in the array, by shift and add */
};
inline constexpr Words<Accumulate, 2> accumulates{"accumulate", {"behind", "in_array"}};

struct Substrate {
    std::string name; /* one word */
    Layout layout = Layout::rows;
    Accumulate accumulate = Accumulate::behind;
    bool prt_helps = false; /* can a PRT hit save the access of the array? */
    std::array<Cost, op_count> costs;
    std::array<std::vector<Step>, phase_count> phases;

    const Cost &cost(Op op) const { return costs[static_cast<std::size_t>(op)]; }
    std::int64_t cycles(Op op, std::int64_t n = 1) const { return cost(op)(n); }
    const std::vector<Step> &steps(Phase phase) const { return phases[static_cast<std::size_t>(phase)]; }
    std::int64_t cycles(Phase phase, const Widths &widths) const;

    /* Throws std::invalid_argument naming the field. */
    void validate() const;
};

} // namespace sailsim::pim

#endif
