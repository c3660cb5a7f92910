/* SPDX-License-Identifier: BSD-3-Clause */
// The gated activation: hidden = gate / (1 + e^-gate) * up.
#ifndef SAILSIM_KERNELS_DECODE_ACTIVATION_HH
#define SAILSIM_KERNELS_DECODE_ACTIVATION_HH

#include "decode/worker.hh"

#include <cstddef>

namespace sailsim::kernels::decode
{

// This thread's pieces of `batch` rows of `columns` numbers (rows of `stride`, which may be read up to a
// multiple of 16): gate becomes hidden, and `largest` (batch, pieces) the largest magnitude of each piece.
void gated_activation(float *gate, const float *up, std::size_t stride, std::size_t batch,
                      std::size_t columns, float *largest, Worker &worker);

} // namespace sailsim::kernels::decode

#endif
