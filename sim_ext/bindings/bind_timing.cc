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

using Counts = Array<std::int32_t, 1>;

PatternProfile::Counts counts_argument(const char *name, const Counts &array, std::int64_t groups)
{
    require_shape(name, array, {groups});
    for (std::int64_t g = 0; g < groups; ++g)
        pim::require_range(name, array.data()[g], 0, std::numeric_limits<std::int32_t>::max());
    return {array.data(), array.data() + groups};
}

/* A read-only view of one array of a profile. */
template <const PatternProfile::Counts &(PatternProfile::*Kind)() const>
auto profile_array(nb::handle self)
{
    const PatternProfile::Counts &values = (nb::cast<const PatternProfile &>(self).*Kind)();
    return nb::ndarray<nb::numpy, const std::int32_t, nb::ndim<1>>(values.data(), {values.size()}, self);
}

/* A pool with the array that it reads. */
struct OwningPool {
    Words rows;
    pim::PatternPool pool;
};

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

void bind_patterns(nb::module_ &m)
{
    nb::class_<PatternProfile>(m, "PatternProfile",
                               "Patterns of each group in one pass: int32 arrays (G,), G over all blocks.")
        .def(
            "__init__",
            [](PatternProfile *self, const Counts &zero, const Counts &hits, const Counts &misses) {
                const std::int64_t groups = length(zero);
                new (self) PatternProfile(counts_argument("zero", zero, groups),
                                          counts_argument("hits", hits, groups),
                                          counts_argument("misses", misses, groups));
            },
            given("zero"), given("hits"), given("misses"))
        .def_prop_ro("zero", &profile_array<&PatternProfile::zero>, "Patterns that are 0, (G,).")
        .def_prop_ro("hits", &profile_array<&PatternProfile::hits>, "Others that the PRT serves, (G,).")
        .def_prop_ro("misses", &profile_array<&PatternProfile::misses>, "Others that it does not, (G,).")
        .def("__len__", &PatternProfile::groups);

    m.def(
        "pattern_profile",
        [](const Words &x, int abits, int nbw, std::int64_t group_size, int prt_entries,
           const std::string &prt_policy, int threads) {
            require_threads(threads);
            pim::require_range("prt_entries", prt_entries, 0, 1 << 20);
            const pim::PrtPolicy policy = pim::prt_policies.value(prt_policy);
            const pim::Activations rows = activations(x, abits);
            const nb::gil_scoped_release release;
            const pim::Patterns patterns(rows, pim::Grouping(rows.k, nbw, group_size));
            return profile(patterns, prt_entries, policy, threads);
        },
        given("x"), "abits"_a, "nbw"_a, "group_size"_a, "prt_entries"_a, "prt_policy"_a, "threads"_a = 1,
        "Exact counts of zero patterns, PRT hits and misses of each group.\n\n"
        "x: (B, K) int8 or uint8, of more than 8 bits int16 or uint16; bits from ``abits`` on are ignored.");

    nb::class_<OwningPool>(m, "PatternPool",
                           "Rows of activations from which batches are put together: what a profile without "
                           "evictions needs of a row is formed once.")
        .def(
            "__init__",
            [](OwningPool *self, Words x, int abits, int nbw) {
                pim::PatternPool pool(activations(x, abits), nbw);
                new (self) OwningPool{std::move(x), std::move(pool)};
            },
            given("x"), "abits"_a, "nbw"_a,
            "x: (rows, columns) as in `pattern_profile`; the columns are a whole number of groups.")
        .def(
            "profile",
            [](OwningPool &owner, const Array<std::int64_t, 2> &source, std::int64_t k, bool prt) {
                return owner.pool.profile(source.data(), length(source), length(source, 1), k, prt);
            },
            given("source"), "k"_a, "prt"_a,
            "What ``pattern_profile`` counts of a batch whose rows are rows of the pool side by side, cut "
            "to\n"
            "k columns. source: (B, parts) int64, places in the pool. prt: a reuse table with an entry for\n"
            "every pattern; else none. Blocks have to be whole groups.");
}

void bind_tiles(nb::module_ &m)
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
        .def_ro("blocks", &TilePlan::blocks, "Quantization blocks along K.")
        .def_ro("keeps_activations", &TilePlan::keeps_activations,
                "Whether the DFMs keep a chunk's activations from pass to pass; else they read them again.");

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

} // namespace

void bind_timing(nb::module_ &m)
{
    bind_patterns(m);
    bind_tiles(m);
}

} // namespace sailsim::bindings
