/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernel, for files that say with which instructions: vector_bytes, and how many
 * such registers there are; strip_vectors and strip_rows, sums of so many vectors and rows stay in them;
 * add_dots(to, weights, x), which adds to every 32 bits of `to` the four products of bytes without a sign and
 * bytes with one; low_words(a, b, to) and high_words(a, b, to), which interleave the words of the low (high)
 * half of every 16 bytes; in_order(a, b), which takes every 16 bytes of a and of b in turn, first those of
 * the low halves. No guard: each such file includes it once, inside a namespace of its own.
 *
 * The order of the work: the bytes of four rows of weights are brought side by side, as many rows as a
 * first-level cache holds; then the batch rows go over them, a few at a time.
 */

constexpr int outputs = kernel_outputs;
constexpr int lanes = vector_bytes / 4;
constexpr int vectors = outputs / lanes; /* of sums of all outputs */
constexpr int unit_vectors = 64 / vector_bytes;
constexpr std::int64_t chunk_steps = 32; /* of four rows: 16 KiB of bytes */

typedef std::uint16_t Words __attribute__((vector_size(vector_bytes), may_alias));

/* Four rows of a vector of bytes, whose even bytes are outputs 0.. and whose odd ones are outputs 32.. of a
 * unit of 64: to four bytes an output. Every 16 bytes are four outputs of
 * eight: `in_order` makes two such vectors one behind the other. */
inline void side_by_side(const Words *row, Bytes *even, Bytes *odd)
{
    const Words even01 = (row[0] & 0x00ff) | (row[1] << 8);
    const Words even23 = (row[2] & 0x00ff) | (row[3] << 8);
    const Words odd01 = (row[0] >> 8) | (row[1] & 0xff00);
    const Words odd23 = (row[2] >> 8) | (row[3] & 0xff00);
    low_words(even01, even23, even[0]);
    high_words(even01, even23, even[1]);
    low_words(odd01, odd23, odd[0]);
    high_words(odd01, odd23, odd[1]);
}

/* Where the vectors of outputs begin that come of vector v of a unit, by even or odd bytes. */
constexpr int slot_of(int unit, int odd, int v)
{
    return (unit * 64 + odd * 32 + v * (vector_bytes / 2)) / lanes;
}

/* How weights are stored: each brings four rows of a tile side by side. */
struct Nibbles {
    static constexpr std::int64_t row_bytes = outputs / 2;

    static void load(const unsigned char *const *rows, Bytes *to)
    {
        for (int v = 0; v < unit_vectors; ++v) {
            Words four[4];
            for (int r = 0; r < 4; ++r)
                four[r] = reinterpret_cast<const Words *>(rows[r])[v];
            Bytes both[4];
            side_by_side(four, both, both + 2);
            for (int i = 0; i < 4; ++i) {
                to[slot_of(0, i / 2, v) + i % 2] = both[i] & 15;
                to[slot_of(1, i / 2, v) + i % 2] =
                    reinterpret_cast<Bytes>(reinterpret_cast<Words>(both[i]) >> 4) & 15;
            }
        }
    }
};

struct StoredBytes {
    static constexpr std::int64_t row_bytes = outputs;

    static void load(const unsigned char *const *rows, Bytes *to)
    {
        for (int unit = 0; unit < 2; ++unit)
            for (int v = 0; v < unit_vectors; ++v) {
                Words four[4];
                for (int r = 0; r < 4; ++r)
                    four[r] = reinterpret_cast<const Words *>(rows[r])[unit * unit_vectors + v] ^ 0x8080;
                side_by_side(four, to + slot_of(unit, 0, v), to + slot_of(unit, 1, v));
            }
    }
};

/* Four rows of weights from `k` on of a job; those beyond its last are zeros. */
template <class Weights>
inline void load_four(const DotJob &job, std::int64_t k, Bytes *to)
{
    alignas(64) static const unsigned char zeros[outputs] = {};
    const auto *row = static_cast<const unsigned char *>(job.weights) + (job.first + k) * Weights::row_bytes;
    const unsigned char *four[4];
    for (int r = 0; r < 4; ++r)
        four[r] = k + r < job.k ? row + r * Weights::row_bytes : zeros;
    Weights::load(four, to);
}

inline Sums same_four(const std::int8_t *x)
{
    std::int32_t four;
    __builtin_memcpy(&four, x, sizeof four);
    return Sums{} + four;
}

/* The sums of one batch row, where those of all outputs stay in registers. */
template <class Weights>
inline void dots_of_one(const DotJob &job, Sums *sums)
{
    Sums sum[vectors] = {};
    for (std::int64_t k = 0; k < job.k; k += 4) {
        Bytes weights[vectors];
        load_four<Weights>(job, k, weights);
        const Sums x = same_four(job.x + k);
        for (int v = 0; v < vectors; ++v)
            add_dots(sum[v], weights[v], x);
    }
    for (int v = 0; v < vectors; ++v)
        sums[v] = sum[v];
}

/* Adds the products of a chunk to the sums of Rows batch rows. */
template <int Rows>
inline void add_chunk(const Bytes *weights, std::int64_t steps, const std::int8_t *x, std::int64_t stride,
                      Sums *sums)
{
    for (int from = 0; from < vectors; from += strip_vectors) {
        Sums strip[Rows][strip_vectors];
        for (int r = 0; r < Rows; ++r)
            for (int v = 0; v < strip_vectors; ++v)
                strip[r][v] = sums[r * vectors + from + v];
        for (std::int64_t s = 0; s < steps; ++s)
            for (int r = 0; r < Rows; ++r) {
                const Sums same = same_four(x + r * stride + 4 * s);
                for (int v = 0; v < strip_vectors; ++v)
                    add_dots(strip[r][v], weights[s * vectors + from + v], same);
            }
        for (int r = 0; r < Rows; ++r)
            for (int v = 0; v < strip_vectors; ++v)
                sums[r * vectors + from + v] = strip[r][v];
    }
}

inline void add_chunk(const Bytes *weights, std::int64_t steps, const std::int8_t *x, std::int64_t stride,
                      std::int64_t rows, Sums *sums)
{
    static_assert(strip_rows == 4, "each number of rows has a case");
    switch (rows) {
    case 1:
        return add_chunk<1>(weights, steps, x, stride, sums);
    case 2:
        return add_chunk<2>(weights, steps, x, stride, sums);
    case 3:
        return add_chunk<3>(weights, steps, x, stride, sums);
    default:
        return add_chunk<strip_rows>(weights, steps, x, stride, sums);
    }
}

/* The sums of any number of batch rows. */
template <class Weights>
inline void dots_of_rows(const DotJob &job, Sums *sums)
{
    alignas(64) Bytes chunk[chunk_steps * vectors];
    for (std::int64_t i = 0; i < job.rows * vectors; ++i)
        sums[i] = Sums{};
    for (std::int64_t first = 0; first < job.k; first += 4 * chunk_steps) {
        std::int64_t steps = 0;
        for (std::int64_t k = first; k < job.k && steps < chunk_steps; k += 4)
            load_four<Weights>(job, k, chunk + steps++ * vectors);
        for (std::int64_t r = 0; r < job.rows; r += strip_rows)
            add_chunk(chunk, steps, job.x + r * job.stride + first, job.stride, job.rows - r,
                      sums + r * vectors);
    }
}

template <class Weights>
void run_dots(const DotJob &job)
{
    Sums *sums = reinterpret_cast<Sums *>(job.sums);
    if (job.rows == 1 && registers >= 2 * vectors)
        dots_of_one<Weights>(job, sums);
    else
        dots_of_rows<Weights>(job, sums);
    for (std::int64_t i = 0; i < job.rows * vectors; i += 2)
        in_order(sums[i], sums[i + 1]);
}
