/* SPDX-License-Identifier: BSD-3-Clause */
// Sustained bandwidth of reading, writing, copying and the triad a = b + 3 c, by several threads, each on its
// own part.
#include "common/measure.hh"
#include "common/program.hh"
#include "common/team.hh"

#include <algorithm>
#include <arm_neon.h>
#include <cstring>
#include <limits>

namespace
{

using namespace sailsim::kernels;

constexpr std::size_t kChunk = 8;          // doubles of a cache line
constexpr std::size_t kRound = 4 * kChunk; // doubles that reading takes in a round
constexpr double kFactor = 3.0;

constexpr double kWritten = 5.0;
// The arrays repeat a page, so that filling them costs a simulator little. All values are so small that every
// sum of them is exact in a double, whatever the order.
constexpr std::size_t kPeriod = 4096 / sizeof(double);
double value_b(std::size_t i)
{
    return static_cast<double>(i % kPeriod);
}
double value_c(std::size_t i)
{
    return static_cast<double>(kPeriod - 1 - i % kPeriod);
}

struct Pattern {
    double values[kPeriod];

    explicit Pattern(double (*value)(std::size_t))
    {
        for (std::size_t i = 0; i < kPeriod; ++i)
            values[i] = value(i);
    }
    // Elements first .. last - 1 of an array that repeats the pattern.
    void fill(double *array, std::size_t first, std::size_t last) const
    {
        while (first < last) {
            const std::size_t at = first % kPeriod, count = std::min(kPeriod - at, last - first);
            std::memcpy(array + first, values + at, count * sizeof(double));
            first += count;
        }
    }
};

// Passes over a thread's part of the arrays; reading returns its sum.
double read(double *, const double *from, const double *, std::size_t count)
{
    float64x2_t sum[4] = {vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0)};
    // Fetching ends at a taken branch, so a round of one line would measure how fast a core goes round:
    // gem5's N1 takes 4 cycles for it, wherever the line is.
    std::size_t i = 0;
    for (; i + kRound <= count; i += kRound)
        for (std::size_t j = 0; j < kRound / 2; ++j)
            sum[j % 4] = vaddq_f64(sum[j % 4], vld1q_f64(from + i + 2 * j));
    for (; i < count; i += kChunk)
        for (std::size_t j = 0; j < 4; ++j)
            sum[j] = vaddq_f64(sum[j], vld1q_f64(from + i + 2 * j));
    return vaddvq_f64(vaddq_f64(vaddq_f64(sum[0], sum[1]), vaddq_f64(sum[2], sum[3])));
}

double write(double *to, const double *, const double *, std::size_t count)
{
    const float64x2_t value = vdupq_n_f64(kWritten);
    for (std::size_t i = 0; i < count; i += kChunk)
        for (std::size_t j = 0; j < 4; ++j)
            vst1q_f64(to + i + 2 * j, value);
    return 0.0;
}

double copy(double *to, const double *from, const double *, std::size_t count)
{
    for (std::size_t i = 0; i < count; i += kChunk) {
        float64x2_t line[4];
        for (std::size_t j = 0; j < 4; ++j)
            line[j] = vld1q_f64(from + i + 2 * j);
        for (std::size_t j = 0; j < 4; ++j)
            vst1q_f64(to + i + 2 * j, line[j]);
    }
    return 0.0;
}

double triad(double *to, const double *from, const double *scaled, std::size_t count)
{
    const float64x2_t factor = vdupq_n_f64(kFactor);
    for (std::size_t i = 0; i < count; i += kChunk) {
        float64x2_t line[4];
        for (std::size_t j = 0; j < 4; ++j)
            line[j] = vfmaq_f64(vld1q_f64(from + i + 2 * j), vld1q_f64(scaled + i + 2 * j), factor);
        for (std::size_t j = 0; j < 4; ++j)
            vst1q_f64(to + i + 2 * j, line[j]);
    }
    return 0.0;
}

struct alignas(64) Partial {
    double sum;
};

struct Kind {
    const char *name;
    std::size_t arrays; // that a pass moves; what a cache fetches before it writes is not counted
    double (*pass)(double *a, const double *b, const double *c, std::size_t count);
    double (*left)(std::size_t i); // element i of `a` after a pass; null: there is only a sum
};

constexpr Kind kKinds[] = {
    {"read", 1, read, nullptr},
    {"write", 1, write, [](std::size_t) { return kWritten; }},
    {"copy", 2, copy, value_b},
    {"triad", 3, triad, [](std::size_t i) { return value_b(i) + kFactor * value_c(i); }},
};

// Of array b, which repeats 0, 1, .. kPeriod - 1.
double expected_sum(std::size_t count)
{
    const auto below = [](std::size_t n) { return n * (n - 1) / 2; };
    return static_cast<double>(count / kPeriod * below(kPeriod) + below(count % kPeriod));
}

// Sums, or of `checked` elements spread evenly those, that are not what the last pass must have left.
std::size_t wrong(const Kind &kind, const double *a, std::size_t count, double sum, std::size_t checked)
{
    if (kind.left == nullptr)
        return sum != expected_sum(count);
    std::size_t errors = 0;
    const std::size_t most = std::min(checked, count);
    for (std::size_t n = 0; n < most; ++n)
        errors += a[n * count / most] != kind.left(n * count / most);
    return errors;
}

} // namespace

int main(int argc, char **argv)
{
    Options options(argc, argv, "Memory bandwidth: read, write, copy, triad.");
    const std::string which =
        options.word("kind", "all", {"all", "read", "write", "copy", "triad"}, "what to measure");
    const std::size_t bytes =
        options.number("bytes", 1 << 22, 64, std::uint64_t{1} << 34, "of each array; whole lines are used");
    const std::size_t threads =
        options.number("threads", 1, 1, Team::kMost, "threads, one for each core to use");
    const std::size_t repeats = options.number("repeats", 5, 1, 1'000'000, "passes; the best counts");
    const std::size_t checked = options.number("check", std::uint64_t{1} << 31, 0, std::uint64_t{1} << 31,
                                               "elements compared at most, spread evenly");
    const bool in_gem5 = options.flag("m5", "mark the measured part for gem5");
    options.finish();

    const std::size_t count = bytes / sizeof(double) / kChunk * kChunk;
    Buffer a(count * sizeof(double)), b(a.size()), c(a.size()), partial(threads * sizeof(Partial));
    Team team(static_cast<unsigned>(threads));
    // Calls body(rank, first, count) with each thread's part of an array.
    const auto by_parts = [&](auto &&body) {
        team.run([&](unsigned rank) {
            const Range lines = part_of(count / kChunk, rank, team.size());
            body(rank, lines.first * kChunk, (lines.last - lines.first) * kChunk);
        });
    };
    const Pattern blank([](std::size_t) { return -1.0; }), pattern_b(value_b), pattern_c(value_c);
    by_parts([&](unsigned, std::size_t first, std::size_t part) { // each first touches what it will use
        blank.fill(a.as<double>(), first, first + part);
        pattern_b.fill(b.as<double>(), first, first + part);
        pattern_c.fill(c.as<double>(), first, first + part);
    });

    std::size_t errors = 0;
    for (const Kind &kind : kKinds) {
        if (which != "all" && which != kind.name)
            continue;
        std::uint64_t least = std::numeric_limits<std::uint64_t>::max(), last = 0;
        for (std::size_t i = 0; i < repeats; ++i) {
            last = measured(in_gem5, [&] {
                by_parts([&](unsigned rank, std::size_t first, std::size_t part) {
                    partial.as<Partial>()[rank].sum = kind.pass(
                        a.as<double>() + first, b.as<double>() + first, c.as<double>() + first, part);
                });
            });
            least = std::min(least, last);
        }
        double sum = 0.0;
        for (unsigned rank = 0; rank < threads; ++rank)
            sum += partial.as<Partial>()[rank].sum;
        const std::size_t moved = kind.arrays * a.size();
        const std::size_t errors_here = wrong(kind, a.as<double>(), count, sum, checked);
        errors += errors_here;
        JsonLine()
            .add("program", "bandwidth")
            .add("kind", kind.name)
            .add("array_bytes", a.size())
            .add("threads", threads)
            .add("bytes", moved)
            .add("best_ns", least)
            .add("last_ns", last)
            .add("gb_per_s", static_cast<double>(moved) / static_cast<double>(least))
            .add("mismatches", errors_here)
            .print();
    }
    return errors == 0 ? 0 : kExitWrong;
}
