/* SPDX-License-Identifier: BSD-3-Clause */
#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "check.hh"
#include "pim/dots.hh"
#include "pim/gemv.hh"
#include "pim/scaling.hh"
#include "support.hh"

using namespace sailsim::pim;

namespace
{

struct Case {
    std::int64_t k;
    std::int64_t n;
    std::int64_t batch;
    int wbits;
    int abits;
    bool is_signed;
    int nbw;
    std::int64_t group_size;
    std::int64_t low_value; /* of the weights */
    std::int64_t high_value;
    bool extreme = false; /* all weights and activations as large as they can be */
};

using View = Activations<std::int32_t>;

/* What makes a product, and hands it over as lut_gemv does; false where it has no such weights. */
using Multiply =
    std::function<bool(const View &, const Grouping &, const PackedWeights &, Sums, const TileSink &)>;

void check_product(const Case &c, const Multiply &multiply)
{
    Numbers numbers(static_cast<std::uint32_t>(c.k * 31 + c.n * 7 + c.wbits * 3 + c.abits));
    std::vector<std::int16_t> values(std::size_t{1} << c.wbits);
    const std::int64_t largest = c.high_value > -c.low_value ? c.high_value : c.low_value;
    for (std::int16_t &value : values)
        value = static_cast<std::int16_t>(c.extreme ? largest : numbers.in(c.low_value, c.high_value));
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(c.k * c.n));
    for (std::uint8_t &code : codes)
        code = static_cast<std::uint8_t>(numbers.in(0, (1 << c.wbits) - 1));
    const std::int64_t low = c.is_signed ? -(std::int64_t{1} << (c.abits - 1)) : 0;
    const std::int64_t high = low + (std::int64_t{1} << c.abits) - 1;
    std::vector<std::int32_t> x(static_cast<std::size_t>(c.batch * c.k));
    for (std::int32_t &value : x)
        value = static_cast<std::int32_t>(c.extreme ? (c.is_signed ? low : high) : numbers.in(low, high));

    const Grouping grouping(c.k, c.nbw, c.group_size);
    const View view{x.data(), c.batch, c.k, c.abits, c.is_signed};
    const PackedWeights weights(codes.data(), c.k, c.n, c.wbits, values.data());
    for (Sums sums : {Sums::total, Sums::per_block}) {
        const std::int64_t blocks = sums == Sums::total ? 1 : grouping.blocks();
        const std::int64_t length = sums == Sums::total ? c.k : grouping.block_size();
        std::vector<std::int64_t> y(static_cast<std::size_t>(blocks * c.batch * c.n));
        const bool made = multiply(view, grouping, weights, sums, [&](const TileSums &tile) {
            for (std::int64_t b = 0; b < c.batch; ++b)
                for (std::int64_t i = 0; i < tile.outputs; ++i)
                    y[static_cast<std::size_t>((tile.block * c.batch + b) * c.n + tile.first_output + i)] =
                        tile.sums[b * tile_outputs + i];
        });
        if (!made)
            return;
        for (std::int64_t block = 0; block < blocks; ++block) {
            for (std::int64_t b = 0; b < c.batch; ++b) {
                for (std::int64_t n = 0; n < c.n; ++n) {
                    std::int64_t expected = 0;
                    for (std::int64_t k = block * length; k < std::min((block + 1) * length, c.k); ++k)
                        expected += std::int64_t{x[static_cast<std::size_t>(b * c.k + k)]} *
                                    values[codes[static_cast<std::size_t>(k * c.n + n)]];
                    CHECK_EQ(y[static_cast<std::size_t>((block * c.batch + b) * c.n + n)], expected);
                }
            }
        }
    }
}

/* With every kernel that this machine can run, and with the one that it would choose. */
void check_product(const Case &c)
{
    constexpr int threads = 2;
    for (const KernelSet *kernels : usable_kernels())
        check_product(c, [&](const View &x, const Grouping &grouping, const PackedWeights &weights, Sums sums,
                             const TileSink &sink) {
            lut_gemv(Patterns(x, grouping), grouping, weights, x.is_signed, sums, threads, sink, *kernels);
            return true;
        });
    for (const DotKernels *kernels : usable_dots())
        check_product(c, [&](const View &x, const Grouping &grouping, const PackedWeights &weights, Sums sums,
                             const TileSink &sink) {
            if (!has_dots(*kernels, weights.storage()))
                return false;
            dot_gemv(x, grouping, weights, sums, threads, sink, *kernels);
            return true;
        });
    check_product(c, [&](const View &x, const Grouping &grouping, const PackedWeights &weights, Sums sums,
                         const TileSink &sink) {
        gemv(x, grouping, weights, sums, threads, sink);
        return true;
    });
}

} // namespace

TEST(gemv, every_width)
{
    for (int nbw = 1; nbw <= 6; ++nbw)
        for (int abits = 1; abits <= 16; ++abits)
            for (bool is_signed : {false, true})
                check_product({37, 5, 2, 1 + (abits + nbw) % 8, abits, is_signed, nbw, 0, -128, 127});
}

TEST(gemv, ragged_shapes)
{
    for (std::int64_t n : {1, 63, 64, 65, 130})
        check_product({19, n, 1, 4, 8, true, 4, 0, -8, 7});
    for (std::int64_t batch = 1; batch <= 9; ++batch)
        for (std::int64_t high : {7, 127}) /* as nibbles and as bytes */
            check_product({131, 129, batch, 4, 8, true, 4, 0, -8, high});
    for (std::int64_t k : {1, 3, 4, 5, 64, 129})
        for (std::int64_t group_size : {0, 1, 3, 32, 200})
            check_product({k, 3, 3, 4, 8, true, 4, group_size, -8, 7});
}

/* Every way of storing weights, at the edges of its range. */
TEST(gemv, storage)
{
    const std::int64_t ranges[][2] = {{-8, 7}, {0, 15},     {6, 21},     {-21, -6},   {7, 22},   {-22, -7},
                                      {-8, 8}, {-128, 127}, {-128, 128}, {-129, 127}, {100, 115}};
    for (const auto &range : ranges)
        for (int nbw = 1; nbw <= 6; ++nbw)
            for (bool extreme : {false, true})
                check_product({70, 130, 2, 4, 8, true, nbw, 33, range[0], range[1], extreme});

    const std::vector<std::uint8_t> codes = {0, 1};
    const auto storage = [&](std::int16_t low, std::int16_t high) {
        const std::int16_t values[] = {low, high};
        return PackedWeights(codes.data(), 1, 2, 1, values).storage();
    };
    CHECK(storage(6, 21) == WeightStorage::nibbles);
    CHECK(storage(5, 21) == WeightStorage::bytes);
    CHECK(storage(7, 22) == WeightStorage::bytes);
    CHECK(storage(-21, -6) == WeightStorage::nibbles);
    CHECK(storage(-22, -7) == WeightStorage::bytes);
    CHECK(storage(-128, 127) == WeightStorage::bytes);
    CHECK(storage(-128, 128) == WeightStorage::words);
    CHECK(storage(-129, 127) == WeightStorage::words);
}

/* Nothing may overflow when everything is as large as it can be: each type of table entry and of sum. */
TEST(gemv, extremes)
{
    for (std::int64_t limit : {1, 8, 127, 128, 129, 5461, 8192, 8193, 32767, 32768})
        for (int nbw : {1, 4, 6})
            for (int abits : {1, 7, 8, 9, 15, 16})
                for (bool is_signed : {false, true}) {
                    check_product({300, 2, 1, 2, abits, is_signed, nbw, 100, -limit, 0, true});
                    if (limit < 32768)
                        check_product({300, 2, 1, 2, abits, is_signed, nbw, 100, 0, limit, true});
                }
}

TEST(gemv, sums_beyond_32_bits)
{
    check_product({70000, 1, 1, 8, 16, false, 4, 0, -128, 127, true});
    check_product({40000, 1, 1, 8, 16, true, 6, 0, -32768, 32767, true});
}

/* The most that a product of bytes can be, 127 + 128 times -128, in more rows than 32 bits hold, and odd ones
 * too. */
TEST(gemv, more_rows_than_a_sum_of_bytes_holds)
{
    for (std::int64_t k : {most_dot_rows, most_dot_rows + 1, 2 * most_dot_rows + 3})
        for (std::int64_t group_size : {std::int64_t{0}, most_dot_rows + 6})
            check_product({k, 1, 1, 8, 8, true, 6, group_size, 0, 127, true});
}

TEST(gemv, dots_refuse_what_they_cannot_multiply)
{
    const std::vector<std::uint8_t> codes = {0, 1};
    const std::int16_t values[] = {-129, 127};
    const PackedWeights words(codes.data(), 2, 1, 1, values);
    const std::int8_t x[] = {7, -8, 9};
    const Grouping two(2, 1, 0);
    const auto sink = [](const TileSums &) {};
    for (const DotKernels *kernels : usable_dots()) {
        CHECK_THROWS(
            "have no weights that are stored so",
            dot_gemv(Activations<std::int8_t>{x, 1, 2, 8, true}, two, words, Sums::total, 1, sink, *kernels));
        CHECK_THROWS("x[0, 2] is 9: allowed are -8..7",
                     dot_gemv(Activations<std::int8_t>{x, 1, 3, 4, true}, Grouping(3, 1, 0), words,
                              Sums::total, 1, sink, *kernels));
        CHECK_THROWS("x has 3 columns: the weights have k = 2",
                     dot_gemv(Activations<std::int8_t>{x, 1, 3, 8, true}, Grouping(3, 1, 0), words,
                              Sums::total, 1, sink, *kernels));
    }
}

TEST(gemv, codes_out_of_range_are_refused)
{
    const std::vector<std::uint8_t> codes = {0, 3, 4, 1};
    const std::vector<std::int16_t> values = {0, 1, 2, 3};
    CHECK_THROWS("codes[1, 0] is 4: allowed are 0..3", PackedWeights(codes.data(), 2, 2, 2, values.data()));
    CHECK_THROWS("wbits is 9", PackedWeights(codes.data(), 2, 2, 9, values.data()));
}

TEST(gemv, half_to_float_is_exact)
{
    for (int half = 0; half < 0x10000; ++half) {
        const float value = half_to_float(static_cast<std::uint16_t>(half));
        const int exponent = half >> 10 & 0x1f;
        const int fraction = half & 0x3ff;
        float expected = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                       : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
        if (exponent == 0x1f) {
            CHECK(fraction == 0 ? std::isinf(value) : std::isnan(value));
            continue;
        }
        CHECK_EQ(value, half & 0x8000 ? -expected : expected);
        CHECK_EQ(std::signbit(value), (half & 0x8000) != 0);
    }
}

/* The same product once negative and once positive: 0, unless the second was fused into the sum, which would
 * leave what the first lost by rounding. */
TEST(gemv, scaling_rounds_the_product_before_the_sum)
{
    const std::uint16_t scale[2] = {0x3c01, 0x3c01}; /* 1 + 2^-10 */
    const float act_scale = 1.0F;
    const Scales scales{scale, nullptr, nullptr, &act_scale, 1, 1};
    const std::int64_t sum = (1 << 24) - 1;
    const double product = static_cast<double>(sum) * (1.0 + 1.0 / 1024);
    CHECK(static_cast<double>(static_cast<float>(product)) != product); /* else the test proves nothing */

    float y = 0;
    std::int64_t sums[tile_outputs] = {-sum};
    add_scaled_block({0, 0, 1, sums}, scales, &y);
    CHECK_EQ(y, -static_cast<float>(product));
    sums[0] = sum;
    add_scaled_block({1, 0, 1, sums}, scales, &y);
    CHECK_EQ(y, 0.0F);
}
