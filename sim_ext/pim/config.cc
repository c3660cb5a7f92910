/* SPDX-License-Identifier: BSD-3-Clause */
#include "pim/config.hh"

#include <stdexcept>
#include <string>

#include "pim/check.hh"
#include "pim/convert.hh"

namespace sailsim::pim
{

const char *dfm_split_name(DfmSplit split)
{
    return split == DfmSplit::n ? "n" : "k";
}

const char *convert_name(Convert convert)
{
    switch (convert) {
    case Convert::memory:
        return "memory";
    case Convert::unit:
        return "unit";
    case Convert::cores:
        return "cores";
    }
    throw std::invalid_argument("convert is not one of the three");
}

DfmSplit dfm_split_of(const std::string &name)
{
    for (DfmSplit split : {DfmSplit::n, DfmSplit::k})
        if (name == dfm_split_name(split))
            return split;
    throw std::invalid_argument("dfm_split is '" + name + "': allowed are n, k");
}

Convert convert_of(const std::string &name)
{
    for (Convert convert : {Convert::memory, Convert::unit, Convert::cores})
        if (name == convert_name(convert))
            return convert;
    throw std::invalid_argument("convert is '" + name + "': allowed are memory, unit, cores");
}

void SliceConfig::validate() const
{
    require_range("rows", rows, 1, 1 << 20);
    require_range("cols", cols, 1, 1 << 20);
    require_range("arrays", arrays, 1, 1 << 20);
    require_range("slices", slices, 1, 1 << 20);
    require_range("port_bytes", port_bytes, 1, 1 << 20);
    require_range("weights_kib_cycles", weights_kib_cycles, 0, 1 << 30);
    require_range("accumulator_bits", accumulator_bits, min_convert_bits, max_convert_bits);
    require_range("activation_buffer_bits", activation_buffer_bits, 1, std::int64_t{1} << 40);
    require_range("accumulator_buffer_bits", accumulator_buffer_bits, 1, std::int64_t{1} << 40);
    require_range("dfms", dfms, 1, arrays);
    if (arrays % dfms != 0)
        throw std::invalid_argument("dfms is " + std::to_string(dfms) +
                                    ": allowed are divisors of arrays, which is " + std::to_string(arrays));
    require_range("prt_entries", prt_entries, 0, 1 << 20);
    require_range("t_zero", t_zero, 0, 1 << 20);
    require_range("t_prt", t_prt, 0, 1 << 20);
    require_range("convert_units", convert_units, 1, 1 << 20);
    require_range("convert_latency", convert_latency, 1, 1 << 20);
    require_range("convert_interval", convert_interval, 1, convert_latency);
    substrate.validate();
    if (convert == Convert::unit && substrate.accumulate == Accumulate::in_array)
        throw std::invalid_argument("convert is unit: allowed with sums in the array, as on substrate " +
                                    substrate.name + ", are memory, cores");
}

} // namespace sailsim::pim
