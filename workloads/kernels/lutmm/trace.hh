/* SPDX-License-Identifier: BSD-3-Clause */
// A trace file (docs/contract.md) in memory: its image where it fits, its descriptors pointing into it.
#ifndef SAILSIM_KERNELS_LUTMM_TRACE_HH
#define SAILSIM_KERNELS_LUTMM_TRACE_HH

#include "common/buffer.hh"
#include "lutmm.h"
#include "lutmm/guarded.hh"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sailsim::kernels
{

class Trace
{
  public:
    // Reads and relocates. Ends the program with one sentence for what is no whole trace of this version.
    explicit Trace(const std::string &path);

    std::size_t size() const { return count_; }
    lutmm_descriptor *descriptors() { return descriptors_->as<lutmm_descriptor>(); }

    // The expected result words of a descriptor with legal fields; null where the trace has none. Ends the
    // program when they are not in the stored image.
    const std::uint32_t *expected(std::size_t i);

    // Whether `bytes` at `address` (relocated) lie in the image behind its stored part, where results go.
    bool takes_results(std::uint64_t address, std::size_t bytes) const;

    // Checksum of the stored part: operands and expected outputs.
    std::uint64_t stored_checksum() const;

  private:
    std::uint64_t relocated(std::uint64_t address) const;

    std::string path_;
    std::uint64_t base_ = 0;
    std::size_t stored_bytes_ = 0, count_ = 0;
    std::unique_ptr<Guarded> image_;
    std::unique_ptr<Buffer> descriptors_;
    std::vector<std::uint64_t> expected_; // addresses of the trace
};

} // namespace sailsim::kernels

#endif
