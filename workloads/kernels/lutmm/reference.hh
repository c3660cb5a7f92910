/* SPDX-License-Identifier: BSD-3-Clause */
// What a valid descriptor's output must be: plain products of the integers in memory, no tables and no bit
// planes.
#ifndef SAILSIM_KERNELS_LUTMM_REFERENCE_HH
#define SAILSIM_KERNELS_LUTMM_REFERENCE_HH

#include "lutmm.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sailsim::kernels
{

// The bits of every result word, (batch, n): int32 or, with scales, fp32 (docs/contract.md, section 1).
std::vector<std::uint32_t> reference_output(const lutmm_descriptor &descriptor);

// How many words of the output in memory are not as expected. All NaNs count as the same.
std::size_t wrong_words(const lutmm_descriptor &descriptor, const std::uint32_t *expected);

} // namespace sailsim::kernels

#endif
