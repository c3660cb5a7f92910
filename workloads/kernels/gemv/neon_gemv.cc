/* SPDX-License-Identifier: BSD-3-Clause */
// The CPU baseline: y = W x with int8 activations and quantized weights, NEON dot products, several threads.
#include "common/program.hh"
#include "common/team.hh"
#include "gemv/formats.hh"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace
{

using namespace sailsim::kernels;

// Symmetric: scale = max |x| / 127, q = x / scale to the nearest integer, ties to even. A block whose largest
// magnitude is below 2^-100 becomes zeros: its reciprocal scale would overflow.
ActivationBlock quantized(const float *x)
{
    float largest = 0.0f;
    for (std::size_t i = 0; i < kBlock; ++i)
        largest = std::max(largest, std::fabs(x[i]));
    ActivationBlock block{};
    for (std::size_t i = 0; i < kBlock; ++i) {
        block.q[i] = static_cast<std::int8_t>(std::nearbyint(x[i] * steps_per_unit(largest)));
        block.half_sum[i / 16] = static_cast<std::int16_t>(block.half_sum[i / 16] + block.q[i]);
    }
    block.scale = step_of(largest);
    block.scaled_sum = block.scale * static_cast<float>(block.half_sum[0] + block.half_sum[1]);
    return block;
}

// One GEMV problem in one format: random weights in panels, quantized activations, the threaded product,
// checks.
template <class Format>
class Problem
{
  public:
    // n outputs of k weights each, k a multiple of Format::kWeights; batch rows of activations.
    Problem(std::size_t k, std::size_t n, std::size_t batch, std::uint64_t seed)
        : n_(n), blocks_(k / Format::kWeights), panels_((n + kRows - 1) / kRows),
          weights_(panels_ * blocks_ * sizeof(Panel)), batch_(batch), x_blocks_(k / kBlock),
          x_(batch * x_blocks_), y_(batch * panels_ * kRows * sizeof(float))
    {
        Random random(seed);
        Panel *panel = weights_.as<Panel>();
        for (std::size_t i = 0; i < panels_ * blocks_; ++i)
            randomize<Format>(panel[i], random);
        for (ActivationBlock &block : x_) {
            float values[kBlock];
            for (float &value : values)
                value = random.symmetric();
            block = quantized(values);
        }
    }

    void multiply(Team &team)
    {
        team.run([this, &team](unsigned rank) {
            const Range mine = part_of(panels_, rank, team.size());
            const Panel *panel = weights_.as<Panel>() + mine.first * blocks_;
            for (std::size_t p = mine.first; p < mine.last; ++p, panel += blocks_) {
                // The batch inside: a panel of a usual k stays in the L1 cache between the passes.
                by_columns<Format::kMostColumns>(
                    batch_, [&](auto count, std::size_t first) { panel_columns<count>(panel, p, first); });
            }
        });
    }

    // Of `rows` outputs spread evenly over the matrix, each for all batch rows: how many differ in any bit
    // from the scalar reference.
    std::size_t mismatches(std::size_t rows) const
    {
        std::size_t count = 0;
        for (std::size_t i = 0; i < rows; ++i) {
            const std::size_t n = part_of(n_, static_cast<unsigned>(i), static_cast<unsigned>(rows)).first;
            const Panel *panel = weights_.as<Panel>() + n / kRows * blocks_;
            for (std::size_t b = 0; b < batch_; ++b) {
                const float y = y_.as<float>()[b * panels_ * kRows + n];
                const float expected = Format::reference(panel, n % kRows, blocks_, row(b));
                count += std::memcmp(&y, &expected, sizeof y) != 0;
            }
        }
        return count;
    }

    std::size_t weight_bytes() const { return weights_.size(); }
    std::uint64_t result_checksum() const { return checksum(y_.bytes(), y_.size()); }

  private:
    using Panel = typename Format::Panel;

    const ActivationBlock *row(std::size_t b) const { return x_.data() + b * x_blocks_; }

    template <int Batch>
    void panel_columns(const Panel *panel, std::size_t p, std::size_t first_column)
    {
        const ActivationBlock *x[Batch];
        for (std::size_t b = 0; b < Batch; ++b)
            x[b] = row(first_column + b);
        PanelSums<Batch> sums;
        multiply_panel<Format, Batch>(panel, blocks_, x, sums);
        for (std::size_t b = 0; b < Batch; ++b) {
            float *y = y_.as<float>() + ((first_column + b) * panels_ + p) * kRows;
            vst1q_f32(y, sums[b][0]);
            vst1q_f32(y + 4, sums[b][1]);
        }
    }

    std::size_t n_, blocks_, panels_;
    Buffer weights_; // (panels, blocks) of Panel
    std::size_t batch_, x_blocks_;
    std::vector<ActivationBlock> x_; // (batch, x_blocks)
    Buffer y_;                       // (batch, panels, kRows) fp32
};

struct Run {
    std::string format;
    std::size_t k, n, batch, threads, repeats, checked_rows;
    std::uint64_t seed;
    bool in_gem5;
};

template <class Format>
int measure(const Run &run)
{
    if (run.k % Format::kWeights != 0)
        fail("--k is %zu; %s needs a multiple of %zu", run.k, run.format.c_str(), Format::kWeights);
    Problem<Format> problem(run.k, run.n, run.batch, run.seed);
    Team team(static_cast<unsigned>(run.threads));
    std::uint64_t least = std::numeric_limits<std::uint64_t>::max(), total = 0;
    for (std::size_t i = 0; i < run.repeats; ++i) {
        const std::uint64_t elapsed = measured(run.in_gem5, [&] { problem.multiply(team); });
        least = std::min(least, elapsed);
        total += elapsed;
    }
    const std::size_t checked = std::min(run.checked_rows, run.n);
    const std::size_t mismatches = problem.mismatches(checked);
    const std::uint64_t macs = static_cast<std::uint64_t>(run.k) * run.n * run.batch;
    JsonLine()
        .add("program", "neon_gemv")
        .add("format", run.format)
        .add("k", run.k)
        .add("n", run.n)
        .add("batch", run.batch)
        .add("threads", run.threads)
        .add("repeats", run.repeats)
        .add("macs", macs)
        .add("weight_bytes", problem.weight_bytes())
        .add("best_ns", least)
        .add("total_ns", total)
        .add("gmac_per_s", static_cast<double>(macs) / static_cast<double>(least))
        .add("gb_per_s", static_cast<double>(problem.weight_bytes()) / static_cast<double>(least))
        .add_hex("checksum", problem.result_checksum())
        .add("checked_rows", checked)
        .add("mismatches", mismatches)
        .print();
    return mismatches == 0 ? 0 : kExitWrong;
}

} // namespace

int main(int argc, char **argv)
{
    Options options(argc, argv, "GEMV with int8 activations and quantized weights (NEON baseline).");
    Run run{};
    run.format = options.word("format", "q4_0", {"q8_0", "q4_0", "q4_1", "q2"}, "weight format");
    run.k = options.number("k", 1024, 32, 1 << 20, "weights of an output");
    run.n = options.number("n", 1024, 1, 1 << 20, "outputs");
    run.batch = options.number("batch", 1, 1, 1024, "rows of activations");
    run.threads = options.number("threads", 1, 1, Team::kMost, "threads, one for each core to use");
    run.repeats = options.number("repeats", 3, 1, 1'000'000, "products; the first warms the caches");
    run.checked_rows = options.number("check", 64, 0, 1 << 20, "outputs compared with the scalar reference");
    run.seed = options.number("seed", 1, 0, std::numeric_limits<std::uint64_t>::max(), "of the operands");
    run.in_gem5 = options.flag("m5", "mark the measured part for gem5");
    options.finish();
    const std::map<std::string, int (*)(const Run &)> formats = {
        {"q8_0", measure<Q8_0>}, {"q4_0", measure<Q4_0>}, {"q4_1", measure<Q4_1>}, {"q2", measure<Q2>}};
    return formats.at(run.format)(run);
}
