/* SPDX-License-Identifier: BSD-3-Clause */
// Random descriptors, most of them bad: every one must end in the documented status, change no byte but its
// output and its completion record, and leave the unit alive. Valid ones must be right.
#include "common/fail.hh"
#include "common/json_line.hh"
#include "common/options.hh"
#include "common/random.hh"
#include "common/region.hh"
#include "lutmm/arena.hh"
#include "lutmm/emulator.hh"
#include "lutmm/fuzz_cases.hh"
#include "lutmm/operands.hh"
#include "lutmm/reference.hh"
#include "lutmm/unit.hh"
#include "lutmm/verdict.hh"
#include "pim/descriptor.hh"

#include <array>
#include <cstring>
#include <limits>
#include <string>

namespace
{

using namespace sailsim::kernels;

constexpr std::size_t kMostReports = 5;

class Fuzz
{
  public:
    Fuzz(std::uint64_t seed, unsigned units, unsigned machine_units, bool units_protect,
         std::uint64_t timeout_ns)
        : seed_(seed), units_(units), machine_units_(machine_units), timeout_ns_(timeout_ns), fill_(seed),
          arena_(fill_, units_protect), probe_(fill_, units_protect), slots_(kPageBytes)
    {
        Random random(seed);
        probe_descriptor_ = valid_descriptor(probe_, random);
        while (expected_verdict(probe_descriptor_, probe_.extents()).status != LUTMM_OK)
            probe_descriptor_ = valid_descriptor(probe_, random);
    }

    // Case i depends on nothing but the seed and i. False when the unit no longer answers.
    bool run(std::size_t i);

    std::size_t failures() const { return failures_; }
    void report(std::size_t count) const;

  private:
    // Where the descriptor lies; a few are where no descriptor can be.
    std::uint64_t store(const lutmm_descriptor &d, Random &random);
    unsigned choose_unit(std::size_t i, Random &random) const;
    bool is_answered(unsigned unit);
    void failed(std::size_t i, const char *what, const lutmm_descriptor &d, const ExpectedVerdict &expected,
                const lutmm_completion &answer);
    void check(std::size_t i, const lutmm_descriptor &d, const ExpectedVerdict &expected,
               const std::vector<std::uint32_t> &words, const lutmm_completion &answer);
    std::uint64_t end_of_slots() const { return reinterpret_cast<std::uintptr_t>(slots_.end()); }

    std::uint64_t seed_;
    unsigned units_, machine_units_; // used, and those that the machine has
    std::uint64_t timeout_ns_;
    Random fill_;
    Arena arena_, probe_; // the probe is a descriptor that is always the same and always valid
    Guarded slots_;
    lutmm_descriptor probe_descriptor_{};
    std::size_t failures_ = 0, without_record_ = 0, dropped_ = 0;
    std::array<std::size_t, sailsim::pim::status_count> statuses_{};
};

// The completion record, which need not be aligned.
void *record_of(const lutmm_descriptor &d)
{
    return reinterpret_cast<void *>(static_cast<std::uintptr_t>(d.completion));
}

std::uint64_t Fuzz::store(const lutmm_descriptor &d, Random &random)
{
    const auto first = reinterpret_cast<std::uintptr_t>(slots_.bytes());
    switch (random.below(64)) {
    case 0: // not on a line
        return first + 1 + random.below(sizeof d - 1);
    case 1: // not in memory
        return end_of_slots();
    default: {
        const std::uint64_t address = first + sizeof d * random.below(kPageBytes / sizeof d);
        std::memcpy(reinterpret_cast<void *>(address), &d, sizeof d);
        return address;
    }
    }
}

// One of those in use in turn; rarely one that the machine does not have.
unsigned Fuzz::choose_unit(std::size_t i, Random &random) const
{
    const unsigned absent = LUTMM_UNITS_MAX - machine_units_;
    const std::uint64_t draw = random.below(std::uint64_t{64} * LUTMM_UNITS_MAX);
    return draw < absent ? static_cast<unsigned>(machine_units_ + draw) : static_cast<unsigned>(i % units_);
}

// Units work in order: when a later descriptor is answered, nothing of the earlier ones is under way.
bool Fuzz::is_answered(unsigned unit)
{
    std::memset(record_of(probe_descriptor_), 0, sizeof(lutmm_completion));
    auto *slot = reinterpret_cast<lutmm_descriptor *>(slots_.bytes());
    *slot = probe_descriptor_;
    submit(unit, slot);
    const std::uint32_t right = unit < machine_units_ ? LUTMM_OK : LUTMM_ERR_UNIT;
    return wait_for(probe_descriptor_.completion, timeout_ns_) == right;
}

void Fuzz::failed(std::size_t i, const char *what, const lutmm_descriptor &d, const ExpectedVerdict &expected,
                  const lutmm_completion &answer)
{
    if (++failures_ > kMostReports)
        return;
    JsonLine()
        .add("failure", what)
        .add("case", i)
        .add("expected", sailsim::pim::status_name(expected.status))
        .add("expected_detail", std::uint64_t{expected.detail})
        .add("status", sailsim::pim::status_name(answer.status))
        .add("detail", std::uint64_t{answer.detail})
        .add("k", std::uint64_t{d.k})
        .add("n", std::uint64_t{d.n})
        .add("batch", std::uint64_t{d.batch})
        .add("wbits", std::uint64_t{d.wbits})
        .add("abits", std::uint64_t{d.abits})
        .add("nbw", std::uint64_t{d.nbw})
        .add("flags", std::uint64_t{d.flags})
        .add("group_size", std::uint64_t{d.group_size})
        .add_hex("weights", d.weights)
        .add_hex("activations", d.activations)
        .add_hex("output", d.output)
        .add_hex("scales", d.scales)
        .add_hex("completion", d.completion)
        .add_hex("codebook", d.codebook)
        .print();
}

void Fuzz::check(std::size_t i, const lutmm_descriptor &d, const ExpectedVerdict &expected,
                 const std::vector<std::uint32_t> &words, const lutmm_completion &answer)
{
    if (answer.status != expected.status || answer.detail != expected.detail) {
        failed(i, "another answer", d, expected, answer);
        return;
    }
    if (expected.status != LUTMM_OK) {
        if (answer.cycles != 0 || answer.lookups != 0 || answer.prt_hits != 0)
            failed(i, "work counted for a refused descriptor", d, expected, answer);
        return;
    }
    if (wrong_words(d, words.data()) != 0)
        failed(i, "wrong result", d, expected, answer);
    const bool uses_prt = (d.flags & LUTMM_F_PRT) != 0;
    if (answer.cycles == 0 || answer.lookups == 0 || answer.prt_hits > (uses_prt ? answer.lookups : 0))
        failed(i, "impossible counts", d, expected, answer);
}

bool Fuzz::run(std::size_t i)
{
    Random random(Random(seed_ + i).next());
    lutmm_descriptor d = valid_descriptor(arena_, random);
    const std::uint64_t kind = random.below(16);
    if (kind == 0)
        random.fill(&d, sizeof d);
    else if (kind >= 6)
        for (std::uint64_t left = 1 + random.below(2); left != 0; --left)
            mutate(d, arena_, random);

    // Clearing the record may change operands, and so may the unit's answer: what is expected is worked out
    // between.
    const bool has_record = reachable(arena_.extents(), d.completion, sizeof(lutmm_completion), true);
    if (has_record)
        std::memset(record_of(d), 0, sizeof(lutmm_completion));
    const unsigned unit = choose_unit(i, random);
    const ExpectedVerdict expected =
        unit < machine_units_ ? expected_verdict(d, arena_.extents()) : ExpectedVerdict{LUTMM_ERR_UNIT, unit};
    std::vector<std::uint32_t> words;
    if (expected.status == LUTMM_OK)
        words = reference_output(d);
    arena_.remember();

    const std::uint64_t address = store(d, random);
    const bool is_dropped = address % LUTMM_BUFFER_ALIGN != 0 || address == end_of_slots();
    submit(unit, reinterpret_cast<const lutmm_descriptor *>(static_cast<std::uintptr_t>(address)));

    lutmm_completion answer{};
    const bool can_poll = !is_dropped && has_record && d.completion % sizeof(std::uint32_t) == 0;
    if (can_poll ? wait_for(d.completion, timeout_ns_) == LUTMM_PENDING : !is_answered(unit)) {
        failed(i, "no answer", d, expected, answer);
        return false;
    }
    if (is_dropped)
        ++dropped_;
    else if (!has_record)
        ++without_record_;
    else {
        ++statuses_[expected.status];
        std::memcpy(&answer, record_of(d), sizeof answer);
        check(i, d, expected, words, answer);
        arena_.accept(d.completion, sizeof answer);
        if (expected.status == LUTMM_OK)
            arena_.accept(d.output, output_bytes(d));
    }
    if (arena_.differences() != 0)
        failed(i, "bytes changed that are nobody's business", d, expected, answer);
    return true;
}

void Fuzz::report(std::size_t count) const
{
    JsonLine line;
    line.add("program", "lutmm_fuzz")
        .add("descriptors", count)
        .add("seed", seed_)
        .add("units", std::uint64_t{units_})
        .add("emulated", emulated_descriptors())
        .add("read_only_pages", arena_.read_only_is_enforced() ? "enforced" : "not enforced here")
        .add("failures", failures_)
        .add("dropped", dropped_)
        .add("without_record", without_record_);
    for (std::uint32_t status = LUTMM_OK; status < sailsim::pim::status_count; ++status)
        line.add(sailsim::pim::status_name(status), statuses_[status]);
    line.print();
}

} // namespace

int main(int argc, char **argv)
{
    Options options(argc, argv, "Submits random descriptors and checks every answer and every byte.");
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    const std::size_t count = options.number("count", 10'000, 1, 1'000'000'000, "descriptors");
    const std::size_t first =
        options.number("first", 0, 0, 1'000'000'000, "number of the first case: repeats one alone");
    const std::uint64_t seed = options.number("seed", 1, 0, most, "of the cases");
    const auto units =
        static_cast<unsigned>(options.number("units", 1, 1, LUTMM_UNITS_MAX, "PIM units, in turn"));
    const auto machine_units = static_cast<unsigned>(options.number(
        "machine-units", 32, units, LUTMM_UNITS_MAX, "PIM units of the machine: others are tried, rarely"));
    const std::uint64_t timeout_ns =
        1'000'000 * options.number("timeout-ms", 10'000, 1, 1 << 30, "how long to wait for one answer");
    const bool units_protect = options.flag(
        "units-protect", "PIM units refuse to write read-only pages, even if cores do not (gem5)");
    const bool in_gem5 = options.flag("m5", "mark the measured part for gem5");
    options.finish();

    install_emulator();
    Fuzz fuzz(seed, units, machine_units, units_protect, timeout_ns);
    std::size_t done = 0;
    {
        const Region region(in_gem5);
        bool answers = true;
        for (; answers && done < count; ++done)
            answers = fuzz.run(first + done);
    }
    fuzz.report(done);
    return fuzz.failures() == 0 ? 0 : kExitWrong;
}
