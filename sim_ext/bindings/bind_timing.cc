/* SPDX-License-Identifier: BSD-3-Clause */
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <limits>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "arrays.hh"
#include "pim/timing.hh"

namespace sailsim::bindings
{

using pim::PatternProfile;
using pim::SliceConfig;
using pim::TilePlan;
using pim::TileTiming;
using pim::timing_fields;
using pim::TimingField;

namespace
{

/* Of many tiles: Python sees every field of a `TileTiming` as an array. */
struct TileTimings {
    std::vector<TileTiming> tiles;
};

std::map<std::string, std::int64_t> counts_of(const TileTiming &timing)
{
    std::map<std::string, std::int64_t> found;
    for (const TimingField &field : timing_fields)
        if (field.count)
            found[field.name] = field.of(timing);
    return found;
}

/* A field of all tiles: a read-only view, which keeps them alive. */
auto column(nb::handle self, const TimingField &field)
{
    using View = nb::ndarray<nb::numpy, const std::int64_t, nb::ndim<1>>;
    static_assert(sizeof(TileTiming) % sizeof(std::int64_t) == 0);
    const std::vector<TileTiming> &tiles = nb::cast<const TileTimings &>(self).tiles;
    if (tiles.empty())
        return View(nullptr, {0}, self);
    return View(&field.of(tiles.front()), {tiles.size()}, self,
                {static_cast<std::int64_t>(sizeof(TileTiming) / sizeof(std::int64_t))});
}

const TileTiming &tile_at(const TileTimings &timings, std::size_t at)
{
    if (at >= timings.tiles.size())
        throw nb::index_error();
    return timings.tiles[at];
}

constexpr double unlimited = std::numeric_limits<double>::infinity();

Result<std::int64_t, 2> timeline_array(const std::vector<pim::GroupTimes> &groups)
{
    std::vector<std::int64_t> values;
    for (const pim::GroupTimes &g : groups)
        values.insert(values.end(), {g.pass, g.group, g.load_start, g.load_end, g.start, g.build, g.lookup,
                                     g.convert, g.write_back});
    return to_numpy<std::int64_t, 2>(std::move(values), {groups.size(), 9});
}

pim::TileShape tile_shape(std::int64_t k, std::int64_t n, std::int64_t batch, int wbits, int value_bits,
                          int abits, int nbw, std::int64_t group_size)
{
    return {k, n, batch, wbits, value_bits, abits, nbw, group_size};
}

} // namespace

void bind_timing(nb::module_ &m)
{
    nb::class_<TilePlan>(m, "TilePlan", "How a tile lies in the arrays of the busiest slice.")
        .def_ro("owned", &TilePlan::owned, "Outputs of the slice.")
        .def_ro("entry_bits", &TilePlan::entry_bits, "Bits of a table entry.")
        .def_ro("lane_bits", &TilePlan::lane_bits, "Cells of a row that one output takes.")
        .def_ro("lanes", &TilePlan::lanes, "Outputs of a pass; the last may have fewer.")
        .def_ro("outputs_per_pass", &TilePlan::outputs_per_pass, "Outputs of the first pass.")
        .def_ro("passes", &TilePlan::passes, "Passes over the outputs.")
        .def_ro("batch_chunks", &TilePlan::batch_chunks,
                "Each pass is repeated for every chunk of the batch.")
        .def_ro("chunk_rows", &TilePlan::chunk_rows, "Batch rows of a chunk; the last may have fewer.")
        .def_ro("groups", &TilePlan::groups, "Groups of NBW weights over all blocks.")
        .def_ro("groups_per_turn", &TilePlan::groups_per_turn, "Groups that the DFMs work on at a time.")
        .def_ro("turns", &TilePlan::turns, "Turns of so many groups, or fewer at the end of a block.")
        .def_ro("blocks", &TilePlan::blocks, "Quantization blocks along K.")
        .def_ro("keeps_activations", &TilePlan::keeps_activations,
                "Whether the DFMs keep a chunk's activations from pass to pass; else they read them again.")
        .def_ro("rows_needed", &TilePlan::rows_needed, "Rows of an array in use.")
        .def_ro("convert_rounds", &TilePlan::convert_rounds,
                "Times a conversion runs for all outputs of a full pass; 0: a row is too short to convert.");

    m.def(
        "plan_tile",
        [](const SliceConfig &config, std::int64_t k, std::int64_t n, std::int64_t batch, int wbits,
           int value_bits, int abits, int nbw, std::int64_t group_size, bool scaled, bool minimum) {
            return plan_tile(config, tile_shape(k, n, batch, wbits, value_bits, abits, nbw, group_size),
                             {scaled, minimum});
        },
        "config"_a, "k"_a, "n"_a, "batch"_a, "wbits"_a, "value_bits"_a, "abits"_a, "nbw"_a, "group_size"_a,
        "scaled"_a, "minimum"_a = false,
        "The layout of a tensor (K, N) over the slices; n counts the outputs of the whole tensor.\n\n"
        "Raises ``ValueError`` when table and staging do not fit.");

    nb::class_<TileTiming> one(
        m, "TileTiming",
        "Cycles of a tile in the busiest slice by phase, and the counts of one DFM.\n\n"
        "load + build + lookup + convert + write_back = total.");
    nb::class_<TileTimings> many(m, "TileTimings",
                                 "Of many tiles: the same fields, each an int64 array (tiles,).");
    for (const TimingField &field : timing_fields) {
        one.def_prop_ro(field.name, [&field](const TileTiming &t) { return field.of(t); });
        many.def_prop_ro(field.name, [&field](nb::handle self) { return column(self, field); });
    }
    one.def_prop_ro("counts", &counts_of, "All counts by name.");
    many.def("__len__", [](const TileTimings &t) { return t.tiles.size(); });
    many.def("__getitem__", &tile_at, nb::rv_policy::copy);

    m.def(
        "time_tile",
        [](const SliceConfig &config, std::int64_t k, std::int64_t n, std::int64_t batch, int wbits,
           int value_bits, int abits, int nbw, std::int64_t group_size, const PatternProfile &profile,
           bool scaled, bool minimum, double bytes_per_cycle, double latency, double lead, double ahead) {
            const nb::gil_scoped_release release;
            return time_tile(config, tile_shape(k, n, batch, wbits, value_bits, abits, nbw, group_size),
                             profile, {scaled, minimum}, {bytes_per_cycle, latency, lead, ahead});
        },
        "config"_a, "k"_a, "n"_a, "batch"_a, "wbits"_a, "value_bits"_a, "abits"_a, "nbw"_a, "group_size"_a,
        "profile"_a, "scaled"_a, "minimum"_a = false, "bytes_per_cycle"_a = unlimited, "latency"_a = 0.0,
        "lead"_a = 0.0, "ahead"_a = unlimited,
        "Cycles and counts of a tensor's tile in the busiest slice (docs/contract.md, sections 2 and 4).\n\n"
        "scaled, minimum: what the blocks have. bytes_per_cycle: the slice's rate; latency: cycles from "
        "asking for a byte to having it; lead: how many cycles before the tile's start the first is asked "
        "for; ahead: bytes that may be under way or wait beyond the group in turn.");

    nb::class_<pim::TileTimer>(m, "TileTimer",
                               "Tiles that differ in their patterns alone; what they share is reckoned once.")
        .def(
            "__init__",
            [](pim::TileTimer *self, const SliceConfig &config, std::int64_t k, std::int64_t n,
               std::int64_t batch, int wbits, int value_bits, int abits, int nbw, std::int64_t group_size,
               bool scaled, bool minimum) {
                new (self)
                    pim::TileTimer(config, tile_shape(k, n, batch, wbits, value_bits, abits, nbw, group_size),
                                   {scaled, minimum});
            },
            "config"_a, "k"_a, "n"_a, "batch"_a, "wbits"_a, "value_bits"_a, "abits"_a, "nbw"_a,
            "group_size"_a, "scaled"_a, "minimum"_a, "As `plan_tile`.\n\nRaises ``ValueError`` as that.")
        .def_prop_ro("plan", &pim::TileTimer::plan, "The layout of all of them.")
        .def(
            "time",
            [](const pim::TileTimer &tiles, const std::vector<const pim::CountedProfile *> &profiles,
               double bytes_per_cycle, double latency, double lead, double ahead) {
                for (const pim::CountedProfile *profile : profiles)
                    if (!profile)
                        throw std::invalid_argument("profiles has None: allowed are profiles");
                const nb::gil_scoped_release release;
                TileTimings timings;
                for (const pim::CountedProfile *profile : profiles)
                    timings.tiles.push_back(tiles.time(*profile, {bytes_per_cycle, latency, lead, ahead}));
                return timings;
            },
            "profiles"_a, "bytes_per_cycle"_a, "latency"_a, "lead"_a, "ahead"_a,
            "`time_tile` of each of the profiles.");

    m.def(
        "tile_timeline",
        [](const SliceConfig &config, std::int64_t k, std::int64_t n, std::int64_t batch, int wbits,
           int value_bits, int abits, int nbw, std::int64_t group_size, const PatternProfile &profile,
           bool scaled, bool minimum, double bytes_per_cycle, double latency, double lead, double ahead,
           const std::optional<Array> &arrivals) {
            const pim::TileShape shape = tile_shape(k, n, batch, wbits, value_bits, abits, nbw, group_size);
            const pim::Scaling scaling{scaled, minimum};
            const pim::Supply supply{bytes_per_cycle, latency, lead, ahead};
            if (!arrivals)
                return timeline_array(pim::tile_timeline(config, shape, profile, scaling, supply));
            require_ndim("arrivals", *arrivals, 1);
            const auto *cycles = elements<std::int64_t>("arrivals", *arrivals, "int64");
            return timeline_array(
                pim::tile_timeline(config, shape, profile, scaling, {cycles, cycles + arrivals->size()}));
        },
        "config"_a, "k"_a, "n"_a, "batch"_a, "wbits"_a, "value_bits"_a, "abits"_a, "nbw"_a, "group_size"_a,
        "profile"_a, "scaled"_a, "minimum"_a = false, "bytes_per_cycle"_a = unlimited, "latency"_a = 0.0,
        "lead"_a = 0.0, "ahead"_a = unlimited, "arrivals"_a = nb::none(),
        "Where the cycles of `time_tile` lie: int64 (S, 9), a row for each turn of each pass.\n\n"
        "Columns: pass, first group, start and end of its load, start of its computing, then the cycles of "
        "build, "
        "look-up, conversion and write-back. arrivals, int64 (S,): the cycles at which the groups' weights "
        "have arrived, instead of a supply.");
}

} // namespace sailsim::bindings
