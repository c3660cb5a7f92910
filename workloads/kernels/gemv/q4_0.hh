/* SPDX-License-Identifier: BSD-3-Clause */
// Q4_0: blocks of 32 weights of 4 bits, offset 8, with one fp16 scale, 4.5 bits a weight.
#ifndef SAILSIM_KERNELS_GEMV_Q4_0_HH
#define SAILSIM_KERNELS_GEMV_Q4_0_HH

#include "common/random.hh"
#include "gemv/format.hh"

namespace sailsim::kernels
{

struct Q4_0 {
    static constexpr const char *kName = "q4_0";
    static constexpr std::size_t kWeights = 32;
    static constexpr std::size_t kMostColumns = 4; // of a pass over a panel

    struct Row {
        float16_t scale;
        std::uint8_t
            q[16]; // weight i < 16 in the low half of q[i], weight i + 16 in its high half; each plus 8
    };
    // q[s][h]: rows 4h .. 4h+3, row by row; k = 4s .. 4s+3 in the low halves, 16 more in the high ones.
    // Stored as two's complement (the offset 8 flips the top bit), so that each half is widened with one
    // instruction.
    struct Panel {
        float16_t scale[kRows];
        std::uint8_t q[4][2][16];
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
