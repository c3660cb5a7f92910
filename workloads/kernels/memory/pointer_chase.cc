/* SPDX-License-Identifier: BSD-3-Clause */
// Load-to-use latency by footprint: one chain of dependent loads through every cache line once, in random
// order.
#include "common/measure.hh"
#include "common/program.hh"
#include "common/team.hh"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

namespace
{

using namespace sailsim::kernels;

constexpr std::size_t kLineBytes = 64;
constexpr std::size_t kUnroll = 8; // loads between two tests of the loop counter

struct alignas(kLineBytes) Line {
    const Line *next;
};

// Links all lines into one cycle in random order.
void link(Line *line, std::size_t lines, Random &random)
{
    std::vector<std::uint32_t> order(lines);
    std::iota(order.begin(), order.end(), 0u);
    for (std::size_t i = lines; i > 1; --i)
        std::swap(order[i - 1], order[random.below(i)]);
    for (std::size_t i = 0; i < lines; ++i)
        line[order[i]].next = &line[order[(i + 1) % lines]];
}

const Line *chase(const Line *line, std::size_t loads)
{
    for (std::size_t i = 0; i < loads; i += kUnroll)
        for (std::size_t j = 0; j < kUnroll; ++j) {
            line = line->next;
            __asm__ volatile("" : "+r"(line)); // each load depends on the one before and none is dropped
        }
    return line;
}

// Lines on the cycle through `line`.
std::size_t cycle_length(const Line *line)
{
    std::size_t length = 1;
    for (const Line *other = line->next; other != line; other = other->next)
        ++length;
    return length;
}

} // namespace

int main(int argc, char **argv)
{
    Options options(argc, argv, "Load latency by footprint (pointer chase over cache lines).");
    constexpr std::uint64_t most = std::uint64_t{1} << 34;
    const std::size_t smallest = options.number("min", 4096, 4096, most, "smallest footprint in bytes");
    const std::size_t largest =
        options.number("max", 1 << 20, 4096, most, "largest footprint in bytes; doubles up to it");
    const std::size_t least_loads =
        options.number("loads", 1 << 16, 1, most, "timed loads at least (whole rounds)");
    const std::uint64_t seed =
        options.number("seed", 1, 0, std::numeric_limits<std::uint64_t>::max(), "of the order");
    const bool in_gem5 = options.flag("m5", "mark the measured part for gem5");
    options.finish();
    if (smallest > largest)
        fail("--min is %zu; allowed: at most --max, which is %zu", smallest, largest);

    Random random(seed);
    for (std::size_t footprint = smallest; footprint <= largest; footprint *= 2) {
        const std::size_t lines = footprint / kLineBytes;
        Buffer memory(footprint);
        Line *line = memory.as<Line>();
        link(line, lines, random);
        if (cycle_length(line) != lines)
            return kExitWrong;
        const Line *here = chase(line, lines); // brings what fits into the caches and TLBs
        const std::size_t loads = (least_loads + lines - 1) / lines * lines;
        const std::uint64_t elapsed = measured(in_gem5, [&] { here = chase(here, loads); });
        if (here != line) // whole rounds end where they began
            return kExitWrong;
        JsonLine()
            .add("program", "pointer_chase")
            .add("footprint_bytes", footprint)
            .add("loads", loads)
            .add("ns", elapsed)
            .add("ns_per_load", static_cast<double>(elapsed) / static_cast<double>(loads))
            .print();
    }
    return 0;
}
