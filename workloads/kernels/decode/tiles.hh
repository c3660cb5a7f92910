/* SPDX-License-Identifier: BSD-3-Clause */
// Tiles under way on PIM units: each has a completion record and room for its results.
#pragma once

#include "decode/image.hh"
#include "decode/worker.hh"
#include "lutmm/unit.hh"

namespace sailsim::kernels::decode
{

struct UnitSettings {
    unsigned units = 0; // 0: as many as the image has slices
    std::uint8_t nbw = 4;
    std::uint64_t timeout_ns = 0; // for one tile
};

// All of a tile's descriptor but where the operand and the results are.
lutmm_descriptor describe_tile(const Matrix &matrix, std::size_t tile, std::size_t batch, std::uint8_t nbw);

class Tiles
{
  public:
    // For `count` tiles at a time of up to `floats` results each. Of a machine without units the program
    // emulates them from now on.
    Tiles(std::size_t count, std::size_t floats, std::size_t slices, const UnitSettings &settings);

    // Hands tile `at` to the unit of a slice. The descriptor lacks its results and its record.
    void submit(std::size_t at, std::size_t slice, lutmm_descriptor &descriptor);
    // Waits for its results; null where the unit refused it or did not answer.
    const float *wait(std::size_t at, Worker &worker);
    const float *results(std::size_t at) const { return outputs_.as<float>() + at * floats_; }

    // What went wrong in some thread, as a sentence; empty where nothing did.
    std::string problem() const;

  private:
    // On a line of its own, so that a poll does not meet another unit's answer.
    struct alignas(kLine) Record {
        lutmm_completion completion;
    };
    std::size_t floats_;
    unsigned units_;
    std::uint64_t timeout_ns_;
    Buffer records_, outputs_;
    std::atomic<std::uint32_t> wrong_status_{LUTMM_OK};
};

} // namespace sailsim::kernels::decode
