/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/model.hh"

#include "common/vector_math.hh"

#include <algorithm>
#include <cstring>
#include <limits>

namespace sailsim::kernels::decode
{

namespace
{

// The gated activation, hidden = gate / (1 + e^-gate) * up: this thread's pieces of `batch` rows of `columns`
// numbers (rows of `stride`, which may be read up to a multiple of 16). Gate becomes hidden, and `largest`
// (batch, pieces) the largest magnitude of each piece.
void gated_activation(float *gate, const float *up, std::size_t stride, std::size_t batch,
                      std::size_t columns, float *largest, Worker &worker)
{
    const std::size_t pieces = parts_of(columns, kPiece);
    worker.pieces(batch, pieces, [&](std::size_t row, std::size_t piece) {
        const std::size_t first = row * stride + piece * kPiece;
        const std::size_t count = std::min(kPiece, round_up(columns - piece * kPiece, kChunk));
        float32x4_t most = vdupq_n_f32(0.0f);
        for (std::size_t i = 0; i < count; i += kChunk) {
            Floats16 numbers = load16(gate + first + i), powers;
            for (int j = 0; j < 4; ++j)
                powers.of[j] = vnegq_f32(numbers.of[j]);
            raise_e(powers.of);
            for (int j = 0; j < 4; ++j) {
                const float32x4_t divisor = vaddq_f32(vdupq_n_f32(1.0f), powers.of[j]);
                const float32x4_t factor = vld1q_f32(up + first + i + 4 * static_cast<std::size_t>(j));
                numbers.of[j] = vmulq_f32(vdivq_f32(numbers.of[j], divisor), factor);
                most = vmaxq_f32(most, vabsq_f32(numbers.of[j]));
            }
            store16(gate + first + i, numbers);
        }
        largest[row * pieces + piece] = vmaxvq_f32(most);
    });
}

} // namespace

Model::Model(const Image &image, Linears &linears, const AttentionSettings &settings)
    : image_(image), linears_(linears), batch_(settings.batch),
      width_(round_up(image.dimensions().d_model, kPiece)),
      q_width_(round_up(image.dimensions().d_attn(), kPiece)),
      kv_width_(round_up(image.dimensions().d_kv(), kPiece)),
      ffn_width_(round_up(image.dimensions().d_ffn, kPiece)),
      attention_(make_attention(image.dimensions(), settings)),
      normed_(batch_, image.dimensions().d_model, linears.wanted()),
      mixed_(batch_, image.dimensions().d_attn(), linears.wanted()),
      hidden_(batch_, image.dimensions().d_ffn, linears.wanted()),
      last_(settings.prompt ? 1 : batch_, image.dimensions().d_model, linears.wanted()),
      candidates_of_thread_(round_up(batch_, kLine / sizeof(Candidate))),
      candidates_(settings.threads * candidates_of_thread_ * sizeof(Candidate)),
      x_(batch_ * width_ * sizeof(float)), delta_(x_.size()), q_(batch_ * q_width_ * sizeof(float)),
      k_(batch_ * kv_width_ * sizeof(float)), v_(k_.size()), gate_(batch_ * ffn_width_ * sizeof(float)),
      up_(gate_.size()), largest_(batch_ * hidden_.pieces() * sizeof(float))
{
}

std::size_t Model::operand_bytes() const
{
    const Dimensions &d = image_.dimensions();
    const auto bytes = [&](std::size_t k) { return batch_ * (k + sizeof(float)); };
    return d.layers *
               (attention_->operand_bytes() + 2 * bytes(d.d_model) + bytes(d.d_attn()) + bytes(d.d_ffn)) +
           bytes(d.d_model);
}

void Model::step(std::uint32_t *tokens, std::size_t position, float *logits, Worker &worker)
{
    for (std::size_t number = 0; number < parts() - (logits == nullptr ? 1 : 0); ++number)
        part(number, tokens, position, logits, tokens, worker);
}

void Model::part(std::size_t number, const std::uint32_t *tokens, std::size_t position, float *logits,
                 std::uint32_t *chosen, Worker &worker)
{
    const std::size_t layer = number / 4;
    if (number == 0)
        embed(tokens, worker);
    // What the part before has added to x is added where x is read next.
    const float *delta = number == 0 ? nullptr : delta_.as<float>();
    if (layer == image_.dimensions().layers) {
        norm(last_, 2 * layer, delta, worker);
        const Product head{&image_.head(), logits, logits_stride()};
        multiply(Part::head, &head, 1, last_, worker);
        worker.enter(Part::sample);
        sample(chosen, logits, worker);
        worker.meet();
    } else if (number % 4 == 0) {
        norm(normed_, 2 * layer, delta, worker);
        const Product inputs[] = {{&image_.matrix(Kind::q, layer), q_.as<float>(), q_width_},
                                  {&image_.matrix(Kind::k, layer), k_.as<float>(), kv_width_},
                                  {&image_.matrix(Kind::v, layer), v_.as<float>(), kv_width_}};
        multiply(Part::qkv, inputs, 3, normed_, worker);
    } else if (number % 4 == 1) {
        attend(layer, position, worker);
    } else if (number % 4 == 2) {
        norm(normed_, 2 * layer + 1, delta, worker);
        const Product inputs[] = {{&image_.matrix(Kind::gate, layer), gate_.as<float>(), ffn_width_},
                                  {&image_.matrix(Kind::up, layer), up_.as<float>(), ffn_width_}};
        multiply(Part::ffn, inputs, 2, normed_, worker);
    } else {
        worker.enter(Part::ffn);
        gated_activation(gate_.as<float>(), up_.as<float>(), ffn_width_, batch_, image_.dimensions().d_ffn,
                         largest_.as<float>(), worker);
        worker.meet();
        worker.enter(Part::quantise);
        hidden_.round_plain(gate_.as<float>(), ffn_width_, largest_.as<float>(), hidden_.pieces(), worker);
        worker.meet();
        const Product output{&image_.matrix(Kind::down, layer), delta_.as<float>(), width_};
        multiply(Part::ffn, &output, 1, hidden_, worker);
    }
}

// Greedy: the token with the largest logit, the first of equal ones.
void Model::sample(std::uint32_t *tokens, const float *logits, Worker &worker)
{
    const Range mine = worker.part(image_.dimensions().vocab);
    for (std::size_t b = 0; b < last_.batch(); ++b) {
        const float *row = logits + b * logits_stride();
        std::size_t i = mine.first;
        float32x4_t most = vdupq_n_f32(-std::numeric_limits<float>::infinity());
        for (; i + 4 <= mine.last; i += 4)
            most = vmaxnmq_f32(most, vld1q_f32(row + i));
        float largest = vmaxnmvq_f32(most);
        for (; i < mine.last; ++i)
            largest = row[i] > largest ? row[i] : largest;
        std::size_t first = mine.first; // where it is, in a second pass that stops there
        while (first < mine.last && row[first] != largest)
            ++first;
        candidates_.as<Candidate>()[worker.rank() * candidates_of_thread_ + b] = {
            largest, static_cast<std::uint32_t>(first)};
    }
    worker.meet();
    for (std::size_t b = 0; worker.rank() == 0 && b < last_.batch(); ++b) {
        Candidate best{-std::numeric_limits<float>::infinity(), 0};
        for (unsigned thread = 0; thread < worker.size(); ++thread) {
            const Candidate &candidate = candidates_.as<Candidate>()[thread * candidates_of_thread_ + b];
            if (candidate.logit > best.logit)
                best = candidate;
        }
        tokens[b] = best.token;
    }
}

// By the pieces that measure_norm has, so that each thread reads back what it has written.
void Model::embed(const std::uint32_t *tokens, Worker &worker)
{
    worker.enter(Part::embed);
    worker.pieces(batch_, normed_.pieces(), [&](std::size_t b, std::size_t piece) {
        image_.embedding().read(tokens[b], piece * kPiece, normed_.piece_columns(piece),
                                x_.as<float>() + b * width_ + piece * kPiece);
    });
}

// Of the last rows, as many as the operand has.
void Model::norm(Rounded &to, std::size_t row, const float *delta, Worker &worker)
{
    const float *weight = image_.norm(row);
    const std::size_t first = (batch_ - to.batch()) * width_;
    worker.enter(Part::norm);
    to.measure_norm(x_.as<float>() + first, delta == nullptr ? nullptr : delta + first, width_, weight,
                    worker);
    worker.meet();
    worker.enter(Part::quantise);
    to.round_norm(x_.as<float>() + first, width_, weight, image_.dimensions().norm_eps, worker);
    worker.meet();
}

void Model::multiply(Part part, const Product *products, std::size_t count, const Rounded &x, Worker &worker)
{
    if (recorded_ != nullptr && worker.rank() == 0) {
        for (std::size_t b = 0; b < x.batch(); ++b, recorded_ += x.k())
            std::memcpy(recorded_, x.row(b), x.k());
        std::memcpy(recorded_, x.scales(), x.batch() * sizeof(float));
        recorded_ += x.batch() * sizeof(float);
    }
    worker.enter(part);
    ++worker.products;
    linears_.multiply(products, count, x, worker);
    worker.meet();
}

void Model::attend(std::size_t layer, std::size_t position, Worker &worker)
{
    worker.enter(Part::rope);
    attention_->rotate(layer, position, q_.as<float>(), q_width_, k_.as<float>(), v_.as<float>(), kv_width_,
                       worker);
    worker.meet();
    worker.enter(Part::attention);
    attention_->mix(layer, position, worker);
    worker.meet();
    if (recorded_ != nullptr && worker.rank() == 0)
        recorded_ = attention_->record(position, recorded_);
    worker.enter(Part::quantise);
    mixed_.round_plain(attention_->mixed(), attention_->mixed_stride(), attention_->largest(),
                       image_.dimensions().heads, worker);
    worker.meet();
    const Product output{&image_.matrix(Kind::output, layer), delta_.as<float>(), width_};
    multiply(Part::o, &output, 1, mixed_, worker);
}

} // namespace sailsim::kernels::decode
