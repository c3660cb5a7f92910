/* SPDX-License-Identifier: BSD-3-Clause */
// Products by table look-up in NEON, without a multiplication: what software can do of SAIL's idea.
//
// The idea is T-MAC's: the sums of every subset of 4 activations are worked out once and then looked up, bit
// of the weights by bit, for all outputs. A look-up stands for 4 products of one bit and one table
// instruction does 16 of them, but it costs the same for every batch row. T-MAC rounds its tables to bytes;
// these are exact (lut_table.hh). Matrices without a lut layout (more than 4 bits, codebooks) are left to the
// dot products.
#ifndef SAILSIM_KERNELS_DECODE_LINEARS_LUT_HH
#define SAILSIM_KERNELS_DECODE_LINEARS_LUT_HH

#include "decode/linears_neon.hh"

namespace sailsim::kernels::decode
{

class LutLinears : public NeonLinears
{
  public:
    using NeonLinears::NeonLinears;

    Wanted wanted() const override { return {true, false}; }
    void multiply(const Product *products, std::size_t count, const Rounded &x, Worker &worker) override;
};

} // namespace sailsim::kernels::decode

#endif
