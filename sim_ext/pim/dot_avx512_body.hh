/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the kernels for AVX512 with and without VNNI have in common: all but how products are added. No guard:
 * each of their files includes it once, behind its pragma and inside a namespace of its own.
 */

constexpr int vector_bytes = 64;
constexpr int registers = 32;
constexpr int strip_vectors = 4;
constexpr int strip_rows = 4;
typedef std::uint8_t Bytes __attribute__((vector_size(vector_bytes), may_alias));
typedef std::int32_t Sums __attribute__((vector_size(vector_bytes), may_alias));

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
