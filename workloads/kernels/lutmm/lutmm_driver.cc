/* SPDX-License-Identifier: BSD-3-Clause */
// Runs a trace on the PIM units: loads it, submits its descriptors over cores and units, checks every result
// word that the trace expects. A trace may hold bad descriptors, and what has submitted them may end.
#include "common/measure.hh"
#include "common/program.hh"
#include "lutmm/trace.hh"
#include "lutmm/unit.hh"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <unistd.h>

namespace
{

using namespace sailsim::kernels;

// What the room for results holds before a run, completion records aside: an error must leave it there.
constexpr unsigned char kUntouched = 0xa5;

struct Answer {
    lutmm_completion completion{}; // LUTMM_PENDING where the unit never answered
    std::uint64_t submitted_ns = 0, answered_ns = 0;
};

// Whether a completion record is memory that may be polled.
bool can_answer(const Trace &trace, const lutmm_descriptor &d)
{
    return d.completion % LUTMM_COMPLETION_ALIGN == 0 &&
           trace.takes_results(d.completion, sizeof(lutmm_completion));
}

void prepare(Trace &trace)
{
    std::memset(trace.image() + trace.stored_bytes(), kUntouched, trace.image_bytes() - trace.stored_bytes());
    for (std::size_t i = 0; i < trace.size(); ++i)
        if (can_answer(trace, trace.descriptors()[i]))
            std::memset(at_address(trace.descriptors()[i].completion), 0, sizeof(lutmm_completion));
}

// Core c of the team submits descriptors c, c + cores, ... in order and waits for the oldest when as many as
// allowed are under way. A core gives up after the first answer that does not come.
std::vector<Answer> submit_all(Trace &trace, Team &team, unsigned units, std::size_t in_flight,
                               std::uint64_t timeout_ns)
{
    const lutmm_descriptor *descriptors = trace.descriptors();
    const std::size_t count = trace.size();
    std::vector<Answer> answers(count);

    // False when the unit did not answer in time.
    const auto collect = [&](std::size_t i) {
        if (!can_answer(trace, descriptors[i]))
            return true;
        if (wait_for(descriptors[i], timeout_ns) == LUTMM_PENDING)
            return false;
        answers[i].answered_ns = now_ns();
        std::memcpy(&answers[i].completion, at_address(descriptors[i].completion), sizeof(lutmm_completion));
        return true;
    };

    team.run([&](unsigned rank) {
        const std::size_t step = team.size();
        std::size_t oldest = rank;
        for (std::size_t i = rank; i < count; i += step) {
            if ((i - oldest) / step == in_flight) {
                if (!collect(oldest))
                    return;
                oldest += step;
            }
            answers[i].submitted_ns = now_ns();
            lutmm_submit(static_cast<unsigned>(i % units), &descriptors[i]);
        }
        for (; oldest < count; oldest += step)
            if (!collect(oldest))
                return;
    });
    return answers;
}

// Abandons descriptors that the units have taken: the program ends, also with a thread held at a full queue,
// the thread that submitted them ends, maybe with another on its core, or the memory that they name goes
// away. Then `trace` is another one, which is submitted as well. Waits for the answers where somebody is left
// to look.
std::vector<Answer> abandon(std::unique_ptr<Trace> &trace, const std::string &path, const std::string &gone,
                            unsigned units, std::uint64_t timeout_ns)
{
    auto other = std::make_unique<Trace>(path);
    prepare(*other);
    const auto submit = [&] {
        for (std::size_t i = 0; i < trace->size(); ++i)
            lutmm_submit(static_cast<unsigned>(i % units), &trace->descriptors()[i]);
    };
    if (gone == "core")
        Team(2).run([&](unsigned rank) {
            while (rank == 1)
                submit();
            wait_for(trace->descriptors()[0], timeout_ns);
            _exit(0); // with all threads, in the middle of whatever they do
        });
    if (gone == "thread" || gone == "place")
        Team(2).run([&](unsigned rank) {
            if (rank == 1)
                submit();
        });
    else
        submit();
    if (gone == "program")
        std::exit(0);
    if (gone == "memory") {
        trace = std::move(other);
        submit();
    }
    // The core that is free is the one of the thread that ended.
    const auto successor = gone == "place" ? std::make_unique<Team>(2) : nullptr;
    std::vector<Answer> answers(trace->size());
    for (std::size_t i = 0; i < trace->size(); ++i) {
        const lutmm_descriptor &d = trace->descriptors()[i];
        if (can_answer(*trace, d) && wait_for(d, timeout_ns) != LUTMM_PENDING)
            std::memcpy(&answers[i].completion, at_address(d.completion), sizeof(lutmm_completion));
    }
    return answers;
}

// Bytes of an output that an error changed; its own completion record may lie there, where the error is
// overlap.
std::size_t changed_bytes(const Trace &trace, const lutmm_descriptor &d)
{
    const std::uint64_t bytes = 4 * output_words(d);
    if (!trace.takes_results(d.output, bytes))
        return 0;
    std::size_t changed = 0;
    for (std::uint64_t address = d.output; address < d.output + bytes; ++address)
        if (address < d.completion || address - d.completion >= sizeof(lutmm_completion))
            changed += *at_address(address) != kUntouched;
    return changed;
}

struct Totals {
    std::size_t ok = 0, errors = 0, unanswered = 0, words = 0, wrong = 0, changed = 0;
    std::uint64_t macs = 0, cycles = 0, longest_cycles = 0, lookups = 0, prt_hits = 0;
};

// Checks one answer, adds it to the totals and, on request, prints it.
void account(Trace &trace, std::size_t i, const Answer &answer, bool list, Totals &totals)
{
    const lutmm_descriptor &d = trace.descriptors()[i];
    const lutmm_completion &completion = answer.completion;
    std::size_t wrong = 0, changed = 0;
    if (completion.status == LUTMM_OK) {
        ++totals.ok;
        wrong = trace.wrong_words(i);
        totals.words += trace.expects(i) ? output_words(d) : 0;
        totals.macs += static_cast<std::uint64_t>(d.k) * d.n * d.batch;
        totals.cycles += completion.cycles;
        totals.longest_cycles = std::max(totals.longest_cycles, completion.cycles);
        totals.lookups += completion.lookups;
        totals.prt_hits += completion.prt_hits;
    } else {
        ++(completion.status == LUTMM_PENDING ? totals.unanswered : totals.errors);
        changed = changed_bytes(trace, d);
    }
    totals.wrong += wrong;
    totals.changed += changed;
    if (list)
        JsonLine()
            .add("descriptor", i)
            .add("status", lutmm_status_name(completion.status))
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
    const auto units = static_cast<unsigned>(
        options.number("units", 1, 1, LUTMM_UNITS_MAX, "PIM units; descriptor i goes to unit i modulo this"));
    const std::size_t in_flight =
        options.number("in-flight", 4, 1, 1 << 20, "descriptors that a core has under way at most");
    const std::uint64_t timeout_ns =
        1'000'000 * options.number("timeout-ms", 60'000, 1, 1 << 30, "how long to wait for one answer");
    const std::size_t repeats =
        options.number("repeats", 1, 1, 1'000'000, "passes over the trace; the last is checked");
    const bool list = options.flag("list", "one line for each descriptor");
    const bool check_inputs =
        options.flag("check-inputs", "check that no stored byte of the trace has changed");
    const std::string gone =
        options.word("gone", "nothing", {"nothing", "program", "core", "thread", "place", "memory"},
                     "what ends while the units work on the trace");
    const std::string memory = options.text("memory", "", "write the image to this file, with its results");
    const bool in_gem5 = options.flag("m5", "mark the measured part for gem5");
    options.finish();

    lutmm_install_emulator();
    auto trace = std::make_unique<Trace>(path);
    const std::uint64_t inputs = check_inputs ? checksum(trace->image(), trace->stored_bytes()) : 0;
    Team team(static_cast<unsigned>(threads));
    std::vector<Answer> answers;
    std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
    for (std::size_t i = 0; i < repeats; ++i) {
        prepare(*trace);
        least = std::min(least, measured(in_gem5, [&] {
                             answers = gone == "nothing"
                                           ? submit_all(*trace, team, units, in_flight, timeout_ns)
                                           : abandon(trace, path, gone, units, timeout_ns);
                         }));
    }

    Totals totals;
    for (std::size_t i = 0; i < trace->size(); ++i)
        account(*trace, i, answers[i], list, totals);
    const bool inputs_kept = !check_inputs || checksum(trace->image(), trace->stored_bytes()) == inputs;
    if (!memory.empty())
        write_rows("memory", memory, trace->image(), 1, trace->image_bytes(), 0);
    JsonLine()
        .add("program", "lutmm_driver")
        .add("descriptors", trace->size())
        .add("threads", threads)
        .add("units", std::uint64_t{units})
        .add("in_flight", in_flight)
        .add("emulated", lutmm_emulated())
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
    const bool right = totals.ok == trace->size() && totals.wrong == 0 && inputs_kept;
    return right ? 0 : kExitWrong;
}
