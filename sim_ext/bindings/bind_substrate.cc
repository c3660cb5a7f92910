/* SPDX-License-Identifier: BSD-3-Clause */
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <stdexcept>
#include <string>

#include "bind.hh"
#include "pim/substrate.hh"

namespace sailsim::bindings
{

namespace nb = nanobind;
using namespace nb::literals;
using pim::Accumulate;
using pim::Cost;
using pim::Layout;
using pim::Op;
using pim::Substrate;

namespace
{

Layout layout_of(const std::string &name)
{
    for (Layout layout : {Layout::rows, Layout::columns})
        if (name == pim::layout_name(layout))
            return layout;
    throw std::invalid_argument("layout is '" + name + "': allowed are rows, columns");
}

Accumulate accumulate_of(const std::string &name)
{
    for (Accumulate accumulate : {Accumulate::behind, Accumulate::in_array})
        if (name == pim::accumulate_name(accumulate))
            return accumulate;
    throw std::invalid_argument("accumulate is '" + name + "': allowed are behind, in_array");
}

Op op_of(const std::string &name)
{
    std::string names;
    for (Op op : pim::all_ops) {
        if (name == pim::op_name(op))
            return op;
        names += (names.empty() ? "" : ", ") + std::string(pim::op_name(op));
    }
    throw std::invalid_argument("op is '" + name + "': allowed are " + names);
}

Substrate make_substrate(const std::string &name, const std::string &layout, const std::string &accumulate,
                         bool prt_helps, const std::map<std::string, Cost> &costs, const std::string &title)
{
    Substrate s;
    s.name = name;
    s.title = title;
    s.layout = layout_of(layout);
    s.accumulate = accumulate_of(accumulate);
    s.prt_helps = prt_helps;
    for (const auto &[op, cost] : costs)
        s.costs[static_cast<std::size_t>(op_of(op))] = cost;
    for (Op op : pim::all_ops)
        if (costs.count(pim::op_name(op)) == 0)
            throw std::invalid_argument("costs lacks '" + std::string(pim::op_name(op)) +
                                        "': every operation needs a cost");
    s.validate();
    return s;
}

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
        .def(
            "__init__",
            [](Cost *self, int c0, int c1, int c2, const std::string &source, const std::string &kind) {
                new (self) Cost{c0, c1, c2, kind, source};
            },
            "c0"_a, "c1"_a, "c2"_a, nb::kw_only(), "source"_a, "kind"_a,
            "``kind`` is one of measured, paper, derived, fitted, assumed.")
        .def_ro("c0", &Cost::c0)
        .def_ro("c1", &Cost::c1)
        .def_ro("c2", &Cost::c2)
        .def_ro("source", &Cost::source)
        .def_ro("kind", &Cost::kind)
        .def("__call__", &Cost::operator(), "n"_a, "Cycles of the operation on n bits.");

    nb::class_<Substrate>(
        m, "Substrate",
        "What one operation inside the compute-capable SRAM costs.\n\n"
        "``costs`` maps every operation (read, write, logic, shift, copy, add, fp_mul, fp_add) to "
        "its ``Cost``.")
        .def(
            "__init__",
            [](Substrate *self, const std::string &name, const std::string &layout,
               const std::string &accumulate, bool prt_helps, const std::map<std::string, Cost> &costs,
               const std::string &title) {
                new (self) Substrate(make_substrate(name, layout, accumulate, prt_helps, costs, title));
            },
            nb::kw_only(), "name"_a, "layout"_a, "accumulate"_a, "prt_helps"_a, "costs"_a, "title"_a = "",
            "``layout`` is rows or columns, ``accumulate`` behind or in_array.")
        .def_ro("name", &Substrate::name)
        .def_ro("title", &Substrate::title)
        .def_prop_ro("layout", [](const Substrate &s) { return std::string(pim::layout_name(s.layout)); })
        .def_prop_ro("accumulate",
                     [](const Substrate &s) { return std::string(pim::accumulate_name(s.accumulate)); })
        .def_ro("prt_helps", &Substrate::prt_helps)
        .def_prop_ro("costs", &costs_of)
        .def(
            "cycles", [](const Substrate &s, const std::string &op, int n) { return s.cycles(op_of(op), n); },
            "op"_a, "n"_a = 1, "Cycles of one operation on n bits.")
        .def("__repr__", [](const Substrate &s) { return "Substrate('" + s.name + "')"; });

    m.def("substrates", &pim::substrates, "The shipped substrates.");
    m.def(
        "substrate", [](const std::string &name) { return pim::substrate(name); }, "name"_a,
        "One shipped substrate by name.");
}

} // namespace sailsim::bindings
