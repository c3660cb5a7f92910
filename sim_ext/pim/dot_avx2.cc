/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernel for AVX2: for nibbles alone, the products of two bytes of any size do not fit the words
 * that its instruction saturates. Only code of this file is compiled for it: the headers come before the
 * pragma.
 */
#if defined(__x86_64__)

#include <cstdint>

#include <immintrin.h>

#include "pim/dot_kernel.hh"

#pragma GCC push_options
#pragma GCC target("avx2")

namespace sailsim::pim
{

namespace
{
constexpr int vector_bytes = 32;
constexpr int registers = 16;
constexpr int strip_vectors = 2;
constexpr int strip_rows = 4;
typedef std::uint8_t Bytes __attribute__((vector_size(vector_bytes), may_alias));
typedef std::int32_t Sums __attribute__((vector_size(vector_bytes), may_alias));

inline void add_dots(Sums &to, const Bytes &weights, const Sums &x)
{
    const __m256i pairs =
        _mm256_maddubs_epi16(reinterpret_cast<__m256i>(weights), reinterpret_cast<__m256i>(x));
    to += reinterpret_cast<Sums>(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

template <class Words>
inline void low_words(const Words &a, const Words &b, Bytes &to)
{
    to = reinterpret_cast<Bytes>(
        _mm256_unpacklo_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}

template <class Words>
inline void high_words(const Words &a, const Words &b, Bytes &to)
{
    to = reinterpret_cast<Bytes>(
        _mm256_unpackhi_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}

inline void in_order(Sums &a, Sums &b)
{
    const __m256i low = reinterpret_cast<__m256i>(a);
    const __m256i high = reinterpret_cast<__m256i>(b);
    a = reinterpret_cast<Sums>(_mm256_permute2x128_si256(low, high, 0x20));
    b = reinterpret_cast<Sums>(_mm256_permute2x128_si256(low, high, 0x31));
}

#include "pim/dot_kernel_body.hh"
} // namespace

const DotKernels avx2_dots = {"avx2", run_dots<Nibbles>, nullptr};

} // namespace sailsim::pim

#pragma GCC pop_options

#endif
