/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What gemv.cc asks of the kernels. They are compiled once for each instruction set.
 */
#ifndef SAILSIM_PIM_GEMV_KERNEL_HH
#define SAILSIM_PIM_GEMV_KERNEL_HH

#include <cstdint>

namespace sailsim::pim
{

/* One tile of 64 outputs. */
struct KernelJob {
    const void *weights; /* k rows of 64 */
    std::int64_t k;
    int nbw;

    /* Blocks and groups, see Grouping. */
    std::int64_t blocks;
    std::int64_t block_size;
    std::int64_t groups;
    std::int64_t groups_per_block;

    /* Patterns: a word a group for every batch row; byte i is bit position i. */
    const std::uint64_t *patterns;
    std::int64_t pattern_stride; /* words from a batch row to the next */
    std::int64_t high_offset;    /* words from bit positions 0..7 to 8..15 */
    std::int64_t batch;
    int abits;
    bool is_signed;

    std::int64_t chunk_groups; /* tables that are looked up together */
    int run_planes;            /* bit planes that are shifted and summed in the narrow type */

    void *tables; /* chunk_groups * 2^nbw rows of 64 */
    void *sums;   /* batch rows of 64 */

    /* Called with the sums at the end of every block, or once at the end. */
    bool per_block;
    void (*done)(void *context, std::int64_t block);
    void *context;
};

using Kernel = void (*)(const KernelJob &);

/* Kernels by the types of weight, table entry and sum. */
struct KernelSet {
    const char *name;
    Kernel w8_t16_s32;
    Kernel w8_t16_s64;
    Kernel w16_t16_s32;
    Kernel w16_t16_s64;
    Kernel w16_t32_s64;
};

extern const KernelSet generic_kernels;
#if defined(__x86_64__)
extern const KernelSet avx2_kernels;
extern const KernelSet avx512_kernels;
#endif

} // namespace sailsim::pim

#endif
