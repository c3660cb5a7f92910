/* SPDX-License-Identifier: BSD-3-Clause */
// Attention over a cache of codes (docs/decode.md), on PIM units or by dot products of the cores: two
// products of each head of keys of a batch row, whole sums on both sides and so the same bits. The cores
// round what is new and take the softmax between.
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

class CodeAttention : public Attention
{
  public:
    CodeAttention(const Dimensions &dimensions, const AttentionSettings &settings);

    void mix(std::size_t layer, std::size_t position, Worker &worker) override;
    std::size_t operand_bytes() const override
    {
        return batch_ * heads_ * (head_dim_ + positions_ + 2 * sizeof(float));
    }
    unsigned char *record(std::size_t position, unsigned char *to) const override;

  protected:
    // The two products by all threads: of all queries with `count` keys, and of probabilities with values.
    virtual void multiply_keys(std::size_t layer, std::size_t count, Worker &worker) = 0;
    virtual void multiply_values(std::size_t layer, std::size_t count, Worker &worker) = 0;
    // The scores of a row at `to`, or where they are, with room for a multiple of 16; its mixed values to
    // `to`.
    virtual float *scores(std::size_t row, std::size_t count, float *to) = 0;
    virtual void results(std::size_t row, float *to) const = 0;
    static void fill_codes(const Buffer &codes, std::uint64_t seed);
    // Keeps the codes of a key and a value, and the key's scale.
    virtual void keep_codes(std::size_t layer, std::size_t matrix, std::size_t position,
                            const std::int8_t *key, float key_scale, const std::int8_t *value) = 0;
    void soften(std::size_t layer, std::size_t count, std::size_t row, float *scores);

    std::size_t matrices() const { return batch_ * kv_heads_; }
    // Of a matrix, as descriptors have them: `share` rows of so many numbers.
    std::int8_t *queries(std::size_t matrix) const
    {
        return query_bytes_.as<std::int8_t>() + matrix * round_up(share_ * query_stride_, kLine);
    }
    std::uint8_t *probabilities(std::size_t matrix) const
    {
        return probabilities_.bytes() + matrix * round_up(share_ * round_up(positions_, kPositions), kLine);
    }
    std::size_t probability_stride(std::size_t count) const
    {
        return packed_ ? count : round_up(count, kChunk);
    }

    std::size_t positions_;
    unsigned bits_;
    float most_;  // largest code
    bool packed_; // rows without padding, as a descriptor's
    std::size_t query_stride_;
    Buffer query_bytes_, query_steps_, probabilities_, steps_; // rows, and what one is worth
    Buffer sums_;                                              // of a row's probabilities

  private:
    void keep_query(std::size_t row) override;
    void keep(std::size_t layer, std::size_t b, std::size_t head, std::size_t position, const float *key,
              const float *value) override;
    float round(const float *x, std::int8_t *codes) const;
    void gather(std::size_t row);
    // Of the keys that a head sees, by position.
    float16_t *value_scales(std::size_t layer, std::size_t matrix) const
    {
        return value_scales_.as<float16_t>() + (layer * matrices() + matrix) * round_up(positions_, kChunk);
    }

    float query_scale_;
    Buffer totals_, value_scales_, scores_;
};

CodeAttention::CodeAttention(const Dimensions &dimensions, const AttentionSettings &settings)
    : Attention(dimensions, settings, 1.0f), positions_(settings.positions), bits_(settings.bits),
      most_(static_cast<float>((1 << (bits_ - 1)) - 1)), packed_(settings.on_units),
      query_stride_(packed_ ? head_dim_ : padded_),
      query_bytes_(matrices() * round_up(share_ * query_stride_, kLine)),
      query_steps_(batch_ * heads_ * sizeof(float)),
      probabilities_(matrices() * round_up(share_ * round_up(positions_, kPositions), kLine)),
      steps_(query_steps_.size()), sums_(steps_.size()),
      query_scale_(1.0f / std::sqrt(static_cast<float>(head_dim_))), totals_(steps_.size()),
      value_scales_(layers_ * matrices() * round_up(positions_, kChunk) * sizeof(float16_t)),
      scores_(settings.threads * round_up(positions_, kChunk) * sizeof(float))
{
    const std::size_t most = 0x7fffffff / 255 >> (bits_ - 1);
    if (positions_ > most) // as a unit refuses what could wrap its 32 bits
        fail("--context, --prompt and --steps have %zu positions; allowed beside --cache int%u are at most "
             "%zu",
             positions_, bits_, most);
    std::fill_n(value_scales_.as<float16_t>(), value_scales_.size() / sizeof(float16_t),
                static_cast<float16_t>(1.0f / most_));
}

void CodeAttention::fill_codes(const Buffer &codes, std::uint64_t seed)
{
    Random random(seed);
    std::vector<unsigned char> table(kFillBytes);
    random.fill(table.data(), table.size());
    for (std::size_t at = 0; at < codes.size(); at += table.size())
        std::memcpy(codes.bytes() + at, table.data(), std::min(table.size(), codes.size() - at));
}

void CodeAttention::keep_query(std::size_t row)
{
    alignas(16) std::int8_t whole[kMostHeadDim];
    query_steps_.as<float>()[row] = round_head(query(row), padded_, whole);
    std::memcpy(queries(row / share_) + row % share_ * query_stride_, whole, query_stride_);
}

// Whole numbers of one fp16 scale, which it returns, from head_dim numbers; zeros behind them.
float CodeAttention::round(const float *x, std::int8_t *codes) const
{
    alignas(16) float whole[kMostHeadDim] = {};
    std::copy_n(x, head_dim_, whole);
    float32x4_t largest = vdupq_n_f32(0.0f);
    for (std::size_t i = 0; i < padded_; i += 4)
        largest = vmaxq_f32(largest, vabsq_f32(vld1q_f32(whole + i)));
    const auto scale = static_cast<float>(static_cast<float16_t>(vmaxvq_f32(largest) / most_));
    const float32x4_t divisor = vdupq_n_f32(scale > 0.0f ? scale : 1.0f),
                      most = vdupq_n_f32(scale > 0.0f ? most_ : 0.0f);
    for (std::size_t i = 0; i < padded_; i += kChunk) {
        Floats16 values = load16(whole + i);
        for (float32x4_t &four : values.of)
            four = vmaxq_f32(vminq_f32(vdivq_f32(four, divisor), most), vnegq_f32(most));
        vst1q_s8(codes + i, round16(values, vdupq_n_f32(1.0f)));
    }
    return scale;
}

void CodeAttention::keep(std::size_t layer, std::size_t b, std::size_t head, std::size_t position,
                         const float *key, const float *value)
{
    const std::size_t matrix = b * kv_heads_ + head;
    std::int8_t key_codes[kMostHeadDim], value_codes[kMostHeadDim];
    const float key_scale = round(key, key_codes);
    value_scales(layer, matrix)[position] = static_cast<float16_t>(round(value, value_codes));
    keep_codes(layer, matrix, position, key_codes, key_scale, value_codes);
}

void CodeAttention::mix(std::size_t layer, std::size_t position, Worker &worker)
{
    const std::size_t count = position + 1;
    multiply_keys(layer, count, worker);
    worker.meet();
    const Range mine = worker.part(batch_ * heads_);
    float *own = scores_.as<float>() + worker.rank() * round_up(positions_, kChunk);
    for (std::size_t row = mine.first; row < mine.last; ++row)
        soften(layer, count, row, scores(row, count, own));
    worker.meet();
    multiply_values(layer, count, worker);
    worker.meet();
    for (std::size_t row = mine.first; row < mine.last; ++row)
        gather(row);
}

// The exponentials of a row's scores, times the scale of each value, rounded to unsigned bytes.
void CodeAttention::soften(std::size_t layer, std::size_t count, std::size_t row, float *scores)
{
    const std::size_t matrix = row / share_, padded = round_up(count, kChunk);
    std::fill(scores + count, scores + padded, -std::numeric_limits<float>::infinity());
    Floats16 most = load16(scores);
    for (std::size_t i = kChunk; i < padded; i += kChunk)
        most = largest_of(most, load16(scores + i));
    const float32x4_t largest = vdupq_n_f32(largest_of(most));
    const float16_t *scales = value_scales(layer, matrix);
    float32x4_t total = vdupq_n_f32(0.0f);
    most = {};
    for (std::size_t i = 0; i < padded; i += kChunk) {
        const Floats16 of_values = widen16(scales + i);
        Floats16 weights = load16(scores + i);
        for (auto &of : weights.of)
            of = vmulq_n_f32(vsubq_f32(of, largest), query_scale_);
        raise_e(weights.of);
        for (int j = 0; j < 4; ++j) {
            total = vaddq_f32(total, weights.of[j]);
            weights.of[j] = vmulq_f32(weights.of[j], of_values.of[j]);
        }
        most = largest_of(most, weights);
        store16(scores + i, weights);
    }
    const float top = largest_of(most);
    totals_.as<float>()[row] = vaddvq_f32(total);
    steps_.as<float>()[row] = top < kTiny ? 0.0f : top / kMostProbability;
    const float32x4_t factor = vdupq_n_f32(top < kTiny ? 0.0f : kMostProbability / top);
    std::uint8_t *to = probabilities(matrix) + row % share_ * probability_stride(count);
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < count; i += kChunk) {
        const Floats16 values = load16(scores + i);
        const uint8x16_t rounded = vreinterpretq_u8_s8(round16(values, factor));
        sum += vaddlvq_u8(rounded);
        if (!packed_ || count - i >= kChunk) {
            vst1q_u8(to + i, rounded);
        } else { // the next row follows at once
            std::uint8_t last[kChunk];
            vst1q_u8(last, rounded);
            std::memcpy(to + i, last, count - i);
        }
    }
    sums_.as<std::uint32_t>()[row] = sum;
}

void CodeAttention::gather(std::size_t row)
{
    const float reciprocal = 1.0f / totals_.as<float>()[row];
    float *to = mixed_.as<float>() + row / heads_ * mixed_stride_ + row % heads_ * head_dim_, largest = 0.0f;
    results(row, to);
    for (std::size_t i = 0; i < head_dim_; ++i) {
        to[i] *= reciprocal;
        largest = std::max(largest, std::fabs(to[i]));
    }
    largest_.as<float>()[row] = largest;
}

unsigned char *CodeAttention::record(std::size_t position, unsigned char *to) const
{
    const std::size_t count = position + 1, stride = probability_stride(count);
    const auto append = [&](const void *from, std::size_t bytes) {
        std::memcpy(to, from, bytes);
        to += bytes;
    };
    for (std::size_t row = 0; row < batch_ * heads_; ++row)
        append(queries(row / share_) + row % share_ * query_stride_, head_dim_);
    append(query_steps_.bytes(), query_steps_.size());
    for (std::size_t row = 0; row < batch_ * heads_; ++row)
        append(probabilities(row / share_) + row % share_ * stride, count);
    append(steps_.bytes(), steps_.size());
    return to;
}

// By PIM units: a head's keys, and its values, are a matrix that is cut into tiles.
class UnitAttention : public CodeAttention
{
  public:
    UnitAttention(const Dimensions &dimensions, const AttentionSettings &settings)
        : CodeAttention(dimensions, settings), slices_(dimensions.slices),
          cut_(std::max<std::size_t>(1, slices_ / matrices())), nbw_(settings.unit.nbw),
          keys_{head_dim_, positions_, bits_, 0, cut_, false, settings.tile_most, settings.row},
          values_{positions_, head_dim_, bits_, 0, cut_, false, settings.tile_most, settings.row},
          key_tiles_(layers_ * matrices() * stride(keys_)),
          value_tiles_(layers_ * matrices() * stride(values_)),
          descriptors_(matrices() * std::max(keys_.tiles(), values_.tiles()) * sizeof(lutmm_descriptor)),
          tiles_(descriptors_.size() / sizeof(lutmm_descriptor),
                 share_ * std::max(keys_.share(), values_.share()), slices_, settings.unit)
    {
        if (share_ > kMostBatch) // what a tile has room for
            fail("--attention is units and %zu heads share keys; allowed are at most %zu", share_,
                 kMostBatch);
        begin_scales();
    }

    void fill(std::size_t, std::uint64_t seed) override
    {
        fill_codes(key_tiles_, seed);
        fill_codes(value_tiles_, seed);
        begin_scales();
    }
    std::string problem() const override { return tiles_.problem(); }

  private:
    void multiply_keys(std::size_t layer, std::size_t count, Worker &worker) override
    {
        const auto rows = [this](std::size_t number) { return queries(number); };
        multiply(keys_, key_tiles_, layer, parts_of(count, keys_.share()), head_dim_, rows, query_steps_, 0,
                 worker);
    }
    void multiply_values(std::size_t layer, std::size_t count, Worker &worker) override
    {
        const auto rows = [this](std::size_t number) { return probabilities(number); };
        multiply(values_, value_tiles_, layer, values_.tiles(), count, rows, steps_, LUTMM_F_ACT_UNSIGNED,
                 worker);
    }
    float *scores(std::size_t row, std::size_t count, float *to) override
    {
        const std::size_t pieces = parts_of(count, keys_.share());
        for (std::size_t piece = 0; piece < pieces; ++piece) {
            const std::size_t first = piece * keys_.share(), outputs = keys_.tile_outputs(piece);
            std::memcpy(to + first, tiles_.results(row / share_ * pieces + piece) + row % share_ * outputs,
                        std::min(outputs, count - first) * sizeof(float));
        }
        return to;
    }
    void results(std::size_t row, float *to) const override
    {
        for (std::size_t piece = 0; piece < values_.tiles(); ++piece) {
            const std::size_t outputs = values_.tile_outputs(piece);
            const float *from =
                tiles_.results(row / share_ * values_.tiles() + piece) + row % share_ * outputs;
            to = std::copy_n(from, outputs, to);
        }
    }
    // A key has a code in each row of its tile; a value is a row of every tile.
    void keep_codes(std::size_t layer, std::size_t number, std::size_t position, const std::int8_t *key,
                    float key_scale, const std::int8_t *value) override
    {
        const Matrix keys = matrix(keys_, key_tiles_, layer, number);
        const Matrix values = matrix(values_, value_tiles_, layer, number);
        const std::size_t tile = position / keys_.share(), column = position % keys_.share();
        scales(keys, tile)[column] = static_cast<float16_t>(key_scale);
        std::uint8_t *key_row = row(keys, tile, 0);
        const auto apart = static_cast<std::size_t>(row(keys, tile, 1) - key_row);
        for (std::size_t k = 0; k < head_dim_; ++k)
            set_code(key_row + k * apart, column, bits_, key[k]);
        for (std::size_t i = 0, of = 0; of < values_.tiles(); ++of) {
            std::uint8_t *value_row = row(values, of, position);
            for (std::size_t at = 0, outputs = values_.tile_outputs(of); at < outputs; ++at, ++i)
                set_code(value_row, at, bits_, value[i]);
        }
    }
    // From a head's tiles to the next's.
    static std::size_t stride(const Shape &shape)
    {
        return shape.tile_stride() < shape.row ? apart(shape.tiles_bytes(), shape.row) : shape.tiles_bytes();
    }
    // The keys or values of a head, whose tiles lie in slices of their own; where row k of a tile begins, and
    // the scales of its outputs.
    Matrix matrix(const Shape &shape, const Buffer &tiles, std::size_t layer, std::size_t number) const
    {
        const std::size_t at = layer * matrices() + number;
        return {shape, 1, 0, LUTMM_F_CODE_TWOS, 0, {}, {}, {}, tiles.bytes() + at * stride(shape)};
    }
    static std::uint8_t *row(const Matrix &of, std::size_t tile, std::size_t k)
    {
        const Shape &shape = of.shape;
        return of.tiles + tile * shape.tile_stride() +
               k * parts_of(shape.tile_outputs(tile) * shape.wbits, 8);
    }
    static float16_t *scales(const Matrix &of, std::size_t tile)
    {
        return reinterpret_cast<float16_t *>(of.tiles + tile * of.shape.tile_stride() +
                                             of.shape.tile_codes());
    }
    // All are one number: what a filled cache's codes are worth, and 1 for values, whose scales go with the
    // inputs.
    void begin_scales() const
    {
        const auto all = [this](const Shape &shape, const Buffer &tiles, float scale) {
            for (std::size_t number = 0; number < layers_ * matrices(); ++number)
                for (std::size_t tile = 0; tile < shape.tiles(); ++tile)
                    std::fill_n(scales(matrix(shape, tiles, 0, number), tile), shape.share(),
                                static_cast<float16_t>(scale));
        };
        all(keys_, key_tiles_, 1.0f / most_);
        all(values_, value_tiles_, 1.0f);
    }
    // Works out `pieces` tiles of every matrix with all threads: rows(matrix) of k numbers, worth `steps`.
    template <class Rows>
    void multiply(const Shape &shape, const Buffer &tiles, std::size_t layer, std::size_t pieces,
                  std::size_t k, Rows &&rows, const Buffer &steps, std::uint8_t flags, Worker &worker)
    {
        // Each matrix on `cut_` slices, as many at a time as there are slices for. A full queue holds the
        // thread that rings for it, so a thread's tiles, of all matrices in turn, go to other slices than its
        // neighbours'.
        const std::size_t at_once = std::min(matrices(), slices_ / cut_), count = matrices() * pieces;
        const auto place = [&](std::size_t i) { return i % matrices() * pieces + i / matrices(); };
        for (std::size_t i = worker.rank(); i < count; i += worker.size()) {
            const std::size_t number = i % matrices(), tile = i / matrices();
            const Matrix of = matrix(shape, tiles, layer, number);
            std::memcpy(reinterpret_cast<unsigned char *>(scales(of, tile)) +
                            shape.tile_scale_bytes(shape.tile_outputs(tile)),
                        steps.as<float>() + number * share_, share_ * sizeof(float));
            lutmm_descriptor &d = descriptors_.as<lutmm_descriptor>()[place(i)];
            d = describe_tile(of, tile, share_, nbw_);
            d.k = static_cast<std::uint32_t>(k);
            d.flags |= flags;
            d.activations = address_of(rows(number));
            tiles_.submit(place(i), number % at_once * cut_ + tile % cut_, d);
        }
        for (std::size_t i = worker.rank(); i < count; i += worker.size())
            if (tiles_.wait(place(i), worker) == nullptr)
                return;
    }

    // A matrix is cut for as many slices as there are for each (`sailsim.sim.step.gemv_times.share_slices`).
    std::size_t slices_, cut_;
    std::uint8_t nbw_;
    Shape keys_, values_;
    Buffer key_tiles_, value_tiles_, descriptors_;
    Tiles tiles_;
};

// By dot products. Keys lie position after position, padded to 16 numbers. Values lie by 16 outputs, of each
// the positions in fours, and are 128 more than their codes: a dot product has one sign on both sides.
class DotAttention : public CodeAttention
{
  public:
    DotAttention(const Dimensions &dimensions, const AttentionSettings &settings)
        : CodeAttention(dimensions, settings), room_(round_up(positions_, kPositions)),
          keys_(layers_ * matrices() * room_ * padded_), values_(keys_.size()),
          key_scales_(layers_ * matrices() * room_ * sizeof(float)),
          scores_(batch_ * heads_ * room_ * sizeof(float)),
          mixed_values_(batch_ * heads_ * padded_ * sizeof(float))
    {
        std::fill_n(key_scales_.as<float>(), key_scales_.size() / sizeof(float),
                    static_cast<float>(static_cast<float16_t>(1.0f / most_)));
    }

    void fill(std::size_t, std::uint64_t seed) override
    {
        fill_codes(keys_, seed);
        fill_codes(values_, seed);
    }

    // Runs of kPositions keys, and of kChunk outputs.
    void multiply_keys(std::size_t layer, std::size_t count, Worker &worker) override
    {
        const std::size_t runs = parts_of(count, kPositions);
        const auto begin = [&](std::size_t item) { return (layer * matrices() + item / runs) * room_; };
        worker.turns(matrices() * runs, kPositions * padded_, [&](std::size_t item, std::size_t next) {
            const std::size_t matrix = item / runs;
            if (next > item + 1)
                ask_for(keys_.bytes() + (begin(next) + next % runs * kPositions) * padded_);
            by_columns<4>(share_, [&](auto rows, std::size_t first) {
                run_of_keys<rows>(queries(matrix) + first * padded_, matrix * share_ + first, begin(item),
                                  item % runs * kPositions);
            });
        });
    }
    void multiply_values(std::size_t layer, std::size_t count, Worker &worker) override
    {
        const std::size_t runs = padded_ / kChunk, bytes = kChunk * room_, stride = probability_stride(count);
        const std::uint8_t *values = values_.bytes() + layer * matrices() * runs * bytes;
        worker.turns(matrices() * runs, bytes, [&](std::size_t item, std::size_t next) {
            const std::size_t matrix = item / runs;
            if (next > item + 1)
                ask_for(values + next * bytes);
            by_columns<4>(share_, [&](auto rows, std::size_t first) {
                run_of_values<rows>(probabilities(matrix) + first * stride, stride, values + item * bytes,
                                    matrix * share_ + first, item % runs * kChunk);
            });
        });
    }

  private:
    void keep_codes(std::size_t layer, std::size_t matrix, std::size_t position, const std::int8_t *key,
                    float key_scale, const std::int8_t *value) override
    {
        const std::size_t at = (layer * matrices() + matrix) * room_;
        std::memcpy(keys_.as<std::int8_t>() + (at + position) * padded_, key, head_dim_);
        key_scales_.as<float>()[at + position] = key_scale;
        for (std::size_t i = 0; i < head_dim_; ++i)
            values_.bytes()[at * padded_ + i / kChunk * kChunk * room_ + position / 4 * 64 + i % kChunk * 4 +
                            position % 4] = static_cast<std::uint8_t>(value[i] + 128);
    }
    float *scores(std::size_t row, std::size_t, float *) override
    {
        return scores_.as<float>() + row * room_;
    }
    void results(std::size_t row, float *to) const override
    {
        std::copy_n(mixed_values_.as<float>() + row * padded_, head_dim_, to);
    }
    // Four positions at a time; their sums are put together lane by lane.
    template <int Rows>
    __attribute__((noinline)) void run_of_keys(const std::int8_t *queries, std::size_t row, std::size_t at,
                                               std::size_t first)
    {
        const std::int8_t *key = keys_.as<std::int8_t>() + (at + first) * padded_;
        for (std::size_t position = first; position < first + kPositions; position += 4, key += 4 * padded_) {
            int32x4_t sums[Rows][4] = {};
            for (std::size_t j = 0; j < padded_; j += kChunk) {
                __builtin_prefetch(key + kPrefetchBytes + 4 * j, 0, 0);
                int8x16_t bytes[4];
                for (std::size_t p = 0; p < 4; ++p)
                    bytes[p] = vld1q_s8(key + p * padded_ + j);
                for (int i = 0; i < Rows; ++i) {
                    const int8x16_t query = vld1q_s8(queries + static_cast<std::size_t>(i) * padded_ + j);
                    for (std::size_t p = 0; p < 4; ++p)
                        sums[i][p] = vdotq_s32(sums[i][p], bytes[p], query);
                }
            }
            const float32x4_t scale = vld1q_f32(key_scales_.as<float>() + at + position);
            for (std::size_t i = 0; i < Rows; ++i) {
                const int32x4_t sum =
                    vpaddq_s32(vpaddq_s32(sums[i][0], sums[i][1]), vpaddq_s32(sums[i][2], sums[i][3]));
                vst1q_f32(
                    scores_.as<float>() + (row + i) * room_ + position,
                    vmulq_n_f32(vmulq_f32(vcvtq_f32_s32(sum), scale), query_steps_.as<float>()[row + i]));
            }
        }
    }
    template <int Rows>
    __attribute__((noinline)) void run_of_values(const std::uint8_t *probabilities, std::size_t count,
                                                 const std::uint8_t *values, std::size_t row,
                                                 std::size_t first)
    {
        uint32x4_t sums[Rows][4] = {};
        for (std::size_t position = 0; position < count; position += kChunk, values += 4 * 64) {
            uint8x16_t weights[Rows];
            for (std::size_t i = 0; i < Rows; ++i)
                weights[i] = vld1q_u8(probabilities + i * count + position);
            unroll<4>([&](auto four) {
                __builtin_prefetch(values + kPrefetchBytes + 64 * four, 0, 0);
                for (std::size_t part = 0; part < 4; ++part) {
                    const uint8x16_t bytes = vld1q_u8(values + 64 * four + 16 * part);
                    for (int i = 0; i < Rows; ++i)
                        sums[i][part] = vdotq_laneq_u32(sums[i][part], bytes, weights[i], four);
                }
            });
        }
        for (std::size_t i = 0; i < Rows; ++i)
            for (std::size_t part = 0; part < 4; ++part) {
                const int32x4_t sum = vsubq_s32(
                    vreinterpretq_s32_u32(sums[i][part]),
                    vdupq_n_s32(static_cast<std::int32_t>(128 * sums_.as<std::uint32_t>()[row + i])));
                vst1q_f32(mixed_values_.as<float>() + (row + i) * padded_ + first + 4 * part,
                          vmulq_n_f32(vcvtq_f32_s32(sum), steps_.as<float>()[row + i]));
            }
    }

    std::size_t room_;
    Buffer keys_, values_, key_scales_, scores_, mixed_values_;
};

} // namespace

std::unique_ptr<Attention> make_attention(const Dimensions &dimensions, const AttentionSettings &settings)
{
    if (settings.bits > 8)
        return std::make_unique<FloatAttention>(dimensions, settings);
    if (settings.on_units)
        return std::make_unique<UnitAttention>(dimensions, settings);
    return std::make_unique<DotAttention>(dimensions, settings);
}

} // namespace sailsim::kernels::decode
