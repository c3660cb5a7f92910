/* SPDX-License-Identifier: BSD-3-Clause */
// How large the layouts of a matrix in an image are, and where things lie in them
// (workloads/image_layout.py). The fields must have been checked.
#ifndef SAILSIM_KERNELS_DECODE_LAYOUT_HH
#define SAILSIM_KERNELS_DECODE_LAYOUT_HH

#include <cstddef>
#include <cstdint>

namespace sailsim::kernels::decode
{

constexpr std::size_t kLine = 64;
constexpr std::size_t kChunk = 16;     // weights along K that a panel of rows is padded to
constexpr std::size_t kRowsPanel = 8;  // outputs of a panel of the rows layout
constexpr std::size_t kLutPanel = 32;  // and of the lut layout
constexpr std::size_t kSegment = 256;  // weights along K whose bits lie together in the lut layout
constexpr std::size_t kMostBatch = 64; // rows whose activation scales a tile has room for

constexpr std::size_t round_up(std::size_t size, std::size_t to)
{
    return (size + to - 1) / to * to;
}
constexpr std::size_t parts_of(std::size_t size, std::size_t part)
{
    return (size + part - 1) / part;
}

struct Shape {
    std::size_t k, n, wbits, group_size, slices;
    bool minimum;

    std::size_t block() const { return group_size > 0 && group_size < k ? group_size : k; }
    std::size_t blocks() const { return parts_of(k, block()); }
    std::size_t factors() const { return minimum ? 2 : 1; }

    std::size_t rows_panel_bytes() const { return 16 * (blocks() * factors() + parts_of(k, kChunk) * wbits); }
    std::size_t rows_bytes() const { return parts_of(n, kRowsPanel) * rows_panel_bytes(); }

    std::size_t lut_panel_bytes() const { return 32 * (2 * blocks() * factors() + parts_of(k, 8) * wbits); }
    std::size_t lut_bytes() const { return parts_of(n, kLutPanel) * lut_panel_bytes(); }

    std::size_t share() const { return parts_of(n, slices); }
    std::size_t tiles() const { return parts_of(n, share()); }
    std::size_t tile_outputs(std::size_t tile) const
    {
        return tile + 1 < tiles() ? share() : n - tile * share();
    }
    std::size_t tile_codes() const { return round_up(k * parts_of(share() * wbits, 8), kLine); }
    // Of a tile's fp16 numbers, behind which its activation scales lie.
    std::size_t tile_scale_bytes(std::size_t outputs) const
    {
        return round_up(2 * blocks() * outputs * factors(), 4);
    }
    std::size_t tile_stride() const
    {
        return tile_codes() + round_up(tile_scale_bytes(share()) + 4 * kMostBatch, kLine);
    }
    std::size_t tiles_bytes() const { return tiles() * tile_stride(); }
};

} // namespace sailsim::kernels::decode

#endif
