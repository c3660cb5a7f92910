/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/scales.hh"

#include <algorithm>
#include <cstring>

namespace sailsim::kernels::decode
{

namespace
{

bool are_numbers(const std::uint8_t *halves, std::size_t count)
{
    constexpr std::uint16_t exponent = 0x7c00; // all ones: a NaN or an infinity
    bool good = true;
    for (std::size_t i = 0; i < count; ++i) {
        std::uint16_t bits;
        std::memcpy(&bits, halves + 2 * i, sizeof bits);
        good &= (bits & exponent) != exponent;
    }
    return good;
}

// Panels in which each block begins with its factors for `outputs` outputs; code_bytes(weights) is what its
// codes take.
template <class CodeBytes>
bool panels_are_good(const Shape &shape, const std::uint8_t *panel, std::size_t outputs,
                     CodeBytes &&code_bytes)
{
    for (std::size_t first = 0; first < shape.n; first += outputs)
        for (std::size_t k = 0; k < shape.k; k += shape.block()) {
            const std::size_t numbers = shape.factors() * outputs;
            if (!are_numbers(panel, numbers))
                return false;
            panel += 2 * numbers + code_bytes(std::min(shape.block(), shape.k - k));
        }
    return true;
}

} // namespace

bool scales_are_numbers(const Matrix &matrix)
{
    const Shape &shape = matrix.shape;
    const bool rows = panels_are_good(shape, matrix.rows, kRowsPanel, [&](std::size_t weights) {
        return parts_of(weights, kChunk) * kChunk * shape.wbits;
    });
    const bool lut =
        matrix.lut == nullptr || panels_are_good(shape, matrix.lut, kLutPanel, [&](std::size_t weights) {
            return parts_of(weights, 8) * kLutPanel * shape.wbits;
        });
    bool tiles = true;
    for (std::size_t tile = 0; matrix.tiles != nullptr && tile < shape.tiles(); ++tile)
        tiles &= are_numbers(matrix.tiles + tile * shape.tile_stride() + shape.tile_codes(),
                             shape.blocks() * shape.factors() * shape.tile_outputs(tile));
    return rows && lut && tiles;
}

} // namespace sailsim::kernels::decode
