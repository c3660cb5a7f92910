/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Everything that describes one PIM slice unit, and the text form that it comes in.
 */
#ifndef SAILSIM_PIM_CONFIG_HH
#define SAILSIM_PIM_CONFIG_HH

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "pim/check.hh"
#include "pim/substrate.hh"

namespace sailsim::pim
{

/* Which pattern a full reuse table gives up. */
enum class PrtPolicy {
    lru,    /* evicts the entry that was used longest ago */
    fifo,   /* evicts the entry that was inserted first */
    direct, /* pattern p may only lie in entry p mod entries */
};
inline constexpr Words<PrtPolicy, 3> prt_policies{"prt_policy", {"lru", "fifo", "direct"}};

/* What the DFMs of a slice share out among themselves. */
enum class DfmSplit {
    n, /* outputs: each feeds its own arrays, all with the same patterns */
    k, /* groups of a block, dealt in turn: each has patterns and sums of its own, which are added at the end
        */
};
inline constexpr Words<DfmSplit, 2> dfm_splits{"dfm_split", {"n", "k"}};

/* Where integer sums become scaled fp32. */
enum class Convert {
    memory, /* in the arrays, as a program of row operations */
    unit,   /* in pipelined floating-point units at the DFM */
    cores,  /* on the host's cores: the sums are written back */
};
inline constexpr Words<Convert, 3> converts{"convert", {"memory", "unit", "cores"}};

/* Bits of an integer accumulator. */
constexpr int min_convert_bits = 2;
constexpr int max_convert_bits = 63;

struct SliceConfig {
    std::int64_t rows = 0;               /* rows of a C-SRAM array */
    std::int64_t cols = 0;               /* columns (cells of a row) of an array */
    std::int64_t arrays = 0;             /* arrays of a slice, in lockstep */
    std::int64_t slices = 0;             /* slices that share the outputs of a tensor */
    std::int64_t port_bytes = 0;         /* bytes a cycle between the slice and its arrays */
    std::int64_t weights_kib_cycles = 0; /* in which memory brings each of all slices a KiB of weights: what
                                          * layouts reckon with; 0: at once */
    std::int64_t accumulator_bits = 0;   /* of an integer accumulator */
    std::int64_t activation_buffer_bits = 0;  /* of a DFM */
    std::int64_t accumulator_buffer_bits = 0; /* of all DFMs of a slice, where sums are behind the arrays */
    std::int64_t dfms = 1;             /* data feeding modules, each with arrays / dfms arrays and a PRT */
    DfmSplit dfm_split = DfmSplit::n;  /* what they share out */
    std::int64_t prt_entries = 0;      /* of each PRT; 0: none */
    PrtPolicy policy = PrtPolicy::lru; /* of the PRTs */
    std::int64_t t_zero = 0;           /* cycles of a zero pattern */
    std::int64_t t_prt = 0;     /* cycles of a PRT hit in the DFM, beside the substrate's phase `hit` */
    bool double_buffer = false; /* load the next group while this one computes */
    Convert convert = Convert::cores;
    std::int64_t convert_units = 1;    /* floating-point units at the DFMs of a slice, where they convert */
    std::int64_t convert_latency = 1;  /* cycles from a sum to its scaled result in such a unit */
    std::int64_t convert_interval = 1; /* cycles between the sums that it takes */
    Substrate substrate;

    /* Throws std::invalid_argument: the field, its value and what is allowed. */
    void validate() const;
};

/* A number of a unit: its key in the text form, and the least and the most that it may be. */
struct UnitNumber {
    const char *key;
    std::int64_t SliceConfig::*field;
    std::int64_t least = 0;
    std::int64_t most = 1 << 20;
};
extern const std::array<UnitNumber, 16> unit_numbers;

/* The version of the text form: one with other keys or meanings has another. */
constexpr int unit_text_version = 2;

/* The unit that a text describes, validated: the one way in which it comes to this core. Python, gem5 and the
 * emulator all hand over what sailsim/sim/machine/pim.py writes (docs/systems.md has an example). The first
 * line is "sailsim-unit 2"; every other is a key, a space and a value. Every key is there once, in any order.
 * Throws std::invalid_argument: one sentence with the key, the value and what is allowed. */
SliceConfig read_unit(std::string_view text);

} // namespace sailsim::pim

#endif
