/* SPDX-License-Identifier: BSD-3-Clause */
#include "lutmm/operands.hh"

namespace sailsim::kernels
{

std::vector<std::int32_t> code_values(const lutmm_descriptor &d)
{
    std::vector<std::int32_t> values(std::size_t{1} << d.wbits);
    for (std::size_t code = 0; code < values.size(); ++code) {
        const auto plain = static_cast<std::int32_t>(code);
        switch (code_kind(d)) {
        case LUTMM_F_CODE_TWOS:
            values[code] = plain - (plain >> (d.wbits - 1) << d.wbits);
            break;
        case LUTMM_F_CODE_OFFSET:
            values[code] = plain - static_cast<std::int32_t>(d.codebook);
            break;
        case LUTMM_F_CODE_TERNARY:
            values[code] = code == 3 ? 0 : plain - 1;
            break;
        default:
            values[code] = at<std::int16_t>(d.codebook)[code];
        }
    }
    return values;
}

} // namespace sailsim::kernels
