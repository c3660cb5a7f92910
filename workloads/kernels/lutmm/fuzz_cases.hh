/* SPDX-License-Identifier: BSD-3-Clause */
// Random descriptors with their operands: valid ones, ones with a few faults, and plain noise.
#ifndef SAILSIM_KERNELS_LUTMM_FUZZ_CASES_HH
#define SAILSIM_KERNELS_LUTMM_FUZZ_CASES_HH

#include "lutmm.h"

namespace sailsim::kernels
{

class Arena;
class Random;

// A valid descriptor, except that its sums may overflow; its operands are written to the arena. Buffers end
// where their regions end, or start where they start.
lutmm_descriptor valid_descriptor(Arena &arena, Random &random);

// Changes one thing about a descriptor or its operands; the result may be bad, or still be valid.
void mutate(lutmm_descriptor &descriptor, Arena &arena, Random &random);

} // namespace sailsim::kernels

#endif
