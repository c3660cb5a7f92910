"""The fits of cores that came after Neoverse N1: llama.cpp's constants for each, and what is assumed of one
that was not measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from calibration.arm_problem import run_arm
from calibration.core_rows import BATCHED, instance_rows, packed_rows, size_rows
from calibration.cpu_problem import (
    BARRIER,
    HAND_OVER,
    SMALL,
    constants_by,
    cpu_problem,
    small_products,
    software_parameters,
    whole_product,
)
from calibration.errors import constants_of, digits, error_row, held_row
from calibration.kernel_ratios import gem5_rates
from calibration.measurements import Compared, MeasuredRows
from calibration.solver import HeldOut, Parameter, Problem, held_out, solve
from sailsim.sim.backends import cores
from sailsim.sim.software.fitted import Floats
from sailsim.sim.software.records import N1

MEASURED: Mapping[str, tuple[str, str]] = {
    "neoverse-v1": ("graviton3", "Graviton3"),
    "neoverse-v2": ("graviton4", "Graviton4"),
}
"""Cores with rows of their own: system file and name of the chip."""
UNMEASURED = "neoverse-n2"
N2_RATE = (2.99, 2.85, 3.13)
"""MAC/cycle of a thread of Neoverse N2 and its range: what prompts on Azure's Cobalt 100 give at 3.4 GHz
(llama.cpp build 4753, SpareCores sc-inspector-data; the review of 2026-11-28). 1.13 times N1's; Arm's
announcement said 1.4 of instructions a cycle."""
MOST_ATTENTION = 2.0
"""MAC/cycle of a thread that attention reaches at most: what the fastest measured software does (Ampere's
fork on N1, 2.06). Runs of one sequence hardly tell the rate, and without a bound put it anywhere."""
V2 = "neoverse-v2"
TITLES = {"altra": "Altra, Ampere's fork", "graviton4": "Graviton4, llama.cpp"}
"""Systems with rows of several sequences that share one cache, of two models, and whose rows they are."""
TILES = (
    Parameter("tiled_rate", 2.5, 0.1, 32.0, "MAC/cycle", "attention by tiles, from 8 rows of one cache on"),
    Parameter("score_cycles", 30.0, 0.0, 400.0, "cycle", "of a thread, a score of attention by tiles"),
    Parameter("head_barrier", 250.0, 0.0, 5000.0, "ns", "what a thread loses at each head, by tiles"),
)
TABLE_PIPES = 2.0**0.5
"""Rate of table look-ups of Neoverse V1 and V2 over N1's (assumed, 1..2): they have twice the vector pipes,
of which as many as on N1 look up in tables."""


def _parameters() -> tuple[Parameter, ...]:
    own = software_parameters("llama.cpp")
    return (
        BARRIER,
        *(replace(p, high=MOST_ATTENTION) if p.name == "attention_rate" else p for p in own),
    )


def core_problem(core: str) -> Problem:
    """llama.cpp on one core, by the equation of `sailsim.sim.backends.cores`; a batch has one cache."""

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        shared_by = np.where(rows.labels["instances"] == BATCHED, rows.tokens, 1.0)
        parts = cores.step_breakdown(rows.work, rows.machine, rows.threads, _constants_by(x, rows), shared_by)
        return np.asarray(rows.tokens / sum(parts.values()))

    return Problem(_parameters(), size_rows(MEASURED[core][0]), predict)


def _constants_by(x: Floats, rows: MeasuredRows) -> cores.CpuFit:
    """What the values of `core_problem` say of each row."""
    known = {p.name: float(v) for p, v in zip(_parameters(), x, strict=True)}
    eight = float(gem5_rates(1.0)["kernel_rate_q8_0"]["value"])
    return cores.CpuFit(
        read_share=np.asarray(known["read_share"]),
        kernel_rate=known["kernel_rate_q4_k_m"] * np.where(rows.labels["format"] == "q8_0", eight, 1.0),
        attention_rate=np.asarray(known["attention_rate"]),
        barrier_s=known["barrier"] * 1e-9,
        overlap=np.asarray(known["overlap"]),
        product_s=known["product_overhead"] * 1e-9,
        hand_over=np.where(rows.labels["test"] == "pp", 1.0, HAND_OVER),
        whole_product=whole_product(),
    )


# ---- Attention by tiles -----------------------------------------------------------------------------------
@cache
def first_fit(core: str, label: str = "", value: str = "") -> Floats:
    """All else that was fitted of a core: on all rows, or without the batches of that label's value."""
    whole = cpu_problem() if core == N1 else core_problem(core)
    labels = whole.rows.labels
    out = (labels["instances"] == BATCHED) & (labels[label or "instances"] == value)
    return solve(whole, whole.rows.where(~out)).values


@cache
def tile_problem(label: str = "", value: str = "") -> Problem:
    """Attention by tiles, from one process and several on Graviton4 and Altra: a rate of each software, the
    rest in common. All else is as it was fitted, without what ``value`` names of ``label``."""
    system, _, left_out = value.partition(" ")
    first = {
        of: (first_fit(core, label.removeprefix("its "), left_out) if of == system else first_fit(core), by)
        for of, core, by in (("altra", N1, constants_by), ("graviton4", V2, _constants_by))
    }

    def predict(x: Floats, rows: MeasuredRows) -> Floats:
        found = np.empty(len(rows.measured))
        for (of, (values, by)), rate in zip(first.items(), x, strict=False):
            at = rows.labels["machine"] == of
            own = rows.where(at)
            tiled = {"tiled_rate": rate, "score_cycles": x[-2], "head_s": x[-1] * 1e-9}
            c, processes = replace(by(values, own), **tiled), own.labels["processes"].astype(float)
            shared_by = own.labels["batch"].astype(float)
            parts = cores.packed_breakdown(own.work, own.machine, own.threads, c, shared_by, processes)
            found[at] = own.tokens / sum(parts.values())
        return found

    rates = (replace(TILES[0], name=f"tiled_rate_{of}") for of in first)
    return Problem((*rates, *TILES[1:]), packed_rows(), predict)


@cache
def tiles_without(label: str) -> HeldOut:
    """All rows of `packed.csv`, by fits that saw none with the same label."""
    return held_out(tile_problem(), label, without=lambda value: tile_problem(label, value))


@cache
def found_tiles() -> tuple[Mapping[str, dict[str, Any]], Compared]:
    """The constants of attention by tiles of each system, and all rows of `packed.csv` by them."""
    problem = tile_problem()
    found = solve(problem)
    every = constants_of(problem, found, "fit of packed.csv (Ampere)")
    of = {
        system: {p.name: every.get(p.name) or every[f"{p.name}_{system}"] for p in TILES} for system in TITLES
    }
    return of, Compared(problem.rows, problem.predict(found.values, problem.rows))


def run_cores(n1: Mapping[str, Any], errors: list[dict[str, Any]]) -> dict[str, Any]:
    """The sets of constants of every later core, by core and software; adds the rows of the error table.

    ``n1``: the sets of Neoverse N1 by software, as `fits.json` holds them.
    """
    found = {core: {"llama.cpp": _run_core(core, errors)} for core in MEASURED}
    found[UNMEASURED] = {"llama.cpp": _between(n1["llama.cpp"], found)}
    for core, sets in found.items():
        sets["t-mac"] = _tables(core, n1["t-mac"], sets["llama.cpp"])
    found[UNMEASURED]["vllm"] = run_arm(errors)
    return found


def _run_core(core: str, errors: list[dict[str, Any]]) -> dict[str, Any]:
    system, chip = MEASURED[core]
    problem = core_problem(core)
    solution = solve(problem)
    rows = problem.rows
    ratio = problem.predict(solution.values, rows) / rows.measured
    by_size, by_model = held_out(problem, "threads"), held_out(problem, "model")
    test, short, batched = rows.labels["test"], rows.labels["n"] == "16", rows.labels["instances"] == BATCHED
    tests = {
        "decode": (test == "tg") & ~batched,
        "prompt": (test == "pp") & ~short,
        "16 rows at once": (test == "pp") & short,
    }
    for kind, keep in tests.items():
        name = f"{chip} {kind}, llama.cpp, medians by size"
        errors.append(error_row(name, "nothing", ratio[keep]))
        errors.append(held_row(name, "all instances of that size", by_size.where(keep)))
        errors.append(held_row(name, "model", by_model.where(keep)))
    tiles = found_tiles()[0].get(system, {})
    _single_rows(problem, solution.values, chip, system, by_size.ratio, errors)
    source = f"fit of neoverse_v.csv, {chip} (SpareCores)" + (", and g4_batched.csv" if batched.any() else "")
    return {"constants": constants_of(problem, solution, source) | small_products() | tiles, "intervals": {}}


def _single_rows(
    problem: Problem, values: Floats, chip: str, system: str, by_size: Floats, errors: list[dict[str, Any]]
) -> None:
    """Error rows of single instances: usual ones by the fit without their size, others by the whole fit."""

    def key(rows: MeasuredRows, i: int) -> tuple[str, ...]:
        return tuple(str(rows.labels[name][i]) for name in ("threads", "model", "test", "n"))

    rows = instance_rows(system)
    correction = {key(problem.rows, i): by_size[i] * problem.rows.measured[i] for i in range(len(by_size))}
    single = np.array([correction.get(key(rows, i), np.nan) for i in range(len(rows.measured))])
    whole = problem.predict(values, rows)
    decode = rows.labels["test"] == "tg"
    kind = rows.labels["instances"]
    usual = decode & (kind == "usual") & np.isfinite(single)
    errors.append(
        error_row(
            f"{chip} decode, llama.cpp, single instances", "all instances of that size",
            single[usual] / rows.measured[usual],
        )
    )  # fmt: skip
    names = {"few": "2 and 4 vCPUs", "two sockets": "two sockets, 192 threads"}
    for sort, name in names.items():
        keep = decode & (kind == sort)
        if keep.any():
            ratio = whole[keep] / rows.measured[keep]
            errors.append(error_row(f"{chip} decode, llama.cpp, {name}", "these rows", ratio))
    noisy = instance_rows(system, disturbed=True)
    noisy = noisy.where((noisy.labels["test"] == "tg") & (noisy.labels["instances"] == "usual"))
    ratio = problem.predict(values, noisy) / noisy.measured
    name = f"{chip} decode, llama.cpp, while files were downloaded"
    errors.append(error_row(name, "these rows", ratio))


def _between(n1: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Of a core that was not measured: between the three that were, its kernels by what Arm said of both."""
    three = {N1: n1["constants"]} | {core: sets["llama.cpp"]["constants"] for core, sets in later.items()}
    found = {}
    for name, first in n1["constants"].items():
        if not all(name in constants for constants in three.values()):
            continue  # formats by a ratio of kernels: taken from Neoverse N1 wherever they are asked for
        values = [float(constants[name]["value"]) for constants in three.values()]
        value, note = (
            float(np.mean(values)),
            "mean of Neoverse N1, V1 and V2; low and high are their extremes",
        )
        if name == "attention_rate":
            value, note = float(np.exp(np.mean(np.log(values)))), f"geometric {note}"
        if name == "kernel_rate_q4_k_m":
            found[name] = _measured_on_n2()
            continue
        found[name] = {
            "value": digits(value),
            "unit": first["unit"],
            "source": "fits of Neoverse N1, V1 and V2",
            "kind": "assumed",
            "low": digits(min(*values, value)),
            "high": digits(max(*values, value)),
            "note": note,
            "standard_error": None,
        }
    found |= {name: dict(n1["constants"][name]) for name in SMALL}
    return {"constants": found, "intervals": {}}


def _measured_on_n2() -> dict[str, Any]:
    value, low, high = N2_RATE
    return {
        "value": value,
        "unit": "MAC/cycle",
        "source": "llama.cpp's prompts on Azure Cobalt 100 (SpareCores)",
        "kind": "measured",
        "low": low,
        "high": high,
        "note": "matrix products of a thread, q4_k_m; no row of it is in the fit",
        "standard_error": None,
    }


def _tables(core: str, n1: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """T-MAC on a later core: nowhere measured, its look-ups scaled, the rest as llama.cpp's there."""
    factor, most = (TABLE_PIPES, 2.0) if core in MEASURED else (1.0, 1.0)
    lut = dict(n1["constants"]["lut_rate"])
    lut |= {
        "value": digits(factor * lut["value"]),
        "high": digits(most * lut["high"]),
        "kind": "assumed",
        "source": "T-MAC on Cortex-A76 (tmac.csv), scaled by vector pipes",
        "note": f"{factor:.2f} times Neoverse N1's, 1 to {most:g}: T-MAC was not measured on this core",
        "standard_error": None,
    }
    same = ("read_share", "attention_rate", "barrier", "product_overhead", *SMALL)
    kept = {name: ours["constants"][name] | {"note": "as in llama.cpp on this core"} for name in same}
    kept["read_power"] = n1["constants"]["read_power"] | {"note": "as on the cores that T-MAC ran on"}
    overlap = n1["constants"]["overlap"] | {"note": "as on Cortex-A76", "kind": "assumed", "low": 0.0}
    return {"constants": {"lut_rate": lut, "overlap": overlap, **kept}, "intervals": {}}
