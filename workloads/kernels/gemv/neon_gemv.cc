/* SPDX-License-Identifier: BSD-3-Clause */
// The CPU baseline: y = W x with int8 activations and quantized weights, NEON dot products, several threads.
#include "common/clock.hh"
#include "common/fail.hh"
#include "common/json_line.hh"
#include "common/options.hh"
#include "common/region.hh"
#include "gemv/formats.hh"
#include "gemv/problem.hh"

#include <algorithm>
#include <limits>

namespace
{

using namespace sailsim::kernels;

struct Run {
    std::size_t k, n, batch, threads, repeats, checked_rows;
    std::uint64_t seed;
    bool in_gem5;
};

template <class Format>
int measure(const Run &run)
{
    if (run.k % Format::kWeights != 0)
        fail("--k is %zu; %s needs a multiple of %zu", run.k, Format::kName, Format::kWeights);
    Problem<Format> problem(run.k, run.n, run.batch, run.seed);
    Team team(static_cast<unsigned>(run.threads));
    std::uint64_t least = std::numeric_limits<std::uint64_t>::max(), total = 0;
    for (std::size_t i = 0; i < run.repeats; ++i) {
        const Region region(run.in_gem5);
        const std::uint64_t start = now_ns();
        problem.multiply(team);
        const std::uint64_t elapsed = std::max<std::uint64_t>(now_ns() - start, 1);
        least = std::min(least, elapsed);
        total += elapsed;
    }
    const Comparison comparison = problem.compare(run.checked_rows);
    const std::uint64_t macs = static_cast<std::uint64_t>(run.k) * run.n * run.batch;
    JsonLine()
        .add("program", "neon_gemv")
        .add("format", Format::kName)
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
        .add("checked_rows", comparison.rows)
        .add("mismatches", comparison.mismatches)
        .add("worst_error_over_bound", comparison.worst_error)
        .print();
    return comparison.mismatches == 0 && comparison.worst_error <= 1.0 ? 0 : kExitWrong;
}

} // namespace

int main(int argc, char **argv)
{
    Options options(argc, argv, "GEMV with int8 activations and quantized weights (NEON baseline).");
    const std::string format =
        options.word("format", "q4_0", {"q8_0", "q4_0", "q4_1", "q2"}, "weight format");
    Run run{};
    run.k = options.number("k", 1024, 32, 1 << 20, "weights of an output");
    run.n = options.number("n", 1024, 1, 1 << 20, "outputs");
    run.batch = options.number("batch", 1, 1, 1024, "rows of activations");
    run.threads = options.number("threads", 1, 1, Team::kMost, "threads, one for each core to use");
    run.repeats = options.number("repeats", 3, 1, 1'000'000, "products; the first warms the caches");
    run.checked_rows = options.number("check", 64, 0, 1 << 20, "outputs compared with the scalar reference");
    run.seed = options.number("seed", 1, 0, std::numeric_limits<std::uint64_t>::max(), "of the operands");
    run.in_gem5 = options.flag("m5", "mark the measured part for gem5");
    options.finish();
    if (format == "q8_0")
        return measure<Q8_0>(run);
    if (format == "q4_0")
        return measure<Q4_0>(run);
    if (format == "q4_1")
        return measure<Q4_1>(run);
    return measure<Q2>(run);
}
