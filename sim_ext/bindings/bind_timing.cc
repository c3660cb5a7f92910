/* SPDX-License-Identifier: BSD-3-Clause */
#include <nanobind/stl/map.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <limits>
#include <map>
#include <tuple>
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
        if (field.is_count)
            found[field.name] = timing.*field.of;
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
    return View(&(tiles.front().*field.of), {tiles.size()}, self,
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
    return to_numpy<std::int64_t, 2>(std::move(values), {static_cast<std::int64_t>(groups.size()), 9});
}

/* The fields of a `TileShape`. */
using ShapeTuple = std::tuple<std::int64_t, std::int64_t, std::int64_t, int, int, int, int, std::int64_t>;

pim::TileShape tile_shape(const ShapeTuple &given)
{
    const auto &[k, n, batch, wbits, value_bits, abits, nbw, group_size] = given;
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
                "Times a conversion runs for all outputs of a full pass.");

    m.def(
        "plan_tile",
        [](const SliceConfig &config, const ShapeTuple &shape, bool scaled, bool minimum) {
            return plan_tile(config, tile_shape(shape), {scaled, minimum});
        },
        "config"_a, "shape"_a, "scaled"_a, "minimum"_a = false,
        "The layout of a tensor (K, N) over the slices.\n\n"
        "shape: k, n (outputs of the whole tensor), batch, wbits, value_bits, abits, nbw, group_size.\n\n"
        "Raises ``ValueError`` when the tile does not fit.");

    nb::class_<TileTiming> one(
        m, "TileTiming",
        "Cycles of a tile in the busiest slice by phase, and the counts of one DFM.\n\n"
        "load + build + lookup + convert + write_back = total.");
    nb::class_<TileTimings> many(m, "TileTimings",
                                 "Of many tiles: the same fields, each an int64 array (tiles,).");
    for (const TimingField &field : timing_fields) {
        one.def_prop_ro(field.name, [&field](const TileTiming &t) { return t.*field.of; });
        many.def_prop_ro(field.name, [&field](nb::handle self) { return column(self, field); });
    }
    one.def_prop_ro("counts", &counts_of, "All counts by name.");
    many.def("__len__", [](const TileTimings &t) { return t.tiles.size(); });
    many.def("__getitem__", &tile_at, nb::rv_policy::copy);

    nb::class_<pim::TileTimer>(m, "TileTimer",
                               "Tiles that differ in their patterns alone; what they share is reckoned once.")
        .def(
            "__init__",
            [](pim::TileTimer *self, const SliceConfig &config, const ShapeTuple &shape, bool scaled,
               bool minimum) { new (self) pim::TileTimer(config, tile_shape(shape), {scaled, minimum}); },
            "config"_a, "shape"_a, "scaled"_a, "minimum"_a = false,
            "As `plan_tile`; ``scaled``, ``minimum``: what the blocks have.\n\nRaises ``ValueError`` as "
            "that.")
        .def_prop_ro("plan", &pim::TileTimer::plan, "The layout of all of them.")
        .def(
            "time",
            [](const pim::TileTimer &tiles, const std::vector<const PatternProfile *> &profiles,
               double bytes_per_cycle, double latency, double lead, double ahead) {
                for (const PatternProfile *profile : profiles)
                    if (!profile)
                        throw std::invalid_argument("profiles has None: allowed are profiles");
                const nb::gil_scoped_release release;
                TileTimings timings;
                for (const PatternProfile *profile : profiles)
                    timings.tiles.push_back(tiles.time(*profile, {bytes_per_cycle, latency, lead, ahead}));
                return timings;
            },
            "profiles"_a, "bytes_per_cycle"_a = unlimited, "latency"_a = 0.0, "lead"_a = 0.0,
            "ahead"_a = unlimited,
            "Cycles and counts of a tensor's tile in the busiest slice (docs/contract.md, sections 2 and 4), "
            "for "
            "each profile.\n\n"
            "bytes_per_cycle: the slice's rate; latency: cycles from asking for a byte to having it; lead: "
            "how "
            "many cycles before the tile's start the first is asked for; ahead: bytes that may be under way "
            "or "
            "wait beyond the group in turn.");

    m.def(
        "tile_timeline",
        [](const SliceConfig &config, const ShapeTuple &shape, const PatternProfile &profile, bool scaled,
           bool minimum, double bytes_per_cycle, double latency, double lead, double ahead) {
            return timeline_array(pim::tile_timeline(config, tile_shape(shape), profile, {scaled, minimum},
                                                     {bytes_per_cycle, latency, lead, ahead}));
        },
        "config"_a, "shape"_a, "profile"_a, "scaled"_a, "minimum"_a = false, "bytes_per_cycle"_a = unlimited,
        "latency"_a = 0.0, "lead"_a = 0.0, "ahead"_a = unlimited,
        "Where the cycles of a tile lie: int64 (S, 9), a row for each turn of each pass.\n\n"
        "Columns: pass, first group, start and end of its load, start of its computing, then the cycles of "
        "build, look-up, conversion and write-back. A supply as in `TileTimer.time`.");
}

} // namespace sailsim::bindings
