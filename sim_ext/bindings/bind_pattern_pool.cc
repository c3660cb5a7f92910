/* SPDX-License-Identifier: BSD-3-Clause */
#include <utility>

#include "arrays.hh"
#include "bind.hh"
#include "pim/pattern_pool.hh"

namespace sailsim::bindings
{

using namespace nb::literals;

namespace
{

/* A pool with the array that it reads. */
struct OwningPool {
    Array rows;
    pim::PatternPool pool;
};

pim::PatternProfile profile(OwningPool &owner, const Array &source, std::int64_t k, bool prt)
{
    require_ndim("source", source, 2);
    const auto *rows = elements<std::int64_t>("source", source, "int64");
    return owner.pool.profile(rows, static_cast<std::int64_t>(source.shape(0)),
                              static_cast<std::int64_t>(source.shape(1)), k, prt);
}

} // namespace

void bind_pattern_pool(nb::module_ &m)
{
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
        .def("profile", &profile, "source"_a, "k"_a, "prt"_a,
             "What ``pattern_profile`` counts of a batch whose rows are rows of the pool side by side, cut "
             "to\n"
             "k columns. source: (B, parts) int64, places in the pool. prt: a reuse table with an entry for\n"
             "every pattern; else none. Blocks have to be whole groups.");
}

} // namespace sailsim::bindings
