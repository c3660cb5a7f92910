/* SPDX-License-Identifier: BSD-3-Clause */
// Runs a trace on the PIM units: loads it, submits its descriptors over cores and units, checks every result
// word.
#include "common/clock.hh"
#include "common/fail.hh"
#include "common/json_line.hh"
#include "common/options.hh"
#include "common/region.hh"
#include "lutmm/emulator.hh"
#include "lutmm/layout.hh"
#include "lutmm/reference.hh"
#include "lutmm/run.hh"
#include "lutmm/trace.hh"
#include "lutmm/unit.hh"
#include "pim/descriptor.hh"

#include <algorithm>
#include <cstring>
#include <limits>

namespace
{

using namespace sailsim::kernels;

// What outputs hold before a run: an error must leave it there.
constexpr unsigned char kUntouched = 0xa5;

unsigned char *memory(std::uint64_t address)
{
    return reinterpret_cast<unsigned char *>(static_cast<std::uintptr_t>(address));
}

// A loaded trace with what this program may touch of each descriptor. A trace may hold bad descriptors.
struct Job {
    explicit Job(const std::string &path)
        : trace(path), has_completion(trace.size()), has_output(trace.size())
    {
        for (std::size_t i = 0; i < trace.size(); ++i) {
            const lutmm_descriptor &d = trace.descriptors()[i];
            has_completion[i] = d.completion % LUTMM_COMPLETION_ALIGN == 0 &&
                                trace.takes_results(d.completion, sizeof(lutmm_completion));
            has_output[i] = trace.takes_results(d.output, output_bytes(d));
        }
    }

    // Outputs hold kUntouched and completion records LUTMM_PENDING.
    void prepare()
    {
        for (std::size_t i = 0; i < trace.size(); ++i)
            if (has_output[i])
                std::memset(memory(trace.descriptors()[i].output), kUntouched,
                            output_bytes(trace.descriptors()[i]));
        for (std::size_t i = 0; i < trace.size(); ++i)
            if (has_completion[i])
                std::memset(memory(trace.descriptors()[i].completion), 0, sizeof(lutmm_completion));
    }

    Trace trace;
    std::vector<bool> has_completion, has_output;
};

// Bytes of an output that an error changed; its own completion record may lie there, where the error is
// overlap.
std::size_t changed_bytes(const lutmm_descriptor &d)
{
    std::size_t changed = 0;
    for (std::uint64_t address = d.output; address < d.output + output_bytes(d); ++address)
        if (address < d.completion || address - d.completion >= sizeof(lutmm_completion))
            changed += *memory(address) != kUntouched;
    return changed;
}

struct Totals {
    std::size_t ok = 0, errors = 0, unanswered = 0, words = 0, wrong = 0, changed = 0;
    std::uint64_t macs = 0, cycles = 0, longest_cycles = 0, lookups = 0, prt_hits = 0;
};

// Checks one answer, adds it to the totals and, on request, prints it.
void account(Job &job, std::size_t i, const Answer &answer, bool list, Totals &totals)
{
    const lutmm_descriptor &d = job.trace.descriptors()[i];
    const lutmm_completion &completion = answer.completion;
    std::size_t wrong = 0, changed = 0;
    if (completion.status == LUTMM_OK) {
        ++totals.ok;
        const std::uint32_t *stored = job.trace.expected(i);
        wrong = stored != nullptr ? wrong_words(d, stored) : wrong_words(d, reference_output(d).data());
        totals.words += output_words(d);
        totals.macs += static_cast<std::uint64_t>(d.k) * d.n * d.batch;
        totals.cycles += completion.cycles;
        totals.longest_cycles = std::max(totals.longest_cycles, completion.cycles);
        totals.lookups += completion.lookups;
        totals.prt_hits += completion.prt_hits;
    } else {
        ++(completion.status == LUTMM_PENDING ? totals.unanswered : totals.errors);
        changed = job.has_output[i] ? changed_bytes(d) : 0;
    }
    totals.wrong += wrong;
    totals.changed += changed;
    if (list)
        JsonLine()
            .add("descriptor", i)
            .add("status", sailsim::pim::status_name(completion.status))
            .add("detail", std::uint64_t{completion.detail})
            .add("cycles", completion.cycles)
            .add("lookups", completion.lookups)
            .add("prt_hits", completion.prt_hits)
            .add("latency_ns",
                 answer.answered_ns < answer.submitted_ns ? 0 : answer.answered_ns - answer.submitted_ns)
            .add("wrong_words", wrong)
            .add("changed_bytes", changed)
            .print();
}

} // namespace

int main(int argc, char **argv)
{
    Options options(argc, argv, "Runs a trace of LUTMM descriptors and checks every result word.");
    const std::string path = options.text("trace", "", "the trace file (sailsim trace)");
    const std::size_t threads = options.number("threads", 1, 1, Team::kMost, "cores that submit");
    Submission submission;
    submission.units = static_cast<unsigned>(
        options.number("units", 1, 1, LUTMM_UNITS_MAX, "PIM units; descriptor i goes to unit i modulo this"));
    submission.in_flight =
        options.number("in-flight", 4, 1, 1 << 20, "descriptors that a core has under way at most");
    submission.timeout_ns =
        1'000'000 * options.number("timeout-ms", 60'000, 1, 1 << 30, "how long to wait for one answer");
    const std::size_t repeats =
        options.number("repeats", 1, 1, 1'000'000, "passes over the trace; the last is checked");
    const bool list = options.flag("list", "one line for each descriptor");
    const bool check_inputs =
        options.flag("check-inputs", "check that no stored byte of the trace has changed");
    const bool in_gem5 = options.flag("m5", "mark the measured part for gem5");
    options.finish();
    if (path.empty())
        fail("--trace is missing; see --help");

    Job job(path);
    const std::uint64_t inputs = check_inputs ? job.trace.stored_checksum() : 0;
    install_emulator();
    Team team(static_cast<unsigned>(threads));
    std::vector<Answer> answers;
    std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
    for (std::size_t i = 0; i < repeats; ++i) {
        job.prepare();
        const Region region(in_gem5);
        const std::uint64_t start = now_ns();
        answers = submit_all(job.trace.descriptors(), job.has_completion, team, submission);
        least = std::min(least, now_ns() - start);
    }

    Totals totals;
    for (std::size_t i = 0; i < job.trace.size(); ++i)
        account(job, i, answers[i], list, totals);
    const bool inputs_kept = !check_inputs || job.trace.stored_checksum() == inputs;
    const std::uint64_t emulated = emulated_descriptors();
    JsonLine()
        .add("program", "lutmm_driver")
        .add("descriptors", job.trace.size())
        .add("threads", threads)
        .add("units", std::uint64_t{submission.units})
        .add("in_flight", submission.in_flight)
        .add("emulated", emulated)
        .add("ok", totals.ok)
        .add("errors", totals.errors)
        .add("unanswered", totals.unanswered)
        .add("checked_words", totals.words)
        .add("wrong_words", totals.wrong)
        .add("changed_bytes", totals.changed)
        .add("inputs", !check_inputs ? "unchecked"
                       : inputs_kept ? "kept"
                                     : "changed")
        .add("macs", totals.macs)
        .add("best_ns", least)
        .add("unit_cycles", totals.cycles)
        .add("longest_cycles", totals.longest_cycles)
        .add("lookups", totals.lookups)
        .add("prt_hits", totals.prt_hits)
        .print();
    const bool right = totals.ok == job.trace.size() && totals.wrong == 0 && inputs_kept;
    return right ? 0 : kExitWrong;
}
