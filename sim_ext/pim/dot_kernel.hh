/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What dots.cc asks of its kernels. They are compiled once for each instruction set.
 */
#ifndef SAILSIM_PIM_DOT_KERNEL_HH
#define SAILSIM_PIM_DOT_KERNEL_HH

#include <cstdint>

#include "pim/gemv_kernel.hh"

namespace sailsim::pim
{

/* Weights are multiplied as bytes without a sign: a nibble is one, 0..15, and a byte is stored - this. */
constexpr int dot_byte_base = -128;

/* The most rows of weights whose sums fit 32 bits, whatever the bytes are. */
constexpr std::int64_t most_dot_rows = ((std::int64_t{1} << 31) - 1) / (255 * 128) / 4 * 4;

/* Some rows of weights of one tile of kernel_outputs, and the activations that meet them. */
struct DotJob {
    const void *weights;  /* of the tile */
    std::int64_t first;   /* the row of weights that x begins at */
    std::int64_t k;       /* so many rows, at most most_dot_rows */
    const std::int8_t *x; /* (rows, k): in fours, 0 beyond k */
    std::int64_t stride;  /* bytes from a row of x to the next */
    std::int64_t rows;
    std::int32_t *sums; /* (rows, kernel_outputs), on a cache line: what is there is overwritten */
};

using DotKernel = void (*)(const DotJob &);

/* Kernels by how the weights are stored; bytes may be null: this instruction set has none. */
struct DotKernels {
    const char *name;
    DotKernel nibbles;
    DotKernel bytes;
};

#if defined(__x86_64__)
extern const DotKernels avx2_dots;
extern const DotKernels avx512_dots;
extern const DotKernels vnni_dots;
#endif

} // namespace sailsim::pim

#endif
