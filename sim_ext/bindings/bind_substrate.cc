/* SPDX-License-Identifier: BSD-3-Clause */
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>

#include <map>
#include <string>

#include "bind.hh"
#include "pim/substrate.hh"

namespace sailsim::bindings
{

namespace nb = nanobind;
using namespace nb::literals;
using pim::Cost;
using pim::Op;
using pim::Substrate;

namespace
{

std::map<std::string, Cost> costs_of(const Substrate &s)
{
    std::map<std::string, Cost> costs;
    for (Op op : pim::all_ops)
        costs[pim::op_name(op)] = s.cost(op);
    return costs;
}

} // namespace

void bind_substrate(nb::module_ &m)
{
    nb::class_<Cost>(m, "Cost", "Cycles of an n-bit operation: ``c0 + c1 * n + c2 * n**2``.")
        .def_ro("c0", &Cost::c0)
        .def_ro("c1", &Cost::c1)
        .def_ro("c2", &Cost::c2)
        .def("__call__", &Cost::operator(), "n"_a, "Cycles of the operation on n bits.");

    nb::class_<Substrate>(
        m, "Substrate",
        "What one operation inside the compute-capable SRAM costs, as a part of a ``SliceConfig``.\n\n"
        "``costs`` maps every operation (read, write, logic, shift, copy, add, fp_mul, fp_add) to "
        "its ``Cost``. Where the numbers come from is in the substrate's file.")
        .def_ro("name", &Substrate::name)
        .def_prop_ro("layout", [](const Substrate &s) { return std::string(pim::layout_name(s.layout)); })
        .def_prop_ro("accumulate",
                     [](const Substrate &s) { return std::string(pim::accumulate_name(s.accumulate)); })
        .def_ro("prt_helps", &Substrate::prt_helps)
        .def_prop_ro("costs", &costs_of)
        .def(
            "cycles",
            [](const Substrate &s, const std::string &op, int n) { return s.cycles(pim::op_of(op), n); },
            "op"_a, "n"_a = 1, "Cycles of one operation on n bits.")
        .def(
            "times",
            [](const Substrate &s, const std::string &phase, const std::string &op, int weight, int entry,
               int accumulator) {
                return s.times(pim::phase_of(phase), pim::op_of(op), {weight, entry, accumulator});
            },
            "phase"_a, "op"_a, nb::kw_only(), "weight"_a, "entry"_a, "accumulator"_a,
            "How often a phase does an operation; ``weight``, ``entry``, ``accumulator``: bits of a tile's.")
        .def(
            "phase_cycles",
            [](const Substrate &s, const std::string &phase, int weight, int entry, int accumulator) {
                return s.cycles(pim::phase_of(phase), {weight, entry, accumulator});
            },
            "phase"_a, nb::kw_only(), "weight"_a, "entry"_a, "accumulator"_a,
            "Cycles of a phase done once; the widths as in ``times``.")
        .def(
            "operation_cycles",
            [](const Substrate &s, const std::string &phase, const std::string &op, int weight, int entry,
               int accumulator) {
                return s.cycles(pim::phase_of(phase), pim::op_of(op), {weight, entry, accumulator});
            },
            "phase"_a, "op"_a, nb::kw_only(), "weight"_a, "entry"_a, "accumulator"_a,
            "What of ``phase_cycles`` one operation takes.")
        .def("__repr__", [](const Substrate &s) { return "Substrate('" + s.name + "')"; });
}

} // namespace sailsim::bindings
