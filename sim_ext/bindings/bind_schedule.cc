/* SPDX-License-Identifier: BSD-3-Clause */
#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <tuple>
#include <utility>

#include "arrays.hh"
#include "pim/schedule.hh"

namespace sailsim::bindings
{

using pim::ScheduleTimeline;

namespace
{

using TaskTuple = std::tuple<std::int64_t, double, double, double, double, bool>;
/* Tasks, what tensors need, and their bytes and seconds, a row a segment. */
using KindTuple =
    std::tuple<std::vector<TaskTuple>, std::vector<std::int64_t>, Array<double, 2>, Array<double, 2>>;
using Column = Array<double, 1>;

/* The fields of a `Reader`. */
using ReaderTuple = std::tuple<double, double, double, std::int64_t, double, bool>;

pim::Reader reader(const ReaderTuple &given)
{
    const auto &[demand, window, latency, parts, queue, even] = given;
    return {demand, window, latency, parts, queue, even};
}

/* The segments of all kinds, and where the tensor of each tile number stands. */
class SegmentTables
{
  public:
    explicit SegmentTables(const std::vector<KindTuple> &kinds)
    {
        for (std::size_t kind = 0; kind < kinds.size(); ++kind)
            add(kind, kinds[kind]);
    }

    /* Seconds of a tensor at a rate. All of a column are asked for together, once a rate. */
    double throttled(const nb::callable &ask, std::int64_t tile, double rate)
    {
        const Place &place = places[static_cast<std::size_t>(tile)];
        const auto [known, is_new] = columns.try_emplace({place.kind, place.column, rate});
        if (is_new)
            known->second = nb::cast<Column>(ask(place.kind, place.column, rate));
        if (known->second.shape(0) <= place.row)
            throw std::invalid_argument("throttled gives " + std::to_string(known->second.shape(0)) +
                                        " numbers: allowed is one for each segment");
        return known->second.data()[place.row];
    }

    std::vector<pim::Segment> segments;

  private:
    struct Place {
        std::size_t kind;
        std::size_t row;
        std::size_t column;
    };

    void add(std::size_t kind, const KindTuple &given)
    {
        const auto &[tasks, needs, bytes, seconds] = given;
        const std::size_t rows = bytes.shape(0);
        const auto shape = {length(bytes), static_cast<std::int64_t>(needs.size())};
        require_shape("bytes", bytes, shape);
        require_shape("seconds", seconds, shape);
        const double *size = bytes.data(), *time = seconds.data();
        pim::Segment segment;
        for (const auto &[task_needs, least, read, written, rate, sync] : tasks)
            segment.tasks.push_back({task_needs, least, read, written, rate, sync});
        segment.tensors.resize(needs.size());
        for (std::size_t row = 0; row < rows; ++row) {
            for (std::size_t column = 0; column < needs.size(); ++column) {
                const auto tile = static_cast<std::int64_t>(places.size());
                segment.tensors[column] = {needs[column], *size++, *time++, tile};
                places.push_back({kind, row, column});
            }
            segments.push_back(segment);
        }
    }

    std::vector<Place> places;
    std::map<std::tuple<std::size_t, std::size_t, double>, Column> columns;
};

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
        "alone",
        [](double capacity, const ReaderTuple &given, double load) {
            return pim::alone(capacity, reader(given), load);
        },
        "capacity"_a, "reader"_a, "load"_a = 0.0,
        "What a reader gets, bytes/s, beside ``load`` bytes/s that give way to nobody, in bursts as its "
        "own.");
    m.def(
        "shares",
        [](double capacity, const std::vector<ReaderTuple> &given, double open_load) {
            std::vector<pim::Reader> readers;
            for (const ReaderTuple &each : given)
                readers.push_back(reader(each));
            return pim::shares(capacity, readers, open_load);
        },
        "capacity"_a, "readers"_a, "open_load"_a, "What each of some readers gets of a capacity, bytes/s.");

    m.def(
        "run_schedule",
        [](const std::vector<KindTuple> &kinds, const std::vector<std::int64_t> &order,
           const nb::callable &throttled, double peak, double read_share, double write_share,
           double stream_limit, std::int64_t depth, bool background, double buffer, double open_load,
           const ReaderTuple &stream, const ReaderTuple &cores) {
            const pim::ScheduleMachine machine{peak,           read_share,   write_share, stream_limit,
                                               depth,          background,   buffer,      open_load,
                                               reader(stream), reader(cores)};
            SegmentTables tables(kinds);
            return run_schedule(machine, tables.segments, order, [&](std::int64_t tile, double rate) {
                return tables.throttled(throttled, tile, rate);
            });
        },
        "kinds"_a, "order"_a, "throttled"_a, nb::kw_only(), "peak"_a, "read_share"_a, "write_share"_a,
        "stream_limit"_a, "depth"_a, "background"_a, "buffer"_a, "open_load"_a, "stream"_a, "cores"_a,
        "Plays segments, one behind the other as ``order`` names them (docs/engine.md).\n\n"
        "kinds: segments with the same tasks: tasks (needs, seconds, read, written, rate, sync), what each "
        "tensor needs, and float64 arrays of bytes and seconds (segments, tensors); needs count from the "
        "segment's start, ``order`` counts the segments of all kinds. throttled: from a kind, one of its "
        "tensors and bytes/s to a float64 array of its seconds in every segment. stream, cores: the fields "
        "of "
        "a `Reader`, whose demand is the schedule's.\n\n"
        "Raises ``ValueError`` for a number that cannot be, ``RuntimeError`` when needs can never be met.");
}

} // namespace sailsim::bindings
