/* SPDX-License-Identifier: BSD-3-Clause */
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arrays.hh"
#include "pim/check.hh"
#include "pim/gemv.hh"
#include "pim/product.hh"

namespace sailsim::bindings
{

using pim::PackedWeights;

namespace
{

using Codes = Array<std::uint8_t, 2>;
using Values = Array<std::int16_t, 1>;
using Halves = Array<std::uint16_t, 2>;

pim::WeightCodes weight_codes(const Codes &codes, int wbits, const Values &values)
{
    pim::require_range("wbits", wbits, 1, pim::max_wbits);
    require_shape("values", values, {std::int64_t{1} << wbits});
    return {codes.data(), length(codes), length(codes, 1), wbits, values.data()};
}

void pack(PackedWeights *self, const Codes &codes, int wbits, const Values &values)
{
    const pim::WeightCodes weights = weight_codes(codes, wbits, values);
    const nb::gil_scoped_release release;
    new (self) PackedWeights(weights);
}

Result<std::int64_t, 3> gemv(const Words &x, const PackedWeights &weights, int abits, bool is_signed, int nbw,
                             std::int64_t group_size, int threads)
{
    require_threads(threads);
    const pim::Activations rows = activations(x, abits);
    const pim::Grouping grouping(rows.k, nbw, group_size);
    const std::int64_t n = weights.n();
    std::vector<std::int64_t> y(static_cast<std::size_t>(grouping.blocks() * rows.batch * n));
    {
        const nb::gil_scoped_release release;
        pim::lut_gemv(pim::Patterns(rows, grouping), grouping, weights, is_signed, threads,
                      [&](const pim::TileSums &tile) {
                          for (std::int64_t b = 0; b < rows.batch; ++b)
                              std::copy_n(tile.sums + b * pim::tile_outputs, tile.outputs,
                                          y.data() + (tile.block * rows.batch + b) * n + tile.first_output);
                      });
    }
    return to_numpy<std::int64_t, 3>(std::move(y), {grouping.blocks(), rows.batch, n});
}

Result<float, 2> scaled_product(const Array<std::int16_t, 2> &x, const Array<float, 1> &act_scale,
                                const Codes &codes, int wbits, const Values &values, std::int64_t group_size,
                                const Halves &scale, const std::optional<Halves> &minimum, int threads)
{
    require_threads(threads);
    pim::require_range("group_size", group_size, 0, std::int64_t{1} << 32);
    const pim::WeightCodes weights = weight_codes(codes, wbits, values);
    const std::int64_t batch = length(x), n = weights.n;
    const std::int64_t blocks = group_size == 0 ? 1 : pim::ceil_div(weights.k, group_size);
    require_shape("x", x, {batch, weights.k});
    require_shape("act_scale", act_scale, {batch});
    require_shape("scale", scale, {blocks, n});
    if (minimum)
        require_shape("minimum", *minimum, {blocks, n});
    std::vector<float> y(static_cast<std::size_t>(batch * n));
    {
        const nb::gil_scoped_release release;
        const pim::ScaledWeights scaled(weights, group_size, scale.data(),
                                        minimum ? minimum->data() : nullptr);
        pim::scaled_product(x.data(), batch, act_scale.data(), scaled, threads, y.data());
    }
    return to_numpy<float, 2>(std::move(y), {batch, n});
}

std::map<std::pair<std::string, std::int64_t>, std::int64_t> int_to_fp32_tally(int bits)
{
    std::map<std::pair<std::string, std::int64_t>, std::int64_t> named;
    for (const auto &[operation, times] : pim::int_to_fp32_tally(bits))
        named[{pim::ops.of(operation.first), operation.second}] = times;
    return named;
}

} // namespace

void bind_arithmetic(nb::module_ &m)
{
    nb::class_<PackedWeights>(m, "PackedWeights",
                              "Weights (K, N), decoded and laid out once for any number of products.")
        .def("__init__", &pack, given("codes"), "wbits"_a, given("values"),
             "codes: (K, N) uint8, each below ``2**wbits``; values: int16 (2**wbits,), what a code means.");

    m.def("lut_gemv", &gemv, given("x"), "packed"_a, "abits"_a, "signed"_a, "nbw"_a, "group_size"_a,
          "threads"_a = 1,
          "y = x W, exact, block by block: (blocks, B, N) int64.\n\n"
          "x: (B, K) as in `pattern_profile`; ``signed``: whether bit ``abits - 1`` counts negative.");

    m.def("int_to_fp32_tally", &int_to_fp32_tally, "bits"_a,
          "How often the in-memory conversion of a sum of ``bits`` bits (2..63) does each (operation, n).");

    m.def("scaled_product", &scaled_product, given("x"), given("act_scale"), given("codes"), "wbits"_a,
          given("values"), "group_size"_a, given("scale"), given("minimum") = nb::none(), "threads"_a = 1,
          "fp32 results (B, N) of a scaled tile, to the bit those that look-ups give.\n\n"
          "x: (B, K) int16; act_scale: (B,) float32; codes, values: as of `PackedWeights`; group_size:\n"
          "weights of a block, 0 is one block; scale, minimum: (blocks, N), bits of float16.\n"
          "No sum of a block may reach 2**31.");
}

} // namespace sailsim::bindings
