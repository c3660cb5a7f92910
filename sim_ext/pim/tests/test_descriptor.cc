/* SPDX-License-Identifier: BSD-3-Clause */
#include <cstddef>
#include <cstring>
#include <vector>

#include "pim/descriptor.hh"
#include "support.hh"

namespace
{

/* 64 KiB at 0x10000; writes may be forbidden, and are counted. */
class Ram : public Memory
{
  public:
    static constexpr std::uint64_t base = 0x10000;

    Ram() : bytes(0x10000) {}
    bool readable(std::uint64_t address, std::uint64_t count) const override
    {
        return address >= base && address - base <= bytes.size() && count <= bytes.size() - (address - base);
    }
    bool writable(std::uint64_t address, std::uint64_t count) const override
    {
        return readable(address, count) && !(address <= read_only && read_only < address + count);
    }
    void read(std::uint64_t address, void *to, std::uint64_t count) const override
    {
        std::memcpy(to, &bytes[address - base], count);
    }
    void write(std::uint64_t address, const void *from, std::uint64_t count) override
    {
        writes.push_back(address);
        std::memcpy(&bytes[address - base], from, count);
    }

    std::vector<std::uint8_t> bytes;
    std::vector<std::uint64_t> writes;
    std::uint64_t read_only = 0;
};

/* x = (1, -2, 3), W = ((1, 2), (-3, 4), (5, -6)) of 4 bits: y = (22, -24). */
struct Program {
    Ram ram;
    lutmm_descriptor d{};

    Program()
    {
        d.weights = Ram::base + 0x1000;
        d.activations = Ram::base + 0x2000;
        d.output = Ram::base + 0x3000;
        d.completion = Ram::base + 0x4000;
        d.k = 3;
        d.n = 2;
        d.batch = 1;
        d.wbits = 4;
        d.abits = 8;
        d.nbw = 2;
        d.flags = LUTMM_F_PRT;
        const std::uint8_t weights[] = {0x21, 0x4d, 0xa5};
        const std::int8_t x[] = {1, -2, 3};
        ram.write(d.weights, weights, sizeof weights);
        ram.write(d.activations, x, sizeof x);
        ram.writes.clear();
    }

    lutmm_completion run() { return execute_descriptor(d, plain_slice(), ram); }

    template <class T>
    T word(std::uint64_t address) const
    {
        T value;
        ram.read(address, &value, sizeof value);
        return value;
    }
};

void check_refused(Program &program, lutmm_status status, std::size_t field)
{
    const std::vector<std::uint8_t> before = program.ram.bytes;
    const lutmm_completion completion = program.run();
    CHECK_EQ(completion.status, static_cast<std::uint32_t>(status));
    CHECK_EQ(completion.detail, static_cast<std::uint32_t>(field));
    CHECK_EQ(completion.cycles, 0U);
    /* Nothing but the completion record may have changed. */
    for (std::uint64_t address : program.ram.writes)
        CHECK_EQ(address, program.d.completion);
    if (!program.ram.writes.empty())
        CHECK_EQ(program.word<std::uint32_t>(program.d.completion), static_cast<std::uint32_t>(status));
    else
        CHECK(program.ram.bytes == before);
}

#define REFUSED(status, field, ...)                                                                          \
    do {                                                                                                     \
        Program p;                                                                                           \
        __VA_ARGS__;                                                                                         \
        check_refused(p, status, offsetof(lutmm_descriptor, field));                                         \
    } while (false)

} // namespace

TEST(descriptor, a_sum_may_reach_the_accumulators_end)
{
    /* 7 by 31 by 151 is 2^15 - 1, the largest sum that 16 bits hold. */
    SliceConfig config = plain_slice();
    config.accumulator_bits = 16;
    Program p;
    p.d.flags = LUTMM_F_CODE_OFFSET | LUTMM_F_ACT_UNSIGNED;
    p.d.wbits = 3;
    p.d.abits = 5;
    const std::uint8_t x[] = {1, 2, 3};
    p.ram.write(p.d.activations, x, sizeof x);
    p.d.k = 151;
    CHECK_EQ(execute_descriptor(p.d, config, p.ram).status, static_cast<std::uint32_t>(LUTMM_OK));
    p.d.k = 152;
    const lutmm_completion refused = execute_descriptor(p.d, config, p.ram);
    Program least; /* 8 by 128 by 32 is 2^15: one more */
    least.d.k = 32;
    CHECK_EQ(execute_descriptor(least.d, config, least.ram).status,
             static_cast<std::uint32_t>(LUTMM_ERR_OVERFLOW));
    least.d.k = 31;
    CHECK_EQ(execute_descriptor(least.d, config, least.ram).status, static_cast<std::uint32_t>(LUTMM_OK));
    CHECK_EQ(refused.status, static_cast<std::uint32_t>(LUTMM_ERR_OVERFLOW));
    CHECK_EQ(refused.detail, static_cast<std::uint32_t>(offsetof(lutmm_descriptor, k)));
}

TEST(descriptor, a_tile)
{
    Program p;
    const lutmm_completion completion = p.run();
    CHECK_EQ(completion.status, static_cast<std::uint32_t>(LUTMM_OK));
    CHECK_EQ(p.word<std::int32_t>(p.d.output), 22);
    CHECK_EQ(p.word<std::int32_t>(p.d.output + 4), -24);
    CHECK_EQ(completion.lookups, 16U); /* 2 groups of 8 bit planes */
    CHECK_EQ(p.ram.writes.size(), 2U);
    CHECK_EQ(p.ram.writes.back(), p.d.completion); /* last of all */
    CHECK_EQ(p.word<std::uint64_t>(p.d.completion + 8), completion.cycles);

    /* 1 = 0b1, -2 = 0b1..10: patterns 1 and then 2 seven times; 3: 1 twice, then zero. */
    CHECK_EQ(completion.prt_hits, 6U + 1U);
    Program without;
    without.d.flags = 0;
    CHECK_EQ(without.run().prt_hits, 0U);
}

TEST(descriptor, weight_codes)
{
    Program p; /* nibbles 1 2 13 4 5 10 */
    p.d.flags = LUTMM_F_CODE_OFFSET;
    p.d.codebook = 8;
    p.run();
    CHECK_EQ(p.word<std::int32_t>(p.d.output), -7 - 2 * 5 + 3 * -3);
    p.d.flags = LUTMM_F_CODE_BOOK;
    p.d.codebook = Ram::base + 0x5000;
    std::int16_t book[16] = {};
    book[1] = 1000;
    book[13] = -32768;
    book[5] = 7;
    p.ram.write(p.d.codebook, book, sizeof book);
    p.run();
    CHECK_EQ(p.word<std::int32_t>(p.d.output), 1000 + 2 * 32768 + 3 * 7);

    Program ternary; /* codes 0 1 | 2 0 | 1 2 */
    ternary.d.flags = LUTMM_F_CODE_TERNARY;
    ternary.d.wbits = 2;
    const std::uint8_t weights[] = {0x4, 0x2, 0x9};
    ternary.ram.write(ternary.d.weights, weights, sizeof weights);
    ternary.run();
    CHECK_EQ(ternary.word<std::int32_t>(ternary.d.output), -1 - 2 + 0);
    CHECK_EQ(ternary.word<std::int32_t>(ternary.d.output + 4), 0 + 2 + 3);
}

TEST(descriptor, scales)
{
    Program p;
    p.d.flags = LUTMM_F_CONVERT | LUTMM_F_MINIMUM;
    p.d.group_size = 2; /* blocks (1, -2) and (3) */
    p.d.scales = Ram::base + 0x6000;
    const std::uint16_t scale[] = {0x3c00, 0x4000, 0x3800, 0x3c00};   /* 1, 2; 0.5, 1 */
    const std::uint16_t minimum[] = {0x4400, 0x0000, 0x3c00, 0xbc00}; /* 4, 0; 1, -1 */
    const float act_scale = 0.25F;
    p.ram.write(p.d.scales, scale, sizeof scale);
    p.ram.write(p.d.scales + 8, minimum, sizeof minimum);
    p.ram.write(p.d.scales + 16, &act_scale, sizeof act_scale);
    CHECK_EQ(buffers_of(p.d).scales.bytes, 20U);
    CHECK_EQ(p.run().status, static_cast<std::uint32_t>(LUTMM_OK));
    CHECK_EQ(p.word<float>(p.d.output), (7 * 1 + -1 * 4 + 15 * 0.5F + 3 * 1) * 0.25F);
    CHECK_EQ(p.word<float>(p.d.output + 4), (-6 * 2 + 0 + -18 * 1 + 3 * -1) * 0.25F);

    p.d.n = 1; /* an odd number of halves is padded to the next float */
    p.d.k = 5;
    CHECK_EQ(buffers_of(p.d).scales.bytes, 3 * 2 * 2 + 4U);
    p.d.flags = LUTMM_F_CONVERT;
    CHECK_EQ(buffers_of(p.d).scales.bytes, 3 * 2 + 2 + 4U);
}

TEST(descriptor, refusals)
{
    REFUSED(LUTMM_ERR_WBITS, wbits, p.d.wbits = 0);
    REFUSED(LUTMM_ERR_WBITS, wbits, p.d.wbits = 9);
    REFUSED(LUTMM_ERR_WBITS, wbits, p.d.flags = LUTMM_F_CODE_TERNARY);
    REFUSED(LUTMM_ERR_ABITS, abits, p.d.abits = 0);
    REFUSED(LUTMM_ERR_ABITS, abits, p.d.abits = 17);
    REFUSED(LUTMM_ERR_NBW, nbw, p.d.nbw = 0);
    REFUSED(LUTMM_ERR_NBW, nbw, p.d.nbw = 7);
    REFUSED(LUTMM_ERR_SHAPE, k, p.d.k = 0);
    REFUSED(LUTMM_ERR_SHAPE, n, p.d.n = 0);
    REFUSED(LUTMM_ERR_SHAPE, batch, p.d.batch = 0);
    REFUSED(LUTMM_ERR_FLAGS, flags, p.d.flags = 0x40);
    REFUSED(LUTMM_ERR_FLAGS, flags, p.d.flags = 0x80);
    REFUSED(LUTMM_ERR_FLAGS, flags, p.d.flags = LUTMM_F_CONVERT);
    REFUSED(LUTMM_ERR_FLAGS, flags, p.d.scales = Ram::base);
    REFUSED(LUTMM_ERR_FLAGS, flags, p.d.flags = LUTMM_F_MINIMUM);
    REFUSED(LUTMM_ERR_ALIGN, weights, p.d.weights += 32);
    REFUSED(LUTMM_ERR_ALIGN, activations, p.d.activations += 1);
    REFUSED(LUTMM_ERR_ALIGN, output, p.d.output += 4);
    REFUSED(LUTMM_ERR_ALIGN, scales, p.d.flags = LUTMM_F_CONVERT, p.d.scales = Ram::base + 8);
    REFUSED(LUTMM_ERR_ALIGN, completion, p.d.completion += 16);
    REFUSED(LUTMM_ERR_ALIGN, codebook, p.d.flags = LUTMM_F_CODE_BOOK, p.d.codebook = Ram::base + 2);
    REFUSED(LUTMM_ERR_CODEBOOK, codebook, p.d.flags = LUTMM_F_CODE_BOOK);
    REFUSED(LUTMM_ERR_CODEBOOK, codebook, p.d.flags = LUTMM_F_CODE_OFFSET, p.d.codebook = 16);
    REFUSED(LUTMM_ERR_CODEBOOK, codebook, p.d.codebook = Ram::base);
    REFUSED(LUTMM_ERR_FAULT, weights, p.d.weights = 0);
    REFUSED(LUTMM_ERR_FAULT, weights, p.d.weights = ~std::uint64_t{63});
    REFUSED(LUTMM_ERR_FAULT, weights, p.d.k = 0xffffffff, p.d.n = 0xffffffff);
    REFUSED(LUTMM_ERR_FAULT, activations, p.d.activations = Ram::base + 0x10000);
    REFUSED(LUTMM_ERR_FAULT, output, p.ram.read_only = p.d.output + 7);
    REFUSED(LUTMM_ERR_FAULT, scales, p.d.flags = LUTMM_F_CONVERT, p.d.scales = 64);
    REFUSED(LUTMM_ERR_FAULT, completion, p.ram.read_only = p.d.completion + 31);
    REFUSED(LUTMM_ERR_FAULT, codebook, p.d.flags = LUTMM_F_CODE_BOOK, p.d.codebook = 64);
    REFUSED(LUTMM_ERR_OVERLAP, output, p.d.output = p.d.weights);
    REFUSED(LUTMM_ERR_OVERLAP, output, p.d.output = p.d.completion);
    REFUSED(LUTMM_ERR_CODE, weights, p.d.flags = LUTMM_F_CODE_TERNARY, p.d.wbits = 2);
    REFUSED(LUTMM_ERR_VALUE, activations, p.d.abits = 2);
}

TEST(descriptor, a_unit_that_is_not_there)
{
    Program p;
    p.d.wbits = 99; /* a bad field is not what is reported */
    CHECK_EQ(refuse_unit(p.d, 40, p.ram).status, static_cast<std::uint32_t>(LUTMM_ERR_UNIT));
    const auto record = p.word<lutmm_completion>(p.d.completion);
    CHECK_EQ(record.status, static_cast<std::uint32_t>(LUTMM_ERR_UNIT));
    CHECK_EQ(record.detail, 40u);
    CHECK_EQ(record.cycles, 0u);
    CHECK_EQ(p.ram.writes.size(), 1u);
    Program q;
    q.d.completion = 0;
    CHECK_EQ(refuse_unit(q.d, 40, q.ram).status, static_cast<std::uint32_t>(LUTMM_ERR_UNIT));
    CHECK(q.ram.writes.empty());
}

/* The last word of the output may touch the next buffer, not enter it. */
TEST(descriptor, neighbours_do_not_overlap)
{
    Program p;
    p.d.batch = 8;
    p.d.output = p.d.weights - 64; /* exactly 64 bytes */
    CHECK_EQ(p.run().status, static_cast<std::uint32_t>(LUTMM_OK));
    Program q;
    q.d.batch = 9;
    q.d.output = q.d.weights - 64;
    check_refused(q, LUTMM_ERR_OVERLAP, offsetof(lutmm_descriptor, output));
}

TEST(descriptor, an_accumulator_that_just_holds)
{
    Program p; /* 8 * 128 * 3 = 3072 needs 13 bits */
    SliceConfig config = plain_slice();
    config.accumulator_bits = 13;
    CHECK_EQ(validate_descriptor(p.d, config).status, LUTMM_OK);
    config.accumulator_bits = 12;
    CHECK_EQ(validate_descriptor(p.d, config).status, LUTMM_ERR_OVERFLOW);
    CHECK_EQ(validate_descriptor(p.d, config).detail, offsetof(lutmm_descriptor, k));
    p.d.group_size = 1; /* unscaled, the sum still runs over all of K */
    CHECK_EQ(validate_descriptor(p.d, config).status, LUTMM_ERR_OVERFLOW);
    p.d.scales = Ram::base + 0x6000;
    p.d.flags = LUTMM_F_CONVERT;
    CHECK_EQ(validate_descriptor(p.d, config).status, LUTMM_OK);

    Program wide; /* results are int32 however wide the accumulator: 128 * 65535 * 256 = 2^31 - 2^15 */
    config.accumulator_bits = 48;
    wide.d.wbits = 8;
    wide.d.abits = 16;
    wide.d.flags = LUTMM_F_ACT_UNSIGNED;
    wide.d.k = 256;
    CHECK_EQ(validate_descriptor(wide.d, config).status, LUTMM_OK);
    wide.d.k = 257;
    CHECK_EQ(validate_descriptor(wide.d, config).status, LUTMM_ERR_OVERFLOW);

    Program book; /* known only once the values are read */
    book.d.flags = LUTMM_F_CODE_BOOK;
    book.d.codebook = Ram::base + 0x5000;
    const std::int16_t values[16] = {-32768};
    book.ram.write(book.d.codebook, values, sizeof values);
    book.ram.writes.clear();
    book.d.k = 600;
    book.d.batch = 1;
    CHECK_EQ(validate_descriptor(book.d, plain_slice()).status, LUTMM_OK);
    check_refused(book, LUTMM_ERR_OVERFLOW, offsetof(lutmm_descriptor, k));
}

TEST(descriptor, rows_that_just_fit)
{
    const Program p; /* NBW 2: 3 table rows, 4 staging rows */
    SliceConfig config = plain_slice();
    config.rows = 7;
    CHECK_EQ(validate_descriptor(p.d, config).status, LUTMM_OK);
    config.rows = 6;
    CHECK_EQ(validate_descriptor(p.d, config).status, LUTMM_ERR_CAPACITY);
    CHECK_EQ(validate_descriptor(p.d, config).detail, offsetof(lutmm_descriptor, nbw));

    Program scaled;
    scaled.d.flags = LUTMM_F_CONVERT;
    scaled.d.scales = Ram::base + 0x6000;
    config = plain_slice();
    config.cols = 32;
    CHECK_EQ(validate_descriptor(scaled.d, config).status, LUTMM_OK);
    config.cols = 31;
    CHECK_EQ(validate_descriptor(scaled.d, config).status, LUTMM_ERR_CAPACITY);
    CHECK_EQ(validate_descriptor(scaled.d, config).detail, offsetof(lutmm_descriptor, flags));
}
