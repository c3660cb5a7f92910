/* SPDX-License-Identifier: BSD-3-Clause */
// Abandons descriptors that PIM units have taken: the program ends, also with a thread held at a full queue,
// the thread that submitted them ends, maybe with another on its core, or the memory that they name goes
// away. Where there is somebody left to look, results must be right and units alive.
#include "common/program.hh"
#include "lutmm/trace.hh"
#include "lutmm/unit.hh"

#include <unistd.h>

namespace
{

using namespace sailsim::kernels;

void submit_all(Trace &trace, unsigned units)
{
    for (std::size_t i = 0; i < trace.size(); ++i)
        lutmm_submit(static_cast<unsigned>(i % units), &trace.descriptors()[i]);
}

} // namespace

int main(int argc, char **argv)
{
    Options options(argc, argv, "Abandons descriptors that PIM units have taken.");
    const std::string path = options.text("trace", "", "the trace file of what is submitted");
    const std::string gone = options.word("gone", "thread", {"program", "core", "thread", "place", "memory"},
                                          "what ends while the units work on the trace");
    const auto units =
        static_cast<unsigned>(options.number("units", 1, 1, LUTMM_UNITS_MAX, "PIM units, in turn"));
    const std::uint64_t timeout_ns =
        1'000'000 * options.number("timeout-ms", 60'000, 1, 1 << 30, "how long to wait for one answer");
    options.finish();

    lutmm_install_emulator();
    auto trace = std::make_unique<Trace>(path);
    Trace probe(path); // submitted when the first one's memory is gone
    if (gone == "core") {
        Team team(2);
        team.run([&](unsigned rank) {
            while (rank == 1)
                submit_all(*trace, units);
            wait_for(trace->descriptors()[0], timeout_ns);
            _exit(0); // with all threads, in the middle of whatever they do
        });
    }
    if (gone == "thread" || gone == "place") {
        Team team(2);
        team.run([&](unsigned rank) {
            if (rank == 1)
                submit_all(*trace, units);
        });
    } else {
        submit_all(*trace, units);
    }
    if (gone == "program")
        return 0;
    if (gone == "memory") {
        trace.reset();
        submit_all(probe, units);
    }
    // The core that is free is the one of the thread that ended.
    const auto successor = gone == "place" ? std::make_unique<Team>(2) : nullptr;
    Trace &rest = trace ? *trace : probe;
    std::size_t ok = 0, wrong_words = 0;
    for (std::size_t i = 0; i < rest.size(); ++i)
        if (wait_for(rest.descriptors()[i], timeout_ns) == LUTMM_OK) {
            ++ok;
            wrong_words += rest.wrong_words(i);
        }
    JsonLine()
        .add("program", "lutmm_abandon")
        .add("gone", gone.c_str())
        .add("descriptors", rest.size())
        .add("emulated", lutmm_emulated())
        .add("ok", ok)
        .add("wrong_words", wrong_words)
        .print();
    return ok == rest.size() && wrong_words == 0 ? 0 : kExitWrong;
}
