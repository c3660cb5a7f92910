/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/config.hh"

#include "pim/check.hh"
#include "pim/convert.hh"

namespace sailsim::pim
{

void SliceConfig::validate() const
{
    require_range("rows", rows, 1, 1 << 20);
    require_range("cols", cols, 1, 1 << 20);
    require_range("arrays", arrays, 1, 1 << 20);
    require_range("slices", slices, 1, 1 << 20);
    require_range("port_bytes", port_bytes, 1, 1 << 20);
    require_range("accumulator_bits", accumulator_bits, min_convert_bits, max_convert_bits);
    require_range("prt_entries", prt_entries, 0, 1 << 20);
    require_range("t_zero", t_zero, 0, 1 << 20);
    require_range("t_prt", t_prt, 0, 1 << 20);
    substrate.validate();
}

} // namespace sailsim::pim
