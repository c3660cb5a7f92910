/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/image.hh"

#include "common/program.hh"
#include "lutmm.h"

#include <algorithm>
#include <arm_acle.h>
#include <arm_neon.h>
#include <cinttypes>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace sailsim::kernels::decode
{

// The bytes of the first two tensors, little endian (workloads/images/image_file.py).
struct FileHead {
    std::uint32_t crc; // CRC-32 of the file up to the norms, with 0 in its place
    std::uint32_t norms_crc;
    std::uint32_t layers, model_layers, d_model, heads, kv_heads, head_dim, d_ffn, vocab, slices, max_batch,
        tied;
    float norm_eps, rope_base;
    std::uint32_t tile_most;
};
static_assert(sizeof(FileHead) == kLine);

struct FileMatrix {
    std::uint32_t wbits, code, minimum, group_size, zero_point;
    std::uint32_t lut, tiles; // whether it has these layouts
    std::uint32_t crc;        // of all its layouts
    std::int32_t step, zero;
    std::uint32_t row; // Shape::row
    std::uint32_t reserved_1[5];
    std::int16_t book[16]; // on a line of its own, as a unit wants it
    std::uint32_t reserved_2[8];
};
static_assert(sizeof(FileMatrix) == 2 * kLine && offsetof(FileMatrix, book) == kLine);

namespace
{

// Behind the 8 bytes with the length of the JSON, which the first tensor begins a line behind.
constexpr char kBeginning[] = "{\"__metadata__\":{\"sailsim_image\":\"3\"";
constexpr std::size_t kBeginningBytes = sizeof kBeginning - 1;
constexpr std::uint32_t kMostLayers = 1 << 16, kMostElements = 1 << 24, kMostSlices = 64;
constexpr const char *kKindNames[] = {"attn_q", "attn_k",   "attn_v", "attn_output", "ffn_gate",
                                      "ffn_up", "ffn_down", "head",   "embedding"};

// CRC-32 as in zlib, whose state is the complement of its value.
std::uint32_t crc32(const void *from, std::size_t size, std::uint32_t crc = 0)
{
    const auto *bytes = static_cast<const unsigned char *>(from);
    crc = ~crc;
    for (; size >= sizeof(std::uint64_t); size -= sizeof(std::uint64_t), bytes += sizeof(std::uint64_t)) {
        std::uint64_t word;
        std::memcpy(&word, bytes, sizeof word);
        crc = __crc32d(crc, word);
    }
    for (; size > 0; --size, ++bytes)
        crc = __crc32b(crc, *bytes);
    return ~crc;
}

// K and N of a matrix by the model's shape.
std::pair<std::size_t, std::size_t> size_of(const Dimensions &d, std::size_t kind)
{
    const std::pair<std::size_t, std::size_t> sizes[] = {
        {d.d_model, d.d_attn()}, {d.d_model, d.d_kv()}, {d.d_model, d.d_kv()},
        {d.d_attn(), d.d_model}, {d.d_model, d.d_ffn},  {d.d_model, d.d_ffn},
        {d.d_ffn, d.d_model},    {d.d_model, d.vocab},  {d.d_model, d.vocab},
    };
    return sizes[kind];
}

// The largest magnitude that a code can mean.
std::int64_t largest_weight(const FileMatrix &record)
{
    const std::int64_t codes = std::int64_t{1} << record.wbits, zero = record.zero;
    if (record.step == 0) {
        const auto smaller = [](int a, int b) { return std::abs(a) < std::abs(b); };
        return std::abs(*std::max_element(record.book, record.book + codes, smaller));
    }
    return record.wbits == 8 ? 128 : std::max(std::abs(zero), std::abs(record.step * (codes - 1) - zero));
}

bool are_numbers(const std::uint8_t *halves, std::size_t count)
{
    const auto *numbers = reinterpret_cast<const float16_t *>(halves);
    return std::all_of(numbers, numbers + count, [](float16_t number) { return std::isfinite(number); });
}

// Looks at every scale and minimum in all layouts. A panel has those of its outputs before each block's
// codes.
bool scales_are_numbers(const Matrix &matrix)
{
    const Shape &shape = matrix.shape;
    const auto panels_are_good = [&](const std::uint8_t *panel, std::size_t outputs, std::size_t chunk) {
        for (std::size_t first = 0; panel != nullptr && first < shape.n; first += outputs)
            for (std::size_t k = 0; k < shape.k; k += shape.block()) {
                const std::size_t numbers = shape.factors() * outputs, chunk_bytes = outputs * chunk / 8;
                if (!are_numbers(panel, numbers))
                    return false;
                const std::size_t chunks = parts_of(std::min(shape.block(), shape.k - k), chunk);
                panel += 2 * numbers + chunks * chunk_bytes * shape.wbits;
            }
        return true;
    };
    bool good = panels_are_good(matrix.rows, kRowsPanel, kChunk) && panels_are_good(matrix.lut, kLutPanel, 8);
    for (std::size_t tile = 0; matrix.tiles != nullptr && tile < shape.tiles(); ++tile)
        good &= are_numbers(matrix.tiles + tile * shape.tile_stride() + shape.tile_codes(),
                            shape.blocks() * shape.factors() * shape.tile_outputs(tile));
    return good;
}

// Code of register `index`, byte `lane`, of a chunk of the rows layout.
unsigned stored_code(const std::uint8_t *chunk, std::size_t bits, std::size_t index, std::size_t lane)
{
    const auto part = [&](std::size_t row, std::size_t bit, std::size_t count) {
        return (unsigned{chunk[16 * row + lane]} >> bit) & ((1u << count) - 1);
    };
    const std::size_t in_byte = 8 / bits, whole = bits * in_byte;
    if (index < whole)
        return part(index / in_byte, bits * (index % in_byte), bits);
    unsigned code = 0;
    for (const CodePart &each : kScattered[bits][index - whole])
        code = code << each.count | part(each.row, each.bit, each.count);
    return code;
}

} // namespace

void Matrix::read(std::size_t output, std::size_t first, std::size_t count, float *out) const
{
    const std::uint8_t *panel = rows + output / kRowsPanel * shape.rows_panel_bytes();
    const std::size_t row = output % kRowsPanel, head = 16 * shape.factors(), chunk_bytes = 16 * shape.wbits;
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
        std::int32_t value = step * static_cast<std::int32_t>(code) - zero;
        if (step == 0)
            value = book[code];
        else if (shape.wbits == 8)
            value = static_cast<std::int8_t>(code);
        const auto *factors = reinterpret_cast<const float16_t *>(block);
        out[i] = static_cast<float>(value) * factors[row];
        if (shape.minimum)
            out[i] += factors[kRowsPanel + row];
    }
}

Image::Image(const std::string &path, std::uintptr_t placed_at, bool trusted)
    : path_(path), mapped_(placed_at == 0)
{
    if (mapped_) {
        map_file();
    } else {
        data_ = reinterpret_cast<unsigned char *>(placed_at);
        size_ = std::numeric_limits<std::size_t>::max() / 2;
    }
    std::uint64_t json;
    std::memcpy(&json, data_, sizeof json);
    if (std::memcmp(data_ + sizeof json, kBeginning, kBeginningBytes) != 0)
        fail("%s is no image of version 2: its header does not begin with %s", path_.c_str(), kBeginning);
    if (json % kLine != kLine - sizeof json)
        fail("image %s: its header has %" PRIu64 " bytes; allowed are %zu more than a multiple of %zu",
             path_.c_str(), json, kLine - sizeof json, kLine);
    take("the header", json);
    const auto *head_bytes = take("the tensor image", sizeof(FileHead));
    FileHead head;
    std::memcpy(&head, head_bytes, sizeof head);
    read_head(head);
    const std::size_t count = kOfBlock * dimensions_.layers + (head.tied != 0 ? 1 : 2);
    const auto *records =
        reinterpret_cast<const FileMatrix *>(take("the tensor matrices", count * sizeof(FileMatrix)));
    const std::uint32_t stored = std::exchange(head.crc, 0);
    const std::uint32_t before = crc32(data_, static_cast<std::size_t>(head_bytes - data_));
    const std::uint32_t with_head = crc32(&head, sizeof head, before);
    require_checksum("the header", stored, crc32(records, count * sizeof(FileMatrix), with_head));
    const std::size_t norms = (2 * dimensions_.layers + 1) * norm_stride();
    norms_ = reinterpret_cast<const float *>(take("the tensor norms", norms * sizeof(float)));
    for (std::size_t i = 0; i < count; ++i)
        read_matrix(i, records[i]);
    if (mapped_)
        require("the size", size_, taken_, taken_);
    size_ = taken_;
    if (!trusted)
        check_contents(head, records);
}

Image::~Image()
{
    if (mapped_)
        munmap(data_, size_);
}

std::size_t Image::most(std::size_t (Shape::*of)() const) const
{
    std::size_t found = 0;
    for (const Matrix &matrix : matrices_)
        found = std::max(found, (matrix.shape.*of)());
    return found;
}

void Image::map_file()
{
    const char *path = path_.c_str();
    const int file = open(path, O_RDONLY);
    struct stat status{};
    if (file < 0 || fstat(file, &status) != 0 || !S_ISREG(status.st_mode))
        fail("image %s cannot be opened; allowed is a file", path);
    size_ = static_cast<std::size_t>(status.st_size);
    if (size_ < sizeof(std::uint64_t) + kBeginningBytes)
        fail("image %s is cut short: it has %zu bytes", path, size_);
    // Private and writable: activation scales are written behind those of a tile, and never reach the file.
    void *memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    close(file);
    if (memory == MAP_FAILED)
        fail("image %s cannot be mapped: it has %zu bytes", path, size_);
    data_ = static_cast<unsigned char *>(memory);
}

// The next tensor; each has whole lines.
unsigned char *Image::take(const std::string &what, std::size_t bytes)
{
    if (bytes > size_ || round_up(bytes, kLine) > size_ - taken_)
        fail("image %s is cut short: %s has %zu bytes from byte %zu, and the file has %zu", path_.c_str(),
             what.c_str(), bytes, taken_, size_);
    return data_ + std::exchange(taken_, taken_ + round_up(bytes, kLine));
}

void Image::require(const std::string &field, std::uint64_t value, std::uint64_t least,
                    std::uint64_t most) const
{
    const std::string range = least == most ? "" : ".." + std::to_string(most);
    if (value < least || value > most)
        fail("image %s: %s is %" PRIu64 "; allowed is %" PRIu64 "%s", path_.c_str(), field.c_str(), value,
             least, range.c_str());
}

void Image::require_checksum(const std::string &what, std::uint32_t stored, std::uint32_t actual) const
{
    if (stored != actual)
        fail("image %s: the checksum of %s is 0x%08" PRIx32 "; allowed is 0x%08" PRIx32, path_.c_str(),
             what.c_str(), stored, actual);
}

void Image::read_head(const FileHead &head)
{
    require("n_layers", head.layers, 1, kMostLayers);
    require("d_model", head.d_model, 1, kMostElements);
    require("n_heads", head.heads, 1, kMostElements);
    require("n_kv_heads", head.kv_heads, 1, head.heads);
    require("head_dim", head.head_dim, 2, kMostHeadDim);
    require("d_ffn", head.d_ffn, 1, kMostElements);
    require("vocab", head.vocab, 1, kMostElements);
    require("slices", head.slices, 1, kMostSlices);
    require("tile_most", head.tile_most, 0, kMostElements);
    require("max_batch", head.max_batch, kMostBatch, kMostBatch);
    require("tied", head.tied, 0, 1);
    require("n_heads * head_dim", std::uint64_t{head.heads} * head.head_dim, 2, kMostElements);
    require("n_heads modulo n_kv_heads", head.heads % head.kv_heads, 0, 0);
    require("head_dim modulo 2", head.head_dim % 2, 0, 0);
    for (const float number : {head.norm_eps, head.rope_base})
        if (!(number > 0.0f) || !std::isfinite(number))
            fail("image %s: norm_eps or rope_base is %g; allowed is a positive number", path_.c_str(),
                 static_cast<double>(number));
    dimensions_ = {head.layers, head.d_model, head.heads,    head.kv_heads,  head.head_dim, head.d_ffn,
                   head.vocab,  head.slices,  head.norm_eps, head.rope_base, head.tile_most};
}

void Image::read_matrix(std::size_t i, const FileMatrix &record)
{
    const std::size_t of_blocks = kOfBlock * dimensions_.layers;
    const std::size_t kind = i < of_blocks ? i % kOfBlock : kOfBlock + i - of_blocks;
    const std::string name = std::string(kKindNames[kind]) + " of block " + std::to_string(i / kOfBlock);
    require("wbits of " + name, record.wbits, 1, LUTMM_WBITS_MAX);
    require("minimum of " + name, record.minimum, 0, 1);
    require("code of " + name, record.code & ~std::uint32_t{LUTMM_F_CODE_MASK}, 0, 0);
    require("group_size of " + name, record.group_size, 0, 0xffff);
    require("group_size modulo 16 of " + name, record.group_size % kChunk, 0, 0);
    require("zero_point of " + name, record.zero_point, 0, 0xff);
    require("step of " + name, static_cast<std::uint32_t>(record.step), 0, record.wbits == 1 ? 255 : 1);
    require("zero of " + name, static_cast<std::uint32_t>(record.zero + 128), 0, 255);
    if (record.step == 0)
        require("wbits of the codebook of " + name, record.wbits, 2, 4);
    const bool has_table = record.wbits <= 4 && record.step != 0;
    require("the lut layout of " + name, record.lut, 0, has_table ? 1 : 0);
    require("the tiles of " + name, record.tiles, 0, 1);
    require("row of " + name, record.row, 0, kMostElements);
    require("row modulo 64 of " + name, record.row % kLine, 0, 0);
    const Dimensions &d = dimensions_;
    const auto [k, n] = size_of(d, kind);
    const bool minimum = record.minimum != 0;
    const Shape shape{k, n, record.wbits, record.group_size, d.slices, minimum, d.tile_most, record.row};
    // int8 activations, 32-bit accumulators: as a unit refuses what could wrap.
    constexpr std::int64_t most = 0x7fffffff, largest_activation = 128;
    const auto block = static_cast<std::int64_t>(shape.block());
    if (largest_weight(record) > most / largest_activation / block)
        fail("image %s: sums of %s may pass 32 bits; allowed are shorter blocks than %" PRId64, path_.c_str(),
             name.c_str(), block);
    unsigned char *rows = take("rows of " + name, shape.rows_bytes());
    unsigned char *lut = record.lut != 0 ? take("lut of " + name, shape.lut_bytes()) : nullptr;
    unsigned char *tiles = record.tiles != 0 ? take("tiles of " + name, shape.tiles_bytes()) : nullptr;
    matrices_.push_back({shape, record.step, record.zero, static_cast<std::uint8_t>(record.code),
                         static_cast<std::uint16_t>(record.zero_point), record.book, rows, lut, tiles});
}

void Image::check_contents(const FileHead &head, const FileMatrix *records) const
{
    const std::size_t norms = (2 * dimensions_.layers + 1) * norm_stride();
    require_checksum("the norms", head.norms_crc, crc32(norms_, norms * sizeof(float)));
    if (!std::all_of(norms_, norms_ + norms, [](float weight) { return std::isfinite(weight); }))
        fail("image %s: a weight of a norm is no number; allowed are finite ones", path_.c_str());
    for (std::size_t i = 0; i < matrices_.size(); ++i) {
        const std::string name = "matrix " + std::to_string(i);
        const std::uint8_t *first = matrices_[i].rows;
        const std::uint8_t *last = i + 1 < matrices_.size() ? matrices_[i + 1].rows : data_ + size_;
        require_checksum(name, records[i].crc, crc32(first, static_cast<std::size_t>(last - first)));
        if (!scales_are_numbers(matrices_[i]))
            fail("image %s: a scale of %s is no number; allowed are finite ones", path_.c_str(),
                 name.c_str());
    }
}

} // namespace sailsim::kernels::decode
