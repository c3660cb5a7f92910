/* SPDX-License-Identifier: BSD-3-Clause */
// The bytes of an image file: header and table of matrices, little endian (workloads/image_file.py).
#ifndef SAILSIM_KERNELS_DECODE_IMAGE_FORMAT_HH
#define SAILSIM_KERNELS_DECODE_IMAGE_FORMAT_HH

#include <cstddef>
#include <cstdint>

namespace sailsim::kernels::decode
{

constexpr char kMagic[] = "SAILIMGE";
constexpr std::uint32_t kVersion = 1;

struct FileHeader {
    char magic[8];
    std::uint32_t version, crc; // CRC-32 of the header, with 0 in its place, and the table
    std::uint64_t file_bytes;
    std::uint32_t layers, model_layers, d_model, heads, kv_heads, head_dim, d_ffn, vocab;
    float norm_eps, rope_base;
    std::uint32_t slices, max_batch, tied, tensor_count;
    std::uint64_t tensor_offset, norms_offset, norms_bytes;
    std::uint32_t norms_crc, reserved_word;
    std::uint64_t json_offset, json_bytes;
    unsigned char reserved[128];
};
static_assert(sizeof(FileHeader) == 256);

// Where a layout of a matrix lies; 0 and 0 where there is none.
struct FilePlace {
    std::uint64_t offset, bytes;
};

struct FileTensor {
    std::uint32_t kind, layer, k, n;
    std::uint8_t wbits, code, minimum, reserved_byte;
    std::uint16_t group_size, zero_point;
    FilePlace rows, lut, tiles;
    std::uint32_t rows_crc, lut_crc, tiles_crc;
    std::int16_t step, zero;
    unsigned char reserved_1[40];
    std::int16_t book[16]; // on a line of its own, as a unit wants it
    unsigned char reserved_2[32];
};
static_assert(sizeof(FileTensor) == 192 && offsetof(FileTensor, book) == 128);

} // namespace sailsim::kernels::decode

#endif
