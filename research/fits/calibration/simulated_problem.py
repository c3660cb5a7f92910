"""The fit of this project's own kernels on cores, as gem5 runs them: what good software could reach.

The program `decode` (docs/decode.md) ran whole steps and first blocks of models on gem5's O3 cores of
`sail-n1` without PIM units, its products by dot products or by table look-ups in NEON. Nothing of it was
measured on a Neoverse N1: the core model is calibrated on load latencies alone, so these are rates of that
model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from calibration.errors import band_of, constants_of, digits, error_row, held_row
from calibration.kernel_ratios import gem5_ratios
from calibration.measurements import MeasuredRows, read_table
from calibration.solver import Parameter, Problem, held_out, solve
from sailsim.analysis.studies.gem5_steps import (
    CACHE_BITS,
    HOST,
    TABLE,
    Row,
    bits_and_group,
    fitted_rows,
    shape,
)
from sailsim.sim.backends import cores
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.software.fitted import Floats, StepDemand
from sailsim.sim.software.kernel_rates import GROUP, TABLE_BITS, WIDTHS
from sailsim.sim.step.schedule import AttentionModel, CpuSheet
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import uniform_format
from sailsim.workloads.models.graph import decode_step
from sailsim.workloads.models.model import ModelSpec

LOOPS = "gem5_loops.csv"
FITTED_WIDTHS = (2, 4)
"""Of `WIDTHS`, those whose whole steps are not all waiting for memory."""
OVERLAP = 1.0
"""All of the shorter of reading and multiplying is hidden (assumed; `neon_problem`)."""
CACHES = (16, 8)
"""Bits of the caches that the program's cores attend over: of floats, and of codes."""
PRODUCTS = ("qkv", "o", "ffn", "head")
"""Regions of the program that are products; the activation is in one of them."""
PARTS = ("products", "step")
"""What is fitted of every run; attention is fitted with the cores around units (`simulated_host`)."""
SOURCE = f"fit of {TABLE}, steps on gem5's O3 cores of sail-n1"


def part_of_model(row: Row) -> ModelSpec:
    """The blocks of the model that a run had, and what it had of its head."""
    spec = load_model(shape(row))
    vocab = row.get("outputs", spec.vocab)
    return replace(spec, n_layers=row["blocks"] or spec.n_layers, vocab=vocab, extra_params=0)


def simulated_rows(linears: str) -> MeasuredRows:
    """Steps on cores, two entries a run (`PARTS`); rates in tokens/s.

    Args:
        linears: kind of products, `neon` or `lut`.
    """
    works, sheets, labels, measured = [], [], [], []
    chosen = [row for row in fitted_rows() if row["linears"] == linears and row["attention"] == "cores"]
    for run, row in enumerate(chosen):
        spec = part_of_model(row).with_kv_bits(CACHE_BITS[row["cache"]])
        bits, group = bits_and_group(row)
        system = load_system(row["system"])
        work = StepDemand.of(
            spec, decode_step(spec, uniform_format(bits, group), row["batch"], row["context"]), row["batch"]
        )
        products = sum(row[f"{name}_cycles"] for name in PRODUCTS)
        of_parts = (products, row["step_cycles"])
        for part, cycles in zip(PARTS, of_parts, strict=True):
            works.append(work)
            sheets.append(CpuSheet.of(system))
            measured.append(row["batch"] * system.cores.clock.si / cycles)
            numbers = (run, row["threads"], row["batch"], bits, group, row["cache"])
            labels.append((part, row["model"], *(str(number) for number in numbers)))
    names = ("part", "model", "run", "threads", "batch", "bits", "group", "cache")
    columns = {name: np.array(column) for name, column in zip(names, zip(*labels, strict=True), strict=True)}
    fields = CpuSheet.__dataclass_fields__
    return MeasuredRows(
        work=StepDemand.stack(works),
        machine=CpuSheet(**{f: np.array([float(getattr(s, f)) for s in sheets]) for f in fields}),
        threads=columns["threads"].astype(float),
        tokens=columns["batch"].astype(float),
        measured=np.array(measured),
        labels=columns,
    )


def neon_problem() -> Problem:
    """Dot products: what a thread multiplies and reads, and an operation's barrier.

    The longer of reading and multiplying hides the shorter, as the program fetches ahead. That both take
    turns would meet the rows as well, but with rates three times those of the kernels alone in L2.
    """
    parameters = (
        Parameter(
            "read_share", 0.9, 0.2, 1.0, "ratio", "share of the read bandwidth that weights stream at"
        ),
        Parameter("core_share", 0.5, 0.1, 1.0, "ratio", "of the lines that a core can have under way"),
        *(
            Parameter(
                f"kernel_rate_w{bits}", 10.0, 1.0, 32.0, "MAC/cycle",
                f"products of a thread with one row, {bits} bits in groups of {GROUP}",
            )
            for bits in FITTED_WIDTHS
        ),
        Parameter("output_cycles", 10.0, 0.0, 500.0, "cycle", "of a pass, an output: its start and end"),
        Parameter("barrier", 30.0, 0.0, 2000.0, "ns", "small work and waits of an operation, a thread"),
        Parameter("row_overhead", 1000.0, 0.0, 1e5, "ns", "of a row and layer: activations, first misses"),
    )  # fmt: skip
    rows, loops = simulated_rows("neon"), {name: entry["value"] for name, entry in of_loops().items()}

    def predict(x: Floats, of: MeasuredRows) -> Floats:
        values = loops | {p.name: float(value) for p, value in zip(parameters, x, strict=True)}
        values["kernel_rate_w8"] = eight_bits(values["kernel_rate_w4"])
        rates = np.array([values[f"kernel_rate_w{bits}"] for bits in of.labels["bits"]])
        return _predicted(1 / rates, values["group_cycles"], values, of)

    return Problem(parameters, rows, predict, loss="soft_l1", starts=32)


def eight_bits(four: float) -> float:
    """MAC/cycle of eight bits from that of four. Whole steps of eight bits wait for memory and do not say it:
    the ratio is that of the kernels alone, with weights in L2 (`kernel_ratios.gem5_ratios`)."""
    ratios = gem5_ratios()
    return four * ratios["q8_0"][0] / ratios["q4_0"][0]


def tables_problem(neon: Mapping[str, Any]) -> Problem:
    """Look-ups, of up to four bits; all but their kernel is as with dot products: ``neon``, by name."""
    parameters = (
        Parameter("lut_rate", 20.0, 1.0, 400.0, "bit MAC/cycle", "bits times products of a thread, one row"),
        Parameter(
            "lut_group_cycles", 3.0, 0.0, 16.0, "cycle", "to scale and add the sum of a group of one output"
        ),
        Parameter(
            "lut_shared", 0.1, 0.0, 1.0, "ratio",
            "of a table kernel's time, what rows of a pass have in common",
        ),
    )  # fmt: skip
    rows = simulated_rows("lut")
    rows = rows.where(rows.labels["bits"].astype(int) <= TABLE_BITS)

    def predict(x: Floats, of: MeasuredRows) -> Floats:
        values = {name: float(entry["value"]) for name, entry in neon.items()} | {"shared": float(x[2])}
        return _predicted(of.labels["bits"].astype(float) / x[0], float(x[1]), values, of)

    return Problem(parameters, rows, predict, loss="soft_l1")


def of_loops() -> dict[str, dict[str, Any]]:
    """What groups of 32 and of 128 weights, one row and four, say of the program's loops of dot products.

    Each row scales and adds the sums of its groups (`group_cycles`); of the other cycles of a row, four
    rows have `shared` in common. Of four bits, the ends of 2, 4 and 8: steps do not tell these two from what
    an output costs, as only small models ran in groups of 32.
    """
    rates = {row["loop"]: float(row["gem5"]) for row in read_table(LOOPS) if row["core"] == "neoverse-n1"}
    groups, shared = {}, {}
    for bits in WIDTHS:
        one, four = (
            {group: 1 / rates[f"decode W{bits} g{group} b{rows}"] for group in (32, GROUP)} for rows in (1, 4)
        )
        groups[bits] = [(of[32] - of[GROUP]) / (1 / 32 - 1 / GROUP) for of in (one, four)]
        alone, each = (of[GROUP] - group / GROUP for of, group in zip((one, four), groups[bits], strict=True))
        shared[bits] = [(1 - each / alone) / (1 - 1 / 4)]
    notes = {
        "group_cycles": ("cycle", "to scale and add the sum of a group of one output and row", groups),
        "shared": ("ratio", "of the time for weights, what the rows of a pass have in common", shared),
    }
    return {
        name: {
            "value": digits(sum(found[4]) / len(found[4])),
            "unit": unit,
            "source": f"{LOOPS} (research/fits/core_loops.py), decode W4",
            "kind": "measured",
            "low": digits(min(min(each) for each in found.values())),
            "high": digits(max(max(each) for each in found.values())),
            "note": f"{note}; in gem5, data in L1; ends: 2 and 8 bits",
            "standard_error": None,
        }
        for name, (unit, note, found) in notes.items()
    }


def _predicted(
    cycles: Floats, group_cycles: float, values: Mapping[str, float], rows: MeasuredRows
) -> Floats:
    """Tokens/s of each entry's part, with kernels that take ``cycles`` a MAC in groups of 128."""
    of_weights = cycles - group_cycles / GROUP
    whole = of_weights + group_cycles / rows.labels["group"].astype(float)
    constants = cores.CpuFit(
        read_share=np.asarray(values["read_share"]),
        kernel_rate=1 / whole,
        attention_rate=np.asarray(0.0),
        barrier_s=values["barrier"] * 1e-9,
        overlap=np.asarray(OVERLAP),
        core_share=values["core_share"],
        shared=values["shared"] * of_weights / whole,
        output_cycles=values["output_cycles"],
        row_s=values["row_overhead"] * 1e-9,
    )
    host, part, found = load_system(HOST).host, rows.labels["part"], []
    for cache in CACHES:
        by = replace(constants, program=AttentionModel.of(host, cache))
        parts = cores.step_breakdown(rows.work, rows.machine, rows.threads, by, np.asarray(1.0))
        # A region lasts until all threads have met behind it.
        of_rows = rows.work.rows * rows.work.layers * by.row_s
        meeting = (parts["synchronisation"] - of_rows) / cores.barriers(rows.work, by)
        products = parts["weights"] + parts["kernels"] + meeting * rows.work.products + of_rows
        found.append(np.where(part == "products", products, np.asarray(sum(parts.values()))))
    return np.asarray(rows.tokens / np.where(rows.labels["cache"] == "fp16", *found))


def run_simulated() -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """The constants and intervals of both kinds as `fits.json` holds them, and their rows of the error
    table."""
    neon = neon_problem()
    errors: list[dict[str, Any]] = []
    constants = constants_of(neon, solve(neon), SOURCE) | of_loops()
    four = constants["kernel_rate_w4"]
    constants["kernel_rate_w8"] = four | {
        name: digits(eight_bits(float(four[name]))) for name in ("value", "low", "high")
    }
    constants["kernel_rate_w8"] |= {
        "source": f"{SOURCE}, and the ratio of q8_0 to q4_0 in gem5_kernels.csv",
        "note": "as of four bits; whole steps of eight bits wait for memory and do not say it",
        "standard_error": None,
    }
    constants["overlap"] = {
        "value": OVERLAP,
        "unit": "ratio",
        "source": "workloads/kernels/decode: both products fetch ahead of what they multiply",
        "kind": "assumed",
        "low": OVERLAP,
        "high": OVERLAP,
        "note": "the longer of reading and arithmetic hides the shorter; the kernels alone agree",
        "standard_error": None,
    }
    interval = _judged("dot products", neon, errors)
    sets = {"neon": {"constants": constants, "intervals": {"decode": interval}}}
    tables = tables_problem(constants)
    own = constants_of(tables, solve(tables), SOURCE)
    joined = _judged("table look-ups", tables, errors)
    sets["neon-lut"] = {"constants": constants | own, "intervals": {"decode": joined}}
    return sets, errors


def _judged(name: str, problem: Problem, errors: list[dict[str, Any]]) -> dict[str, float]:
    """The interval of whole steps, each run left out in turn; appends to the errors.

    A run that is alone with its width is not left out: the others say nothing of it.
    """
    bits, rows_of = np.unique(problem.rows.labels["bits"], return_counts=True)
    others = np.isin(problem.rows.labels["bits"], bits[rows_of > len(PARTS)])
    step = problem.rows.labels["part"] == "step"
    inside = problem.predict(solve(problem).values, problem.rows) / problem.rows.measured
    title = f"steps on gem5's cores, {name}"
    found = held_out(problem, "run", others).where(step & others)
    errors.append(error_row(title, "nothing", inside[step]))
    errors.append(held_row(title, "run, of widths with several", found))
    return band_of(inside[step], found.ratio)
