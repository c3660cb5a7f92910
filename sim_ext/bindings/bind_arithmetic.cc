/* SPDX-License-Identifier: BSD-3-Clause */
#include <algorithm>

#include "arrays.hh"
#include "bind.hh"
#include "pim/check.hh"
#include "pim/gemv.hh"

namespace sailsim::bindings
{

using namespace nb::literals;
using pim::PackedWeights;

namespace
{

void pack(PackedWeights *self, const Array &codes, int wbits, const Array &values)
{
    pim::require_range("wbits", wbits, 1, pim::max_wbits);
    require_ndim("codes", codes, 2);
    require_elements("codes", codes);
    const std::uint8_t *code = elements<std::uint8_t>("codes", codes, "uint8");
    require_shape("values", values, {std::int64_t{1} << wbits});
    const std::int16_t *value = elements<std::int16_t>("values", values, "int16");
    const nb::gil_scoped_release release;
    new (self) PackedWeights(code, static_cast<std::int64_t>(codes.shape(0)),
                             static_cast<std::int64_t>(codes.shape(1)), wbits, value);
}

nb::object gemv(const Array &x, const PackedWeights &weights, int abits, bool is_signed, int nbw,
                std::int64_t group_size, int threads, bool blocks)
{
    pim::require_range("threads", threads, 1, max_threads);
    return with_activations(x, abits, is_signed, [&](const auto &activations) {
        const std::int64_t batch = activations.batch;
        const std::int64_t n = weights.n();
        std::vector<std::int64_t> y;
        std::int64_t block_count = 1;
        {
            const nb::gil_scoped_release release;
            const pim::Grouping grouping(activations.k, nbw, group_size);
            const pim::Patterns patterns(activations, grouping);
            if (blocks)
                block_count = grouping.blocks();
            y.resize(static_cast<std::size_t>(block_count * batch * n));
            lut_gemv(patterns, grouping, weights, is_signed, blocks ? pim::Sums::per_block : pim::Sums::total,
                     threads, [&](const pim::TileSums &tile) {
                         for (std::int64_t b = 0; b < batch; ++b)
                             std::copy_n(tile.sums + b * pim::tile_outputs, tile.outputs,
                                         y.data() + (tile.block * batch + b) * n + tile.first_output);
                     });
        }
        const auto extent = [](std::int64_t value) { return static_cast<std::size_t>(value); };
        if (blocks)
            return nb::cast(
                to_numpy<std::int64_t, 3>(std::move(y), {extent(block_count), extent(batch), extent(n)}));
        return nb::cast(to_numpy<std::int64_t, 2>(std::move(y), {extent(batch), extent(n)}));
    });
}

} // namespace

void bind_arithmetic(nb::module_ &m)
{
    nb::class_<PackedWeights>(m, "PackedWeights",
                              "Weights (K, N), decoded and laid out once for any number of products.")
        .def("__init__", &pack, "codes"_a, "wbits"_a, "values"_a,
             "codes: (K, N) uint8, each below ``2**wbits``; values: int16 (2**wbits,), what a code means.")
        .def_prop_ro("k", &PackedWeights::k)
        .def_prop_ro("n", &PackedWeights::n)
        .def_prop_ro("wbits", &PackedWeights::wbits)
        .def_prop_ro("nbytes", &PackedWeights::bytes, "Memory of the layout in bytes.");

    m.def("lut_gemv", &gemv, "x"_a, "packed"_a, "abits"_a, "signed"_a, "nbw"_a, "group_size"_a,
          "threads"_a = 1, "blocks"_a = false,
          nb::sig("def lut_gemv(x: numpy.typing.NDArray[numpy.integer], packed: PackedWeights, abits: int, "
                  "signed: bool, nbw: int, group_size: int, threads: int = 1, blocks: bool = False) -> "
                  "numpy.typing.NDArray[numpy.int64]"),
          "y = x W by table look-up, exact: (B, N) int64, or (blocks, B, N) with ``blocks``.\n\n"
          "x: (B, K) int8, uint8, int16, uint16 or int32, each value inside ``abits`` bits.");

    m.def("kernel_name", &pim::kernel_name, "The instruction set that lut_gemv uses here.");
}

} // namespace sailsim::bindings
