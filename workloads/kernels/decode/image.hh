/* SPDX-License-Identifier: BSD-3-Clause */
// An image of a model (docs/decode.md, `sailsim image`), mapped into memory and used where it lies.
#ifndef SAILSIM_KERNELS_DECODE_IMAGE_HH
#define SAILSIM_KERNELS_DECODE_IMAGE_HH

#include "decode/layout.hh"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sailsim::kernels::decode
{

// What a matrix is for: its number in the file.
enum class Kind : std::uint32_t { q, k, v, output, gate, up, down, head, embedding };

struct Dimensions {
    std::size_t layers, d_model, heads, kv_heads, head_dim, d_ffn, vocab, slices;
    float norm_eps, rope_base;

    std::size_t d_attn() const { return heads * head_dim; }
    std::size_t d_kv() const { return kv_heads * head_dim; }
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
};

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
    // Weights of a norm, padded with zeros to whole lines: 2 * layer for attention, 2 * layer + 1 for the
    // feed-forward part, 2 * layers at the end.
    const float *norm(std::size_t row) const;
    std::size_t bytes() const { return size_; }

  private:
    static constexpr std::size_t kOfBlock = 7;
    void map_file();
    unsigned char *section(const char *what, std::uint64_t offset, std::uint64_t bytes) const;
    void check_header(const struct FileHeader &header);
    void read_matrices(const struct FileHeader &header);
    void check_contents(const struct FileHeader &header) const;

    std::string path_;
    bool mapped_;
    unsigned char *data_ = nullptr;
    std::size_t size_ = 0;
    Dimensions dimensions_{};
    std::vector<Matrix> matrices_;
    const float *norms_ = nullptr;
};

} // namespace sailsim::kernels::decode

#endif
