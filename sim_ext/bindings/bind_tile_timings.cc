/* SPDX-License-Identifier: BSD-3-Clause */
#include "bind_tile_timings.hh"

#include <nanobind/stl/map.h>

#include <array>
#include <map>

#include "arrays.hh"

namespace sailsim::bindings
{

using pim::TileCounts;
using pim::TileTiming;

namespace
{

/* A field of `TileTiming`, or of its counts where `count` is set. */
struct Field {
    const char *name;
    const char *doc;
    std::int64_t TileTiming::*own;
    std::int64_t TileCounts::*count = nullptr;

    const std::int64_t &of(const TileTiming &timing) const
    {
        return count ? timing.counts.*count : timing.*own;
    }
};

constexpr std::array own_fields{
    Field{"load", "Cycles in which nothing but loading happened.", &TileTiming::load},
    Field{"build", "", &TileTiming::build},
    Field{"lookup", "", &TileTiming::lookup},
    Field{"convert", "", &TileTiming::convert},
    Field{"write_back", "", &TileTiming::write_back},
    Field{"total", "", &TileTiming::total},
    Field{"weight_bytes", "Bytes of weights loaded by the slice.", &TileTiming::weight_bytes},
    Field{"result_bytes", "Bytes of results written by the slice.", &TileTiming::result_bytes},
    Field{"activation_bytes", "Bytes of activations that the slice read again.",
          &TileTiming::activation_bytes},
    Field{"unit_converts", "Sums and results that the floating-point units of the slice scaled.",
          &TileTiming::unit_converts},
};

constexpr std::array count_fields{
    Field{"lookups", "", nullptr, &TileCounts::lookups},
    Field{"zero_patterns", "", nullptr, &TileCounts::zero_patterns},
    Field{"prt_hits", "", nullptr, &TileCounts::prt_hits},
    Field{"prt_misses", "", nullptr, &TileCounts::prt_misses},
    Field{"table_builds", "", nullptr, &TileCounts::table_builds},
    Field{"table_adds", "", nullptr, &TileCounts::table_adds},
    Field{"row_reads", "", nullptr, &TileCounts::row_reads},
    Field{"row_writes", "", nullptr, &TileCounts::row_writes},
    Field{"conversions", "", nullptr, &TileCounts::conversions},
    Field{"merges", "", nullptr, &TileCounts::merges},
};

std::map<std::string, std::int64_t> counts_of(const TileTiming &timing)
{
    std::map<std::string, std::int64_t> found;
    for (const Field &field : count_fields)
        found[field.name] = field.of(timing);
    return found;
}

/* A field of all tiles: a read-only view, which keeps them alive. */
auto column(nb::handle self, const Field &field)
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

} // namespace

void bind_tile_timings(nb::module_ &m)
{
    nb::class_<TileTiming> one(
        m, "TileTiming",
        "Cycles of a tile in the busiest slice by phase, and the counts of one DFM.\n\n"
        "load + build + lookup + convert + write_back = total.");
    nb::class_<TileTimings> many(m, "TileTimings",
                                 "Of many tiles: the same fields, each an int64 array (tiles,).");
    const auto bind = [&](const Field &field) {
        one.def_prop_ro(field.name, [&field](const TileTiming &t) { return field.of(t); }, field.doc);
        many.def_prop_ro(field.name, [&field](nb::handle self) { return column(self, field); }, field.doc);
    };
    for (const Field &field : own_fields)
        bind(field);
    for (const Field &field : count_fields)
        bind(field);
    one.def_prop_ro("counts", &counts_of, "All counts by name.");
    many.def("__len__", [](const TileTimings &t) { return t.tiles.size(); });
    many.def("__getitem__", &tile_at, nb::rv_policy::copy);
}

} // namespace sailsim::bindings
