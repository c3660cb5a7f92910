/* SPDX-License-Identifier: BSD-3-Clause */
// The products of a step, by one of three kinds of kernel. All give the contract's results (docs/contract.md,
// section 1) bit for bit: exact integer sums of every block, scaled and added in fp32 in order of the blocks,
// every step rounded by itself.
#ifndef SAILSIM_KERNELS_DECODE_LINEARS_HH
#define SAILSIM_KERNELS_DECODE_LINEARS_HH

#include "decode/image.hh"
#include "decode/rounding.hh"
#include "decode/worker.hh"

#include <cstddef>

namespace sailsim::kernels::decode
{

// y (batch rows of `stride` floats, padded to whole panels) = x W
struct Product {
    const Matrix *matrix;
    float *y;
    std::size_t stride;
};

// Results are padded to this many outputs.
constexpr std::size_t kOutputPadding = kLutPanel;

class Linears
{
  public:
    virtual ~Linears() = default;

    // What the operand of some of this kind's products must be.
    virtual Wanted wanted() const = 0;

    // Works out `count` products of one operand with all threads, each its part; the results are there when
    // all threads have met. At most kMostProducts.
    virtual void multiply(const Product *products, std::size_t count, const Rounded &x, Worker &worker) = 0;

    // What went wrong in some thread, as a sentence; empty where nothing did.
    virtual const char *problem() const { return ""; }
};

constexpr std::size_t kMostProducts = 3;

// Sums of x over the blocks of a matrix, (batch, blocks), for its zero point or minima.
void block_sums(const Shape &shape, const Rounded &x, std::int32_t *sums);

// Calls body(product, panel) for this thread's part of the panels of all products, each of `outputs` outputs.
template <class Body>
void for_my_panels(const Product *products, std::size_t count, std::size_t outputs, const Worker &worker,
                   Body &&body)
{
    std::size_t total = 0;
    for (std::size_t i = 0; i < count; ++i)
        total += parts_of(products[i].matrix->shape.n, outputs);
    const Range mine = worker.part(total);
    std::size_t first = 0; // of the product among all
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t panels = parts_of(products[i].matrix->shape.n, outputs);
        const std::size_t begin = mine.first > first ? mine.first - first : 0;
        const std::size_t end = mine.last > first ? mine.last - first : 0;
        for (std::size_t panel = begin; panel < (end < panels ? end : panels); ++panel)
            body(i, panel);
        first += panels;
    }
}

} // namespace sailsim::kernels::decode

#endif
