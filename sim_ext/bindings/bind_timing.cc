/* SPDX-License-Identifier: BSD-3-Clause */
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "arrays.hh"
#include "bind.hh"
#include "bind_tile_timings.hh"
#include "pim/check.hh"
#include "pim/tile_batch.hh"
#include "pim/timing.hh"
#include "pim/unit_text.hh"

namespace sailsim::bindings
{

using namespace nb::literals;
using pim::PatternProfile;
using pim::SliceConfig;
using pim::TilePlan;
using pim::TileTiming;

namespace
{

std::vector<std::int32_t> counts_argument(const char *name, const Array &array, std::int64_t groups)
{
    require_shape(name, array, {groups});
    const std::int32_t *values = elements<std::int32_t>(name, array, "int32");
    for (std::int64_t g = 0; g < groups; ++g)
        pim::require_range(name, values[g], 0, std::numeric_limits<std::int32_t>::max());
    return {values, values + groups};
}

/* A read-only view of one array of a profile. */
template <std::vector<std::int32_t> PatternProfile::*Member>
auto profile_array(nb::handle self)
{
    const std::vector<std::int32_t> &values = nb::cast<const PatternProfile &>(self).*Member;
    return nb::ndarray<nb::numpy, const std::int32_t, nb::ndim<1>>(values.data(), {values.size()}, self);
}

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
    nb::class_<SliceConfig>(m, "SliceConfig", "Everything that describes one PIM slice unit.")
        .def(
            "__init__",
            [](SliceConfig *self, const std::string &text) { new (self) SliceConfig(pim::read_unit(text)); },
            "text"_a,
            "``text`` is a unit's text form, as ``sailsim.sim.unit_text`` writes it.\n\n"
            "Raises ``ValueError`` naming the key that is unknown, missing, or not what is allowed.")
        .def_ro("rows", &SliceConfig::rows, "Rows of a C-SRAM array.")
        .def_ro("cols", &SliceConfig::cols, "Columns (cells of a row) of an array.")
        .def_ro("arrays", &SliceConfig::arrays, "Arrays of a slice, in lockstep.")
        .def_ro("slices", &SliceConfig::slices, "Slices that share the outputs of a tensor.")
        .def_ro("port_bytes", &SliceConfig::port_bytes, "Bytes a cycle between the slice and its arrays.")
        .def_ro("weights_kib_cycles", &SliceConfig::weights_kib_cycles,
                "Cycles in which memory brings each slice a KiB of weights, as layouts reckon.")
        .def_ro("accumulator_bits", &SliceConfig::accumulator_bits, "Bits of an integer accumulator.")
        .def_ro("prt_entries", &SliceConfig::prt_entries, "Entries of the pattern reuse table; 0: none.")
        .def_prop_ro("prt_policy",
                     [](const SliceConfig &c) { return std::string(pim::prt_policy_name(c.policy)); })
        .def_ro("t_zero", &SliceConfig::t_zero, "Cycles of a zero pattern.")
        .def_ro("t_prt", &SliceConfig::t_prt, "Cycles of a PRT hit.")
        .def_ro("double_buffer", &SliceConfig::double_buffer, "Load a group while the one before computes.")
        .def_ro("substrate", &SliceConfig::substrate)
        .def_ro("activation_buffer_bits", &SliceConfig::activation_buffer_bits, "Of a DFM.")
        .def_ro("accumulator_buffer_bits", &SliceConfig::accumulator_buffer_bits,
                "Of all DFMs of a slice, where sums are behind the arrays.")
        .def_ro("dfms", &SliceConfig::dfms, "Data feeding modules of a slice.")
        .def_prop_ro("dfm_split",
                     [](const SliceConfig &c) { return std::string(pim::dfm_split_name(c.dfm_split)); })
        .def_prop_ro("convert",
                     [](const SliceConfig &c) { return std::string(pim::convert_name(c.convert)); })
        .def_ro("convert_units", &SliceConfig::convert_units, "Floating-point units at the DFMs of a slice.")
        .def_ro("convert_latency", &SliceConfig::convert_latency, "Cycles of one conversion in such a unit.")
        .def_ro("convert_interval", &SliceConfig::convert_interval, "Cycles between those that it takes.");

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

    nb::class_<PatternProfile>(m, "PatternProfile",
                               "Patterns of each group in one pass: int32 arrays (G,), G over all blocks.")
        .def(
            "__init__",
            [](PatternProfile *self, const Array &zero, const Array &hits, const Array &misses) {
                require_ndim("zero", zero, 1);
                const auto groups = static_cast<std::int64_t>(zero.shape(0));
                new (self) PatternProfile{counts_argument("zero", zero, groups),
                                          counts_argument("hits", hits, groups),
                                          counts_argument("misses", misses, groups)};
            },
            "zero"_a, "hits"_a, "misses"_a)
        .def_prop_ro("zero", &profile_array<&PatternProfile::zero>, "Patterns that are 0, (G,).")
        .def_prop_ro("hits", &profile_array<&PatternProfile::hits>, "Others that the PRT serves, (G,).")
        .def_prop_ro("misses", &profile_array<&PatternProfile::misses>, "Others that it does not, (G,).")
        .def("__len__", &PatternProfile::groups);

    nb::class_<pim::PackedProfile>(m, "PackedProfile",
                                   "A profile that is kept for many tiles, in a third of the memory.")
        .def(nb::init<PatternProfile>(), "counts"_a)
        .def_prop_ro("counts", &pim::PackedProfile::counts, "The profile itself.")
        .def_prop_ro("bytes", &pim::PackedProfile::bytes, "Of the counts of all groups.")
        .def("__len__", &pim::PackedProfile::groups);

    m.def(
        "pattern_profile",
        [](const Array &x, int abits, bool is_signed, int nbw, std::int64_t group_size, int prt_entries,
           const std::string &prt_policy, int threads) {
            pim::require_range("threads", threads, 1, max_threads);
            pim::require_range("prt_entries", prt_entries, 0, 1 << 20);
            const pim::PrtPolicy policy = pim::prt_policy(prt_policy);
            return with_activations(x, abits, is_signed, [&](const auto &activations) {
                const nb::gil_scoped_release release;
                const pim::Grouping grouping(activations.k, nbw, group_size);
                return profile(activations, grouping, prt_entries, policy, threads);
            });
        },
        "x"_a, "abits"_a, "signed"_a, "nbw"_a, "group_size"_a, "prt_entries"_a, "prt_policy"_a,
        "threads"_a = 1,
        "Exact counts of zero patterns, PRT hits and misses of each group.\n\n"
        "x: (B, K) int8, uint8, int16, uint16 or int32, each value inside ``abits`` bits.");

    bind_tile_timings(m);

    m.def(
        "time_tile",
        [](const SliceConfig &config, std::int64_t k, std::int64_t n, std::int64_t batch, int wbits,
           int value_bits, int abits, int nbw, std::int64_t group_size, const PatternProfile &profile,
           bool scaled, double bytes_per_cycle, bool minimum) {
            const nb::gil_scoped_release release;
            return time_tile(config, tile_shape(k, n, batch, wbits, value_bits, abits, nbw, group_size),
                             profile, {scaled, minimum}, bytes_per_cycle);
        },
        "config"_a, "k"_a, "n"_a, "batch"_a, "wbits"_a, "value_bits"_a, "abits"_a, "nbw"_a, "group_size"_a,
        "profile"_a, "scaled"_a, "bytes_per_cycle"_a = std::numeric_limits<double>::infinity(),
        "minimum"_a = false,
        "Cycles and counts of a tensor's tile in the busiest slice (docs/contract.md, sections 2 and 4).\n\n"
        "bytes_per_cycle: the slice's share of the DRAM bandwidth; scaled, minimum: what the blocks have.");

    m.def(
        "time_supplied_tile",
        [](const SliceConfig &config, std::int64_t k, std::int64_t n, std::int64_t batch, int wbits,
           int value_bits, int abits, int nbw, std::int64_t group_size, const PatternProfile &profile,
           bool scaled, bool minimum, double bytes_per_cycle, double latency, double lead, double ahead) {
            const nb::gil_scoped_release release;
            return time_tile(config, tile_shape(k, n, batch, wbits, value_bits, abits, nbw, group_size),
                             profile, {scaled, minimum}, pim::Supply{bytes_per_cycle, latency, lead, ahead});
        },
        "config"_a, "k"_a, "n"_a, "batch"_a, "wbits"_a, "value_bits"_a, "abits"_a, "nbw"_a, "group_size"_a,
        "profile"_a, "scaled"_a, "minimum"_a, "bytes_per_cycle"_a, "latency"_a, "lead"_a, "ahead"_a,
        "`time_tile` with weights that a slice asks for ahead of need.\n\n"
        "bytes_per_cycle: the slice's rate; latency: cycles from asking for a byte to having it; lead: how "
        "many cycles before the tile's start the first is asked for; ahead: bytes that may be under way or "
        "wait beyond the group in turn.");

    nb::class_<pim::TileBatch>(m, "TileBatch",
                               "Tiles that differ in their patterns alone; what they share is reckoned once.")
        .def(
            "__init__",
            [](pim::TileBatch *self, const SliceConfig &config, std::int64_t k, std::int64_t n,
               std::int64_t batch, int wbits, int value_bits, int abits, int nbw, std::int64_t group_size,
               bool scaled, bool minimum) {
                new (self)
                    pim::TileBatch(config, tile_shape(k, n, batch, wbits, value_bits, abits, nbw, group_size),
                                   {scaled, minimum});
            },
            "config"_a, "k"_a, "n"_a, "batch"_a, "wbits"_a, "value_bits"_a, "abits"_a, "nbw"_a,
            "group_size"_a, "scaled"_a, "minimum"_a, "As `plan_tile`.\n\nRaises ``ValueError`` as that.")
        .def_prop_ro("plan", &pim::TileBatch::plan, "The layout of all of them.")
        .def(
            "time",
            [](const pim::TileBatch &tiles, const std::vector<const pim::PackedProfile *> &profiles,
               double bytes_per_cycle, double latency, double lead, double ahead) {
                for (const pim::PackedProfile *profile : profiles)
                    if (!profile)
                        throw std::invalid_argument("profiles has None: allowed are profiles");
                const nb::gil_scoped_release release;
                return TileTimings{tiles.time(profiles, pim::Supply{bytes_per_cycle, latency, lead, ahead})};
            },
            "profiles"_a, "bytes_per_cycle"_a, "latency"_a, "lead"_a, "ahead"_a,
            "`time_supplied_tile` of each of the profiles, side by side.");

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
        "profile"_a, "scaled"_a, "minimum"_a = false,
        "bytes_per_cycle"_a = std::numeric_limits<double>::infinity(), "latency"_a = 0.0, "lead"_a = 0.0,
        "ahead"_a = std::numeric_limits<double>::infinity(), "arrivals"_a = nb::none(),
        "Where the cycles of `time_supplied_tile` lie: int64 (S, 9), a row for each turn of each pass.\n\n"
        "Columns: pass, first group, start and end of its load, start of its computing, then the cycles of "
        "build, "
        "look-up, conversion and write-back. arrivals, int64 (S,): the cycles at which the groups' weights "
        "have arrived, instead of a supply.");
}

} // namespace sailsim::bindings
