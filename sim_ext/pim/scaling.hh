/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Scales: block sums to fp32 results (docs/contract.md, section 1). Every step is rounded to nearest even.
 */
#ifndef SAILSIM_PIM_SCALING_HH
#define SAILSIM_PIM_SCALING_HH

#include <cstdint>

#include "pim/gemv.hh"

namespace sailsim::pim
{

/* fp16 to fp32, exact. */
float half_to_float(std::uint16_t half);

/* The scales of a tile, as bit patterns of fp16. */
struct Scales {
    const std::uint16_t *scale;    /* (blocks, n) */
    const std::uint16_t *minimum;  /* (blocks, n), or null */
    const std::int64_t *sums_of_x; /* (blocks, batch): sums of activations; only with a minimum */
    const float *act_scale;        /* (batch,) */
    std::int64_t batch;
    std::int64_t n;
};

/* Adds the scaled sums of one block and some outputs to y (batch, n), which starts at zero. Blocks must come
 * in ascending order. */
void add_scaled_block(const TileSums &tile, const Scales &scales, float *y);

/* The last step: y = y * act_scale, row by row. */
void scale_rows(const Scales &scales, float *y);

/* sums (blocks, batch): of the activations of each block. */
template <class T>
void sum_activations(const Activations<T> &x, const Grouping &grouping, std::int64_t *sums)
{
    for (std::int64_t block = 0; block < grouping.blocks(); ++block) {
        const std::int64_t begin = block * grouping.block_size();
        const std::int64_t end = block + 1 == grouping.blocks() ? x.k : begin + grouping.block_size();
        for (std::int64_t b = 0; b < x.batch; ++b) {
            std::int64_t sum = 0;
            for (std::int64_t k = begin; k < end; ++k)
                sum += x.data[b * x.k + k];
            sums[block * x.batch + b] = sum;
        }
    }
}

} // namespace sailsim::pim

#endif
