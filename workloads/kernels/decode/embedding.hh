/* SPDX-License-Identifier: BSD-3-Clause */
// One output's weights out of the rows layout: the embedding of a token.
#ifndef SAILSIM_KERNELS_DECODE_EMBEDDING_HH
#define SAILSIM_KERNELS_DECODE_EMBEDDING_HH

#include "decode/image.hh"

#include <cstddef>

namespace sailsim::kernels::decode
{

// out[i] = the weight at k = first + i of output n, for `count` of them; zeros beyond K.
void read_weights(const Matrix &matrix, std::size_t n, std::size_t first, std::size_t count, float *out);

} // namespace sailsim::kernels::decode

#endif
