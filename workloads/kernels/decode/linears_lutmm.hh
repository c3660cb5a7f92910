/* SPDX-License-Identifier: BSD-3-Clause */
// Products by PIM units: every matrix is cut into one tile a slice, all tiles of the products that share an
// operand are handed over at once, and then waited for. So all units work on one tensor, and on the next as
// soon as they are through with their tile.
#ifndef SAILSIM_KERNELS_DECODE_LINEARS_LUTMM_HH
#define SAILSIM_KERNELS_DECODE_LINEARS_LUTMM_HH

#include "common/buffer.hh"
#include "decode/linears.hh"
#include "decode/linears_kinds.hh"
#include "lutmm.h"

#include <atomic>
#include <string>

namespace sailsim::kernels::decode
{

class LutmmLinears : public Linears
{
  public:
    LutmmLinears(const Image &image, const LinearsSettings &settings);

    Wanted wanted() const override { return {false, true}; }
    void multiply(const Product *products, std::size_t count, const Rounded &x, Worker &worker) override;
    const char *problem() const override;

  private:
    // On a line of its own, so that a poll does not meet another unit's answer.
    struct alignas(64) Record {
        lutmm_completion completion;
    };
    lutmm_descriptor *descriptors(const Matrix &matrix);
    void describe(const Matrix &matrix, lutmm_descriptor *descriptors, const LinearsSettings &settings);
    void hand_over(const Product &product, std::size_t slot, const Rounded &x, std::size_t tile);
    bool collect(const Product &product, std::size_t slot, std::size_t tile, std::size_t batch,
                 Worker &worker);

    const Image &image_;
    unsigned units_;
    std::uint64_t timeout_ns_;
    std::size_t tiles_of_matrix_; // room in the array of descriptors
    std::size_t tile_floats_;     // room for the results of one tile
    Buffer descriptors_, records_, outputs_;
    std::atomic<std::uint32_t> wrong_status_{LUTMM_OK};
    mutable std::string problem_;
};

} // namespace sailsim::kernels::decode

#endif
