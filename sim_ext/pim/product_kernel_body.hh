/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernel, for files that say with which instructions: add_pairs(to, a, b) multiplies words and adds
 * the products of neighbours to `to`; a vector is never returned, which the ABI without AVX does otherwise.
 * No guard: each such file includes it once, inside a namespace of its own.
 */
constexpr int lanes = 8;
constexpr int vectors = static_cast<int>(product_outputs) / lanes;

typedef std::int32_t Sums8 __attribute__((vector_size(lanes * 4)));
typedef std::int16_t Pairs8 __attribute__((vector_size(lanes * 4)));
typedef float Floats8 __attribute__((vector_size(lanes * 4)));

SAILSIM_ADD_PAIRS

template <int Rows>
void rows_of_tile(const ProductJob &job)
{
    Floats8 y[Rows][vectors] = {};
    for (std::int64_t block = 0; block < job.blocks; ++block) {
        Sums8 sums[Rows][vectors] = {};
        const auto *weight = reinterpret_cast<const Pairs8 *>(job.weights) + block * job.pairs * vectors;
        const std::int16_t *x = job.x + 2 * block * job.pairs;
        for (std::int64_t p = 0; p < job.pairs; ++p)
            for (int r = 0; r < Rows; ++r) {
                std::int32_t pair;
                __builtin_memcpy(&pair, x + r * job.row_stride + 2 * p, sizeof pair);
                const Sums8 same = Sums8{} + pair;
                for (int v = 0; v < vectors; ++v)
                    add_pairs(sums[r][v], weight[p * vectors + v], reinterpret_cast<Pairs8>(same));
            }
        const auto *scale = reinterpret_cast<const Floats8 *>(job.scales) + block * vectors;
        for (int r = 0; r < Rows; ++r)
            for (int v = 0; v < vectors; ++v) {
                const Floats8 scaled = __builtin_convertvector(sums[r][v], Floats8) * scale[v];
                y[r][v] += scaled;
            }
        if (job.minima == nullptr)
            continue;
        const auto *minimum = reinterpret_cast<const Floats8 *>(job.minima) + block * vectors;
        for (int r = 0; r < Rows; ++r)
            for (int v = 0; v < vectors; ++v) {
                const Floats8 offset = minimum[v] * job.sums_of_x[r * job.blocks + block];
                y[r][v] += offset;
            }
    }
    __builtin_memcpy(job.y, y, sizeof y);
}

inline void any_rows_of_tile(const ProductJob &job, int rows)
{
    switch (rows) {
    case 1:
        return rows_of_tile<1>(job);
    case 2:
        return rows_of_tile<2>(job);
    case 3:
        return rows_of_tile<3>(job);
    case 4:
        return rows_of_tile<4>(job);
    case 5:
        return rows_of_tile<5>(job);
    default:
        return rows_of_tile<product_rows>(job);
    }
}
