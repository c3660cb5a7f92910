/* SPDX-License-Identifier: BSD-3-Clause */
// Products by NEON's dot-product instructions: panels of 8 outputs, widened in registers, as in gemv/, but
// with one activation scale a row and the contract's rounding.
#ifndef SAILSIM_KERNELS_DECODE_LINEARS_NEON_HH
#define SAILSIM_KERNELS_DECODE_LINEARS_NEON_HH

#include "common/buffer.hh"
#include "decode/linears.hh"

namespace sailsim::kernels::decode
{

class NeonLinears : public Linears
{
  public:
    NeonLinears(const Image &image, std::size_t batch, unsigned threads);

    Wanted wanted() const override { return {false, false}; }
    void multiply(const Product *products, std::size_t count, const Rounded &x, Worker &worker) override;

  protected:
    // The sums of blocks of a product that this thread needs, null where the matrix needs none.
    const std::int32_t *sums_for(const Matrix &matrix, const Rounded &x, std::size_t product,
                                 const Worker &worker);

  private:
    std::size_t sums_of_product_; // room for the sums of one product, in numbers
    Buffer sums_;                 // by thread and product
};

} // namespace sailsim::kernels::decode

#endif
