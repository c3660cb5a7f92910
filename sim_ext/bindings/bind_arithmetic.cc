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
#include "pim/convert.hh"
#include "pim/gemv.hh"
#include "pim/product.hh"

namespace sailsim::bindings
{

using pim::PackedWeights;
using pim::ScaledWeights;

namespace
{

pim::WeightCodes weight_codes(const Array &codes, int wbits, const Array &values)
{
    pim::require_range("wbits", wbits, 1, pim::max_wbits);
    require_ndim("codes", codes, 2);
    require_elements("codes", codes);
    const std::uint8_t *code = elements<std::uint8_t>("codes", codes, "uint8");
    require_shape("values", values, {std::int64_t{1} << wbits});
    return {code, static_cast<std::int64_t>(codes.shape(0)), static_cast<std::int64_t>(codes.shape(1)), wbits,
            elements<std::int16_t>("values", values, "int16")};
}

void pack(PackedWeights *self, const Array &codes, int wbits, const Array &values)
{
    const pim::WeightCodes weights = weight_codes(codes, wbits, values);
    const nb::gil_scoped_release release;
    new (self) PackedWeights(weights);
}

Result<std::int64_t, 3> gemv(const Array &x, const PackedWeights &weights, int abits, bool is_signed, int nbw,
                             std::int64_t group_size, int threads)
{
    require_threads(threads);
    return with_activations(x, abits, is_signed, [&](const auto &activations) {
        const std::int64_t batch = activations.batch, n = weights.n();
        const pim::Grouping grouping(activations.k, nbw, group_size);
        std::vector<std::int64_t> y(static_cast<std::size_t>(grouping.blocks() * batch * n));
        {
            const nb::gil_scoped_release release;
            pim::lut_gemv(pim::Patterns(activations, grouping), grouping, weights, activations.is_signed,
                          threads, [&](const pim::TileSums &tile) {
                              for (std::int64_t b = 0; b < batch; ++b)
                                  std::copy_n(tile.sums + b * pim::tile_outputs, tile.outputs,
                                              y.data() + (tile.block * batch + b) * n + tile.first_output);
                          });
        }
        const auto extent = [](std::int64_t value) { return static_cast<std::size_t>(value); };
        return to_numpy<std::int64_t, 3>(std::move(y), {extent(grouping.blocks()), extent(batch), extent(n)});
    });
}

void prepare(ScaledWeights *self, const Array &codes, int wbits, const Array &values, std::int64_t group_size,
             const Array &scale, const std::optional<Array> &minimum)
{
    pim::require_range("group_size", group_size, 0, std::int64_t{1} << 32);
    const pim::WeightCodes weights = weight_codes(codes, wbits, values);
    const std::int64_t k = weights.k, n = weights.n;
    const std::int64_t blocks = group_size == 0 ? 1 : pim::ceil_div(k, group_size);
    require_shape("scale", scale, {blocks, n});
    const std::uint16_t *scales = halves("scale", scale);
    const std::uint16_t *minima = nullptr;
    if (minimum) {
        require_shape("minimum", *minimum, {blocks, n});
        minima = halves("minimum", *minimum);
    }
    const nb::gil_scoped_release release;
    new (self) ScaledWeights(weights, group_size, scales, minima);
}

Result<float, 2> product(const Array &x, const Array &act_scale, const ScaledWeights &weights, int threads)
{
    require_threads(threads);
    require_ndim("x", x, 2);
    require_elements("x", x);
    const std::int16_t *words = elements<std::int16_t>("x", x, "int16");
    const auto batch = static_cast<std::int64_t>(x.shape(0));
    require_shape("x", x, {batch, weights.k()});
    require_shape("act_scale", act_scale, {batch});
    const float *scales = elements<float>("act_scale", act_scale, "float32");
    std::vector<float> y(static_cast<std::size_t>(batch * weights.n()));
    {
        const nb::gil_scoped_release release;
        pim::scaled_product(words, batch, scales, weights, threads, y.data());
    }
    return to_numpy<float, 2>(std::move(y), {x.shape(0), static_cast<std::size_t>(weights.n())});
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
        .def("__init__", &pack, "codes"_a, "wbits"_a, "values"_a,
             "codes: (K, N) uint8, each below ``2**wbits``; values: int16 (2**wbits,), what a code means.");

    m.def("lut_gemv", &gemv, "x"_a, "packed"_a, "abits"_a, "signed"_a, "nbw"_a, "group_size"_a,
          "threads"_a = 1,
          "y = x W, exact, block by block: (blocks, B, N) int64.\n\n"
          "x: (B, K) int8, uint8, int16, uint16 or int32, each value inside ``abits`` bits.");

    m.def("int_to_fp32_tally", &int_to_fp32_tally, "bits"_a,
          "How often the in-memory conversion of a sum of ``bits`` bits (2..63) does each (operation, n).");

    nb::class_<ScaledWeights>(m, "ScaledWeights",
                              "Weights (K, N) with their blocks' scales, laid out for products of many rows.")
        .def("__init__", &prepare, "codes"_a, "wbits"_a, "values"_a, "group_size"_a, "scale"_a,
             "minimum"_a = nb::none(),
             "codes: (K, N) uint8, each below ``2**wbits``; values: int16 (2**wbits,), what a code means;\n"
             "group_size: weights of a block, 0 is one block; scale, minimum: (blocks, N) float16.")
        .def_prop_ro("k", &ScaledWeights::k);

    m.def("scaled_product", &product, "x"_a, "act_scale"_a, "weights"_a, "threads"_a = 1,
          "fp32 results (B, N) of a scaled tile, to the bit those that look-ups give.\n\n"
          "x: (B, K) int16; act_scale: (B,) float32. No sum of a block may reach 2**31.");
}

} // namespace sailsim::bindings
