/* SPDX-License-Identifier: BSD-3-Clause */
// Decodes tokens with the model of an image, and says where the time of a step goes.
#include "common/program.hh"
#include "decode/model.hh"
#include "emulated_unit.hh" // made from the system file sail-n1
#include "lutmm/unit.hh"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace
{

using namespace sailsim::kernels;
using namespace sailsim::kernels::decode;

struct Settings {
    std::string image, linears_kind, cache, prompt, beside, logits, operands;
    LinearsSettings linears;
    AttentionSettings attention;
    std::size_t batch, context, steps;
    std::uint64_t image_at, seed;
    bool trusted, in_gem5, list;
};

Settings read_settings(int argc, char **argv)
{
    Settings s;
    Options options(argc, argv, "Decodes tokens with the model of an image.");
    s.image = options.text("image", "", "the image (sailsim image)");
    s.image_at = options.number("image-at", 0, 0, std::uint64_t{1} << 47,
                                "address at which a simulator has put the image; 0: it is read");
    s.linears_kind = options.word("linears", "neon", {"neon", "lut", "lutmm"},
                                  "products by dot products, by table look-ups, or by PIM units");
    s.linears.threads = static_cast<unsigned>(options.number("threads", 1, 1, Team::kMost, "of the step"));
    s.batch = options.number("batch", 1, 1, kMostBatch, "rows that decode side by side");
    s.context = options.number("context", 0, 0, 1 << 20, "positions of the cache filled beforehand");
    s.prompt =
        options.text("prompt", "1", "token numbers 1,2,3, of all rows or, with ; between them, of each");
    s.beside = options.text(
        "beside", "", "tokens of another prompt that every step reads on the cores while units multiply");
    s.steps = options.number("steps", 1, 1, 1 << 20, "tokens to decode; these are measured");
    s.attention.on_units =
        options.word("attention", "cores", {"cores", "units"}, "who multiplies keys and values") == "units";
    s.cache = options.word("cache", "fp16", {"fp16", "int8", "int7", "int6", "int5", "int4", "int3", "int2"},
                           "what keys and values are kept as");
    s.seed = options.number("seed", 1, 0, ~std::uint64_t{0}, "of the filled cache");
    s.linears.unit.units = static_cast<unsigned>(
        options.number("units", 0, 0, LUTMM_UNITS_MAX, "PIM units; 0: as many as the image has slices"));
    s.linears.unit.nbw =
        static_cast<std::uint8_t>(options.number("nbw", 4, 1, LUTMM_NBW_MAX, "weights of a group"));
    s.linears.unit.timeout_ns =
        1'000'000 * options.number("timeout-ms", 60'000, 1, 1 << 30, "how long to wait for one tile");
    s.attention.tile_most =
        options.number("tile-most", 0, 0, 1 << 20, "outputs of a tile of keys or values on units; 0: any");
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
    s.attention.bits = s.cache == "fp16" ? 16u : static_cast<unsigned>(s.cache.back() - '0');
    if (s.attention.on_units && s.attention.bits == 16)
        fail("--cache is fp16 beside --attention units; allowed there are int2 to int8, which are codes");
    if (!s.attention.on_units && s.attention.bits < 8)
        fail("--cache is %s beside --attention cores; allowed there are fp16 and int8", s.cache.c_str());
    if (!s.beside.empty() && s.linears_kind != "lutmm")
        fail("--beside is given with --linears %s; allowed is lutmm", s.linears_kind.c_str());
    s.linears.batch = s.attention.batch = s.batch;
    s.attention.threads = s.linears.threads;
    s.attention.unit = s.linears.unit;
    return s;
}

// Tokens (positions, batch) of "1,2,3", the same for all rows, or of "1,2;3,4", one part a row. Ends the
// program with one sentence for what is neither, for rows of different lengths and for tokens outside the
// vocabulary.
std::vector<std::uint32_t> read_prompt(const std::string &text, std::size_t batch, std::size_t vocab)
{
    std::vector<std::vector<std::uint32_t>> rows(1);
    for (const char *at = text.c_str();; ++at) {
        char *end = nullptr;
        errno = 0;
        const unsigned long long token = std::strtoull(at, &end, 10);
        const bool digits = std::isdigit(static_cast<unsigned char>(*at)) != 0 && errno == 0;
        if (!digits || (*end != ',' && *end != ';' && *end != '\0'))
            fail("--prompt is '%s'; allowed: token numbers such as 1,2,3, or rows of them such as 1,2;3,4",
                 text.c_str());
        if (token >= vocab)
            fail("--prompt has token %llu; allowed: 0..%zu", token, vocab - 1);
        rows.back().push_back(static_cast<std::uint32_t>(token));
        if (*end == '\0')
            break;
        if (*end == ';')
            rows.emplace_back();
        at = end;
    }
    if (rows.size() == 1)
        rows.resize(batch, rows[0]);
    if (rows.size() != batch)
        fail("--prompt has %zu rows; allowed: 1, or as many as --batch, %zu", rows.size(), batch);
    std::vector<std::uint32_t> tokens;
    for (std::size_t position = 0; position < rows[0].size(); ++position)
        for (const std::vector<std::uint32_t> &row : rows) {
            if (row.size() != rows[0].size())
                fail("--prompt has rows of %zu and %zu tokens; allowed: rows of one length", rows[0].size(),
                     row.size());
            tokens.push_back(row[position]);
        }
    return tokens;
}

// Tokens (steps, batch) in the same form, a part for each row.
std::string rows_of(const std::vector<std::uint32_t> &tokens, std::size_t batch)
{
    std::string text;
    for (std::size_t b = 0; b < batch; ++b)
        for (std::size_t i = b; i < tokens.size(); i += batch)
            text += (i != b ? "," : b > 0 ? ";" : "") + std::to_string(tokens[i]);
    return text;
}

// Another prompt, which all threads read by dot products while units multiply. Every step reads the same
// tokens, behind those of the steps before.
struct Reader {
    Reader(const Image &image, const Settings &s)
        : tokens(read_prompt(s.beside, 1, image.dimensions().vocab)),
          linears(image, {s.linears.threads, tokens.size(), {}}),
          model(image, linears, {tokens.size(), s.steps * tokens.size(), s.linears.threads, true}),
          logits(model.logits_stride() * sizeof(float))
    {
    }

    // The part of its step that goes with the products that a thread of the decoding step has begun.
    void read(const Worker &of, Barrier &barrier)
    {
        const std::uint64_t start = now_ns();
        const std::size_t number = of.products - 1, part = number % model.parts();
        Times times;
        Worker worker(of.rank(), of.size(), barrier, times);
        model.part(part, tokens.data(), number / model.parts() * tokens.size(), logits.as<float>(), &chosen,
                   worker);
        if (of.rank() == 0)
            ns += now_ns() - start;
    }

    const std::vector<std::uint32_t> tokens;
    NeonLinears linears;
    Model model;
    Buffer logits;
    std::uint32_t chosen = 0;
    std::uint64_t ns = 0;
};

std::unique_ptr<Linears> make_linears(const std::string &kind, const Image &image,
                                      const LinearsSettings &settings)
{
    if (kind == "lutmm")
        return std::make_unique<LutmmLinears>(image, settings);
    if (kind == "lut")
        return std::make_unique<LutLinears>(image, settings);
    return std::make_unique<NeonLinears>(image, settings);
}

// Cycles of the cores in a time: those of the machine that the program was made for (the header that `make`
// writes).
std::uint64_t core_cycles(std::uint64_t ns)
{
    return static_cast<std::uint64_t>(std::llround(static_cast<double>(ns) * core_clock_ghz));
}

// Adds a step's cycles by region to a line, and the parts of them that the thread waited for other threads
// and for units. With `waits` a region lasts until all threads have met behind it, so that regions add up to
// the step; else it has what the thread worked. Returns the sum of all regions.
std::uint64_t add_cycles(JsonLine &line, const Times &times, std::size_t steps, bool waits)
{
    std::uint64_t all = 0, barrier = 0, units = 0;
    for (std::size_t region = 0; region < kRegions; ++region) {
        const std::uint64_t ns =
            times.work[region] + (waits ? times.barrier[region] + times.units[region] : 0);
        line.add((std::string(kRegionNames[region]) + "_cycles").c_str(), core_cycles(ns / steps));
        all += ns;
        barrier += times.barrier[region];
        units += times.units[region];
    }
    line.add("barrier_cycles", core_cycles(barrier / steps)).add("units_cycles", core_cycles(units / steps));
    return core_cycles(all / steps);
}

} // namespace

int main(int argc, char **argv)
{
    Settings s = read_settings(argc, argv);
    const Image image(s.image, s.image_at, s.trusted);
    const std::size_t vocab = image.dimensions().vocab;
    const std::vector<std::uint32_t> prompt = read_prompt(s.prompt, s.batch, vocab);
    const std::size_t prompt_steps = prompt.size() / s.batch;
    const std::unique_ptr<Linears> linears = make_linears(s.linears_kind, image, s.linears);
    s.attention.row = image.head().shape.row;
    s.attention.positions = s.context + prompt_steps + s.steps - 1;
    Model model(image, *linears, s.attention);
    Buffer operands(s.operands.empty() ? 0 : (prompt_steps + s.steps) * model.operand_bytes());
    if (!s.operands.empty())
        model.record(operands.bytes());
    if (s.context > 0)
        model.attention().fill(s.context, s.seed);
    // Of one step or, if they are written, of all.
    const std::size_t kept = s.logits.empty() ? 1 : s.steps, stride = model.logits_stride();
    Buffer logits(kept * s.batch * stride * sizeof(float));
    const auto logits_of = [&](std::size_t step, std::size_t b) {
        return logits.as<float>() + (step % kept * s.batch + b) * stride;
    };
    Team team(s.linears.threads);
    Barrier barrier(s.linears.threads);
    std::vector<Times> times(s.linears.threads);
    std::vector<std::uint32_t> tokens(s.batch), decoded(s.steps * s.batch);

    // All tokens of the prompt but the last only fill the cache.
    for (std::size_t i = 0; i + 1 < prompt_steps; ++i) {
        std::copy_n(prompt.begin() + static_cast<std::ptrdiff_t>(i * s.batch), s.batch, tokens.begin());
        team.run([&](unsigned rank) {
            Worker worker(rank, team.size(), barrier, times[rank]);
            model.step(tokens.data(), s.context + i, nullptr, worker);
        });
    }
    std::unique_ptr<Reader> reader;
    if (!s.beside.empty()) {
        reader = std::make_unique<Reader>(image, s);
        linears->meanwhile = [&](const Worker &worker) { reader->read(worker, barrier); };
    }
    std::copy(prompt.end() - static_cast<std::ptrdiff_t>(s.batch), prompt.end(), tokens.begin());
    std::fill(times.begin(), times.end(), Times{});
    const std::uint64_t elapsed = measured(s.in_gem5, [&] {
        team.run([&](unsigned rank) {
            Worker worker(rank, team.size(), barrier, times[rank]);
            for (std::size_t step = 0; step < s.steps; ++step) {
                model.step(tokens.data(), s.context + prompt_steps - 1 + step, logits_of(step, 0), worker);
                if (rank == 0)
                    std::memcpy(decoded.data() + step * s.batch, tokens.data(), s.batch * sizeof(tokens[0]));
            }
        });
    });
    for (const std::string &problem : {linears->problem(), model.attention().problem()})
        if (!problem.empty()) {
            std::fprintf(stderr, "error: %s\n", problem.c_str());
            return kExitWrong;
        }
    std::uint64_t last_logits = 0;
    for (std::size_t b = 0; b < s.batch; ++b)
        last_logits = 31 * last_logits + checksum(logits_of(s.steps - 1, b), vocab * sizeof(float));
    if (!s.logits.empty())
        write_rows("logits", s.logits, logits.bytes(), kept * s.batch, vocab * sizeof(float),
                   stride * sizeof(float));
    if (!s.operands.empty())
        write_rows("operands", s.operands, operands.bytes(), 1,
                   static_cast<std::size_t>(model.end_of_record() - operands.bytes()), 0);
    if (s.list)
        for (unsigned rank = 0; rank < team.size(); ++rank) {
            JsonLine line;
            line.add("thread", std::uint64_t{rank});
            add_cycles(line, times[rank], s.steps, false);
            line.print();
        }
    JsonLine line;
    line.add("program", "decode")
        .add("linears", s.linears_kind)
        .add("threads", std::uint64_t{team.size()})
        .add("batch", s.batch)
        .add("context", s.context)
        .add("prompt", prompt_steps)
        .add("steps", s.steps)
        .add("attention", s.attention.on_units ? "units" : "cores")
        .add("cache", s.cache)
        .add("layers", image.dimensions().layers)
        .add("image_bytes", image.bytes())
        .add("tokens", rows_of(decoded, s.batch))
        .add_hex("logits", last_logits)
        .add("emulated", lutmm_emulated())
        .add("step_ns", elapsed / s.steps);
    const std::uint64_t step_cycles = add_cycles(line, times[0], s.steps, true);
    if (reader)
        line.add("beside_token", std::uint64_t{reader->chosen})
            .add_hex("beside_logits", checksum(reader->logits.bytes(), vocab * sizeof(float)))
            .add("beside_cycles", core_cycles(reader->ns / s.steps));
    line.add("step_cycles", step_cycles)
        .add("clock_mhz", static_cast<std::uint64_t>(std::llround(1000.0 * core_clock_ghz)))
        .print();
    return 0;
}
