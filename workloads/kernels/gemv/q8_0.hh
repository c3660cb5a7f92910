/* SPDX-License-Identifier: BSD-3-Clause */
// Q8_0: blocks of 32 int8 weights with one fp16 scale, 8.5 bits a weight.
#ifndef SAILSIM_KERNELS_GEMV_Q8_0_HH
#define SAILSIM_KERNELS_GEMV_Q8_0_HH

#include "common/random.hh"
#include "gemv/format.hh"

namespace sailsim::kernels
{

struct Q8_0 {
    static constexpr const char *kName = "q8_0";
    static constexpr std::size_t kWeights = 32;    // of one row in a block
    static constexpr std::size_t kMostColumns = 4; // of a pass over a panel

    struct Row {
        float16_t scale;
        std::int8_t q[32];
    };
    // q[s][h]: k = 4s .. 4s+3 of rows 4h .. 4h+3, row by row.
    struct Panel {
        float16_t scale[kRows];
        std::int8_t q[8][2][16];
    };

    template <int Batch>
    static void multiply(const Panel *panel, std::size_t blocks, const ActivationBlock *const *x,
                         PanelSums<Batch> &y);
    static void randomize(Panel &panel, Random &random);
    static Row unpack(const Panel &panel, std::size_t row);
    static WeightParts weight(const Row &row, std::size_t i);
    // One row's result with the kernel's rounding, block by block.
    static float reference(const Row *row, std::size_t blocks, const ActivationBlock *x);
};

} // namespace sailsim::kernels

#endif
