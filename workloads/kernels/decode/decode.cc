/* SPDX-License-Identifier: BSD-3-Clause */
// Decodes tokens with the model of an image, and says where the time of a step goes.
#include "common/checksum.hh"
#include "common/clock.hh"
#include "common/fail.hh"
#include "common/json_line.hh"
#include "common/options.hh"
#include "common/region.hh"
#include "decode/image.hh"
#include "decode/linears_kinds.hh"
#include "decode/model.hh"
#include "decode/prompt.hh"
#include "decode/report.hh"
#include "lutmm.h"
#include "lutmm/emulator.hh"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

namespace
{

using namespace sailsim::kernels;
using namespace sailsim::kernels::decode;

struct Settings {
    std::string image, prompt, logits, operands;
    LinearsKind kind;
    LinearsSettings linears;
    std::size_t batch, context, steps;
    std::uint64_t image_at, seed;
    bool int8_cache, trusted, in_gem5, list;
};

Settings read_settings(int argc, char **argv)
{
    Settings s;
    Options options(argc, argv, "Decodes tokens with the model of an image.");
    s.image = options.text("image", "", "the image (sailsim image)");
    s.image_at = options.number("image-at", 0, 0, std::uint64_t{1} << 47,
                                "address at which a simulator has put the image; 0: it is read");
    s.kind = kind_of(options.word("linears", "neon", {"neon", "lut", "lutmm"},
                                  "products by dot products, by table look-ups, or by PIM units"));
    s.linears.threads = static_cast<unsigned>(options.number("threads", 1, 1, Team::kMost, "of the step"));
    s.batch = options.number("batch", 1, 1, kMostBatch, "rows that decode side by side");
    s.context = options.number("context", 0, 0, 1 << 20, "positions of the cache filled beforehand");
    s.prompt =
        options.text("prompt", "1", "token numbers 1,2,3, of all rows or, with ; between them, of each");
    s.steps = options.number("steps", 1, 1, 1 << 20, "tokens to decode; these are measured");
    s.int8_cache =
        options.word("cache", "fp16", {"fp16", "int8"}, "what keys and values are kept as") == "int8";
    s.seed = options.number("seed", 1, 0, ~std::uint64_t{0}, "of the filled cache");
    s.linears.units = static_cast<unsigned>(
        options.number("units", 0, 0, LUTMM_UNITS_MAX, "PIM units; 0: as many as the image has slices"));
    s.linears.nbw =
        static_cast<std::uint8_t>(options.number("nbw", 4, 1, LUTMM_NBW_MAX, "weights of a group"));
    s.linears.timeout_ns =
        1'000'000 * options.number("timeout-ms", 60'000, 1, 1 << 30, "how long to wait for one tile");
    s.logits = options.text("logits", "", "write the logits of all measured steps to this file, as fp32");
    s.operands = options.text("operands", "", "write the rounded operands of all products to this file");
    s.list = options.flag("list", "one line for each thread");
    s.trusted = options.flag("trusted", "do not read the image through: checksums and scales count as good");
    s.in_gem5 = options.flag("m5", "mark the measured part for gem5");
    options.finish();
    if (s.image.empty())
        fail("--image is missing; see --help");
    if (s.image_at != 0 && !s.in_gem5)
        fail("--image-at is 0x%" PRIx64 "; allowed without --m5 is 0: only a simulator puts images into "
             "memory",
             s.image_at);
    s.linears.batch = s.batch;
    return s;
}

// Logits of one step or, if they are written, of all.
class Logits
{
  public:
    Logits(const Settings &s, const Model &model, std::size_t vocab)
        : batch_(s.batch), vocab_(vocab), stride_(model.logits_stride()),
          kept_(s.logits.empty() ? 1 : s.steps), floats_(kept_ * batch_ * stride_ * sizeof(float))
    {
    }

    float *of_step(std::size_t step) { return floats_.as<float>() + step % kept_ * batch_ * stride_; }

    std::uint64_t last_checksum(std::size_t steps)
    {
        std::uint64_t sum = 0;
        for (std::size_t b = 0; b < batch_; ++b)
            sum = 31 * sum + checksum(of_step(steps - 1) + b * stride_, vocab_ * sizeof(float));
        return sum;
    }

    void write(const std::string &path) const
    {
        std::FILE *file = std::fopen(path.c_str(), "wb");
        bool good = file != nullptr;
        for (std::size_t row = 0; good && row < kept_ * batch_; ++row)
            good = std::fwrite(floats_.as<float>() + row * stride_, sizeof(float), vocab_, file) == vocab_;
        if (file == nullptr || std::fclose(file) != 0 || !good)
            fail("--logits %s cannot be written", path.c_str());
    }

  private:
    std::size_t batch_, vocab_, stride_, kept_;
    Buffer floats_;
};

} // namespace

int main(int argc, char **argv)
{
    const Settings s = read_settings(argc, argv);
    const Image image(s.image, s.image_at, s.trusted);
    const std::size_t vocab = image.dimensions().vocab;
    const std::vector<std::uint32_t> prompt = read_prompt(s.prompt, s.batch, vocab);
    const std::size_t prompt_steps = prompt.size() / s.batch;
    const std::unique_ptr<Linears> linears = make_linears(s.kind, image, s.linears);
    Model model(image, *linears, s.batch, s.context + prompt_steps + s.steps, s.int8_cache,
                s.linears.threads);
    Recorder recorder(s.operands.empty() ? 0 : (prompt_steps + s.steps) * model.operand_bytes());
    if (!s.operands.empty())
        model.record(recorder);
    if (s.context > 0)
        model.cache().fill(s.context, s.seed);
    Logits logits(s, model, vocab);
    Team team(s.linears.threads);
    Barrier barrier(s.linears.threads);
    std::vector<Times> times(s.linears.threads);
    std::vector<std::uint32_t> tokens(s.batch), decoded;
    decoded.resize(s.steps * s.batch);

    // All tokens of the prompt but the last only fill the cache.
    for (std::size_t i = 0; i + 1 < prompt_steps; ++i) {
        std::copy_n(prompt.begin() + static_cast<std::ptrdiff_t>(i * s.batch), s.batch, tokens.begin());
        team.run([&](unsigned rank) {
            Worker worker(rank, team.size(), barrier, times[rank]);
            model.step(tokens.data(), s.context + i, nullptr, worker);
        });
    }
    std::copy(prompt.end() - static_cast<std::ptrdiff_t>(s.batch), prompt.end(), tokens.begin());
    std::fill(times.begin(), times.end(), Times{});
    std::uint64_t elapsed = 0;
    {
        const Region region(s.in_gem5);
        const std::uint64_t start = now_ns();
        team.run([&](unsigned rank) {
            Worker worker(rank, team.size(), barrier, times[rank]);
            for (std::size_t step = 0; step < s.steps; ++step) {
                model.step(tokens.data(), s.context + prompt_steps - 1 + step, logits.of_step(step), worker);
                if (rank == 0)
                    std::memcpy(decoded.data() + step * s.batch, tokens.data(), s.batch * sizeof(tokens[0]));
            }
        });
        elapsed = now_ns() - start;
    }
    if (linears->problem()[0] != '\0') {
        std::fprintf(stderr, "error: %s\n", linears->problem());
        return kExitWrong;
    }
    if (!s.logits.empty())
        logits.write(s.logits);
    if (!s.operands.empty())
        recorder.write(s.operands);
    if (s.list)
        for (unsigned rank = 0; rank < team.size(); ++rank)
            report_thread(rank, times[rank], s.steps);
    JsonLine line;
    line.add("program", "decode")
        .add("linears", kind_name(s.kind))
        .add("threads", std::uint64_t{team.size()})
        .add("batch", s.batch)
        .add("context", s.context)
        .add("prompt", prompt_steps)
        .add("steps", s.steps)
        .add("cache", s.int8_cache ? "int8" : "fp16")
        .add("layers", image.dimensions().layers)
        .add("image_bytes", image.bytes())
        .add("tokens", rows_of(decoded, s.batch))
        .add_hex("logits", logits.last_checksum(s.steps))
        .add("emulated", emulated_descriptors())
        .add("step_ns", elapsed / s.steps);
    add_step(line, times[0], s.steps);
    line.print();
    return 0;
}
