/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/embedding.hh"

#include <arm_neon.h>
#include <cstring>

namespace sailsim::kernels::decode
{

namespace
{

// Code of register `index`, byte `lane`, of a chunk.
unsigned stored_code(const std::uint8_t *chunk, std::size_t bits, std::size_t index, std::size_t lane)
{
    unsigned code = 0;
    std::size_t at = 0;
    for (const std::size_t width : {8u, 4u, 2u, 1u}) {
        if (bits - at < width)
            continue;
        const std::size_t in_byte = 8 / width;
        const unsigned byte = chunk[16 * (at + index / in_byte) + lane];
        const unsigned part = (byte >> (width * (index % in_byte))) & ((1u << width) - 1);
        code |= part << at;
        at += width;
    }
    return code;
}

float widened(const std::uint8_t *half)
{
    float16_t value;
    std::memcpy(&value, half, sizeof value);
    return static_cast<float>(value);
}

} // namespace

void read_weights(const Matrix &matrix, std::size_t n, std::size_t first, std::size_t count, float *out)
{
    const Shape &shape = matrix.shape;
    const std::uint8_t *panel = matrix.rows + n / kRowsPanel * shape.rows_panel_bytes();
    const std::size_t row = n % kRowsPanel, head = 16 * shape.factors(), chunk_bytes = 16 * shape.wbits;
    const std::size_t block_bytes = head + parts_of(shape.block(), kChunk) * chunk_bytes;
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t k = first + i;
        if (k >= shape.k) {
            out[i] = 0.0f;
            continue;
        }
        const std::uint8_t *block = panel + k / shape.block() * block_bytes;
        const std::size_t in_block = k % shape.block(), in_chunk = in_block % kChunk;
        const unsigned code = stored_code(block + head + in_block / kChunk * chunk_bytes, shape.wbits,
                                          in_chunk / 4 * 2 + row / 4, 4 * (row % 4) + in_chunk % 4);
        std::int32_t value = matrix.step * static_cast<std::int32_t>(code) - matrix.zero;
        if (matrix.step == 0)
            value = matrix.book[code];
        else if (shape.wbits == 8)
            value = static_cast<std::int8_t>(code);
        out[i] = static_cast<float>(value) * widened(block + 2 * row);
        if (shape.minimum)
            out[i] += widened(block + 16 + 2 * row);
    }
}

} // namespace sailsim::kernels::decode
