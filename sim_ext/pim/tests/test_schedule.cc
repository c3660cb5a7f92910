/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The schedule against closed forms; that it is the specified one is tested in tests/sim/test_schedule.py.
 */
#include "pim/schedule.hh"

#include <algorithm>
#include <cmath>

#include "check.hh"

using namespace sailsim::pim;

namespace
{

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double MB = 1e6;

bool near(double got, double expected)
{
    return std::abs(got - expected) <= 1e-9 * std::abs(expected);
}

/* 100 MB/s, shared max-min fair. */
ScheduleMachine machine(std::int64_t depth = 0)
{
    ScheduleMachine m;
    m.peak = 100 * MB;
    m.stream_limit = 1e15;
    m.depth = depth;
    m.background = true;
    m.buffer = 1e12;
    return m;
}

CoreTask work(double seconds, double read = 0, std::int64_t needs = 0)
{
    return {needs, seconds, read, 0, inf, false};
}

/* A tensor whose time is the longer of loading and working. */
ScheduleTimeline play(const ScheduleMachine &m, const std::vector<Segment> &segments,
                      const std::vector<std::int64_t> &order)
{
    std::vector<StreamedTensor> tensors;
    for (const Segment &segment : segments)
        tensors.insert(tensors.end(), segment.tensors.begin(), segment.tensors.end());
    return run_schedule(m, segments, order, [&](std::int64_t tile, double rate) {
        const StreamedTensor &t = tensors[static_cast<std::size_t>(tile)];
        return std::max(t.seconds, t.bytes / rate);
    });
}

} // namespace

TEST(schedule, a_tensor_takes_its_bytes_over_the_bandwidth)
{
    for (const std::int64_t depth : {0, 1}) {
        ScheduleMachine m = machine(depth);
        m.read_share = 0.8;
        const ScheduleTimeline line = play(m, {{{}, {{0, 40 * MB, 0.1, 0}}}}, {0});
        CHECK(near(line.end, 0.5));
        CHECK(near(line.stalled.at(0), 0.4));
        CHECK(near(line.streamed, 40 * MB));
    }
}

TEST(schedule, prefetch_hides_what_fits_behind_the_cores)
{
    const std::vector<Segment> segments{{{work(0.3)}, {{1, 40 * MB, 0.1, 0}}}};
    CHECK(near(play(machine(0), segments, {0}).end, 0.3 + 0.4));
    CHECK(near(play(machine(1), segments, {0}).end, 0.3 + 0.1));
}

TEST(schedule, two_share_the_pool)
{
    /* Halved until the cores' 25 MB have come; the rest of the tensor at full speed. */
    const ScheduleTimeline line = play(machine(), {{{work(0, 25 * MB)}, {{0, 50 * MB, 1e-6, 0}}}}, {0});
    CHECK(near(line.end, 0.75));
    CHECK(near(line.read, 25 * MB));
}

TEST(schedule, needs_count_from_the_segments_start)
{
    const Segment block{{work(0.1), {1, 0.02, 0, 0, inf, true}}, {{1, 10 * MB, 0.3, 0}}};
    const ScheduleTimeline line = play(machine(), {{{work(1.0)}, {}}, block}, {0, 1, 1, 0});
    CHECK(near(line.end, 2 * 1.0 + 2 * (0.1 + 0.3 + 0.02)));
    CHECK(near(line.cores, 2.2));
    CHECK(near(line.sync, 0.04));
    CHECK_EQ(line.stalled.size(), std::size_t{2});
}

TEST(schedule, says_what_cannot_be)
{
    CHECK_THROWS("core task 0 and tensor 0 wait for each other",
                 play(machine(), {{{work(1, 0, 1)}, {{1, MB, 1, 0}}}}, {0}));
    CHECK_THROWS("order has 1: allowed are 0..0", play(machine(), {{}}, {0, 1}));
    CHECK_THROWS("seconds of a tensor", play(machine(), {{{}, {{0, MB, 0, 0}}}}, {0}));
    ScheduleMachine none = machine();
    none.peak = 0;
    CHECK_THROWS("peak", play(none, {}, {}));
}
