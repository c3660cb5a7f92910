/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/image.hh"

#include "common/fail.hh"
#include "decode/image_format.hh"
#include "decode/scales.hh"
#include "lutmm.h"

#include <arm_acle.h>
#include <cinttypes>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <initializer_list>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sailsim::kernels::decode
{

namespace
{

constexpr std::uint32_t kMostLayers = 1 << 16, kMostElements = 1 << 24, kMostHeadDim = 512, kMostSlices = 64;
constexpr const char *kKindNames[] = {"attn_q", "attn_k",   "attn_v", "attn_output", "ffn_gate",
                                      "ffn_up", "ffn_down", "head",   "embedding"};

// CRC-32 as in zlib, whose state is the complement of its value.
std::uint32_t crc32(const unsigned char *bytes, std::size_t size, std::uint32_t crc = 0)
{
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

void require(const std::string &path, const char *field, std::uint64_t value, std::uint64_t least,
             std::uint64_t most)
{
    if (least == most && value != least)
        fail("image %s: %s is %" PRIu64 "; allowed is %" PRIu64, path.c_str(), field, value, least);
    if (value < least || value > most)
        fail("image %s: %s is %" PRIu64 "; allowed is %" PRIu64 "..%" PRIu64, path.c_str(), field, value,
             least, most);
}

void require_checksum(const std::string &path, const char *what, std::uint32_t stored, std::uint32_t found)
{
    if (stored != found)
        fail("image %s: the checksum of %s is 0x%08" PRIx32 "; allowed is 0x%08" PRIx32, path.c_str(), what,
             stored, found);
}

// K and N of a matrix by the model's shape.
std::pair<std::size_t, std::size_t> expected_size(const Dimensions &d, Kind kind)
{
    switch (kind) {
    case Kind::q:
        return {d.d_model, d.d_attn()};
    case Kind::k:
    case Kind::v:
        return {d.d_model, d.d_kv()};
    case Kind::output:
        return {d.d_attn(), d.d_model};
    case Kind::gate:
    case Kind::up:
        return {d.d_model, d.d_ffn};
    case Kind::down:
        return {d.d_ffn, d.d_model};
    default:
        return {d.d_model, d.vocab};
    }
}

std::size_t matrix_count(const FileHeader &header)
{
    return 7 * std::size_t{header.layers} + (header.tied != 0 ? 1 : 2);
}

// The largest magnitude that a code of this matrix can mean.
std::int64_t largest_weight(const Matrix &matrix)
{
    const std::int64_t codes = std::int64_t{1} << matrix.shape.wbits;
    std::int64_t largest = 0;
    if (matrix.step == 0) {
        for (std::int64_t code = 0; code < codes; ++code)
            largest = std::max<std::int64_t>(largest, std::abs(matrix.book[code]));
        return largest;
    }
    if (matrix.shape.wbits == 8)
        return 128;
    return std::max(std::abs(std::int64_t{matrix.zero}),
                    std::abs(matrix.step * (codes - 1) - std::int64_t{matrix.zero}));
}

} // namespace

Image::Image(const std::string &path, std::uintptr_t placed_at, bool trusted)
    : path_(path), mapped_(placed_at == 0)
{
    if (mapped_)
        map_file();
    else
        data_ = reinterpret_cast<unsigned char *>(placed_at);
    FileHeader header;
    std::memcpy(&header, data_, sizeof header);
    if (!mapped_)
        size_ = header.file_bytes;
    check_header(header);
    read_matrices(header);
    if (!trusted)
        check_contents(header);
}

Image::~Image()
{
    if (mapped_)
        munmap(data_, size_);
}

void Image::map_file()
{
    const char *path = path_.c_str();
    const int file = open(path, O_RDONLY);
    struct stat status{};
    if (file < 0 || fstat(file, &status) != 0 || !S_ISREG(status.st_mode))
        fail("image %s cannot be opened; allowed is a file", path);
    size_ = static_cast<std::size_t>(status.st_size);
    if (size_ < sizeof(FileHeader))
        fail("image %s is cut short: it has %zu bytes, and its header alone %zu", path, size_,
             sizeof(FileHeader));
    // Private and writable: activation scales are written behind those of a tile, and never reach the file.
    void *memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    close(file);
    if (memory == MAP_FAILED)
        fail("image %s cannot be mapped: it has %zu bytes", path, size_);
    data_ = static_cast<unsigned char *>(memory);
}

const float *Image::norm(std::size_t row) const
{
    return norms_ + row * (round_up(4 * dimensions_.d_model, kLine) / 4);
}

unsigned char *Image::section(const char *what, std::uint64_t offset, std::uint64_t bytes) const
{
    if (offset % kLine != 0 || offset > size_ || bytes > size_ - offset)
        fail("image %s: %s has %" PRIu64 " bytes from byte %" PRIu64
             "; allowed is a multiple of %zu, and the file has %zu bytes",
             path_.c_str(), what, bytes, offset, kLine, size_);
    return data_ + offset;
}

void Image::check_header(const FileHeader &header)
{
    const std::string &path = path_;
    if (std::memcmp(header.magic, kMagic, sizeof header.magic) != 0)
        fail("%s is no image: it does not begin with %s", path.c_str(), kMagic);
    if (header.version != kVersion)
        fail("image %s has version %" PRIu32 "; allowed is %" PRIu32, path.c_str(), header.version, kVersion);
    require(path, "file_bytes", header.file_bytes, size_, size_);
    require(path, "n_layers", header.layers, 1, kMostLayers);
    require(path, "d_model", header.d_model, 1, kMostElements);
    require(path, "n_heads", header.heads, 1, kMostElements);
    require(path, "n_kv_heads", header.kv_heads, 1, header.heads);
    require(path, "head_dim", header.head_dim, 2, kMostHeadDim);
    require(path, "d_ffn", header.d_ffn, 1, kMostElements);
    require(path, "vocab", header.vocab, 1, kMostElements);
    require(path, "slices", header.slices, 1, kMostSlices);
    require(path, "max_batch", header.max_batch, kMostBatch, kMostBatch);
    require(path, "tied", header.tied, 0, 1);
    require(path, "n_heads * head_dim", std::uint64_t{header.heads} * header.head_dim, 2, kMostElements);
    require(path, "n_heads modulo n_kv_heads", header.heads % header.kv_heads, 0, 0);
    require(path, "head_dim modulo 2", header.head_dim % 2, 0, 0);
    require(path, "tensor_count", header.tensor_count, matrix_count(header), matrix_count(header));
    for (const float number : {header.norm_eps, header.rope_base})
        if (!(number > 0.0f) || !std::isfinite(number))
            fail("image %s: norm_eps or rope_base is %g; allowed is a positive number", path.c_str(),
                 static_cast<double>(number));
    const std::size_t table_bytes = matrix_count(header) * sizeof(FileTensor);
    const unsigned char *table = section("the table of matrices", header.tensor_offset, table_bytes);
    FileHeader without = header;
    without.crc = 0;
    unsigned char bytes[sizeof without];
    std::memcpy(bytes, &without, sizeof without);
    require_checksum(path, "the header", header.crc, crc32(table, table_bytes, crc32(bytes, sizeof bytes)));
    dimensions_ = {header.layers, header.d_model, header.heads,  header.kv_heads, header.head_dim,
                   header.d_ffn,  header.vocab,   header.slices, header.norm_eps, header.rope_base};
    const std::size_t norm_bytes =
        round_up(4 * std::size_t{header.d_model}, kLine) * (2 * std::size_t{header.layers} + 1);
    require(path, "norms_bytes", header.norms_bytes, norm_bytes, norm_bytes);
    norms_ = reinterpret_cast<const float *>(section("the norms", header.norms_offset, norm_bytes));
}

void Image::read_matrices(const FileHeader &header)
{
    const auto *table = reinterpret_cast<const FileTensor *>(data_ + header.tensor_offset);
    const std::size_t count = matrix_count(header);
    for (std::size_t i = 0; i < count; ++i) {
        const FileTensor &record = table[i];
        const std::size_t of_blocks = kOfBlock * dimensions_.layers;
        const std::size_t kind_number = i < of_blocks ? i % kOfBlock : kOfBlock + i - of_blocks;
        const auto kind = static_cast<Kind>(kind_number);
        const std::string name =
            std::string(kKindNames[kind_number]) + " of block " + std::to_string(i / kOfBlock);
        const auto [k, n] = expected_size(dimensions_, kind);
        require(path_, ("the kind of " + name).c_str(), record.kind, kind_number, kind_number);
        require(path_, ("k of " + name).c_str(), record.k, k, k);
        require(path_, ("n of " + name).c_str(), record.n, n, n);
        require(path_, ("wbits of " + name).c_str(), record.wbits, 1, LUTMM_WBITS_MAX);
        require(path_, ("minimum of " + name).c_str(), record.minimum, 0, 1);
        require(path_, ("code of " + name).c_str(), record.code & ~LUTMM_F_CODE_MASK, 0, 0);
        require(path_, ("group_size modulo 16 of " + name).c_str(), record.group_size % kChunk, 0, 0);
        require(path_, ("step of " + name).c_str(), static_cast<std::uint16_t>(record.step), 0,
                record.wbits == 1 ? 255 : 1);
        if (record.step == 0)
            require(path_, ("wbits of the codebook of " + name).c_str(), record.wbits, 1, 4);
        const Shape shape{k, n, record.wbits, record.group_size, dimensions_.slices, record.minimum != 0};
        const auto place = [&](const char *layout, const FilePlace &at,
                               std::size_t bytes) -> unsigned char * {
            const std::string what = std::string(layout) + " of " + name;
            if (at.bytes == 0)
                return nullptr;
            require(path_, ("bytes of " + what).c_str(), at.bytes, bytes, bytes);
            return section(what.c_str(), at.offset, at.bytes);
        };
        Matrix matrix{shape,
                      record.step,
                      record.zero,
                      record.code,
                      record.zero_point,
                      record.book,
                      place("rows", record.rows, shape.rows_bytes()),
                      place("lut", record.lut, shape.lut_bytes()),
                      place("tiles", record.tiles, shape.tiles_bytes())};
        if (matrix.rows == nullptr)
            fail("image %s: %s has no rows layout, which every matrix needs", path_.c_str(), name.c_str());
        if (matrix.lut != nullptr && (record.wbits > 4 || record.step == 0))
            fail("image %s: %s has a lut layout of %u bits and step %d; allowed are 1..4 and a step",
                 path_.c_str(), name.c_str(), record.wbits, record.step);
        // int8 activations, 32-bit accumulators: as a unit refuses what could wrap.
        constexpr std::int64_t most = 0x7fffffff, largest_activation = 128;
        const auto block = static_cast<std::int64_t>(shape.block());
        if (largest_weight(matrix) > most / largest_activation / block)
            fail("image %s: sums of %s may pass 32 bits; allowed are shorter blocks than %" PRId64,
                 path_.c_str(), name.c_str(), block);
        matrices_.push_back(matrix);
    }
}

void Image::check_contents(const FileHeader &header) const
{
    require_checksum(path_, "the norms", header.norms_crc,
                     crc32(reinterpret_cast<const unsigned char *>(norms_), header.norms_bytes));
    const auto *table = reinterpret_cast<const FileTensor *>(data_ + header.tensor_offset);
    for (std::size_t i = 0; i < matrices_.size(); ++i) {
        const FileTensor &record = table[i];
        const std::string name = "matrix " + std::to_string(i);
        for (const auto &[place, crc] :
             {std::pair{record.rows, record.rows_crc}, std::pair{record.lut, record.lut_crc},
              std::pair{record.tiles, record.tiles_crc}})
            if (place.bytes != 0)
                require_checksum(path_, name.c_str(), crc, crc32(data_ + place.offset, place.bytes));
        if (!scales_are_numbers(matrices_[i]))
            fail("image %s: a scale of %s is no number; allowed are finite ones", path_.c_str(),
                 name.c_str());
    }
    for (std::size_t i = 0; i < header.norms_bytes / 4; ++i)
        if (!std::isfinite(norms_[i]))
            fail("image %s: a weight of a norm is no number; allowed are finite ones", path_.c_str());
}

} // namespace sailsim::kernels::decode
