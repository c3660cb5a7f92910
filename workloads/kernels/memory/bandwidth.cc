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

double read(const double *from, std::size_t count)
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

void write(double *to, std::size_t count)
{
    const float64x2_t value = vdupq_n_f64(kWritten);
    for (std::size_t i = 0; i < count; i += kChunk)
        for (std::size_t j = 0; j < 4; ++j)
            vst1q_f64(to + i + 2 * j, value);
}

void copy(double *to, const double *from, std::size_t count)
{
    for (std::size_t i = 0; i < count; i += kChunk) {
        float64x2_t line[4];
        for (std::size_t j = 0; j < 4; ++j)
            line[j] = vld1q_f64(from + i + 2 * j);
        for (std::size_t j = 0; j < 4; ++j)
            vst1q_f64(to + i + 2 * j, line[j]);
    }
}

void triad(double *to, const double *from, const double *scaled, std::size_t count)
{
    const float64x2_t factor = vdupq_n_f64(kFactor);
    for (std::size_t i = 0; i < count; i += kChunk) {
        float64x2_t line[4];
        for (std::size_t j = 0; j < 4; ++j)
            line[j] = vfmaq_f64(vld1q_f64(from + i + 2 * j), vld1q_f64(scaled + i + 2 * j), factor);
        for (std::size_t j = 0; j < 4; ++j)
            vst1q_f64(to + i + 2 * j, line[j]);
    }
}

struct alignas(64) Partial {
    double sum;
};

enum class Kind { read, write, copy, triad };

struct Arrays {
    double *a, *b, *c;
    std::size_t count;
};

void pass(Kind kind, const Arrays &arrays, Team &team, Partial *partial)
{
    team.run([&](unsigned rank) {
        const Range lines = part_of(arrays.count / kChunk, rank, team.size());
        const std::size_t first = lines.first * kChunk, count = (lines.last - lines.first) * kChunk;
        switch (kind) {
        case Kind::read:
            partial[rank].sum = read(arrays.b + first, count);
            break;
        case Kind::write:
            write(arrays.a + first, count);
            break;
        case Kind::copy:
            copy(arrays.a + first, arrays.b + first, count);
            break;
        case Kind::triad:
            triad(arrays.a + first, arrays.b + first, arrays.c + first, count);
            break;
        }
    });
}

double expected_sum(std::size_t count)
{
    double page = 0.0, rest = 0.0;
    for (std::size_t i = 0; i < kPeriod; ++i)
        page += value_b(i);
    for (std::size_t i = 0; i < count % kPeriod; ++i)
        rest += value_b(i);
    return page * static_cast<double>(count / kPeriod) + rest;
}

double expected_element(Kind kind, std::size_t i)
{
    if (kind == Kind::write)
        return kWritten;
    return value_b(i) + (kind == Kind::triad ? kFactor * value_c(i) : 0.0);
}

// Sums, or of `checked` elements spread evenly those, that are not what the last pass must have left.
std::size_t wrong(Kind kind, const Arrays &arrays, const Partial *partial, unsigned threads,
                  std::size_t checked)
{
    if (kind == Kind::read) {
        double sum = 0.0;
        for (unsigned rank = 0; rank < threads; ++rank)
            sum += partial[rank].sum;
        return sum != expected_sum(arrays.count);
    }
    std::size_t count = 0;
    const std::size_t most = std::min(checked, arrays.count);
    for (std::size_t n = 0; n < most; ++n) {
        const std::size_t i = n * arrays.count / most;
        count += arrays.a[i] != expected_element(kind, i);
    }
    return count;
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
    const Arrays arrays{a.as<double>(), b.as<double>(), c.as<double>(), count};
    Team team(static_cast<unsigned>(threads));
    const Pattern blank([](std::size_t) { return -1.0; }), pattern_b(value_b), pattern_c(value_c);
    team.run([&](unsigned rank) { // each thread first touches what it will use
        const Range lines = part_of(count / kChunk, rank, team.size());
        const std::size_t first = lines.first * kChunk, last = lines.last * kChunk;
        blank.fill(arrays.a, first, last);
        pattern_b.fill(arrays.b, first, last);
        pattern_c.fill(arrays.c, first, last);
    });

    struct Test {
        Kind kind;
        const char *name;
        std::size_t arrays; // that a pass moves; what a cache fetches before it writes is not counted
    };
    std::size_t errors = 0;
    for (const Test &test : {Test{Kind::read, "read", 1}, Test{Kind::write, "write", 1},
                             Test{Kind::copy, "copy", 2}, Test{Kind::triad, "triad", 3}}) {
        if (which != "all" && which != test.name)
            continue;
        std::uint64_t least = std::numeric_limits<std::uint64_t>::max(), last = 0;
        for (std::size_t i = 0; i < repeats; ++i) {
            const Region region(in_gem5);
            const std::uint64_t start = now_ns();
            pass(test.kind, arrays, team, partial.as<Partial>());
            last = std::max<std::uint64_t>(now_ns() - start, 1);
            least = std::min(least, last);
        }
        const std::size_t moved = test.arrays * a.size();
        const std::size_t errors_here = wrong(test.kind, arrays, partial.as<Partial>(), team.size(), checked);
        errors += errors_here;
        JsonLine()
            .add("program", "bandwidth")
            .add("kind", test.name)
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
