/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The LUT-GEMV kernel. This body is included once for each instruction set, inside an unnamed namespace and
 * after the target was chosen; so it must not include or instantiate anything that is shared between
 * translation units.
 *
 * The order of the work: for a chunk of groups build all tables; then, for every batch row and bit plane, add
 * up the entries that the patterns select over the whole chunk, and only then shift. Adding first keeps a
 * look-up down to one vector addition. Everything is summed in the narrowest type that holds it - gemv.cc
 * sizes the chunks so - and widened as rarely as that allows: entries, then sums of a plane, then of a chunk,
 * then of a block.
 */

constexpr int outputs = kernel_outputs;

template <class T>
struct VectorOf {
    typedef T type __attribute__((vector_size(vector_bytes), may_alias));
    static constexpr int lanes = static_cast<int>(vector_bytes / sizeof(T));
    static constexpr int count = outputs / lanes; /* vectors that hold all outputs */
};
template <class T>
using Vector = typename VectorOf<T>::type;

/* Rows of bytes are stored in units of 64, outputs 0..31 in the even bytes and 32..63 in the odd ones:
 * splitting a vector of bytes into two of words is then a matter of shifts. Byte vector v becomes the word
 * vectors even_slot(v) and odd_slot(v), counted in the order of the outputs. */
constexpr int unit_vectors = 64 / vector_bytes;
constexpr int even_slot(int v)
{
    return v / unit_vectors * 2 * unit_vectors + v % unit_vectors;
}
constexpr int odd_slot(int v)
{
    return even_slot(v) + unit_vectors;
}

inline Vector<std::int16_t> even_bytes(const Vector<std::int8_t> &bytes)
{
    return (reinterpret_cast<Vector<std::int16_t>>(bytes) << 8) >> 8;
}

inline Vector<std::int16_t> odd_bytes(const Vector<std::int8_t> &bytes)
{
    return reinterpret_cast<Vector<std::int16_t>>(bytes) >> 8;
}

/* How weights are stored: each reads row k of a tile as vectors of the table's type. */
struct Nibbles {
    using Entry = std::int8_t;

    static void load(const KernelJob &job, std::int64_t k, Vector<std::int8_t> *weight)
    {
        const auto *row = reinterpret_cast<const Vector<std::uint8_t> *>(
            static_cast<const unsigned char *>(job.weights) + k * (outputs / 2));
        for (int v = 0; v < unit_vectors; ++v) {
            const auto high =
                reinterpret_cast<Vector<std::uint8_t>>(reinterpret_cast<Vector<std::uint16_t>>(row[v]) >> 4);
            weight[v] = reinterpret_cast<Vector<std::int8_t>>(row[v] & 15) + job.nibble_base;
            weight[unit_vectors + v] = reinterpret_cast<Vector<std::int8_t>>(high & 15) + job.nibble_base;
        }
    }
};

template <class T>
struct Bytes {
    using Entry = T;

    static void load(const KernelJob &job, std::int64_t k, Vector<T> *weight)
    {
        const auto *row = reinterpret_cast<const Vector<std::int8_t> *>(
            static_cast<const unsigned char *>(job.weights) + k * outputs);
        for (int v = 0; v < VectorOf<std::int8_t>::count; ++v) {
            if constexpr (sizeof(T) == 1) {
                weight[v] = row[v];
            } else {
                weight[even_slot(v)] = even_bytes(row[v]);
                weight[odd_slot(v)] = odd_bytes(row[v]);
            }
        }
    }
};

template <class T>
struct Words {
    using Entry = T;

    static void load(const KernelJob &job, std::int64_t k, Vector<T> *weight)
    {
        const std::int16_t *row = static_cast<const std::int16_t *>(job.weights) + k * outputs;
        alignas(64) T wide[outputs];
        for (int l = 0; l < outputs; ++l)
            wide[l] = row[l];
        __builtin_memcpy(weight, wide, sizeof wide);
    }
};

/* T[p] = sum of the weights whose bit is set in p, for p in [0, 2^Nbw); a row of vectors an entry. */
template <class Weights, int Nbw>
inline void build_table(const KernelJob &job, std::int64_t k, int length,
                        Vector<typename Weights::Entry> *table)
{
    using Row = Vector<typename Weights::Entry>;
    constexpr int count = VectorOf<typename Weights::Entry>::count;
    for (int v = 0; v < count; ++v)
        table[v] = Row{};
#pragma GCC unroll 6
    for (int j = 0; j < Nbw; ++j) {
        Row weight[count] = {}; /* a short last group is padded with zero weights */
        if (j < length)
            Weights::load(job, k + j, weight);
        Row *upper = table + (count << j);
        for (int p = 0; p < count << j; p += count)
            for (int v = 0; v < count; ++v)
                upper[p + v] = table[p + v] + weight[v];
    }
}

template <class Weights>
inline void build_table(const KernelJob &job, std::int64_t k, int length,
                        Vector<typename Weights::Entry> *table)
{
    switch (job.nbw) {
    case 1:
        return build_table<Weights, 1>(job, k, length, table);
    case 2:
        return build_table<Weights, 2>(job, k, length, table);
    case 3:
        return build_table<Weights, 3>(job, k, length, table);
    case 4:
        return build_table<Weights, 4>(job, k, length, table);
    case 5:
        return build_table<Weights, 5>(job, k, length, table);
    default:
        return build_table<Weights, 6>(job, k, length, table);
    }
}

/* Sums are taken for a few vectors at a time, as many as stay in registers: a strip of the outputs. */
constexpr int strip = 4;

/* Adds up the entries that one bit plane selects in a chunk of groups, for Count vectors from `first` on. The
 * patterns of consecutive groups are 8 bytes apart. */
template <class T, int Count>
inline void select(const KernelJob &job, const unsigned char *pattern, std::int64_t groups,
                   const Vector<T> *tables, int first, Vector<T> *sum)
{
    constexpr unsigned long entry_bytes = outputs * sizeof(T);
    const unsigned long table_bytes = entry_bytes << job.nbw;
    for (int v = 0; v < Count; ++v)
        sum[v] = Vector<T>{};
    const auto *table = reinterpret_cast<const unsigned char *>(tables + first);
#pragma GCC unroll 4
    for (std::int64_t g = 0; g < groups; ++g) {
        const auto *entry = reinterpret_cast<const Vector<T> *>(table + pattern[8 * g] * entry_bytes);
        for (int v = 0; v < Count; ++v)
            sum[v] += entry[v];
        table += table_bytes;
    }
}

/* The same where entries are bytes: few groups are summed as bytes, the rest as words. */
inline void select_bytes(const KernelJob &job, const unsigned char *pattern, std::int64_t groups,
                         const Vector<std::int8_t> *tables, int first, Vector<std::int16_t> *sum)
{
    constexpr int count = strip / 2;
    const std::int64_t table_vectors = static_cast<std::int64_t>(VectorOf<std::int8_t>::count) << job.nbw;
    for (int v = 0; v < strip; ++v)
        sum[v] = Vector<std::int16_t>{};
    for (std::int64_t g = 0; g < groups; g += job.byte_groups) {
        const std::int64_t here = groups - g < job.byte_groups ? groups - g : job.byte_groups;
        Vector<std::int8_t> bytes[count];
        select<std::int8_t, count>(job, pattern + 8 * g, here, tables + g * table_vectors, first, bytes);
        for (int v = 0; v < count; ++v) {
            sum[2 * v] += even_bytes(bytes[v]);
            sum[2 * v + 1] += odd_bytes(bytes[v]);
        }
    }
}

/* Bit planes from `from` down to `last`, shifted and summed, for one strip; `run` has all outputs. */
template <class T, class Plane>
inline void run_of_planes(const KernelJob &job, const std::uint64_t *patterns, std::int64_t groups,
                          const Vector<T> *tables, int from, int last, int strip_index, Vector<Plane> *run)
{
    Vector<Plane> shifted[strip] = {};
    for (int plane = from; plane >= last; --plane) {
        const auto *pattern =
            reinterpret_cast<const unsigned char *>(plane < 8 ? patterns : patterns + job.high_offset) +
            plane % 8;
        Vector<Plane> selected[strip];
        if constexpr (sizeof(T) == 1)
            select_bytes(job, pattern, groups, tables, strip_index * strip / 2, selected);
        else
            select<T, strip>(job, pattern, groups, tables, strip_index * strip, selected);
        if (job.is_signed && plane == job.abits - 1)
            for (int v = 0; v < strip; ++v)
                shifted[v] = -selected[v];
        else
            for (int v = 0; v < strip; ++v)
                shifted[v] += shifted[v] + selected[v];
    }
    for (int v = 0; v < strip; ++v) {
        int slot = strip_index * strip + v;
        if constexpr (sizeof(T) == 1) {
            const int bytes = (strip_index * strip + v) / 2;
            slot = v % 2 == 0 ? even_slot(bytes) : odd_slot(bytes);
        }
        run[slot] = shifted[v];
    }
}

/* Adds one batch row's sums over a chunk of groups to `sums`. T: of entries; Plane: of a plane's sums,
 * shifted. */
template <class T, class Plane, class Wide, class Sum>
inline void look_up(const KernelJob &job, const std::uint64_t *patterns, std::int64_t groups,
                    const Vector<T> *tables, Sum *sums)
{
    using UnsignedWide = std::make_unsigned_t<Wide>;
    alignas(64) Wide chunk[outputs] = {};
    for (int from = job.abits - 1; from >= 0; from -= job.run_planes) {
        const int last = from + 1 > job.run_planes ? from + 1 - job.run_planes : 0;
        Vector<Plane> vectors[VectorOf<Plane>::count];
        for (int s = 0; s < VectorOf<Plane>::count / strip; ++s)
            run_of_planes<T, Plane>(job, patterns, groups, tables, from, last, s, vectors);
        alignas(64) Plane run[outputs];
        __builtin_memcpy(run, vectors, sizeof run);
        for (int l = 0; l < outputs; ++l)
            chunk[l] += static_cast<Wide>(static_cast<UnsignedWide>(static_cast<Wide>(run[l])) << last);
    }
    for (int l = 0; l < outputs; ++l)
        sums[l] += chunk[l];
}

/* Wide holds the sums of a chunk, Sum those of a block or of the whole tile. */
template <class Weights, class Plane, class Wide, class Sum>
void run_kernel(const KernelJob &job)
{
    using T = typename Weights::Entry;
    auto *tables = static_cast<Vector<T> *>(job.tables);
    Sum *sums = static_cast<Sum *>(job.sums);
    const std::int64_t sum_count = job.batch * outputs;
    const std::int64_t table_vectors = static_cast<std::int64_t>(VectorOf<T>::count) << job.nbw;

    for (std::int64_t i = 0; i < sum_count; ++i)
        sums[i] = 0;
    for (std::int64_t block = 0; block < job.blocks; ++block) {
        const bool is_last = block + 1 == job.blocks;
        const std::int64_t first_group = block * job.groups_per_block;
        const std::int64_t end_group = is_last ? job.groups : first_group + job.groups_per_block;
        const std::int64_t end_k = is_last ? job.k : (block + 1) * job.block_size;
        for (std::int64_t g = first_group; g < end_group; g += job.chunk_groups) {
            const std::int64_t chunk = end_group - g < job.chunk_groups ? end_group - g : job.chunk_groups;
            for (std::int64_t i = 0; i < chunk; ++i) {
                const std::int64_t k = block * job.block_size + (g + i - first_group) * job.nbw;
                const int length = static_cast<int>(end_k - k < job.nbw ? end_k - k : job.nbw);
                build_table<Weights>(job, k, length, tables + i * table_vectors);
            }
            for (std::int64_t b = 0; b < job.batch; ++b)
                look_up<T, Plane, Wide>(job, job.patterns + b * job.pattern_stride + g, chunk, tables,
                                        sums + b * outputs);
        }
        if (job.per_block) {
            job.done(job.context, block);
            for (std::int64_t i = 0; i < sum_count; ++i)
                sums[i] = 0;
        }
    }
    if (!job.per_block)
        job.done(job.context, 0);
}

constexpr KernelSet kernel_set(const char *name)
{
    using std::int16_t;
    using std::int32_t;
    using std::int64_t;
    using std::int8_t;
    return {name,
            {run_kernel<Nibbles, int16_t, int32_t, int32_t>, run_kernel<Nibbles, int16_t, int32_t, int64_t>},
            {run_kernel<Bytes<int8_t>, int16_t, int32_t, int32_t>,
             run_kernel<Bytes<int8_t>, int16_t, int32_t, int64_t>},
            {run_kernel<Bytes<int16_t>, int16_t, int32_t, int32_t>,
             run_kernel<Bytes<int16_t>, int16_t, int32_t, int64_t>},
            {run_kernel<Words<int16_t>, int16_t, int32_t, int32_t>,
             run_kernel<Words<int16_t>, int16_t, int32_t, int64_t>},
            {nullptr, run_kernel<Words<int32_t>, int32_t, int64_t, int64_t>}};
}
