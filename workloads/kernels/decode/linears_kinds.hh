/* SPDX-License-Identifier: BSD-3-Clause */
// The three kinds of products, by name.
#ifndef SAILSIM_KERNELS_DECODE_LINEARS_KINDS_HH
#define SAILSIM_KERNELS_DECODE_LINEARS_KINDS_HH

#include "decode/linears.hh"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace sailsim::kernels::decode
{

enum class LinearsKind { neon, lut, lutmm };

struct LinearsSettings {
    unsigned threads = 1, units = 0; // units 0: as many as the image has slices
    std::uint8_t nbw = 4;
    std::size_t batch = 1;
    std::uint64_t timeout_ns = 0; // for one tile
};

LinearsKind kind_of(const std::string &name);
const char *kind_name(LinearsKind kind);

// Ends the program with one sentence where the image lacks what the kind needs.
std::unique_ptr<Linears> make_linears(LinearsKind kind, const Image &image, const LinearsSettings &settings);

} // namespace sailsim::kernels::decode

#endif
