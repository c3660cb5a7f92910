/* SPDX-License-Identifier: BSD-3-Clause */
// A 2-bit format in the manner of Q2_K: blocks of 256 weights in 16 sub-blocks of 16; each sub-block has a
// scale and a minimum of 4 bits, the block has fp16 factors for both. 2.625 bits a weight. Unlike Q2_K's
// usual partner, the activations keep their scale per 32 values, so that all four formats read the same
// activations.
#ifndef SAILSIM_KERNELS_GEMV_Q2_HH
#define SAILSIM_KERNELS_GEMV_Q2_HH

#include "common/random.hh"
#include "gemv/format.hh"

namespace sailsim::kernels
{

struct Q2 {
    static constexpr const char *kName = "q2";
    static constexpr std::size_t kWeights = 256;
    static constexpr std::size_t kMostColumns = 2; // of a pass over a panel; 4 would not fit the registers

    struct Row {
        std::uint8_t scales[16];  // of a sub-block: scale in the low half, minimum in the high half
        std::uint8_t q[64];       // code of weight i: bits 2*(i/32 % 4) of q[32*(i/128) + i % 32]
        float16_t scale, minimum; // weight = scale * sub-scale * code - minimum * sub-minimum
    };
    // q[u][h]: sub-block u of rows 4h .. 4h+3, row by row; bits 2s hold k = 16u + 4s .. 16u + 4s+3.
    struct Panel {
        float16_t scale[kRows], minimum[kRows];
        std::uint8_t scales[16][kRows];
        std::uint8_t q[16][2][16];
    };

    template <int Batch>
    static void multiply(const Panel *panel, std::size_t blocks, const ActivationBlock *const *x,
                         PanelSums<Batch> &y);
    static void randomize(Panel &panel, Random &random);
    static Row unpack(const Panel &panel, std::size_t row);
    static WeightParts weight(const Row &row, std::size_t i);
    static float reference(const Row *row, std::size_t blocks, const ActivationBlock *x);
};

} // namespace sailsim::kernels

#endif
