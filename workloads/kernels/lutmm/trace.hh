/* SPDX-License-Identifier: BSD-3-Clause */
// A trace file (docs/contract.md) in memory: its image where it fits, its descriptors pointing into it. The
// image ends at a page that nobody can touch, and begins behind one: whoever leaves it faults.
#pragma once

#include "common/team.hh"
#include "lutmm.h"

#include <string>
#include <vector>

namespace sailsim::kernels
{

// Result words of a descriptor with a legal shape.
inline std::size_t output_words(const lutmm_descriptor &d)
{
    return std::size_t{d.batch} * d.n;
}

class Trace
{
  public:
    // Reads and relocates; after lutmm_install_emulator(). Ends the program with one sentence for what is no
    // whole trace of this version.
    explicit Trace(const std::string &path);

    std::size_t size() const { return expected_.size(); }
    lutmm_descriptor *descriptors() { return descriptors_->as<lutmm_descriptor>(); }

    // The image: its stored part, operands and expected outputs, and then the room for results.
    unsigned char *image() { return image_; }
    std::size_t image_bytes() const { return image_bytes_; }
    std::size_t stored_bytes() const { return stored_bytes_; }
    // Whether `bytes` at `address` (relocated) lie in the room for results.
    bool takes_results(std::uint64_t address, std::size_t bytes) const;

    // Whether the trace expects words of a descriptor, and how many of its output are others. All NaNs count
    // as the same. Ends the program when the expected ones are not in the stored image.
    bool expects(std::size_t i) const { return expected_[i] != 0; }
    std::size_t wrong_words(std::size_t i);

  private:
    std::uint64_t relocated(std::uint64_t address) const;

    std::string path_;
    std::uint64_t base_ = 0;
    std::size_t stored_bytes_ = 0, image_bytes_ = 0;
    unsigned char *image_ = nullptr;
    std::unique_ptr<Buffer> memory_, descriptors_; // memory_: the image and the closed pages around it
    std::vector<std::uint64_t> expected_;          // addresses of the trace; 0 where there is nothing
};

} // namespace sailsim::kernels
