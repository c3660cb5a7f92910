/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Products under the sanitizers: every width, and nothing overflows where all is as large as it can be.
 * Ragged shapes, codes and scales are tested in tests/lut_gemv.
 */
#include <algorithm>
#include <vector>

#include "pim/gemv.hh"
#include "support.hh"

namespace
{

struct Case {
    std::int64_t k;
    std::int64_t n;
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
    constexpr int wbits = 3;
    constexpr std::int64_t batch = 2;
    Numbers numbers(static_cast<std::uint32_t>(c.k * 31 + c.n * 7 + c.abits));
    const std::int64_t largest = c.high_value > -c.low_value ? c.high_value : c.low_value;
    std::vector<std::int16_t> values(std::size_t{1} << wbits);
    for (std::int16_t &value : values)
        value = static_cast<std::int16_t>(c.extreme ? largest : numbers.in(c.low_value, c.high_value));
    const std::vector<std::uint8_t> codes = drawn_codes(numbers, c.k * c.n, wbits);
    const DrawnActivations x(numbers, batch, c.k, c.abits, c.is_signed,
                             c.extreme ? Drawn::largest : Drawn::evenly);

    const Grouping grouping(c.k, c.nbw, c.group_size);
    const PackedWeights weights({codes.data(), c.k, c.n, wbits, values.data()});
    const std::vector<std::int64_t> y = product(x.view(), grouping, weights, c.is_signed, 2);
    const std::int64_t length = grouping.block_size();
    for (std::int64_t block = 0; block < grouping.blocks(); ++block)
        for (std::int64_t b = 0; b < batch; ++b)
            for (std::int64_t n = 0; n < c.n; ++n) {
                std::int64_t expected = 0;
                for (std::int64_t k = block * length; k < std::min((block + 1) * length, c.k); ++k)
                    expected += x.values[static_cast<std::size_t>(b * c.k + k)] *
                                values[codes[static_cast<std::size_t>(k * c.n + n)]];
                CHECK_EQ(y[static_cast<std::size_t>((block * batch + b) * c.n + n)], expected);
            }
}

} // namespace

TEST(gemv, every_width)
{
    for (int nbw = 1; nbw <= 6; ++nbw)
        for (int abits = 1; abits <= 16; ++abits)
            for (bool is_signed : {false, true})
                check_product({37, 130, abits, is_signed, nbw, 10, -128, abits % 2 ? 127 : 128});
}

TEST(gemv, extremes)
{
    for (std::int64_t limit : {1, 8, 127, 128, 129, 5461, 8192, 8193, 32767, 32768})
        for (int nbw : {1, 4, 6})
            for (int abits : {1, 7, 8, 9, 15, 16})
                for (bool is_signed : {false, true}) {
                    check_product({300, 2, abits, is_signed, nbw, 100, -limit, 0, true});
                    if (limit < 32768)
                        check_product({300, 2, abits, is_signed, nbw, 100, 0, limit, true});
                }
    check_product({70000, 1, 16, false, 4, 0, -128, 127, true}); /* sums beyond 32 bits */
    check_product({40000, 1, 16, true, 6, 0, -32768, 32767, true});
}
