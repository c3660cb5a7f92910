/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernel for AVX512 with VNNI, whose instruction makes four products and adds them to 32 bits. Only code
 * of this file is compiled for it: the headers come before the pragma.
 */
#if defined(__x86_64__)

#include <cstdint>

#include <immintrin.h>

#include "pim/dot_kernel.hh"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,prefer-vector-width=512")

namespace sailsim::pim
{

namespace
{
#include "pim/dot_avx512_body.hh"

inline void add_dots(Sums &to, const Bytes &weights, const Sums &x)
{
    to = reinterpret_cast<Sums>(_mm512_dpbusd_epi32(
        reinterpret_cast<__m512i>(to), reinterpret_cast<__m512i>(weights), reinterpret_cast<__m512i>(x)));
}

#include "pim/dot_kernel_body.hh"
} // namespace

const DotKernels vnni_dots = {"avx512_vnni", run_dots<Nibbles>, run_dots<StoredBytes>};

} // namespace sailsim::pim

#pragma GCC pop_options

#endif
