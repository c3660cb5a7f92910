/* SPDX-License-Identifier: BSD-3-Clause */
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <vector>

#include "pim/convert.hh"
#include "support.hh"

namespace
{

std::uint32_t bits_of(float value)
{
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

std::int32_t clipped(float value, int bits)
{
    if (std::isnan(value))
        return 0;
    const auto high = static_cast<float>((1 << (bits - 1)) - 1);
    const auto low = -static_cast<float>(1 << (bits - 1));
    return static_cast<std::int32_t>(std::fmin(std::fmax(std::nearbyintf(value), low), high));
}

} // namespace

TEST(convert, int_to_fp32_rounds_to_nearest_even)
{
    Numbers numbers(3);
    for (int bits = min_convert_bits; bits <= max_convert_bits; ++bits) {
        const std::int64_t limit = std::int64_t{1} << (bits - 1);
        std::vector<std::int64_t> values = {0, -1, -limit, limit - 1};
        for (int i = 0; i < 200; ++i) { /* every magnitude, and ties of the last place of fp32 */
            const std::int64_t shifted = numbers.in(-limit, limit - 1) >> numbers.in(0, bits - 1);
            values.push_back(shifted);
            const std::int64_t step = std::int64_t{1} << (bits > 26 ? bits - 26 : 0);
            values.push_back(shifted / step * step);
        }
        std::vector<float> out(values.size());
        int_to_fp32(values.data(), values.size(), bits, out.data());
        for (std::size_t i = 0; i < values.size(); ++i)
            CHECK_EQ(bits_of(out[i]), bits_of(static_cast<float>(values[i])));
    }
}

TEST(convert, fp32_to_int_rounds_saturates_and_clears_nan)
{
    const float infinity = std::numeric_limits<float>::infinity();
    Numbers numbers(4);
    for (int bits = 1; bits <= max_fp32_to_int_bits; ++bits) {
        const auto limit = static_cast<float>(1 << (bits - 1));
        std::vector<float> values = {0.0F,
                                     -0.0F,
                                     0.5F,
                                     -0.5F,
                                     1.5F,
                                     2.5F,
                                     -2.5F,
                                     limit,
                                     limit - 0.5F,
                                     -limit,
                                     -limit - 0.5F,
                                     std::nextafter(limit - 0.5F, 0.0F),
                                     infinity,
                                     -infinity,
                                     std::numeric_limits<float>::quiet_NaN(),
                                     std::numeric_limits<float>::denorm_min()};
        for (int i = 0; i < 2000; ++i) {
            const auto pattern = static_cast<std::uint32_t>(numbers.in(0, 0xffffffff));
            float value;
            std::memcpy(&value, &pattern, sizeof value);
            values.push_back(value);
            values.push_back(static_cast<float>(numbers.in(-(1 << bits), 1 << bits)) / 4.0F);
        }
        std::vector<std::int32_t> out(values.size());
        fp32_to_int(values.data(), values.size(), bits, out.data());
        for (std::size_t i = 0; i < values.size(); ++i)
            CHECK_EQ(out[i], clipped(values[i], bits));
    }
}

/* The tallies as docs/contract.md, section 5, gives them. */
TEST(convert, tally_of_int_to_fp32)
{
    for (int a = min_convert_bits; a <= max_convert_bits; ++a) {
        int steps = 0;
        while (1 << steps < a)
            ++steps;
        std::map<std::pair<Op, int>, std::int64_t> expected;
        expected[{Op::copy, a}] += 1 + steps;
        expected[{Op::copy, 8}] += 1;
        expected[{Op::copy, 32}] += 1;
        expected[{Op::logic, a}] += 1 + 3 * steps;
        expected[{Op::logic, 8}] += steps;
        expected[{Op::logic, 32}] += 2;
        expected[{Op::add, a}] += 1 + steps + (a > 24 ? 1 : 0);
        expected[{Op::add, 8}] += steps;
        expected[{Op::add, 32}] += 1;
        for (int i = 0; i < steps; ++i)
            expected[{Op::shift, 1 << i}] += 1;
        if (a != 24)
            expected[{Op::shift, std::abs(24 - a)}] += a < 24 ? 1 : 2;
        expected[{Op::shift, 23}] += 1;
        expected[{Op::shift, 31}] += 1;
        CHECK(int_to_fp32_tally(a).operations() == expected);
    }
}

TEST(convert, tally_of_fp32_to_int)
{
    for (int b = 1; b <= max_fp32_to_int_bits; ++b) {
        std::map<std::pair<Op, int>, std::int64_t> expected;
        expected[{Op::copy, 26}] += 8;
        expected[{Op::copy, b}] += 3;
        expected[{Op::copy, b + 1}] += 1;
        expected[{Op::logic, 1}] += 2;
        expected[{Op::logic, 8}] += 1;
        expected[{Op::logic, 26}] += 29;
        expected[{Op::logic, 32}] += 3;
        expected[{Op::logic, b}] += 5;
        expected[{Op::logic, b + 1}] += 1;
        expected[{Op::add, 9}] += 2;
        expected[{Op::add, 26}] += 6;
        expected[{Op::add, b + 1}] += 1;
        expected[{Op::add, 32}] += 1;
        expected[{Op::shift, 1}] += 1;
        expected[{Op::shift, 2}] += 4;
        for (int d : {4, 8, 16, 23})
            expected[{Op::shift, d}] += 1;
        CHECK(fp32_to_int_tally(b).operations() == expected);
    }
}

TEST(convert, cycles_are_the_tally_priced_by_the_table)
{
    const Substrate s = shipped("row_dfm");
    const Tally tally = int_to_fp32_tally(24); /* 5 steps; no shift to the significand */
    const std::int64_t copies = 2 * (6 + 1 + 1);
    const std::int64_t logic = 3 * (16 + 5 + 2);
    const std::int64_t adds = 6 + 5 + 1;
    const std::int64_t shifts = (1 + 2 + 4 + 8 + 16 + 5) + 24 + 32;
    CHECK_EQ(tally.cycles(s), copies + logic + adds + shifts);
}

TEST(convert, widths_and_values_at_the_limit)
{
    const std::int64_t value = 128;
    float f = 0;
    std::int32_t i = 0;
    CHECK_THROWS("value is 128: allowed are -128..127", int_to_fp32(&value, 1, 8, &f));
    int_to_fp32(&value, 1, 9, &f);
    CHECK_EQ(f, 128.0F);
    CHECK_THROWS("bits is 1", int_to_fp32(&value, 1, 1, &f));
    CHECK_THROWS("bits is 64", int_to_fp32(&value, 1, 64, &f));
    CHECK_THROWS("bits is 0", fp32_to_int(&f, 1, 0, &i));
    CHECK_THROWS("bits is 25", fp32_to_int(&f, 1, 25, &i));
}
