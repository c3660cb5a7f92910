/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What product.cc asks of its kernels. They are compiled once for each instruction set.
 */
#ifndef SAILSIM_PIM_PRODUCT_KERNEL_HH
#define SAILSIM_PIM_PRODUCT_KERNEL_HH

#include <cstdint>

namespace sailsim::pim
{

/* Outputs that a kernel works on at a time, and the most batch rows: their sums stay in registers. */
constexpr std::int64_t product_outputs = 16;
constexpr int product_rows = 6;

/* One tile of 16 outputs, and some batch rows. */
struct ProductJob {
    const std::int16_t *weights; /* (blocks, pairs, 16, 2) */
    const float *scales;         /* (blocks, 16) */
    const float *minima;         /* (blocks, 16) or null */
    std::int64_t blocks;
    std::int64_t pairs;      /* of a block */
    const std::int16_t *x;   /* (rows, blocks, pairs, 2) */
    const float *sums_of_x;  /* (rows, blocks) */
    std::int64_t row_stride; /* words from a batch row to the next */
    float *y;                /* (rows, 16) */
};

using ProductKernel = void (*)(const ProductJob &, int rows);

void generic_product(const ProductJob &job, int rows);
#if defined(__x86_64__)
void avx2_product(const ProductJob &job, int rows);
#endif

} // namespace sailsim::pim

#endif
