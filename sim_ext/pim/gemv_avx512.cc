/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernels for AVX512. Only code of this file is compiled for it: the headers come before the pragma.
 */
#if defined(__x86_64__)

#include <cstdint>
#include <type_traits>

#include "pim/gemv_kernel.hh"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")

namespace sailsim::pim
{

namespace
{
constexpr int vector_bytes = 64;
#include "pim/gemv_kernel_body.hh"
} // namespace

const KernelSet avx512_kernels = kernel_set("avx512");

} // namespace sailsim::pim

#pragma GCC pop_options

#endif
