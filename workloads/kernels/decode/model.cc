/* SPDX-License-Identifier: BSD-3-Clause */
#include "decode/model.hh"

#include "decode/activation.hh"
#include "decode/embedding.hh"

namespace sailsim::kernels::decode
{

namespace
{

constexpr std::size_t padded(std::size_t columns)
{
    return round_up(columns, kPiece);
}

} // namespace

Model::Model(const Image &image, Linears &linears, std::size_t batch, std::size_t positions, bool int8_cache,
             unsigned threads)
    : image_(image), linears_(linears), batch_(batch), width_(padded(image.dimensions().d_model)),
      q_width_(padded(image.dimensions().d_attn())), kv_width_(padded(image.dimensions().d_kv())),
      ffn_width_(padded(image.dimensions().d_ffn)), cache_(int8_cache, image.dimensions(), batch, positions),
      rotation_(positions, image.dimensions().head_dim, image.dimensions().rope_base),
      attention_(image.dimensions(), batch, positions, cache_, rotation_),
      normed_(batch, image.dimensions().d_model, linears.wanted()),
      mixed_(batch, image.dimensions().d_attn(), linears.wanted()),
      hidden_(batch, image.dimensions().d_ffn, linears.wanted()), sampler_(batch, threads),
      x_(batch * width_ * sizeof(float)), delta_(x_.size()), q_(batch * q_width_ * sizeof(float)),
      k_(batch * kv_width_ * sizeof(float)), v_(k_.size()), gate_(batch * ffn_width_ * sizeof(float)),
      up_(gate_.size()), largest_(batch * hidden_.pieces() * sizeof(float))
{
}

std::size_t Model::operand_bytes() const
{
    const Dimensions &d = image_.dimensions();
    const auto bytes = [&](std::size_t k) { return batch_ * (k + sizeof(float)); };
    return d.layers * (2 * bytes(d.d_model) + bytes(d.d_attn()) + bytes(d.d_ffn)) + bytes(d.d_model);
}

void Model::step(std::uint32_t *tokens, std::size_t position, float *logits, Worker &worker)
{
    const std::size_t layers = image_.dimensions().layers;
    embed(tokens, worker);
    for (std::size_t layer = 0; layer < layers; ++layer) {
        // What the part before has added to x is added where x is read next.
        norm(2 * layer, layer == 0 ? nullptr : delta_.as<float>(), worker);
        attend(layer, position, worker);
        norm(2 * layer + 1, delta_.as<float>(), worker);
        feed_forward(layer, worker);
    }
    if (logits == nullptr)
        return;
    norm(2 * layers, delta_.as<float>(), worker);
    const Product head{&image_.head(), logits, logits_stride()};
    multiply(Part::head, &head, 1, normed_, worker);
    worker.enter(Part::sample);
    sampler_.search(logits, logits_stride(), image_.dimensions().vocab, worker);
    worker.meet();
    if (worker.rank() == 0)
        for (std::size_t b = 0; b < batch_; ++b)
            tokens[b] = sampler_.pick(b);
    worker.meet();
}

// By the pieces that measure_norm has, so that each thread reads back what it has written.
void Model::embed(const std::uint32_t *tokens, Worker &worker)
{
    worker.enter(Part::embed);
    const Range mine = worker.part(batch_ * normed_.pieces());
    for (std::size_t item = mine.first; item < mine.last; ++item) {
        const std::size_t b = item / normed_.pieces(), piece = item % normed_.pieces();
        read_weights(image_.embedding(), tokens[b], piece * kPiece, normed_.piece_columns(piece),
                     x_.as<float>() + b * width_ + piece * kPiece);
    }
}

void Model::norm(std::size_t row, const float *delta, Worker &worker)
{
    const float *weight = image_.norm(row);
    worker.enter(Part::norm);
    normed_.measure_norm(x_.as<float>(), delta, width_, weight, worker);
    worker.meet();
    worker.enter(Part::quantise);
    normed_.round_norm(x_.as<float>(), width_, weight, image_.dimensions().norm_eps, worker);
    worker.meet();
}

void Model::multiply(Part part, const Product *products, std::size_t count, const Rounded &x, Worker &worker)
{
    if (recorder_ != nullptr && worker.rank() == 0)
        recorder_->add(x);
    worker.enter(part);
    linears_.multiply(products, count, x, worker);
    worker.meet();
}

void Model::attend(std::size_t layer, std::size_t position, Worker &worker)
{
    const Product inputs[] = {{&image_.matrix(Kind::q, layer), q_.as<float>(), q_width_},
                              {&image_.matrix(Kind::k, layer), k_.as<float>(), kv_width_},
                              {&image_.matrix(Kind::v, layer), v_.as<float>(), kv_width_}};
    multiply(Part::qkv, inputs, 3, normed_, worker);
    worker.enter(Part::rope);
    attention_.rotate(layer, position, q_.as<float>(), q_width_, k_.as<float>(), v_.as<float>(), kv_width_,
                      worker);
    worker.meet();
    worker.enter(Part::attention);
    attention_.run(layer, position, worker);
    worker.meet();
    attention_.combine(position, worker);
    worker.meet();
    worker.enter(Part::quantise);
    mixed_.round_plain(attention_.mixed(), attention_.mixed_stride(), attention_.largest(),
                       image_.dimensions().heads, worker);
    worker.meet();
    const Product output{&image_.matrix(Kind::output, layer), delta_.as<float>(), width_};
    multiply(Part::o, &output, 1, mixed_, worker);
}

void Model::feed_forward(std::size_t layer, Worker &worker)
{
    const Product inputs[] = {{&image_.matrix(Kind::gate, layer), gate_.as<float>(), ffn_width_},
                              {&image_.matrix(Kind::up, layer), up_.as<float>(), ffn_width_}};
    multiply(Part::ffn, inputs, 2, normed_, worker);
    gated_activation(gate_.as<float>(), up_.as<float>(), ffn_width_, batch_, image_.dimensions().d_ffn,
                     largest_.as<float>(), worker);
    worker.meet();
    worker.enter(Part::quantise);
    hidden_.round_plain(gate_.as<float>(), ffn_width_, largest_.as<float>(), hidden_.pieces(), worker);
    worker.meet();
    const Product output{&image_.matrix(Kind::down, layer), delta_.as<float>(), width_};
    multiply(Part::ffn, &output, 1, hidden_, worker);
}

} // namespace sailsim::kernels::decode
