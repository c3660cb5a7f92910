/* SPDX-License-Identifier: BSD-3-Clause */
// Attention on PIM units (docs/decode.md): two products of each head of keys of a batch row, as tiles over a
// cache of codes. The cores write new keys and values into the tiles and take the softmax between.
#include "decode/attention.hh"

#include "common/program.hh"
#include "common/vector_math.hh"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace sailsim::kernels::decode
{

namespace
{

constexpr float kMostProbability = 255.0f; // unsigned, 8 bits
constexpr std::size_t kFillBytes = 65'537; // a prime: rows of equal length begin at different places of it

// Code `index` of a row of codes of `bits` bits, lowest bits first.
void set_code(std::uint8_t *row, std::size_t index, unsigned bits, int code)
{
    const std::size_t at = index * bits / 8, shift = index * bits % 8;
    const unsigned mask = ((1u << bits) - 1) << shift, value = (static_cast<unsigned>(code) << shift) & mask;
    row[at] = static_cast<std::uint8_t>((row[at] & ~mask) | value);
    if (shift + bits > 8)
        row[at + 1] = static_cast<std::uint8_t>((row[at + 1] & ~(mask >> 8)) | value >> 8);
}

// The tiles of one of the two products: a matrix of codes, (k, n), for each block, batch row and head, cut
// into pieces of equally many outputs, which lie in slices of their own. All scales begin as one number.
class Matrices
{
  public:
    Matrices(std::size_t count, std::size_t layers, std::size_t k, std::size_t n, std::size_t cut,
             std::size_t rows, float scale, const AttentionSettings &settings)
        : count_(count), k_(k), n_(n), share_(parts_of(n, cut)), pieces_(parts_of(n, share_)), rows_(rows),
          bits_(settings.bits), stride_(round_up(k * row_bytes(0), kLine)),
          scale_stride_(round_up(round_up(2 * share_, sizeof(float)) + rows * sizeof(float), kLine)),
          codes_(layers * count * pieces_ * stride_), scales_(layers * count * pieces_ * scale_stride_),
          descriptors_(count * pieces_ * sizeof(lutmm_descriptor))
    {
        std::fill_n(scales_.as<float16_t>(), scales_.size() / sizeof(float16_t),
                    static_cast<float16_t>(scale));
    }

    // The codes of all pieces, one behind the other, become those of a table that comes round.
    void fill(const std::vector<unsigned char> &table)
    {
        for (std::size_t at = 0; at < codes_.size(); at += table.size())
            std::memcpy(codes_.bytes() + at, table.data(), std::min(table.size(), codes_.size() - at));
    }

    std::size_t pieces() const { return pieces_; }
    std::size_t share() const { return share_; }
    std::size_t outputs(std::size_t piece) const { return std::min(share_, n_ - piece * share_); }
    std::size_t row_bytes(std::size_t piece) const { return parts_of(outputs(piece) * bits_, 8); }
    // Row k of a piece's codes, and the scales of its outputs.
    std::uint8_t *row(std::size_t layer, std::size_t matrix, std::size_t piece, std::size_t k) const
    {
        return codes_.bytes() + place(layer, matrix, piece) * stride_ + k * row_bytes(piece);
    }
    float16_t *scales(std::size_t layer, std::size_t matrix, std::size_t piece) const
    {
        return reinterpret_cast<float16_t *>(scales_.bytes() + place(layer, matrix, piece) * scale_stride_);
    }

    // The descriptor of a piece with its first k inputs, for rows of activations that are worth `steps`.
    lutmm_descriptor &describe(std::size_t layer, std::size_t matrix, std::size_t piece, std::size_t k,
                               const void *activations, const float *steps, std::uint8_t flags,
                               std::uint8_t nbw) const
    {
        float16_t *of_outputs = scales(layer, matrix, piece);
        const std::size_t own = round_up(2 * outputs(piece), sizeof(float));
        std::memcpy(reinterpret_cast<unsigned char *>(of_outputs) + own, steps, rows_ * sizeof(float));
        lutmm_descriptor &d = descriptors_.as<lutmm_descriptor>()[matrix * pieces_ + piece];
        d.weights = address_of(row(layer, matrix, piece, 0));
        d.activations = address_of(activations);
        d.scales = address_of(of_outputs);
        d.k = static_cast<std::uint32_t>(k);
        d.n = static_cast<std::uint32_t>(outputs(piece));
        d.batch = static_cast<std::uint16_t>(rows_);
        d.wbits = static_cast<std::uint8_t>(bits_);
        d.abits = 8;
        d.nbw = nbw;
        d.flags = static_cast<std::uint8_t>(flags | LUTMM_F_CODE_TWOS | LUTMM_F_PRT | LUTMM_F_CONVERT);
        return d;
    }

  private:
    std::size_t place(std::size_t layer, std::size_t matrix, std::size_t piece) const
    {
        return (layer * count_ + matrix) * pieces_ + piece;
    }

    std::size_t count_, k_, n_, share_, pieces_, rows_;
    unsigned bits_;
    std::size_t stride_, scale_stride_;
    Buffer codes_, scales_, descriptors_;
};

class UnitAttention : public Attention
{
  public:
    UnitAttention(const Dimensions &dimensions, const AttentionSettings &settings);

    void fill(std::size_t, std::uint64_t seed) override;
    void mix(std::size_t layer, std::size_t position, Worker &worker) override;
    std::size_t operand_bytes() const override
    {
        return batch_ * heads_ * (head_dim_ + positions_ + 2 * sizeof(float));
    }
    unsigned char *record(std::size_t position, unsigned char *to) const override;
    std::string problem() const override { return tiles_.problem(); }

  private:
    void keep_query(std::size_t row) override;
    void keep(std::size_t layer, std::size_t b, std::size_t head, std::size_t position, const float *key,
              const float *value) override;
    std::size_t matrices() const { return batch_ * kv_heads_; }
    float round(const float *x, std::int8_t *codes) const;
    // Works out `pieces` pieces of every matrix with all threads.
    template <class Describe>
    void multiply(std::size_t pieces, Worker &worker, Describe &&describe);
    void soften(std::size_t layer, std::size_t count, std::size_t row, float *scores);
    void gather(std::size_t row);
    // Of a matrix, as descriptors have them: `share` rows of so many columns.
    std::int8_t *query_rows(std::size_t matrix) const
    {
        return query_bytes_.as<std::int8_t>() + matrix * round_up(share_ * head_dim_, kLine);
    }
    std::uint8_t *probabilities(std::size_t matrix) const
    {
        return probabilities_.bytes() + matrix * round_up(share_ * positions_, kLine);
    }
    // Of the keys that a head sees, by position.
    float16_t *value_scales(std::size_t layer, std::size_t matrix) const
    {
        return value_scales_.as<float16_t>() + (layer * matrices() + matrix) * round_up(positions_, kChunk);
    }

    std::size_t positions_, slices_, cut_;
    unsigned bits_;
    float most_; // largest code
    std::uint8_t nbw_;
    float query_scale_;
    Matrices keys_, values_;
    Tiles tiles_;
    Buffer query_bytes_, query_steps_, probabilities_, steps_, totals_, value_scales_, scores_;
};

// A matrix is shared by as many slices as there are for each (`sailsim.sim.jobs.Sharing`).
std::size_t cut_of(const Dimensions &dimensions, std::size_t matrices)
{
    return std::max<std::size_t>(1, dimensions.slices / matrices);
}

UnitAttention::UnitAttention(const Dimensions &dimensions, const AttentionSettings &settings)
    : Attention(dimensions, settings, 1.0f), positions_(settings.positions), slices_(dimensions.slices),
      cut_(cut_of(dimensions, matrices())), bits_(settings.bits),
      most_(static_cast<float>((1 << (bits_ - 1)) - 1)), nbw_(settings.unit.nbw),
      query_scale_(1.0f / std::sqrt(static_cast<float>(head_dim_))),
      keys_(matrices(), layers_, head_dim_, positions_, cut_, share_, 1.0f / most_, settings),
      values_(matrices(), layers_, positions_, head_dim_, cut_, share_, 1.0f, settings),
      tiles_(matrices() * std::max(keys_.pieces(), values_.pieces()),
             share_ * std::max(keys_.share(), values_.share()), slices_, settings.unit),
      query_bytes_(matrices() * round_up(share_ * head_dim_, kLine)),
      query_steps_(batch_ * heads_ * sizeof(float)),
      probabilities_(matrices() * round_up(share_ * positions_, kLine)),
      steps_(batch_ * heads_ * sizeof(float)), totals_(steps_.size()),
      value_scales_(layers_ * matrices() * round_up(positions_, kChunk) * sizeof(float16_t)),
      scores_(settings.threads * round_up(positions_, kChunk) * sizeof(float))
{
    // As a unit refuses what could wrap its 32 bits.
    const std::size_t most = 0x7fffffff / 255 >> (bits_ - 1);
    if (positions_ > most)
        fail("--context, --prompt and --steps have %zu positions; allowed beside --attention units and "
             "--cache "
             "int%u are at most %zu",
             positions_, bits_, most);
    std::fill_n(value_scales_.as<float16_t>(), value_scales_.size() / sizeof(float16_t),
                static_cast<float16_t>(1.0f / most_));
}

void UnitAttention::fill(std::size_t, std::uint64_t seed)
{
    Random random(seed);
    std::vector<unsigned char> table(kFillBytes);
    random.fill(table.data(), table.size());
    keys_.fill(table);
    values_.fill(table);
}

void UnitAttention::keep_query(std::size_t row)
{
    alignas(16) std::int8_t whole[kMostHeadDim];
    query_steps_.as<float>()[row] = round_head(query(row), padded_, whole);
    std::memcpy(query_rows(row / share_) + row % share_ * head_dim_, whole, head_dim_);
}

// Whole numbers of one fp16 scale, which it returns, from head_dim numbers.
float UnitAttention::round(const float *x, std::int8_t *codes) const
{
    float most = 0.0f;
    for (std::size_t i = 0; i < head_dim_; ++i)
        most = std::max(most, std::fabs(x[i]));
    const auto scale = static_cast<float>(static_cast<float16_t>(most / most_));
    for (std::size_t i = 0; i < head_dim_; ++i) {
        const float steps = scale > 0.0f ? __builtin_rintf(x[i] / scale) : 0.0f;
        codes[i] = static_cast<std::int8_t>(std::min(std::max(steps, -most_), most_));
    }
    return scale;
}

// A key has a code in each row of its piece; a value is a row of every piece.
void UnitAttention::keep(std::size_t layer, std::size_t b, std::size_t head, std::size_t position,
                         const float *key, const float *value)
{
    const std::size_t matrix = b * kv_heads_ + head, piece = position / keys_.share();
    const std::size_t column = position % keys_.share();
    std::int8_t codes[kMostHeadDim];
    keys_.scales(layer, matrix, piece)[column] = static_cast<float16_t>(round(key, codes));
    for (std::size_t k = 0; k < head_dim_; ++k)
        set_code(keys_.row(layer, matrix, piece, k), column, bits_, codes[k]);
    value_scales(layer, matrix)[position] = static_cast<float16_t>(round(value, codes));
    for (std::size_t i = 0; i < head_dim_; ++i)
        set_code(values_.row(layer, matrix, i / values_.share(), position), i % values_.share(), bits_,
                 codes[i]);
}

template <class Describe>
void UnitAttention::multiply(std::size_t pieces, Worker &worker, Describe &&describe)
{
    // Matrices one after the other, each on `cut_` slices, as many at a time as there are slices for.
    const std::size_t at_once = std::min(matrices(), slices_ / cut_);
    const Range mine = worker.part(matrices() * pieces);
    for (std::size_t at = mine.first; at < mine.last; ++at) {
        const std::size_t matrix = at / pieces, piece = at % pieces;
        tiles_.submit(at, matrix % at_once * cut_ + piece, describe(matrix, piece));
    }
    for (std::size_t at = mine.first; at < mine.last; ++at)
        if (tiles_.wait(at, worker) == nullptr)
            return;
}

void UnitAttention::mix(std::size_t layer, std::size_t position, Worker &worker)
{
    const std::size_t count = position + 1;
    multiply(parts_of(count, keys_.share()), worker, [&](std::size_t matrix, std::size_t piece) -> auto & {
        return keys_.describe(layer, matrix, piece, head_dim_, query_rows(matrix),
                              query_steps_.as<float>() + matrix * share_, 0, nbw_);
    });
    worker.meet();
    const Range mine = worker.part(batch_ * heads_);
    float *scores = scores_.as<float>() + worker.rank() * round_up(positions_, kChunk);
    for (std::size_t row = mine.first; row < mine.last; ++row)
        soften(layer, count, row, scores);
    worker.meet();
    multiply(values_.pieces(), worker, [&](std::size_t matrix, std::size_t piece) -> auto & {
        return values_.describe(layer, matrix, piece, count, probabilities(matrix),
                                steps_.as<float>() + matrix * share_, LUTMM_F_ACT_UNSIGNED, nbw_);
    });
    worker.meet();
    for (std::size_t row = mine.first; row < mine.last; ++row)
        gather(row);
}

// The exponentials of a row's scores, times the scale of each value, rounded to unsigned bytes.
void UnitAttention::soften(std::size_t layer, std::size_t count, std::size_t row, float *scores)
{
    const std::size_t matrix = row / share_, padded = round_up(count, kChunk);
    const std::size_t pieces = parts_of(count, keys_.share());
    for (std::size_t piece = 0; piece < pieces; ++piece) {
        const std::size_t first = piece * keys_.share(), outputs = keys_.outputs(piece);
        std::memcpy(scores + first, tiles_.results(matrix * pieces + piece) + row % share_ * outputs,
                    std::min(outputs, count - first) * sizeof(float));
    }
    std::fill(scores + count, scores + padded, -std::numeric_limits<float>::infinity());
    float32x4_t most = vdupq_n_f32(-std::numeric_limits<float>::infinity()), total = vdupq_n_f32(0.0f);
    for (std::size_t i = 0; i < padded; i += 4)
        most = vmaxq_f32(most, vld1q_f32(scores + i));
    const float32x4_t largest = vdupq_n_f32(vmaxvq_f32(most));
    const float16_t *scales = value_scales(layer, matrix);
    most = vdupq_n_f32(0.0f);
    for (std::size_t i = 0; i < padded; i += 8) {
        const Floats8 scale = widen(scales + i);
        for (std::size_t half = 0; half < 2; ++half) {
            float *at = scores + i + 4 * half;
            const float32x4_t weight = exp4(vmulq_n_f32(vsubq_f32(vld1q_f32(at), largest), query_scale_));
            const float32x4_t scaled = vmulq_f32(weight, half == 0 ? scale.low : scale.high);
            total = vaddq_f32(total, weight);
            most = vmaxq_f32(most, scaled);
            vst1q_f32(at, scaled);
        }
    }
    const float top = vmaxvq_f32(most);
    totals_.as<float>()[row] = vaddvq_f32(total);
    steps_.as<float>()[row] = top < kTiny ? 0.0f : top / kMostProbability;
    const float32x4_t factor = vdupq_n_f32(top < kTiny ? 0.0f : kMostProbability / top);
    std::uint8_t *to = probabilities(matrix) + row % share_ * count;
    for (std::size_t i = 0; i < count; i += kChunk) {
        const Floats16 values = load16(scores + i);
        uint16x4_t narrow[4];
        for (int j = 0; j < 4; ++j)
            narrow[j] = vqmovn_u32(vcvtnq_u32_f32(vmulq_f32(values.of[j], factor)));
        const uint8x16_t rounded = vcombine_u8(vqmovn_u16(vcombine_u16(narrow[0], narrow[1])),
                                               vqmovn_u16(vcombine_u16(narrow[2], narrow[3])));
        if (count - i >= kChunk) {
            vst1q_u8(to + i, rounded);
        } else { // the next row follows at once
            std::uint8_t last[kChunk];
            vst1q_u8(last, rounded);
            std::memcpy(to + i, last, count - i);
        }
    }
}

void UnitAttention::gather(std::size_t row)
{
    const std::size_t matrix = row / share_;
    const float reciprocal = 1.0f / totals_.as<float>()[row];
    float *to = mixed_.as<float>() + row / heads_ * mixed_stride_ + row % heads_ * head_dim_, largest = 0.0f;
    for (std::size_t piece = 0; piece < values_.pieces(); ++piece) {
        const std::size_t outputs = values_.outputs(piece);
        const float *results = tiles_.results(matrix * values_.pieces() + piece) + row % share_ * outputs;
        for (std::size_t i = 0; i < outputs; ++i, ++to) {
            *to = results[i] * reciprocal;
            largest = std::max(largest, std::fabs(*to));
        }
    }
    largest_.as<float>()[row] = largest;
}

unsigned char *UnitAttention::record(std::size_t position, unsigned char *to) const
{
    const auto append = [&](const void *from, std::size_t bytes) {
        std::memcpy(to, from, bytes);
        to += bytes;
    };
    for (std::size_t matrix = 0; matrix < matrices(); ++matrix)
        append(query_rows(matrix), share_ * head_dim_);
    append(query_steps_.bytes(), query_steps_.size());
    for (std::size_t matrix = 0; matrix < matrices(); ++matrix)
        append(probabilities(matrix), share_ * (position + 1));
    append(steps_.bytes(), steps_.size());
    return to;
}

} // namespace

std::unique_ptr<Attention> attention_on_units(const Dimensions &dimensions, const AttentionSettings &settings)
{
    return std::make_unique<UnitAttention>(dimensions, settings);
}

} // namespace sailsim::kernels::decode
