/* SPDX-License-Identifier: BSD-3-Clause */
#include <nanobind/stl/vector.h>

#include "arrays.hh"
#include "bind.hh"
#include "pim/reuse.hh"

namespace sailsim::bindings
{

using namespace nb::literals;

namespace
{

Result<std::int64_t, 3> bit_profile(const Array &x, int abits, bool is_signed, int nbw,
                                    std::int64_t group_size, std::int64_t tile_rows, int prt_entries,
                                    const std::string &prt_policy, const std::vector<int> &places,
                                    bool tagged, bool flushed)
{
    const pim::PrtRule rule{prt_entries, pim::prt_policy(prt_policy), places, tagged, flushed};
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

void bind_reuse(nb::module_ &m)
{
    m.def("bit_profile", &bit_profile, "x"_a, "abits"_a, "signed"_a, "nbw"_a, "group_size"_a, "tile_rows"_a,
          "prt_entries"_a, "prt_policy"_a, "places"_a = std::vector<int>{}, "tagged"_a = true,
          "flushed"_a = true,
          "Outcomes of the patterns of x (rows, K) by bit position, in tiles of ``tile_rows`` rows.\n\n"
          "Returns int64 (tiles, abits, 4): zero patterns, PRT hits, misses, and the hits that are wrong.\n"
          "places: the one entry of every pattern, (2**nbw,), or empty; tagged: entries know their pattern;\n"
          "flushed: emptied when the table changes.");
}

} // namespace sailsim::bindings
