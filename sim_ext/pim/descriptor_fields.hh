/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the fields of a descriptor mean, for those that check it (descriptor.cc) and those that carry it out
 * (execute.cc); nobody else includes this.
 */
#ifndef SAILSIM_PIM_DESCRIPTOR_FIELDS_HH
#define SAILSIM_PIM_DESCRIPTOR_FIELDS_HH

#include <cstdint>
#include <vector>

#include "abi/lutmm.h"

namespace sailsim::pim
{

inline unsigned code_of(const lutmm_descriptor &d)
{
    return d.flags & LUTMM_F_CODE_MASK;
}

inline bool has(const lutmm_descriptor &d, unsigned flag)
{
    return (d.flags & flag) != 0;
}

/* What each weight code means; codebook: int16[2^wbits], only for LUTMM_F_CODE_BOOK. */
std::vector<std::int16_t> values_of(const lutmm_descriptor &d, const std::uint8_t *codebook);

/* Where the activations' scales lie behind so many scales of blocks, each with its minimum if any. */
std::uint64_t act_scale_offset(const lutmm_descriptor &d, std::uint64_t halves);

} // namespace sailsim::pim

#endif
