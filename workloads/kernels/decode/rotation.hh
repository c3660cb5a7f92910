/* SPDX-License-Identifier: BSD-3-Clause */
// Rotary positions: angles of all positions, worked out beforehand, and the rotation of one head.
#ifndef SAILSIM_KERNELS_DECODE_ROTATION_HH
#define SAILSIM_KERNELS_DECODE_ROTATION_HH

#include "common/buffer.hh"

#include <cstddef>

namespace sailsim::kernels::decode
{

class Rotation
{
  public:
    // Positions 0 .. positions - 1 of heads of head_dim elements: angle i of a position is
    // position * base^(-2 i / head_dim).
    Rotation(std::size_t positions, std::size_t head_dim, float base);

    // out[2i], out[2i + 1] = the pair x[2i], x[2i + 1] turned by angle i, times `factor`.
    void turn(const float *x, std::size_t position, float factor, float *out) const;

  private:
    std::size_t pairs_;
    Buffer cosines_, sines_;
};

} // namespace sailsim::kernels::decode

#endif
