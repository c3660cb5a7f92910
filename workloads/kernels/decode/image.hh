/* SPDX-License-Identifier: BSD-3-Clause */
// An image of a model (docs/decode.md, `sailsim image`), mapped into memory and used where it lies: a
// safetensors file whose tensors come in one order. Where each lies follows from the numbers in the first
// two, so that the JSON in front, which names them for everybody else, is not read here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sailsim::kernels::decode
{

constexpr std::size_t kLine = 64;
constexpr std::size_t kChunk = 16;     // weights along K that a panel of rows is padded to
constexpr std::size_t kRowsPanel = 8;  // outputs of a panel of the rows layout
constexpr std::size_t kLutPanel = 32;  // and of the lut layout
constexpr std::size_t kSegment = 256;  // weights along K whose bits lie together in the lut layout
constexpr std::size_t kMostBatch = 64; // rows whose activation scales a tile has room for
constexpr std::size_t kMostHeadDim = 512;

constexpr std::size_t round_up(std::size_t size, std::size_t to)
{
    return (size + to - 1) / to * to;
}
constexpr std::size_t parts_of(std::size_t size, std::size_t part)
{
    return (size + part - 1) / part;
}

// What fills a row of DRAM takes an odd number of rows: what follows begins in another bank.
constexpr std::size_t apart(std::size_t size, std::size_t row)
{
    return row > 0 && row <= size ? (parts_of(size, row) | 1) * row : size;
}

// A chunk of the rows layout fills 8 registers of 16 codes, 4 consecutive weights of 4 outputs each, and is
// stored in `wbits` rows of 16 bytes. A byte of a row holds as many whole codes as fit, the first lowest;
// what is left at the top of the bytes holds parts of the other codes, the highest part first.
constexpr int kRegisters = 8;
struct CodePart {
    int row, bit, count; // bits `bit` .. `bit` + count - 1 of the row's bytes; none: no further part
};
constexpr int kMostParts = 7;
// By width and by code behind the whole ones (workloads/images/image_layout.py).
constexpr CodePart kScattered[9][3][kMostParts] = {
    {},
    {},
    {},
    {{{0, 6, 2}, {2, 7, 1}}, {{1, 6, 2}, {2, 6, 1}}},
    {},
    {{{3, 6, 2}, {0, 5, 3}}, {{4, 6, 2}, {1, 5, 3}}, {{2, 5, 3}, {3, 5, 1}, {4, 5, 1}}},
    {{{0, 6, 2}, {1, 6, 2}, {2, 6, 2}}, {{3, 6, 2}, {4, 6, 2}, {5, 6, 2}}},
    {{{0, 7, 1}, {1, 7, 1}, {2, 7, 1}, {3, 7, 1}, {4, 7, 1}, {5, 7, 1}, {6, 7, 1}}},
};

// How large the layouts of a matrix are, and where things lie in them (workloads/images/image_file.py).
struct Shape {
    std::size_t k, n, wbits, group_size, slices;
    bool minimum;
    std::size_t tile_most = 0; // outputs of a tile; 0: any number
    std::size_t row = 0;       // bytes of a DRAM row over all channels; 0: tiles follow one another

    std::size_t block() const { return group_size > 0 && group_size < k ? group_size : k; }
    std::size_t blocks() const { return parts_of(k, block()); }
    std::size_t factors() const { return minimum ? 2 : 1; }

    std::size_t rows_panel_bytes() const { return 16 * (blocks() * factors() + parts_of(k, kChunk) * wbits); }
    std::size_t rows_bytes() const { return parts_of(n, kRowsPanel) * rows_panel_bytes(); }

    std::size_t lut_panel_bytes() const { return 32 * (2 * blocks() * factors() + parts_of(k, 8) * wbits); }
    std::size_t lut_bytes() const { return parts_of(n, kLutPanel) * lut_panel_bytes(); }

    // Outputs of a tile but the last: those of a slice, or of an even part of them.
    std::size_t share() const
    {
        const std::size_t slice = parts_of(n, slices);
        return tile_most == 0 ? slice : parts_of(slice, parts_of(slice, tile_most));
    }
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
        return apart(tile_codes() + round_up(tile_scale_bytes(share()) + 4 * kMostBatch, kLine), row);
    }
    std::size_t tiles_bytes() const { return tiles() * tile_stride(); }
};

// One weight matrix. A layout that the image lacks is null.
struct Matrix {
    Shape shape;
    // In rows and lut a code means step * code - zero; with step 0 book[code].
    std::int32_t step, zero;
    std::uint8_t code_flags; // as in a descriptor
    std::uint16_t zero_point;
    const std::int16_t *book;
    const std::uint8_t *rows, *lut;
    std::uint8_t *tiles; // writable: activation scales go behind a tile's own

    // out[i] = the weight at k = first + i of output n, for `count` of them; zeros beyond K.
    void read(std::size_t n, std::size_t first, std::size_t count, float *out) const;
};

struct Dimensions {
    std::size_t layers, d_model, heads, kv_heads, head_dim, d_ffn, vocab, slices;
    float norm_eps, rope_base;
    std::size_t tile_most;

    std::size_t d_attn() const { return heads * head_dim; }
    std::size_t d_kv() const { return kv_heads * head_dim; }
};

// What a matrix is for, in the order of the file: q to down of every block, then the others.
enum class Kind : std::size_t { q, k, v, output, gate, up, down, head, embedding };

class Image
{
  public:
    // Maps and checks the file; ends the program with one sentence for what is no whole image of this
    // version. A `trusted` one is not read through: checksums and scales count as good. With `placed_at` the
    // file's bytes lie at that address already, where a simulator has put them, and nothing is read.
    Image(const std::string &path, std::uintptr_t placed_at, bool trusted);
    ~Image();
    Image(const Image &) = delete;
    Image &operator=(const Image &) = delete;

    const Dimensions &dimensions() const { return dimensions_; }
    // Kind::q .. Kind::down of a block.
    const Matrix &matrix(Kind kind, std::size_t layer) const
    {
        return matrices_[kOfBlock * layer + static_cast<std::size_t>(kind)];
    }
    const Matrix &head() const { return matrices_[kOfBlock * dimensions_.layers]; }
    // The head's matrix where both are one.
    const Matrix &embedding() const { return matrices_.back(); }
    const std::vector<Matrix> &matrices() const { return matrices_; }
    // The largest that a property of their shapes is.
    std::size_t most(std::size_t (Shape::*of)() const) const;
    // Weights of a norm, padded with zeros to whole lines: 2 * layer for attention, 2 * layer + 1 for the
    // feed-forward part, 2 * layers at the end.
    const float *norm(std::size_t row) const { return norms_ + row * norm_stride(); }
    std::size_t bytes() const { return size_; }

  private:
    static constexpr std::size_t kOfBlock = 7;
    std::size_t norm_stride() const { return round_up(dimensions_.d_model, kLine / sizeof(float)); }
    void map_file();
    unsigned char *take(const std::string &what, std::size_t bytes);
    void require(const std::string &field, std::uint64_t value, std::uint64_t least,
                 std::uint64_t most) const;
    void require_checksum(const std::string &what, std::uint32_t stored, std::uint32_t actual) const;
    void read_head(const struct FileHead &head);
    void read_matrix(std::size_t i, const struct FileMatrix &record);
    void check_contents(const struct FileHead &head, const struct FileMatrix *records) const;

    std::string path_;
    bool mapped_;
    unsigned char *data_ = nullptr;
    // Bytes of the file, and of the tensors so far with what is before them.
    std::size_t size_ = 0, taken_ = 0;
    Dimensions dimensions_{};
    std::vector<Matrix> matrices_;
    const float *norms_ = nullptr;
};

} // namespace sailsim::kernels::decode
