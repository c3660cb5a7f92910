/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/linears.hh"

#include "common/vector_math.hh"

#include <algorithm>

namespace sailsim::kernels::decode
{

namespace
{

// Whole code `Index` of every byte.
template <int Bits, int Index>
inline __attribute__((always_inline)) uint8x16_t code_at(uint8x16_t packed)
{
    constexpr int from = Bits * Index;
    if constexpr (from > 0)
        packed = vshrq_n_u8(packed, from);
    if constexpr (from + Bits == 8)
        return packed; // nothing lies above it
    else
        return vandq_u8(packed, vdupq_n_u8((1 << Bits) - 1));
}

// Part `Index` of a scattered code and those below it, at the top of every byte; what lies below is anything.
template <int Bits, int Code, int Index = 0>
inline __attribute__((always_inline)) uint8x16_t parts_at(const uint8x16_t *rows)
{
    constexpr CodePart part = kScattered[Bits][Code][Index];
    constexpr int above = 8 - part.bit - part.count;
    uint8x16_t top = rows[part.row];
    if constexpr (above > 0)
        top = vshlq_n_u8(top, above);
    if constexpr (Index + 1 < kMostParts && kScattered[Bits][Code][Index + 1].count > 0)
        top = vsriq_n_u8(top, parts_at<Bits, Code, Index + 1>(rows), part.count);
    return top;
}

// Codes of `Bits` bits. Those of one bit become 0 and -1: one instruction instead of two.
template <int Bits>
inline __attribute__((always_inline)) void unpack(const std::uint8_t *bytes, uint8x16_t *codes)
{
    constexpr int in_byte = 8 / Bits, whole = Bits * in_byte;
    uint8x16_t rows[Bits];
    unroll<Bits>([&](auto row) {
        constexpr int r = decltype(row)::value;
        rows[r] = vld1q_u8(bytes + 16 * r);
        unroll<in_byte>([&](auto index) {
            constexpr int i = decltype(index)::value;
            if constexpr (Bits == 1)
                codes[i] = vtstq_u8(rows[r], vdupq_n_u8(1 << i));
            else
                codes[r * in_byte + i] = code_at<Bits, i>(rows[r]);
        });
    });
    unroll<kRegisters - whole>([&](auto code) {
        constexpr int c = decltype(code)::value;
        codes[whole + c] = vshrq_n_u8(parts_at<Bits, c>(rows), 8 - Bits);
    });
}

constexpr int kMostColumns = 4; // batch rows that share a pass over a panel

// One pass over a panel: `x` and `sums` of Batch rows of activations.
struct Pass {
    const Matrix *matrix;
    const std::uint8_t *panel;
    const std::int8_t *x[kMostColumns];
    const std::int32_t *sums[kMostColumns]; // of blocks; null where the matrix needs none
    float scale[kMostColumns];
    float *y[kMostColumns]; // kRowsPanel results each
};

// Adds the products of a chunk of 16 weights.
template <int Bits, bool Book, int Batch>
inline __attribute__((always_inline)) void add_chunk(const Pass &pass, const std::uint8_t *bytes,
                                                     std::size_t chunk, int8x16_t book,
                                                     int32x4_t (&dot)[Batch][2])
{
    uint8x16_t codes[kRegisters];
    unpack<Bits>(bytes, codes);
    for (int line = 0; line < 16 * Bits; line += 64)
        __builtin_prefetch(bytes + kPrefetchBytes + line, 0, 0);
    for (int b = 0; b < Batch; ++b) {
        const int8x16_t in = vld1q_s8(pass.x[b] + kChunk * chunk);
        unroll<4>([&](auto quad) {
            constexpr int q = decltype(quad)::value;
            for (int h = 0; h < 2; ++h) {
                const uint8x16_t code = codes[2 * q + h];
                const int8x16_t weights = Book ? vqtbl1q_s8(book, code) : vreinterpretq_s8_u8(code);
                dot[b][h] = vdotq_laneq_s32(dot[b][h], weights, in, q);
            }
        });
    }
}

// Never inlined, so that each loop stands by itself in the binary.
template <int Bits, bool Book, int Batch>
__attribute__((noinline)) void multiply_panel(const Pass &pass)
{
    const Shape &shape = pass.matrix->shape;
    const std::size_t in_block = parts_of(shape.block(), kChunk), chunks = parts_of(shape.k, kChunk);
    const bool minimum = shape.minimum;
    const std::int32_t zero = pass.matrix->zero;
    std::int8_t entries[16];
    for (int i = 0; i < 16; ++i)
        entries[i] = static_cast<std::int8_t>(pass.matrix->book[i]);
    const int8x16_t book = vld1q_s8(entries);
    const std::uint8_t *panel = pass.panel;
    PanelSums<Batch> total{};
    std::size_t chunk = 0;
    for (std::size_t block = 0; chunk < chunks; ++block) {
        const Floats8 scale = widen(reinterpret_cast<const float16_t *>(panel));
        const std::uint8_t *minima = panel + 16;
        // With those of the chunks no line is left out: a line in nine of four bits, fetched late, cost as
        // much as all else.
        __builtin_prefetch(panel + kPrefetchBytes, 0, 0);
        panel += minimum ? 32 : 16;
        int32x4_t dot[Batch][2];
        for (int b = 0; b < Batch; ++b)
            dot[b][0] = dot[b][1] = vdupq_n_s32(zero != 0 && Bits != 1 ? -zero * pass.sums[b][block] : 0);
        if (in_block == 2 && chunks - chunk >= 2) { // the usual block of 32, without a loop
            add_chunk<Bits, Book, Batch>(pass, panel, chunk, book, dot);
            add_chunk<Bits, Book, Batch>(pass, panel + 16 * Bits, chunk + 1, book, dot);
            panel += 2 * 16 * Bits;
            chunk += 2;
        } else {
            for (const std::size_t end = std::min(chunk + in_block, chunks); chunk < end; ++chunk) {
                add_chunk<Bits, Book, Batch>(pass, panel, chunk, book, dot);
                panel += 16 * Bits;
            }
        }
        for (int b = 0; b < Batch; ++b) {
            if constexpr (Bits == 1 && !Book) { // the codes were 0 and -1
                const int32x4_t zeros = vdupq_n_s32(zero != 0 ? -zero * pass.sums[b][block] : 0);
                for (int h = 0; h < 2; ++h)
                    dot[b][h] = vmlsq_n_s32(zeros, dot[b][h], pass.matrix->step);
            }
            total[b][0] = vaddq_f32(total[b][0], vmulq_f32(vcvtq_f32_s32(dot[b][0]), scale.low));
            total[b][1] = vaddq_f32(total[b][1], vmulq_f32(vcvtq_f32_s32(dot[b][1]), scale.high));
            if (minimum) {
                const Floats8 least = widen(reinterpret_cast<const float16_t *>(minima));
                const auto sum = static_cast<float>(pass.sums[b][block]);
                total[b][0] = vaddq_f32(total[b][0], vmulq_n_f32(least.low, sum));
                total[b][1] = vaddq_f32(total[b][1], vmulq_n_f32(least.high, sum));
            }
        }
    }
    for (int b = 0; b < Batch; ++b) {
        vst1q_f32(pass.y[b], vmulq_n_f32(total[b][0], pass.scale[b]));
        vst1q_f32(pass.y[b] + 4, vmulq_n_f32(total[b][1], pass.scale[b]));
    }
}

template <bool Book, int Batch, int... Bits>
constexpr std::array<void (*)(const Pass &), sizeof...(Bits)> kernels(std::integer_sequence<int, Bits...>)
{
    return {multiply_panel<Bits, Book, Batch>...};
}

// Columns `first` .. `first` + Batch - 1 of a panel.
template <int Batch>
void panel_columns(const Product &product, std::size_t panel, const Rounded &x, const std::int32_t *sums,
                   std::size_t first)
{
    const Matrix &matrix = *product.matrix;
    Pass pass{&matrix, matrix.rows + panel * matrix.shape.rows_panel_bytes(), {}, {}, {}, {}};
    for (int i = 0; i < Batch; ++i) {
        const std::size_t b = first + static_cast<std::size_t>(i);
        pass.x[i] = x.row(b);
        pass.sums[i] = sums == nullptr ? nullptr : sums + b * matrix.shape.blocks();
        pass.scale[i] = x.scale(b);
        pass.y[i] = product.y + b * product.stride + panel * kRowsPanel;
    }
    // One bit never needs a book: any two values are a step apart.
    static constexpr auto plain = kernels<false, Batch>(std::integer_sequence<int, 1, 2, 3, 4, 5, 6, 7, 8>{});
    static constexpr auto books = kernels<true, Batch>(std::integer_sequence<int, 2, 3, 4>{});
    (matrix.step == 0 ? books[matrix.shape.wbits - 2] : plain[matrix.shape.wbits - 1])(pass);
}

} // namespace

NeonLinears::NeonLinears(const Image &image, const LinearsSettings &settings)
    : sums_of_product_(round_up(settings.batch * image.most(&Shape::blocks), kLine / sizeof(std::int32_t))),
      sums_(settings.threads * kMostProducts * sums_of_product_ * sizeof(std::int32_t))
{
}

const std::int32_t *NeonLinears::sums_for(const Matrix &matrix, const Rounded &x, std::size_t product,
                                          const Worker &worker)
{
    const Shape &shape = matrix.shape;
    if (matrix.zero == 0 && !shape.minimum)
        return nullptr;
    std::int32_t *sums =
        sums_.as<std::int32_t>() + (worker.rank() * kMostProducts + product) * sums_of_product_;
    const std::size_t blocks = shape.blocks(), in_block = parts_of(shape.block(), kChunk);
    const std::size_t chunks = parts_of(shape.k, kChunk);
    for (std::size_t b = 0; b < x.batch(); ++b)
        for (std::size_t block = 0; block < blocks; ++block) {
            std::int32_t sum = 0;
            const std::size_t end = std::min((block + 1) * in_block, chunks);
            for (std::size_t chunk = block * in_block; chunk < end; ++chunk)
                sum += x.sums(b)[chunk];
            sums[b * blocks + block] = sum;
        }
    return sums;
}

void NeonLinears::multiply(const Product *products, std::size_t count, const Rounded &x, Worker &worker)
{
    const std::int32_t *sums[kMostProducts] = {};
    for (std::size_t i = 0; i < count; ++i)
        sums[i] = sums_for(*products[i].matrix, x, i, worker);
    const auto multiply_panel = [&](std::size_t i, std::size_t panel) {
        by_columns<kMostColumns>(x.batch(), [&](auto columns, std::size_t first) {
            panel_columns<columns>(products[i], panel, x, sums[i], first);
        });
    };
    for_my_panels(products, count, kRowsPanel, &Shape::rows_panel_bytes, worker, multiply_panel,
                  [&](std::size_t i, std::size_t panel) {
                      const Matrix &matrix = *products[i].matrix;
                      ask_for(matrix.rows + panel * matrix.shape.rows_panel_bytes());
                  });
}

} // namespace sailsim::kernels::decode
