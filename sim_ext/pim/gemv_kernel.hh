/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What gemv.cc asks of the kernels. They are compiled once for each instruction set.
 */
#ifndef SAILSIM_PIM_GEMV_KERNEL_HH
#define SAILSIM_PIM_GEMV_KERNEL_HH

#include <cstdint>

namespace sailsim::pim
{

/* Outputs that a kernel works on at a time. */
constexpr int kernel_outputs = 128;

/* One tile of that many outputs. */
struct KernelJob {
    const void *weights;     /* k rows */
    signed char nibble_base; /* what a nibble of 0 means */
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
    std::int64_t byte_groups;  /* of them, whose entries can be summed as bytes */
    int run_planes;            /* bit planes that can be shifted and summed in the type of a plane's sums */

    void *tables; /* chunk_groups * 2^nbw rows */
    void *sums;   /* batch rows */

    /* Called with the sums at the end of every block, or once at the end. */
    bool per_block;
    void (*done)(void *context, std::int64_t block);
    void *context;
};

using Kernel = void (*)(const KernelJob &);

/* By the width of the sums: int32 or int64. */
struct KernelPair {
    Kernel sum32;
    Kernel sum64;
};

/* Kernels by how the weights are stored and the type of a table entry. */
struct KernelSet {
    const char *name;
    KernelPair nibbles_int8;
    KernelPair bytes_int8;
    KernelPair bytes_int16;
    KernelPair words_int16;
    KernelPair words_int32; /* sum64 only */
};

extern const KernelSet generic_kernels;
#if defined(__x86_64__)
extern const KernelSet avx2_kernels;
extern const KernelSet avx512_kernels;
#endif

} // namespace sailsim::pim

#endif
