/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The LUT-GEMV kernel. This body is included once for each instruction set, inside an unnamed namespace and
 * after the target was chosen; so it must not include or instantiate anything that is shared between
 * translation units.
 *
 * The order of the work: for a chunk of groups build all tables; then, for every batch row and bit plane, add
 * up the entries that the patterns select over the whole chunk, and only then shift. Adding first keeps one
 * vector addition a look-up; the sums of a plane fit the type of the entries because gemv.cc chooses the
 * chunk so.
 */

constexpr int outputs = 64;

/* T[p] = sum of the weights whose bit is set in p, for p in [0, 2^nbw). */
template <class W, class T>
inline void build_table(const W *weights, int length, int nbw, T *table)
{
    for (int l = 0; l < outputs; ++l)
        table[l] = 0;
    for (int j = 0; j < nbw; ++j) {
        T *upper = table + (outputs << j);
        if (j >= length) { /* a short last group is padded with zero weights */
            __builtin_memcpy(upper, table, sizeof(T) * static_cast<unsigned long>(outputs << j));
            continue;
        }
        T weight[outputs];
        for (int l = 0; l < outputs; ++l)
            weight[l] = static_cast<T>(weights[j * outputs + l]);
        for (int p = 0; p < 1 << j; ++p)
            for (int l = 0; l < outputs; ++l)
                upper[p * outputs + l] = static_cast<T>(table[p * outputs + l] + weight[l]);
    }
}

/* Sums of one batch row over a chunk of groups: (64,) of the wide type. */
template <class T, class Wide>
inline void look_up(const KernelJob &job, const std::uint64_t *patterns, std::int64_t groups, const T *tables,
                    Wide *sums)
{
    typedef T Vector __attribute__((vector_size(64), may_alias));
    constexpr int vectors = static_cast<int>(outputs * sizeof(T) / 64);
    using UnsignedWide = std::make_unsigned_t<Wide>;

    const std::int64_t table_elements = static_cast<std::int64_t>(outputs) << job.nbw;
    int plane = job.abits - 1;
    while (plane >= 0) {
        const int last = plane + 1 > job.run_planes ? plane + 1 - job.run_planes : 0;
        Vector shifted[vectors] = {};
        for (; plane >= last; --plane) {
            const auto *pattern =
                reinterpret_cast<const unsigned char *>(plane < 8 ? patterns : patterns + job.high_offset) +
                plane % 8;
            Vector selected[vectors] = {};
            const T *table = tables;
            for (std::int64_t g = 0; g < groups; ++g, table += table_elements) {
                const auto *entry = reinterpret_cast<const Vector *>(table + pattern[8 * g] * outputs);
                for (int v = 0; v < vectors; ++v)
                    selected[v] += entry[v];
            }
            if (job.is_signed && plane == job.abits - 1)
                for (int v = 0; v < vectors; ++v)
                    shifted[v] = -selected[v];
            else
                for (int v = 0; v < vectors; ++v)
                    shifted[v] += shifted[v] + selected[v];
        }
        alignas(64) T narrow[outputs];
        __builtin_memcpy(narrow, shifted, sizeof narrow);
        for (int l = 0; l < outputs; ++l)
            sums[l] += static_cast<Wide>(static_cast<UnsignedWide>(static_cast<Wide>(narrow[l])) << last);
    }
}

/* Wide holds the sums of a chunk, Sum those of a block or of the whole tile. */
template <class W, class T, class Wide, class Sum>
void run_kernel(const KernelJob &job)
{
    const W *weights = static_cast<const W *>(job.weights);
    T *tables = static_cast<T *>(job.tables);
    Sum *sums = static_cast<Sum *>(job.sums);
    const std::int64_t sum_count = job.batch * outputs;
    const std::int64_t table_elements = static_cast<std::int64_t>(outputs) << job.nbw;

    for (std::int64_t i = 0; i < sum_count; ++i)
        sums[i] = 0;
    for (std::int64_t block = 0; block < job.blocks; ++block) {
        const std::int64_t first_group = block * job.groups_per_block;
        const std::int64_t end_group =
            block + 1 == job.blocks ? job.groups : first_group + job.groups_per_block;
        const std::int64_t end_k = block + 1 == job.blocks ? job.k : (block + 1) * job.block_size;
        for (std::int64_t g = first_group; g < end_group; g += job.chunk_groups) {
            const std::int64_t chunk = end_group - g < job.chunk_groups ? end_group - g : job.chunk_groups;
            for (std::int64_t i = 0; i < chunk; ++i) {
                const std::int64_t k = block * job.block_size + (g + i - first_group) * job.nbw;
                const int length = static_cast<int>(end_k - k < job.nbw ? end_k - k : job.nbw);
                build_table(weights + k * outputs, length, job.nbw, tables + i * table_elements);
            }
            for (std::int64_t b = 0; b < job.batch; ++b) {
                alignas(64) Wide chunk_sums[outputs] = {};
                look_up(job, job.patterns + b * job.pattern_stride + g, chunk, tables, chunk_sums);
                for (int l = 0; l < outputs; ++l)
                    sums[b * outputs + l] += chunk_sums[l];
            }
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
    return {name,
            run_kernel<std::int8_t, std::int16_t, std::int32_t, std::int32_t>,
            run_kernel<std::int8_t, std::int16_t, std::int32_t, std::int64_t>,
            run_kernel<std::int16_t, std::int16_t, std::int32_t, std::int32_t>,
            run_kernel<std::int16_t, std::int16_t, std::int32_t, std::int64_t>,
            run_kernel<std::int16_t, std::int32_t, std::int64_t, std::int64_t>};
}
