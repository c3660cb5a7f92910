/* SPDX-License-Identifier: BSD-3-Clause */
#include <nanobind/stl/vector.h>

#include <limits>
#include <utility>

#include "arrays.hh"
#include "pim/profiles.hh"

namespace sailsim::bindings
{

using pim::PatternProfile;

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

/* A pool with the array that it reads. */
struct OwningPool {
    Array rows;
    pim::PatternPool pool;
};

Result<std::int64_t, 3> bit_profile(const Array &x, int abits, bool is_signed, int nbw,
                                    std::int64_t group_size, std::int64_t tile_rows, int prt_entries,
                                    const std::string &prt_policy, const std::vector<int> &places,
                                    bool tagged, bool flushed)
{
    const pim::PrtRule rule{prt_entries, pim::prt_policies.value(prt_policy), places, tagged, flushed};
    std::vector<std::int64_t> flat;
    with_activations(x, abits, is_signed, [&](const auto &activations) {
        const nb::gil_scoped_release release;
        const pim::Patterns patterns(activations, pim::Grouping(activations.k, nbw, group_size));
        for (const pim::BitCounts &c : profile_bits(patterns, tile_rows, rule))
            flat.insert(flat.end(), {c.zero, c.hits, c.misses, c.wrong});
    });
    const auto bits = static_cast<std::size_t>(abits);
    const std::size_t tiles = flat.size() / 4 / bits;
    return to_numpy<std::int64_t, 3>(std::move(flat), {tiles, bits, 4});
}

} // namespace

void bind_patterns(nb::module_ &m)
{
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
            require_threads(threads);
            pim::require_range("prt_entries", prt_entries, 0, 1 << 20);
            const pim::PrtPolicy policy = pim::prt_policies.value(prt_policy);
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

    nb::class_<OwningPool>(m, "PatternPool",
                           "Rows of activations from which batches are put together: what a profile without "
                           "evictions needs of a row is formed once.")
        .def(
            "__init__",
            [](OwningPool *self, Array x, int abits, bool is_signed, int nbw) {
                pim::PatternPool pool = with_activations(x, abits, is_signed, [nbw](const auto &activations) {
                    return pim::PatternPool(activations, nbw);
                });
                new (self) OwningPool{std::move(x), std::move(pool)};
            },
            "x"_a, "abits"_a, "signed"_a, "nbw"_a,
            "x: (rows, columns) int8, uint8, int16, uint16 or int32, each value inside ``abits`` bits; the\n"
            "columns are a whole number of groups.")
        .def(
            "profile",
            [](OwningPool &owner, const Array &source, std::int64_t k, bool prt) {
                require_ndim("source", source, 2);
                const auto *rows = elements<std::int64_t>("source", source, "int64");
                return owner.pool.profile(rows, static_cast<std::int64_t>(source.shape(0)),
                                          static_cast<std::int64_t>(source.shape(1)), k, prt);
            },
            "source"_a, "k"_a, "prt"_a,
            "What ``pattern_profile`` counts of a batch whose rows are rows of the pool side by side, cut "
            "to\n"
            "k columns. source: (B, parts) int64, places in the pool. prt: a reuse table with an entry for\n"
            "every pattern; else none. Blocks have to be whole groups.");

    m.def("bit_profile", &bit_profile, "x"_a, "abits"_a, "signed"_a, "nbw"_a, "group_size"_a, "tile_rows"_a,
          "prt_entries"_a, "prt_policy"_a, "places"_a = std::vector<int>{}, "tagged"_a = true,
          "flushed"_a = true,
          "Outcomes of the patterns of x (rows, K) by bit position, in tiles of ``tile_rows`` rows.\n\n"
          "Returns int64 (tiles, abits, 4): zero patterns, PRT hits, misses, and the hits that are wrong.\n"
          "places: the one entry of every pattern, (2**nbw,), or empty; tagged: entries know their pattern;\n"
          "flushed: emptied when the table changes.");
}

} // namespace sailsim::bindings
