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
constexpr int vector_bytes = 64;
constexpr int registers = 32;
constexpr int strip_vectors = 4;
constexpr int strip_rows = 4;
typedef std::uint8_t Bytes __attribute__((vector_size(vector_bytes), may_alias));
typedef std::int32_t Sums __attribute__((vector_size(vector_bytes), may_alias));

inline void add_dots(Sums &to, const Bytes &weights, const Sums &x)
{
    const __m512i pairs =
        _mm512_maddubs_epi16(reinterpret_cast<__m512i>(weights), reinterpret_cast<__m512i>(x));
    to += reinterpret_cast<Sums>(_mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

template <class Words>
inline void low_words(const Words &a, const Words &b, Bytes &to)
{
    to = reinterpret_cast<Bytes>(
        _mm512_unpacklo_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}

template <class Words>
inline void high_words(const Words &a, const Words &b, Bytes &to)
{
    to = reinterpret_cast<Bytes>(
        _mm512_unpackhi_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}

inline void in_order(Sums &a, Sums &b)
{
    const __m512i low = reinterpret_cast<__m512i>(a);
    const __m512i high = reinterpret_cast<__m512i>(b);
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    a = reinterpret_cast<Sums>(_mm512_permutex2var_epi64(low, first, high));
    b = reinterpret_cast<Sums>(_mm512_permutex2var_epi64(low, second, high));
}

#include "pim/dot_kernel_body.hh"
} // namespace

const DotKernels avx512_dots = {"avx512", run_dots<Nibbles>, nullptr};

} // namespace sailsim::pim

#pragma GCC pop_options

#endif
