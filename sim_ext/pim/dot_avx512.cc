/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernel for AVX512 without VNNI: for nibbles alone, as that for AVX2. Only code of this file is compiled
 * for it: the headers come before the pragma.
 */
#if defined(__x86_64__)

#include <cstdint>

#include <immintrin.h>

#include "pim/dot_kernel.hh"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")

namespace sailsim::pim
{

namespace
{
#include "pim/dot_avx512_body.hh"

inline void add_dots(Sums &to, const Bytes &weights, const Sums &x)
{
    const __m512i pairs =
        _mm512_maddubs_epi16(reinterpret_cast<__m512i>(weights), reinterpret_cast<__m512i>(x));
    to += reinterpret_cast<Sums>(_mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

#include "pim/dot_kernel_body.hh"
} // namespace

const DotKernels avx512_dots = {"avx512", run_dots<Nibbles>, nullptr};

} // namespace sailsim::pim

#pragma GCC pop_options

#endif
