/* SPDX-License-Identifier: BSD-3-Clause */
// How large a descriptor's buffers are (sim_ext/abi/lutmm.h), for descriptors whose widths and shape are
// legal.
#ifndef SAILSIM_KERNELS_LUTMM_LAYOUT_HH
#define SAILSIM_KERNELS_LUTMM_LAYOUT_HH

#include "lutmm.h"

#include <cstddef>
#include <cstdint>

namespace sailsim::kernels
{

inline std::size_t weight_row_bytes(const lutmm_descriptor &d)
{
    return (static_cast<std::size_t>(d.n) * d.wbits + 7) / 8;
}
inline std::size_t weight_bytes(const lutmm_descriptor &d)
{
    return d.k * weight_row_bytes(d);
}
inline std::size_t activation_bytes(const lutmm_descriptor &d)
{
    return static_cast<std::size_t>(d.batch) * d.k * (d.abits <= 8 ? 1 : 2);
}
inline std::size_t output_words(const lutmm_descriptor &d)
{
    return static_cast<std::size_t>(d.batch) * d.n;
}
inline std::size_t output_bytes(const lutmm_descriptor &d)
{
    return 4 * output_words(d);
}
inline std::size_t block_length(const lutmm_descriptor &d)
{
    return d.group_size != 0 && d.group_size < d.k ? d.group_size : d.k;
}
inline std::size_t block_count(const lutmm_descriptor &d)
{
    return (d.k + block_length(d) - 1) / block_length(d);
}
// Bytes of the fp16 scales and minima, up to where the activation scales begin.
inline std::size_t block_scale_bytes(const lutmm_descriptor &d)
{
    const std::size_t halves = block_count(d) * d.n * ((d.flags & LUTMM_F_MINIMUM) != 0 ? 2 : 1);
    return (2 * halves + 3) / 4 * 4;
}
inline std::size_t scale_bytes(const lutmm_descriptor &d)
{
    return block_scale_bytes(d) + std::size_t{4} * d.batch;
}
inline std::size_t codebook_bytes(const lutmm_descriptor &d)
{
    return std::size_t{2} << d.wbits;
}
inline unsigned code_kind(const lutmm_descriptor &d)
{
    return d.flags & LUTMM_F_CODE_MASK;
}

} // namespace sailsim::kernels

#endif
