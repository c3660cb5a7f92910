/* SPDX-License-Identifier: BSD-3-Clause */
// Looks at every scale and minimum of a matrix, in all its layouts.
#ifndef SAILSIM_KERNELS_DECODE_SCALES_HH
#define SAILSIM_KERNELS_DECODE_SCALES_HH

#include "decode/image.hh"

namespace sailsim::kernels::decode
{

// Whether none is a NaN or an infinity.
bool scales_are_numbers(const Matrix &matrix);

} // namespace sailsim::kernels::decode

#endif
