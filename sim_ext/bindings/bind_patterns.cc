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

} // namespace

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

} // namespace sailsim::bindings
