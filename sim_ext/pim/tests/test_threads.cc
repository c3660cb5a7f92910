/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The core in several threads: those that it starts itself, and callers that share its constants, profiles
 * and weights, as Python threads do while the interpreter is free. `make sanitize` runs this under
 * ThreadSanitizer.
 */
#include <atomic>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "pim/gemv.hh"
#include "pim/parallel.hh"
#include "pim/patterns.hh"
#include "pim/schedule.hh"
#include "support.hh"

namespace
{

constexpr int callers = 4;

/* Calls the same function in several threads that start together; true where it said so in all of them. */
bool all_say(const std::function<bool()> &function)
{
    std::atomic<int> waiting{callers};
    std::vector<char> said(callers, 0);
    std::vector<std::thread> threads;
    for (int i = 0; i < callers; ++i)
        threads.emplace_back([&, i] {
            --waiting;
            while (waiting > 0)
                std::this_thread::yield();
            for (int again = 0; again < 3; ++again)
                said[static_cast<std::size_t>(i)] = function() ? 1 : 0;
        });
    for (std::thread &thread : threads)
        thread.join();
    bool all = true;
    for (const char each : said)
        all = all && each != 0;
    return all;
}

/* Operands of 700 outputs in blocks, for products and profiles. */
struct Work {
    static constexpr std::int64_t k = 96, n = 700, batch = 5;

    Numbers numbers{3};
    Grouping grouping{k, 4, 32};
    DrawnActivations x{numbers, batch, k, 8, true};
    std::vector<std::uint8_t> codes = drawn_codes(numbers, k *n, 4);
    std::int16_t values[16] = {0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1};
    Patterns patterns{x.view(), grouping};
    PackedWeights weights{{codes.data(), k, n, 4, values}};

    std::vector<std::int64_t> sums(int threads) const
    {
        return product(x.view(), grouping, weights, true, threads);
    }
    PatternProfile counts(int entries, int threads) const
    {
        return profile(patterns, entries, PrtPolicy::fifo, threads);
    }
};

} // namespace

TEST(threads, a_product_and_its_profile_are_those_of_one_thread)
{
    const Work work;
    for (const int threads : {2, 3, 8, 64}) {
        CHECK(work.sums(threads) == work.sums(1));
        for (const int entries : {0, 4, 32})
            CHECK(same(work.counts(entries, threads), work.counts(entries, 1)));
    }
}

TEST(threads, the_first_failure_is_thrown_when_all_have_ended)
{
    std::atomic<int> ended{0};
    CHECK_THROWS("run at", for_ranges(40, 8, [&](std::int64_t begin, std::int64_t) {
                     ++ended;
                     throw std::runtime_error("run at " + std::to_string(begin));
                 }));
    CHECK_EQ(ended.load(), 8);
}

TEST(threads, callers_share_weights_and_patterns)
{
    const Work work;
    const std::vector<std::int64_t> sums = work.sums(1);
    CHECK(all_say([&] { return work.sums(2) == sums; }));
    const PatternProfile counts = work.counts(4, 1);
    CHECK(all_say([&] { return same(work.counts(4, 2), counts); }));
}

TEST(threads, callers_share_slices_and_profiles)
{
    Numbers numbers(9);
    SliceConfig config = plain_slice();
    config.arrays = 2;
    const TileShape shape{200, 2000, 3, 4, 4, 8, 4, 32};
    const Scaling scaling{true, true};
    const Supply supply{3.7, 120, 50, 1000};
    const TileTimer timer(config, shape, scaling);
    const PatternProfile profile = drawn_profile(numbers, timer.plan().groups, 24);
    const std::int64_t total = timer.time(profile, supply).total;
    CHECK(all_say([&] { return timer.time(profile, supply).total == total; }));
    CHECK(all_say([&] {
        const std::vector<GroupTimes> line = tile_timeline(config, shape, profile, scaling, supply);
        const GroupTimes &last = line.back();
        return last.start + last.build + last.lookup + last.convert + last.write_back == total;
    }));
}

TEST(threads, callers_convert_and_schedule_at_the_same_time)
{
    const std::int64_t tally = cycles(int_to_fp32_tally(32), plain_slice().substrate);
    ScheduleMachine machine;
    machine.peak = machine.stream_limit = 1e9;
    machine.depth = 1;
    machine.buffer = 1e6;
    const Segment segment{{{0, 1e-3, 0, 0, 1e9}}, {{0, 1e5, 1e-3, 0}}};
    const Throttled throttled = [](std::int64_t, double rate) { return 1e5 / rate; };
    const double end = run_schedule(machine, {segment}, {0, 0, 0}, throttled).end;
    CHECK(end > 0);
    CHECK(all_say([&] {
        return cycles(int_to_fp32_tally(32), plain_slice().substrate) == tally &&
               run_schedule(machine, {segment}, {0, 0, 0}, throttled).end == end;
    }));
}
