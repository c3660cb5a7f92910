/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernel for AVX2. Only code of this file is compiled for it: the headers come before the pragma.
 */
#if defined(__x86_64__)

#include <cstdint>

#include "pim/product_kernel.hh"

/* The contract rounds after the product and after the sum; a fused multiply-add would round once. */
#pragma GCC optimize("fp-contract=off")
#pragma GCC push_options
#pragma GCC target("avx2")

#define SAILSIM_ADD_PAIRS                                                                                    \
    inline void add_pairs(Sums8 &to, const Pairs8 &a, const Pairs8 &b)                                       \
    {                                                                                                        \
        to += reinterpret_cast<Sums8>(__builtin_ia32_pmaddwd256(a, b));                                      \
    }

namespace sailsim::pim
{

namespace
{
#include "pim/product_kernel_body.hh"
} // namespace

void avx2_product(const ProductJob &job, int rows)
{
    any_rows_of_tile(job, rows);
}

} // namespace sailsim::pim

#pragma GCC pop_options

#endif
