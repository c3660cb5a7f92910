/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Descriptors on a memory of which a part may not be written, and the order of what is written; whatever a
 * descriptor or a unit's text holds, under the sanitizers. What each field may be is tested in tests/oracles
 * and tests/pim.
 */
#include <cstddef>
#include <cstring>
#include <vector>

#include "pim/descriptor.hh"
#include "support.hh"

namespace
{

/* 64 KiB at 0x10000; writes may be forbidden, and are noted. */
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

void check_says(const lutmm_completion &completion, lutmm_status status, std::size_t detail)
{
    CHECK_EQ(completion.status, static_cast<std::uint32_t>(status));
    CHECK_EQ(completion.detail, static_cast<std::uint32_t>(detail));
}

} // namespace

TEST(descriptor, the_record_is_written_last)
{
    Program p;
    const lutmm_completion completion = p.run();
    check_says(completion, LUTMM_OK, 0);
    CHECK_EQ(p.word<std::int32_t>(p.d.output), 22);
    CHECK_EQ(p.word<std::int32_t>(p.d.output + 4), -24);
    CHECK(p.ram.writes == (std::vector<std::uint64_t>{p.d.output, p.d.completion}));
    /* 1 = 0b1, -2 = 0b1..10: patterns 1 and then 2 seven times; 3: 1 twice, then zero. */
    CHECK_EQ(completion.lookups, 16U);
    CHECK_EQ(completion.prt_hits, 6U + 1U);
    CHECK_EQ(p.word<std::uint64_t>(p.d.completion + 8), completion.cycles);
}

TEST(descriptor, what_may_not_be_written)
{
    Program output;
    output.ram.read_only = output.d.output + 7;
    check_says(output.run(), LUTMM_ERR_FAULT, offsetof(lutmm_descriptor, output));
    check_says(output.word<lutmm_completion>(output.d.completion), LUTMM_ERR_FAULT,
               offsetof(lutmm_descriptor, output));
    CHECK_EQ(output.ram.writes.size(), 1U);
    Program record;
    record.ram.read_only = record.d.completion + 31;
    check_says(record.run(), LUTMM_ERR_FAULT, offsetof(lutmm_descriptor, completion));
    CHECK(record.ram.writes.empty());
}

TEST(descriptor, a_unit_that_is_not_there)
{
    Program p;
    p.d.wbits = 99; /* a bad field is not what is reported */
    check_says(refuse_unit(p.d, 40, p.ram), LUTMM_ERR_UNIT, 40);
    check_says(p.word<lutmm_completion>(p.d.completion), LUTMM_ERR_UNIT, 40);
    CHECK_EQ(p.ram.writes.size(), 1U);
    Program q;
    q.d.completion = 0;
    check_says(refuse_unit(q.d, 40, q.ram), LUTMM_ERR_UNIT, 40);
    CHECK(q.ram.writes.empty());
}

TEST(descriptor, no_bytes_do_harm)
{
    Numbers numbers(5);
    const std::string text = shipped_text("row_dfm");
    std::size_t refused = 0;
    for (int trial = 0; trial < 2000; ++trial) {
        Program p;
        auto *bytes = reinterpret_cast<std::uint8_t *>(&p.d);
        for (std::int64_t change = numbers.in(0, 3); change > 0; --change)
            bytes[numbers.in(40, sizeof p.d - 1)] = static_cast<std::uint8_t>(numbers.in(0, 9));
        const std::uint32_t status = p.run().status;
        CHECK(status > LUTMM_PENDING && status < status_count);
        refused += status != LUTMM_OK;

        std::string unit = text;
        unit[static_cast<std::size_t>(numbers.in(0, static_cast<std::int64_t>(unit.size()) - 1))] =
            static_cast<char>(numbers.in(0, 127));
        try {
            read_unit(unit);
        } catch (const std::invalid_argument &) {
            ++refused;
        }
    }
    CHECK(refused > 2000);
}
