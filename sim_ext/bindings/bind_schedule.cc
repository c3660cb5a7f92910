/* SPDX-License-Identifier: BSD-3-Clause */
#include <nanobind/stl/function.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <tuple>
#include <utility>
#include <vector>

#include "bind.hh"
#include "pim/schedule.hh"

namespace sailsim::bindings
{

namespace nb = nanobind;
using namespace nb::literals;
using pim::ScheduleTimeline;

namespace
{

using TaskTuple = std::tuple<std::int64_t, double, double, double, double, bool>;
using TensorTuple = std::tuple<std::int64_t, double, double, std::int64_t>;
using SegmentTuple = std::pair<std::vector<TaskTuple>, std::vector<TensorTuple>>;

std::vector<pim::Segment> segments_of(const std::vector<SegmentTuple> &given)
{
    std::vector<pim::Segment> segments;
    for (const auto &[tasks, tensors] : given) {
        pim::Segment segment;
        for (const auto &[needs, seconds, read, written, rate, sync] : tasks)
            segment.tasks.push_back({needs, seconds, read, written, rate, sync});
        for (const auto &[needs, bytes, seconds, tile] : tensors)
            segment.tensors.push_back({needs, bytes, seconds, tile});
        segments.push_back(std::move(segment));
    }
    return segments;
}

} // namespace

void bind_schedule(nb::module_ &m)
{
    nb::class_<ScheduleTimeline>(
        m, "ScheduleTimeline", "Seconds of a schedule by cause, which add up to `end`, and bytes over DRAM.")
        .def_ro("end", &ScheduleTimeline::end)
        .def_ro("stalled", &ScheduleTimeline::stalled,
                "By tensor: seconds it took beyond those with its weights on chip.")
        .def_ro("cores", &ScheduleTimeline::cores, "Seconds in which only the cores computed.")
        .def_ro("sync", &ScheduleTimeline::sync, "Seconds of hand-over in which no PIM unit worked.")
        .def_ro("streamed", &ScheduleTimeline::streamed)
        .def_ro("read", &ScheduleTimeline::read)
        .def_ro("written", &ScheduleTimeline::written)
        .def_ro("events", &ScheduleTimeline::events);

    m.def(
        "run_schedule",
        [](const std::vector<SegmentTuple> &segments, const std::vector<std::int64_t> &order,
           const pim::Throttled &throttled, double peak, double read_share, double write_share,
           double stream_limit, std::int64_t depth, bool background, double buffer,
           std::tuple<double, double, std::int64_t> stream, std::pair<double, double> cores, double queue) {
            const auto [window, latency, parts] = stream;
            const pim::ScheduleMachine machine{peak,
                                               read_share,
                                               write_share,
                                               stream_limit,
                                               depth,
                                               background,
                                               buffer,
                                               pim::Reader{0, window, latency, parts},
                                               pim::Reader{0, cores.first, cores.second},
                                               queue};
            return run_schedule(machine, segments_of(segments), order, throttled);
        },
        "segments"_a, "order"_a, "throttled"_a, nb::kw_only(), "peak"_a, "read_share"_a, "write_share"_a,
        "stream_limit"_a, "depth"_a, "background"_a, "buffer"_a, "stream"_a, "cores"_a, "queue"_a,
        "Plays segments, one behind the other as ``order`` names them (docs/engine.md).\n\n"
        "segments: pairs of tasks (needs, seconds, read, written, rate, sync) and tensors (needs, bytes, "
        "seconds, tile); needs count from the segment's start. throttled: from a tile and bytes/s to "
        "seconds. "
        "stream: bytes under way, latency and number of units; cores: bytes under way and latency.\n\n"
        "Raises ``ValueError`` for a number that cannot be, ``RuntimeError`` when needs can never be met.");
}

} // namespace sailsim::bindings
