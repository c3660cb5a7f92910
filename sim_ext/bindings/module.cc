/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The module, and what describes a unit: its substrate and its configuration.
 */
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <utility>

#include "arrays.hh"
#include "pim/config.hh"

namespace sailsim::bindings
{

using pim::SliceConfig;
using pim::Substrate;

namespace
{

void bind_unit(nb::module_ &m)
{
    m.attr("OPERATIONS") = nb::cast(std::vector<std::string>(pim::ops.words.begin(), pim::ops.words.end()));
    nb::dict widest;
    widest["weight"] = pim::widest.weight;
    widest["entry"] = pim::widest.entry;
    widest["accumulator"] = pim::widest.accumulator;
    m.attr("WIDEST") = widest;
    m.attr("MOST_PHASE_CYCLES") = pim::most_phase_cycles;
    m.attr("MOST_OF_STEP") = pim::most_of_step;
    m.attr("LARGEST_COEFFICIENT") = pim::largest_coefficient;
    m.attr("UNIT_TEXT_VERSION") = pim::unit_text_version;

    nb::class_<Substrate>(m, "Substrate",
                          "What one operation inside the compute-capable SRAM costs, as a part of a "
                          "``SliceConfig``. Where the numbers come from is in the substrate's file.")
        .def_ro("name", &Substrate::name)
        .def_prop_ro("layout", [](const Substrate &s) { return pim::layouts.of(s.layout); })
        .def_prop_ro("accumulate", [](const Substrate &s) { return pim::accumulates.of(s.accumulate); })
        .def_ro("prt_helps", &Substrate::prt_helps)
        .def(
            "cycles",
            [](const Substrate &s, const std::string &op, int n) { return s.cycles(pim::ops.value(op), n); },
            "op"_a, "n"_a = 1, "Cycles of one operation on n bits.")
        .def(
            "tally",
            [](const Substrate &s, const std::string &phase, int weight, int entry, int accumulator) {
                const pim::Widths widths{weight, entry, accumulator};
                std::map<std::string, std::pair<std::int64_t, std::int64_t>> tally;
                for (const char *op : pim::ops.words)
                    tally[op] = {0, 0};
                for (const pim::Step &step : s.steps(pim::phase_words.value(phase))) {
                    auto &[times, cycles] = tally[pim::ops.of(step.op)];
                    times += step.times(widths);
                    cycles += step.times(widths) * s.cycles(step.op, step.n(widths));
                }
                return tally;
            },
            "phase"_a, nb::kw_only(), "weight"_a, "entry"_a, "accumulator"_a,
            "How often a phase, done once, does each operation, and the cycles that these take; ``weight``, "
            "``entry``, ``accumulator``: bits of a tile's.")
        .def("__repr__", [](const Substrate &s) { return "Substrate('" + s.name + "')"; });

    nb::class_<SliceConfig> unit(m, "SliceConfig",
                                 "Everything that describes one PIM slice unit (sim_ext/pim/config.hh).");
    unit.def(
            "__init__",
            [](SliceConfig *self, const std::string &text) { new (self) SliceConfig(pim::read_unit(text)); },
            "text"_a,
            "``text`` is a unit's text form, as ``sailsim.sim.unit_text`` writes it.\n\n"
            "Raises ``ValueError`` naming the key that is unknown, missing, or not what is allowed.")
        .def_ro("substrate", &SliceConfig::substrate)
        .def_ro("double_buffer", &SliceConfig::double_buffer)
        .def_prop_ro("prt_policy", [](const SliceConfig &c) { return pim::prt_policies.of(c.policy); })
        .def_prop_ro("dfm_split", [](const SliceConfig &c) { return pim::dfm_splits.of(c.dfm_split); })
        .def_prop_ro("convert", [](const SliceConfig &c) { return pim::converts.of(c.convert); });
    for (const pim::UnitNumber &number : pim::unit_numbers)
        unit.def_prop_ro(number.key, [&number](const SliceConfig &c) { return c.*number.field; });
}

} // namespace

} // namespace sailsim::bindings

NB_MODULE(_core, m)
{
    m.doc() =
        "The C++ core of the PIM slice unit, shared with gem5: substrates, patterns, timing, arithmetic.\n\n"
        "Bad values raise ``ValueError``, wrong types and dtypes ``TypeError``; the message names the "
        "argument.";
    /* Profiles and timings that Python keeps for the next step live as long as the process: no leak. */
    nanobind::set_leak_warnings(false);
    sailsim::bindings::bind_unit(m);
    sailsim::bindings::bind_timing(m);
    sailsim::bindings::bind_arithmetic(m);
    sailsim::bindings::bind_descriptor(m);
    sailsim::bindings::bind_schedule(m);
}
