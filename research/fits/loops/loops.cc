/* SPDX-License-Identifier: BSD-3-Clause */
// The inner loops of the programs that ship, one at a time, on operands that stay in the L1 cache: what
// research/fits/core_loops.py measures. The loops are those of the programs' own sources, but for `convert`.
#include "common/program.hh"

#include "decode/attention.cc"
#include "decode/attention_codes.cc"
#include "decode/linears_lut.cc"
#include "decode/linears_neon.cc"
#include "decode/rounding.cc"
#include "gemv/formats.hh"

#include <functional>

using namespace sailsim::kernels;

extern "C" {
// Between these two a tracer finds one pass of the loop.
__attribute__((noinline)) void trace_begins()
{
    __asm__ volatile("");
}
__attribute__((noinline)) void trace_ends()
{
    __asm__ volatile("");
}
}

namespace
{

struct Loop {
    std::function<void()> pass;
    std::uint64_t work; // multiply-accumulates of a pass, or numbers where it has none
};

// Operands that outlive the loop; plausible bits everywhere.
template <class Element>
Element *operands(std::size_t count)
{
    static Random random(1);
    void *bytes = aligned_alloc(64, decode::round_up(count * sizeof(Element), 64) + 8192);
    random.fill(bytes, count * sizeof(Element));
    if constexpr (sizeof(Element) == 4)
        for (std::size_t i = 0; i < count; ++i)
            static_cast<float *>(bytes)[i] = random.symmetric();
    if constexpr (std::is_same_v<Element, float16_t>)
        for (std::size_t i = 0; i < count; ++i)
            static_cast<float16_t *>(bytes)[i] = static_cast<float16_t>(random.symmetric());
    return static_cast<Element *>(bytes);
}

template <int Bits, int Batch>
Loop neon(std::size_t group)
{
    auto *matrix = new decode::Matrix{};
    matrix->shape = {512, 8, Bits, group, 1, false};
    matrix->step = 1;
    matrix->zero = 1 << (Bits - 1);
    auto *panel = operands<std::uint8_t>(matrix->shape.rows_panel_bytes());
    for (std::size_t at = 0, block = 16 + group * Bits; at + 16 <= matrix->shape.rows_panel_bytes();
         at += block)
        for (int i = 0; i < 8; ++i)
            reinterpret_cast<float16_t *>(panel + at)[i] = static_cast<float16_t>(0.01f);
    decode::Pass pass{matrix, panel, {}, {}, {}, {}};
    for (int b = 0; b < Batch; ++b) {
        pass.x[b] = operands<std::int8_t>(512);
        pass.sums[b] = reinterpret_cast<std::int32_t *>(operands<std::int8_t>(4 * 16));
        pass.scale[b] = 0.1f;
        pass.y[b] = operands<float>(8);
    }
    return {[pass] { decode::multiply_panel<Bits, false, Batch>(pass); }, 512 * 8 * Batch};
}

Loop lut(std::size_t bits, std::size_t group)
{
    auto *matrix = new decode::Matrix{};
    matrix->shape = {256, 32, bits, group, 1, false};
    matrix->step = 1;
    matrix->zero = 1 << (bits - 1);
    auto *panel = operands<std::uint8_t>(matrix->shape.lut_panel_bytes());
    const std::size_t block = 64 + group * 4 * bits;
    for (std::size_t at = 0; at + 64 <= matrix->shape.lut_panel_bytes(); at += block)
        for (int i = 0; i < 32; ++i)
            reinterpret_cast<float16_t *>(panel + at)[i] = static_cast<float16_t>(0.01f);
    auto *tables = operands<std::uint8_t>(256 / 4 * decode::kTableBytes);
    auto *sums = reinterpret_cast<std::int32_t *>(operands<std::int8_t>(4 * 8));
    auto *y = operands<float>(32);
    return {[=] { decode::multiply_panel(*matrix, panel, tables, sums, 0.1f, y); }, 256 * 32 * bits};
}

template <class Format, int Batch>
Loop gemv()
{
    const std::size_t blocks = 512 / Format::kWeights;
    auto *panel =
        static_cast<typename Format::Panel *>(aligned_alloc(64, sizeof(typename Format::Panel) * 16 + 8192));
    Random random(2);
    for (std::size_t i = 0; i < blocks; ++i)
        randomize<Format>(panel[i], random);
    auto **x = new const ActivationBlock *[Batch];
    for (int b = 0; b < Batch; ++b) {
        auto *blocks_of = static_cast<ActivationBlock *>(aligned_alloc(64, 16 * 64));
        random.fill(blocks_of, 16 * sizeof(ActivationBlock));
        for (int i = 0; i < 16; ++i)
            blocks_of[i].scale = blocks_of[i].scaled_sum = 0.1f;
        x[b] = blocks_of;
    }
    auto *y = new PanelSums<Batch>[1];
    return {[=] { multiply_panel<Format, Batch>(panel, blocks, x, *y); }, 512 * 8 * Batch};
}

constexpr std::size_t kHead = 128; // numbers of a head

template <int Queries>
Loop scores_fp16()
{
    auto *queries = operands<float>(Queries * kHead);
    auto *keys = operands<float16_t>(decode::kPositions * kHead);
    auto *scores =
        reinterpret_cast<float (*)[decode::kPositions]>(operands<float>(Queries * decode::kPositions));
    return {[=] { decode::score_halves<Queries>(queries, keys, keys, kHead, scores); },
            decode::kPositions * kHead * Queries};
}

template <int Queries>
Loop values_fp16()
{
    auto *weights =
        reinterpret_cast<float (*)[decode::kPositions]>(operands<float>(Queries * decode::kPositions));
    auto *values = operands<float16_t>(decode::kPositions * kHead);
    auto **sums = new float *[Queries];
    for (int i = 0; i < Queries; ++i)
        sums[i] = operands<float>(kHead);
    return {[=] { decode::weigh<Queries>(weights, values, values, decode::kPositions, kHead, sums); },
            decode::kPositions * kHead * Queries};
}

decode::Worker &alone()
{
    static Barrier barrier(1);
    static decode::Times times;
    static decode::Worker worker(0, 1, barrier, times);
    return worker;
}

// `queries` heads that share 128 keys and values of 8 bits
Loop codes(std::size_t queries, bool scores)
{
    constexpr std::size_t positions = 128;
    const decode::Dimensions dimensions{
        .layers = 1, .heads = queries, .kv_heads = 1, .head_dim = kHead, .slices = 1};
    decode::AttentionSettings settings;
    settings.positions = positions;
    settings.bits = 8;
    auto *attention = new decode::DotAttention(dimensions, settings);
    attention->fill(positions, 1);
    const std::size_t work = positions * kHead * queries;
    if (scores)
        return {[=] { attention->multiply_keys(0, positions, alone()); }, work};
    return {[=] { attention->multiply_values(0, positions, alone()); }, work};
}

__attribute__((noinline)) void softmax(float *scores, float &largest, float &total)
{
    decode::exponentials(scores, decode::kPositions, largest, total);
}

// Of a head over codes, to rounded probabilities
struct CodeSoftmax : decode::DotAttention {
    using decode::CodeAttention::soften;
    using decode::DotAttention::DotAttention;
};

Loop softmax_of_codes()
{
    constexpr std::size_t positions = 512;
    const decode::Dimensions dimensions{
        .layers = 1, .heads = 1, .kv_heads = 1, .head_dim = kHead, .slices = 1};
    decode::AttentionSettings settings;
    settings.positions = positions;
    settings.bits = 8;
    auto *attention = new CodeSoftmax(dimensions, settings);
    auto *scores = operands<float>(positions);
    return {[=] { attention->soften(0, positions, 0, scores); }, positions};
}

Loop norm(bool rounding, bool tables)
{
    decode::Worker &worker = alone();
    auto *rounded = new decode::Rounded(1, 576, {tables, false});
    auto *x = operands<float>(576), *weight = operands<float>(576);
    rounded->measure_norm(x, nullptr, 576, weight, worker);
    if (rounding)
        return {[=, &worker] { rounded->round_norm(x, 576, weight, 1e-5f, worker); }, 576};
    return {[=, &worker] { rounded->measure_norm(x, nullptr, 576, weight, worker); }, 576};
}

// What cores do of a product whose units leave integer sums: sums of blocks, [block][row][output], are made
// floats, scaled and added. No program has it, as units convert.
template <std::size_t Rows>
__attribute__((noinline)) void convert(const std::int32_t *sums, const float16_t *scales, std::size_t blocks,
                                       std::size_t outputs, float *results)
{
    for (std::size_t n = 0; n < outputs; n += 4) {
        float32x4_t totals[Rows] = {};
        for (std::size_t block = 0; block < blocks; ++block) {
            const float32x4_t scale = vcvt_f32_f16(vld1_f16(scales + block * outputs + n));
            for (std::size_t row = 0; row < Rows; ++row) {
                const int32x4_t of_block = vld1q_s32(sums + (block * Rows + row) * outputs + n);
                totals[row] = vfmaq_f32(totals[row], vcvtq_f32_s32(of_block), scale);
            }
        }
        for (std::size_t row = 0; row < Rows; ++row)
            vst1q_f32(results + row * outputs + n, totals[row]);
    }
}

template <std::size_t Rows>
Loop conversion()
{
    constexpr std::size_t blocks = 32, outputs = 32; // of 4096 inputs in groups of 128
    auto *sums = operands<std::int32_t>(blocks * Rows * outputs);
    auto *scales = operands<float16_t>(blocks * outputs);
    auto *results = operands<float>(Rows * outputs);
    return {[=] { convert<Rows>(sums, scales, blocks, outputs, results); }, blocks * Rows * outputs};
}

const std::map<std::string, std::function<Loop()>> kLoops = {
    {"decode W1 g32 b1", [] { return neon<1, 1>(32); }},
    {"decode W1 g32 b4", [] { return neon<1, 4>(32); }},
    {"decode W1 g128 b1", [] { return neon<1, 1>(128); }},
    {"decode W1 g128 b4", [] { return neon<1, 4>(128); }},
    {"decode W2 g32 b1", [] { return neon<2, 1>(32); }},
    {"decode W2 g32 b4", [] { return neon<2, 4>(32); }},
    {"decode W2 g128 b1", [] { return neon<2, 1>(128); }},
    {"decode W2 g128 b4", [] { return neon<2, 4>(128); }},
    {"decode W3 g32 b1", [] { return neon<3, 1>(32); }},
    {"decode W3 g32 b4", [] { return neon<3, 4>(32); }},
    {"decode W3 g128 b1", [] { return neon<3, 1>(128); }},
    {"decode W3 g128 b4", [] { return neon<3, 4>(128); }},
    {"decode W4 g32 b1", [] { return neon<4, 1>(32); }},
    {"decode W4 g32 b4", [] { return neon<4, 4>(32); }},
    {"decode W4 g128 b1", [] { return neon<4, 1>(128); }},
    {"decode W4 g128 b4", [] { return neon<4, 4>(128); }},
    {"decode W5 g32 b1", [] { return neon<5, 1>(32); }},
    {"decode W5 g32 b4", [] { return neon<5, 4>(32); }},
    {"decode W5 g128 b1", [] { return neon<5, 1>(128); }},
    {"decode W5 g128 b4", [] { return neon<5, 4>(128); }},
    {"decode W6 g32 b1", [] { return neon<6, 1>(32); }},
    {"decode W6 g32 b4", [] { return neon<6, 4>(32); }},
    {"decode W6 g128 b1", [] { return neon<6, 1>(128); }},
    {"decode W6 g128 b4", [] { return neon<6, 4>(128); }},
    {"decode W7 g32 b1", [] { return neon<7, 1>(32); }},
    {"decode W7 g32 b4", [] { return neon<7, 4>(32); }},
    {"decode W7 g128 b1", [] { return neon<7, 1>(128); }},
    {"decode W7 g128 b4", [] { return neon<7, 4>(128); }},
    {"decode W8 g32 b1", [] { return neon<8, 1>(32); }},
    {"decode W8 g32 b4", [] { return neon<8, 4>(32); }},
    {"decode W8 g128 b1", [] { return neon<8, 1>(128); }},
    {"decode W8 g128 b4", [] { return neon<8, 4>(128); }},
    {"lut W1 g32", [] { return lut(1, 32); }},
    {"lut W1 g128", [] { return lut(1, 128); }},
    {"lut W2 g32", [] { return lut(2, 32); }},
    {"lut W2 g128", [] { return lut(2, 128); }},
    {"lut W3 g32", [] { return lut(3, 32); }},
    {"lut W3 g128", [] { return lut(3, 128); }},
    {"lut W4 g32", [] { return lut(4, 32); }},
    {"lut W4 g128", [] { return lut(4, 128); }},
    {"gemv q8_0 b1", [] { return gemv<Q8_0, 1>(); }},
    {"gemv q8_0 b4", [] { return gemv<Q8_0, 4>(); }},
    {"gemv q4_0 b1", [] { return gemv<Q4_0, 1>(); }},
    {"gemv q4_0 b4", [] { return gemv<Q4_0, 4>(); }},
    {"gemv q4_1 b1", [] { return gemv<Q4_1, 1>(); }},
    {"gemv q4_1 b4", [] { return gemv<Q4_1, 4>(); }},
    {"gemv q2 b1", [] { return gemv<Q2, 1>(); }},
    {"gemv q2 b2", [] { return gemv<Q2, 2>(); }},
    {"scores fp16 q1", [] { return scores_fp16<1>(); }},
    {"scores fp16 q3", [] { return scores_fp16<3>(); }},
    {"scores fp16 q4", [] { return scores_fp16<4>(); }},
    {"scores int8 q1", [] { return codes(1, true); }},
    {"scores int8 q4", [] { return codes(4, true); }},
    {"values fp16 q1", [] { return values_fp16<1>(); }},
    {"values fp16 q3", [] { return values_fp16<3>(); }},
    {"values fp16 q4", [] { return values_fp16<4>(); }},
    {"values int8 q1", [] { return codes(1, false); }},
    {"values int8 q4", [] { return codes(4, false); }},
    {"softmax",
     [] {
         // A pass writes where it reads: of eight rows in turn, or it waited for the stores of the last one,
         // which llvm-mca does not know of.
         constexpr std::size_t rows = 8;
         auto *scores = operands<float>(rows * decode::kPositions);
         auto *sums = operands<float>(2);
         return Loop{[=, row = std::size_t{0}]() mutable {
                         softmax(scores + row * decode::kPositions, sums[0], sums[1]);
                         row = (row + 1) % rows;
                     },
                     decode::kPositions};
     }},
    {"softmax int8", softmax_of_codes},
    {"convert b1", conversion<1>},
    {"convert b8", conversion<8>},
    {"norm", [] { return norm(false, false); }},
    {"quantise", [] { return norm(true, false); }},
    {"quantise, tables", [] { return norm(true, true); }},
};

} // namespace

int main(int argc, char **argv)
{
    Options options(argc, argv, "The inner loops of the programs, with data in L1.");
    const std::uint64_t repeats = options.number("repeats", 100, 1, 1 << 20, "passes");
    const std::string one = options.text("loop", "", "its name; default: all, one after another");
    options.finish();
    for (const auto &[name, make] : kLoops) {
        if (!one.empty() && one != name)
            continue;
        const Loop loop = make();
        for (int warm = 0; warm < 3; ++warm)
            loop.pass();
        if (!one.empty()) {
            trace_begins();
            loop.pass();
            trace_ends();
        }
        const auto pass = [&](std::uint64_t count) {
            return measured(false, [&] {
                for (std::uint64_t i = 0; i < count; ++i)
                    loop.pass();
            });
        };
        const std::uint64_t short_ns = pass(repeats / 4), long_ns = pass(repeats + repeats / 4);
        JsonLine()
            .add("loop", name)
            .add("work", loop.work)
            .add("ns_per_pass", static_cast<double>(long_ns - short_ns) / static_cast<double>(repeats))
            .print();
    }
}
