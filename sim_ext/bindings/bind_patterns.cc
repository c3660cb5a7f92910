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

    nb::class_<pim::CountedProfile>(m, "CountedProfile", "A profile that is kept for many tiles.")
        .def(nb::init<PatternProfile>(), "counts"_a)
        .def_prop_ro("counts", &pim::CountedProfile::counts, "The profile itself.")
        .def("__len__", &pim::CountedProfile::groups);

    m.def(
        "pattern_profile",
        [](const Array &x, int abits, bool is_signed, int nbw, std::int64_t group_size, int prt_entries,
           const std::string &prt_policy, int threads) {
            require_threads(threads);
            pim::require_range("prt_entries", prt_entries, 0, 1 << 20);
            const pim::PrtPolicy policy = pim::prt_policies.value(prt_policy);
            return with_activations(x, abits, is_signed, [&](const auto &activations) {
                const nb::gil_scoped_release release;
                const pim::Patterns patterns(activations, pim::Grouping(activations.k, nbw, group_size));
                return profile(patterns, prt_entries, policy, threads);
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
}

} // namespace sailsim::bindings
