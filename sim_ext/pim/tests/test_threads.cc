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

#include "pim/convert.hh"
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

/* A product of 700 outputs in blocks, with its sums by block. */
struct Product {
    static constexpr std::int64_t k = 96, n = 700, batch = 5;

    Grouping grouping{k, 4, 32};
    std::vector<std::int8_t> x;
    std::vector<std::uint8_t> codes;
    std::vector<std::int16_t> values;

    Product() : x(batch * k), codes(k * n), values(16)
    {
        Numbers numbers(3);
        for (std::int8_t &each : x)
            each = static_cast<std::int8_t>(numbers.in(-128, 127));
        for (std::uint8_t &each : codes)
            each = static_cast<std::uint8_t>(numbers.in(0, 15));
        for (std::int16_t &each : values)
            each = static_cast<std::int16_t>(numbers.in(-8, 7));
    }

    Activations<std::int8_t> activations() const { return {x.data(), batch, k, 8, true}; }

    std::vector<std::int64_t> sums(const Patterns &patterns, const PackedWeights &weights, int threads) const
    {
        std::vector<std::int64_t> y(static_cast<std::size_t>(grouping.blocks() * batch * n));
        lut_gemv(patterns, grouping, weights, true, threads, [&](const TileSums &tile) {
            for (std::int64_t b = 0; b < batch; ++b)
                for (std::int64_t i = 0; i < tile.outputs; ++i)
                    y[static_cast<std::size_t>((tile.block * batch + b) * n + tile.first_output + i)] =
                        tile.sums[b * tile_outputs + i];
        });
        return y;
    }
};

} // namespace

TEST(threads, a_product_and_its_profile_are_those_of_one_thread)
{
    const Product product;
    const Patterns patterns(product.activations(), product.grouping);
    const PackedWeights weights({product.codes.data(), Product::k, Product::n, 4, product.values.data()});
    const std::vector<std::int64_t> sums = product.sums(patterns, weights, 1);
    for (const int threads : {2, 3, 8, 64})
        CHECK(product.sums(patterns, weights, threads) == sums);
    for (const int entries : {0, 4, 32}) {
        const PatternProfile one = profile(patterns, entries, PrtPolicy::lru, 1);
        for (const int threads : {2, 3, 64})
            CHECK(same(profile(patterns, entries, PrtPolicy::lru, threads), one));
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
    const Product product;
    const Patterns patterns(product.activations(), product.grouping);
    const PackedWeights weights({product.codes.data(), Product::k, Product::n, 4, product.values.data()});
    const std::vector<std::int64_t> one = product.sums(patterns, weights, 1);
    CHECK(all_say([&] { return product.sums(patterns, weights, 2) == one; }));
    const PatternProfile expected = profile(patterns, 4, PrtPolicy::fifo, 1);
    CHECK(all_say([&] { return same(profile(patterns, 4, PrtPolicy::fifo, 2), expected); }));
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
    const CountedProfile packed(drawn_profile(numbers, timer.plan().groups, 24));
    const std::int64_t total = timer.time(packed, supply).total;
    CHECK(all_say([&] { return timer.time(packed, supply).total == total; }));
    CHECK(all_say([&] {
        const std::vector<GroupTimes> line = tile_timeline(config, shape, packed.counts(), scaling, supply);
        const GroupTimes &last = line.back();
        return last.start + last.build + last.lookup + last.convert + last.write_back == total;
    }));
}

TEST(threads, callers_convert_and_schedule_at_the_same_time)
{
    const std::int64_t tally = cycles(int_to_fp32_tally(32), plain_slice().substrate);
    ScheduleMachine machine;
    machine.peak = machine.stream_limit = 1e9;
    machine.read_share = machine.write_share = 1;
    machine.depth = 1;
    machine.buffer = 1e6;
    Segment segment;
    segment.tasks.push_back({});
    segment.tasks.back().seconds = 1e-3;
    segment.tasks.back().rate = 1e9;
    segment.tensors.push_back({});
    segment.tensors.back().seconds = 1e-3;
    segment.tensors.back().bytes = 1e5;
    const Throttled throttled = [](std::int64_t, double rate) { return 1e5 / rate; };
    const double end = run_schedule(machine, {segment}, {0, 0, 0}, throttled).end;
    CHECK(end > 0);
    CHECK(all_say([&] {
        return cycles(int_to_fp32_tally(32), plain_slice().substrate) == tally &&
               run_schedule(machine, {segment}, {0, 0, 0}, throttled).end == end;
    }));
}
