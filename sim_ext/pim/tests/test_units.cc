/* SPDX-License-Identifier: BSD-3-Clause */
#include "support.hh"

namespace
{

/* The text with a line in the place of the one that begins with `key`; without it for an empty line. */
std::string with(std::string text, const std::string &key, const std::string &line)
{
    const std::size_t from = text.find("\n" + key + " ") + 1;
    const std::size_t to = text.find('\n', from) + 1;
    return text.replace(from, to - from, line.empty() ? "" : line + "\n");
}

} // namespace

TEST(units, every_key_sets_its_field)
{
    std::string text = shipped_text("row_dfm");
    for (const char *line : {"rows 128",
                             "cols 64",
                             "arrays 3",
                             "slices 7",
                             "port_bytes 16",
                             "weights_kib_cycles 290",
                             "accumulator_bits 48",
                             "prt_entries 5",
                             "prt_policy fifo",
                             "t_zero 2",
                             "t_prt 3",
                             "double_buffer false",
                             "activation_buffer_bits 4096",
                             "accumulator_buffer_bits 8192",
                             "dfms 3",
                             "dfm_split k",
                             "convert cores",
                             "convert_units 5",
                             "convert_latency 9",
                             "convert_interval 2",
                             "substrate mine",
                             "layout columns",
                             "accumulate in_array",
                             "prt_helps false",
                             "cost.read 1 2 3",
                             "cost.fp_add -2 8 0",
                             "phase.stage none",
                             "phase.lookup weight write 1, 2 read entry, 1 add accumulator"})
        text = with(text, std::string(line).substr(0, std::string(line).find(' ')), line);
    const SliceConfig unit = read_unit(text);
    CHECK_EQ(unit.rows, 128);
    CHECK_EQ(unit.cols, 64);
    CHECK_EQ(unit.arrays, 3);
    CHECK_EQ(unit.slices, 7);
    CHECK_EQ(unit.port_bytes, 16);
    CHECK_EQ(unit.weights_kib_cycles, 290);
    CHECK_EQ(unit.accumulator_bits, 48);
    CHECK_EQ(unit.prt_entries, 5);
    CHECK(unit.policy == PrtPolicy::fifo);
    CHECK_EQ(unit.t_zero, 2);
    CHECK_EQ(unit.t_prt, 3);
    CHECK(!unit.double_buffer);
    CHECK_EQ(unit.activation_buffer_bits, 4096);
    CHECK_EQ(unit.accumulator_buffer_bits, 8192);
    CHECK_EQ(unit.dfms, 3);
    CHECK(unit.dfm_split == DfmSplit::k);
    CHECK(unit.convert == Convert::cores);
    CHECK_EQ(unit.convert_units, 5);
    CHECK_EQ(unit.convert_latency, 9);
    CHECK_EQ(unit.convert_interval, 2);
    CHECK_EQ(unit.substrate.name, "mine");
    CHECK(unit.substrate.layout == Layout::columns);
    CHECK(unit.substrate.accumulate == Accumulate::in_array);
    CHECK(!unit.substrate.prt_helps);
    CHECK_EQ(unit.substrate.cycles(Op::read, 10), 1 + 20 + 300);
    CHECK_EQ(unit.substrate.cycles(Op::fp_add, 32), 254);
    CHECK_EQ(unit.substrate.cycles(Op::write), 1);
    const Widths widths{4, 10, 32};
    CHECK_EQ(unit.substrate.cycles(Phase::stage, widths), 0);
    CHECK_EQ(unit.substrate.cycles(Phase::lookup, widths), 4 * 1 + 2 * (1 + 20 + 300) + 1);
}

TEST(units, the_order_of_the_keys_does_not_matter)
{
    const std::string text = shipped_text("bit_serial");
    const std::string moved = with(text, "rows", "") + "rows 256\n";
    CHECK(moved != text);
    CHECK_EQ(read_unit(moved).rows, read_unit(text).rows);
}

TEST(units, bad_input_names_the_key)
{
    const std::string text = shipped_text("row_dfm");
    CHECK_THROWS("the first line is '': allowed is 'sailsim-unit 2'", read_unit(""));
    CHECK_THROWS("the first line is 'rows 1'", read_unit("rows 1\n"));
    CHECK_THROWS("version is 1: allowed is 2", read_unit("sailsim-unit 1\n" + text.substr(15)));
    CHECK_THROWS("version is '': allowed are whole numbers", read_unit("sailsim-unit\n"));
    CHECK_THROWS("'colour' is no key of version 2", read_unit(text + "colour blue\n"));
    CHECK_THROWS("'cost.mul' is no key", read_unit(text + "cost.mul 1 0 0\n"));
    CHECK_THROWS("'' is no key", read_unit(text + "\n"));
    CHECK_THROWS("rows is there twice", read_unit(text + "rows 1\n"));
    CHECK_THROWS("t_prt is missing", read_unit(with(text, "t_prt", "")));
    CHECK_THROWS("cost.add is missing", read_unit(with(text, "cost.add", "")));
    CHECK_THROWS("rows is '2.5': allowed are whole numbers", read_unit(with(text, "rows", "rows 2.5")));
    CHECK_THROWS("rows is '': allowed are whole numbers", read_unit(with(text, "rows", "rows")));
    CHECK_THROWS("rows is '12\r'", read_unit(with(text, "rows", "rows 12\r")));
    CHECK_THROWS("prt_entries is '99999999999999999999': allowed are whole numbers of 64 bits",
                 read_unit(with(text, "prt_entries", "prt_entries 99999999999999999999")));
    CHECK_THROWS("double_buffer is 'yes': allowed are true, false",
                 read_unit(with(text, "double_buffer", "double_buffer yes")));
    CHECK_THROWS("prt_policy is 'random'", read_unit(with(text, "prt_policy", "prt_policy random")));
    CHECK_THROWS("layout is 'diagonal'", read_unit(with(text, "layout", "layout diagonal")));
    CHECK_THROWS("accumulate is 'nowhere'", read_unit(with(text, "accumulate", "accumulate nowhere")));
    CHECK_THROWS("cost.add is '1 0': allowed are three", read_unit(with(text, "cost.add", "cost.add 1 0")));
    for (const char *steps : {"", "1 read 1,"})
        CHECK_THROWS("allowed are steps such as",
                     read_unit(with(text, "phase.stage", std::string("phase.stage ") + steps)));
    for (const char *steps : {"read", "1 read", "1 read 1 1", "some read 1", "1 read 1,, 1 read 1"})
        CHECK_THROWS("is '", read_unit(with(text, "phase.stage", std::string("phase.stage ") + steps)));
    CHECK_THROWS("op is 'jump'", read_unit(with(text, "phase.stage", "phase.stage 1 jump 1")));
    CHECK_THROWS("phase.lookup is missing", read_unit(with(text, "phase.lookup", "")));
    CHECK_THROWS("substrate.phases.stage is 2000: allowed are 0..64",
                 read_unit(with(text, "phase.stage", "phase.stage 2000 read 1")));
    CHECK_THROWS("substrate.phases.lookup on the widest tile is ",
                 read_unit(with(with(text, "cost.add", "cost.add 0 0 1000000"), "phase.lookup",
                                "phase.lookup 2 add accumulator")));
    CHECK_THROWS("cost.add is '1 0 0 0': allowed are three",
                 read_unit(with(text, "cost.add", "cost.add 1 0 0 0")));
}

TEST(units, what_was_read_is_validated)
{
    const std::string text = shipped_text("row_dfm");
    CHECK_THROWS("rows is 0: allowed are 1..", read_unit(with(text, "rows", "rows 0")));
    CHECK_THROWS("substrate.costs.add is -1 cycles", read_unit(with(text, "cost.add", "cost.add -1 0 0")));
    CHECK_THROWS("substrate.name is ''", read_unit(with(text, "substrate", "substrate")));
    const std::string in_array = with(text, "accumulate", "accumulate in_array");
    CHECK_THROWS("substrate.prt_helps", read_unit(in_array));
    CHECK(read_unit(with(in_array, "phase.hit", "phase.hit 1 add accumulator")).substrate.prt_helps);
    CHECK_THROWS("dfms is 5: allowed are divisors of arrays, which is 16",
                 read_unit(with(text, "dfms", "dfms 5")));
    CHECK_THROWS("dfms is 0: allowed are 1..", read_unit(with(text, "dfms", "dfms 0")));
    CHECK_THROWS("dfm_split is 'm': allowed are n, k", read_unit(with(text, "dfm_split", "dfm_split m")));
    CHECK_THROWS("convert is 'gpu': allowed are memory, unit, cores",
                 read_unit(with(text, "convert", "convert gpu")));
    CHECK_THROWS("convert_interval is 13: allowed are 1..12",
                 read_unit(with(text, "convert_interval", "convert_interval 13")));
    CHECK_THROWS("convert is unit: allowed with sums in the array",
                 read_unit(with(shipped_text("bit_serial"), "convert", "convert unit")));
}

TEST(units, a_substrate_s_validation_names_the_field)
{
    Substrate s = shipped("row_dfm");
    s.name = "two words";
    CHECK_THROWS("substrate.name is 'two words'", s.validate());

    s = shipped("row_dfm");
    s.costs[5].c0 = -1;
    CHECK_THROWS("substrate.costs.add is -1 cycles", s.validate());

    s = shipped("row_dfm");
    s.costs[2].c1 = 2'000'000;
    CHECK_THROWS("substrate.costs.logic has the coefficient 2000000", s.validate());

    s = shipped("bit_serial");
    s.accumulate = Accumulate::behind;
    CHECK_THROWS("substrate.accumulate", s.validate());

    s = shipped("bit_parallel");
    s.prt_helps = true;
    CHECK_THROWS("substrate.prt_helps", s.validate());
}
