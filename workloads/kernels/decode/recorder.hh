/* SPDX-License-Identifier: BSD-3-Clause */
// The operands of all products of a decode, one after the other: batch rows of k int8, then a scale for each
// row. They are what another implementation is compared with number by number, as a rounding that falls the
// other way changes all that follows.
#ifndef SAILSIM_KERNELS_DECODE_RECORDER_HH
#define SAILSIM_KERNELS_DECODE_RECORDER_HH

#include "common/buffer.hh"
#include "decode/rounding.hh"

#include <cstddef>
#include <string>

namespace sailsim::kernels::decode
{

class Recorder
{
  public:
    // Room for `bytes`; 0: nothing is kept.
    explicit Recorder(std::size_t bytes) : wanted_(bytes > 0), bytes_(bytes) {}

    // One thread, while nobody changes the operand.
    void add(const Rounded &x);
    // Ends the program with one sentence where it cannot be written.
    void write(const std::string &path) const;

  private:
    bool wanted_;
    std::size_t used_ = 0;
    Buffer bytes_;
};

} // namespace sailsim::kernels::decode

#endif
