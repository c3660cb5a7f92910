/* SPDX-License-Identifier: BSD-3-Clause */
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include <optional>

#include "arrays.hh"
#include "bind.hh"
#include "pim/check.hh"
#include "pim/product.hh"

namespace sailsim::bindings
{

using namespace nb::literals;
using pim::ScaledWeights;

namespace
{

void prepare(ScaledWeights *self, const Array &codes, int wbits, const Array &values, std::int64_t group_size,
             const Array &scale, const std::optional<Array> &minimum)
{
    pim::require_range("wbits", wbits, 1, pim::max_wbits);
    pim::require_range("group_size", group_size, 0, std::int64_t{1} << 32);
    require_ndim("codes", codes, 2);
    require_elements("codes", codes);
    const std::uint8_t *code = elements<std::uint8_t>("codes", codes, "uint8");
    require_shape("values", values, {std::int64_t{1} << wbits});
    const std::int16_t *value = elements<std::int16_t>("values", values, "int16");
    const auto k = static_cast<std::int64_t>(codes.shape(0));
    const auto n = static_cast<std::int64_t>(codes.shape(1));
    const std::int64_t blocks = group_size == 0 ? 1 : pim::ceil_div(k, group_size);
    require_shape("scale", scale, {blocks, n});
    const std::uint16_t *scales = halves("scale", scale);
    const std::uint16_t *minima = nullptr;
    if (minimum) {
        require_shape("minimum", *minimum, {blocks, n});
        minima = halves("minimum", *minimum);
    }
    const nb::gil_scoped_release release;
    new (self) ScaledWeights(code, k, n, wbits, value, group_size, scales, minima);
}

Result<float, 2> product(const Array &x, const Array &act_scale, const ScaledWeights &weights, int threads)
{
    pim::require_range("threads", threads, 1, max_threads);
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

std::pair<Result<std::int16_t, 2>, Result<float, 1>> rounded_rows(const Array &x, int most)
{
    pim::require_range("most", most, 1, (1 << 15) - 1);
    require_ndim("x", x, 2);
    require_elements("x", x);
    const float *values = elements<float>("x", x, "float32");
    std::vector<std::int16_t> ints(x.size());
    std::vector<float> scale(x.shape(0));
    {
        const nb::gil_scoped_release release;
        pim::round_rows(values, static_cast<std::int64_t>(x.shape(0)), static_cast<std::int64_t>(x.shape(1)),
                        most, ints.data(), scale.data());
    }
    return {to_numpy<std::int16_t, 2>(std::move(ints), {x.shape(0), x.shape(1)}),
            to_numpy<float, 1>(std::move(scale), {x.shape(0)})};
}

} // namespace

void bind_product(nb::module_ &m)
{
    nb::class_<ScaledWeights>(m, "ScaledWeights",
                              "Weights (K, N) with their blocks' scales, laid out for products of many rows.")
        .def("__init__", &prepare, "codes"_a, "wbits"_a, "values"_a, "group_size"_a, "scale"_a,
             "minimum"_a = nb::none(),
             "codes: (K, N) uint8, each below ``2**wbits``; values: int16 (2**wbits,), what a code means;\n"
             "group_size: weights of a block, 0 is one block; scale, minimum: (blocks, N) float16.")
        .def_prop_ro("k", &ScaledWeights::k)
        .def_prop_ro("n", &ScaledWeights::n)
        .def_prop_ro("nbytes", &ScaledWeights::bytes, "Memory of the layout in bytes.");

    m.def("scaled_product", &product, "x"_a, "act_scale"_a, "weights"_a, "threads"_a = 1,
          "fp32 results (B, N) of a scaled tile, to the bit those of lut_gemv and scale_blocks.\n\n"
          "x: (B, K) int16; act_scale: (B,) float32. No sum of a block may reach 2**31.");

    m.def("round_rows", &rounded_rows, "x"_a, "most"_a,
          "Rows of float32 x (B, K), finite, as int16 of -most..most and their float32 scales (B,).\n\n"
          "The largest magnitude of a row is ``most`` steps; to nearest, ties to even.");
}

} // namespace sailsim::bindings
