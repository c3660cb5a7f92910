/* SPDX-License-Identifier: BSD-3-Clause */
// The products of a step, by one of three kinds of kernel. All give the contract's results (docs/contract.md,
// section 1) bit for bit: exact integer sums of every block, scaled and added in fp32 in order of the blocks,
// every step rounded by itself.
#pragma once

#include "decode/rounding.hh"
#include "decode/tiles.hh"

#include <functional>

namespace sailsim::kernels::decode
{

// y (batch rows of `stride` floats, padded to whole panels) = x W
struct Product {
    const Matrix *matrix;
    float *y;
    std::size_t stride;
};

constexpr std::size_t kOutputPadding = kLutPanel; // results are padded to so many
constexpr std::size_t kMostProducts = 3;          // of one operand

struct LinearsSettings {
    unsigned threads = 1;
    std::size_t batch = 1;
    UnitSettings unit;
};

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
    virtual std::string problem() const { return ""; }

    // What every thread does while units multiply, if anything; called by LutmmLinears alone.
    std::function<void(const Worker &worker)> meanwhile;
};

// By NEON's dot-product instructions: panels of 8 outputs, widened in registers, as in gemv/, but with one
// activation scale a row and the contract's rounding.
class NeonLinears : public Linears
{
  public:
    NeonLinears(const Image &image, const LinearsSettings &settings);

    Wanted wanted() const override { return {false, false}; }
    void multiply(const Product *products, std::size_t count, const Rounded &x, Worker &worker) override;

  protected:
    // Sums of x over the blocks of a matrix, (batch, blocks), for its zero point or minima; null where it has
    // neither. Each thread works them out for itself.
    const std::int32_t *sums_for(const Matrix &matrix, const Rounded &x, std::size_t product,
                                 const Worker &worker);

  private:
    std::size_t sums_of_product_; // room for the sums of one product, in numbers
    Buffer sums_;                 // by thread and product
};

// By table look-up in NEON, without a multiplication: what software can do of SAIL's idea.
//
// The idea is T-MAC's: the sums of every subset of 4 activations are worked out once and then looked up, bit
// of the weights by bit, for all outputs. A look-up stands for 4 products of one bit and one table
// instruction does 16 of them, but it costs the same for every batch row. T-MAC rounds its tables to bytes;
// these are exact (rounding.hh). Matrices without a lut layout (more than 4 bits, codebooks) are left to the
// dot products.
class LutLinears : public NeonLinears
{
  public:
    using NeonLinears::NeonLinears;

    Wanted wanted() const override { return {true, false}; }
    void multiply(const Product *products, std::size_t count, const Rounded &x, Worker &worker) override;
};

// By PIM units: every matrix is cut into one tile a slice, all tiles of the products that share an operand
// are handed over at once, and then waited for. So all units work on one tensor, and on the next as soon as
// they are through with their tile.
class LutmmLinears : public Linears
{
  public:
    // Ends the program with one sentence where the image has no tiles.
    LutmmLinears(const Image &image, const LinearsSettings &settings);

    Wanted wanted() const override { return {false, true}; }
    void multiply(const Product *products, std::size_t count, const Rounded &x, Worker &worker) override;
    std::string problem() const override { return tiles_.problem(); }

  private:
    lutmm_descriptor *descriptors(const Matrix &matrix);

    const Image &image_;
    std::size_t tiles_of_matrix_; // room in the array of descriptors
    Buffer descriptors_;
    Tiles tiles_;
};

// Calls body(product, panel) for this thread's turns of the panels of all products, each of `outputs` outputs
// and as many bytes as the shape says; before, ask(product, panel) of what it reads next and lies elsewhere.
template <class Body, class Ask>
void for_my_panels(const Product *products, std::size_t count, std::size_t outputs,
                   std::size_t (Shape::*bytes)() const, const Worker &worker, Body &&body, Ask &&ask)
{
    if (count == 0)
        return;
    std::size_t firsts[kMostProducts + 1] = {}; // of a product among all
    for (std::size_t i = 0; i < count; ++i)
        firsts[i + 1] = firsts[i] + parts_of(products[i].matrix->shape.n, outputs);
    const auto with = [&](std::size_t panel, auto &&call) {
        std::size_t i = 0;
        while (panel >= firsts[i + 1])
            ++i;
        call(i, panel - firsts[i]);
    };
    worker.turns(firsts[count], (products[0].matrix->shape.*bytes)(),
                 [&](std::size_t panel, std::size_t next) {
                     if (next > panel + 1)
                         with(next, ask);
                     with(panel, body);
                 });
}

} // namespace sailsim::kernels::decode
