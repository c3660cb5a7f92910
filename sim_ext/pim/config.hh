/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Everything that describes one PIM slice unit.
 */
#ifndef SAILSIM_PIM_CONFIG_HH
#define SAILSIM_PIM_CONFIG_HH

#include <cstdint>

#include "pim/prt.hh"
#include "pim/substrate.hh"

namespace sailsim::pim
{

struct SliceConfig {
    std::int64_t rows = 0;             /* rows of a C-SRAM array */
    std::int64_t cols = 0;             /* columns (cells of a row) of an array */
    std::int64_t arrays = 0;           /* arrays of a slice, in lockstep */
    std::int64_t slices = 0;           /* slices that share the outputs of a tensor */
    std::int64_t port_bytes = 0;       /* bytes a cycle between the slice and its arrays */
    int accumulator_bits = 0;          /* bits of an integer accumulator */
    int prt_entries = 0;               /* 0: no PRT */
    PrtPolicy policy = PrtPolicy::lru; /* of the PRT */
    std::int64_t t_zero = 0;           /* cycles of a zero pattern */
    std::int64_t t_prt = 0;            /* cycles of a PRT hit */
    bool double_buffer = false;        /* load the next group while this one computes */
    bool convert_in_memory = false;    /* scale in the arrays; else the cores do */
    Substrate substrate;

    /* Throws std::invalid_argument: the field, its value and what is allowed. */
    void validate() const;
};

} // namespace sailsim::pim

#endif
