/* SPDX-License-Identifier: BSD-3-Clause */
#include <algorithm>
#include <cmath>
#include <vector>

#include "pim/gemv.hh"
#include "support.hh"

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

void check_product(const Case &c)
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
    const Patterns patterns(Activations<std::int32_t>{x.data(), c.batch, c.k, c.abits, c.is_signed},
                            grouping);
    const PackedWeights weights({codes.data(), c.k, c.n, c.wbits, values.data()});
    const std::int64_t blocks = grouping.blocks();
    const std::int64_t length = grouping.block_size();
    std::vector<std::int64_t> y(static_cast<std::size_t>(blocks * c.batch * c.n));
    lut_gemv(patterns, grouping, weights, c.is_signed, 2, [&](const TileSums &tile) {
        for (std::int64_t b = 0; b < c.batch; ++b)
            for (std::int64_t i = 0; i < tile.outputs; ++i)
                y[static_cast<std::size_t>((tile.block * c.batch + b) * c.n + tile.first_output + i)] =
                    tile.sums[b * tile_outputs + i];
    });
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
        check_product({131, 129, batch, 4, 8, true, 4, 0, -8, 7});
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
    const auto fit_bytes = [&](std::int16_t low, std::int16_t high) {
        const std::int16_t values[] = {low, high};
        return PackedWeights({codes.data(), 1, 2, 1, values}).fit_bytes();
    };
    CHECK(fit_bytes(-128, 127));
    CHECK(!fit_bytes(-128, 128));
    CHECK(!fit_bytes(-129, 127));
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
    const Scales scales{1, 1, {0x3c01, 0x3c01}, {}, {}, {1.0F}}; /* 1 + 2^-10 */
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
