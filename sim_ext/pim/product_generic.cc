/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernel for any processor.
 */
#include <cstdint>

#include "pim/product_kernel.hh"

/* The contract rounds after the product and after the sum; a fused multiply-add would round once. */
#pragma GCC optimize("fp-contract=off")

#define SAILSIM_ADD_PAIRS                                                                                    \
    inline void add_pairs(Sums8 &to, const Pairs8 &a, const Pairs8 &b)                                       \
    {                                                                                                        \
        for (int i = 0; i < lanes; ++i)                                                                      \
            to[i] += std::int32_t{a[2 * i]} * b[2 * i] + std::int32_t{a[2 * i + 1]} * b[2 * i + 1];          \
    }

namespace sailsim::pim
{

namespace
{
#include "pim/product_kernel_body.hh"
} // namespace

void generic_product(const ProductJob &job, int rows)
{
    any_rows_of_tile(job, rows);
}

} // namespace sailsim::pim
