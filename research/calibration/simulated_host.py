"""The cores beside the units as the program `decode` uses them in gem5: what `sail-n1-neon-host` says.

The engine's own parts of a step (attention; norms, rounding and rotation) are held against the regions of
gem5's runs with PIM units. Eight constants come out: the lines that one core has under way while it reads a
cache, which its fastest run shows; what copying a result takes, as one thread's head is longer than many's;
and fitted together, the rate of attention, what a number of its cache
takes to become a float and what a head takes beside, what share of memory's peak many cores reach, the share
of its peak that a core reaches in the rest, and a barrier. All else of that machine is `sail-n1`'s, but that
attention asks for its cache ahead, nothing is lost around a product and no tensor's weights run ahead: so the
program and gem5's units work.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import ceil
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from calibration.errors import digits
from calibration.simulated_problem import part_of_model
from calibration.solver import LOSS_SCALE
from sailsim.analysis.results.gem5_steps import (
    CACHE_BITS,
    CORE_PARTS,
    HOST,
    Row,
    bits_and_group,
    decode_rows,
    shape,
)
from sailsim.sim.backends.sail import request_of
from sailsim.sim.files import load_system, vary
from sailsim.sim.fitted import Floats
from sailsim.sim.point import Point
from sailsim.sim.schedule import HostCores
from sailsim.sim.system import System
from sailsim.sim.tiles import PimUnits, TileKind
from sailsim.workloads.graph import decode_step
from sailsim.workloads.model import ModelSpec

FITTED = {"attention": ("attention",), "norms": ("norms and rounding", "rotation")}
"""Parts of `CORE_PARTS` that are fitted together."""
PART_OF = {
    "attn_norm": "norms and rounding",
    "ffn_norm": "norms and rounding",
    "output_norm": "norms and rounding",
    "rope": "rotation",
    "attention": "attention",
}
"""Of the engine's operations."""
CODES = "gem5/decode_attention.jsonl"
"""Runs of one thread over caches of codes, which read the fastest."""
LINES = "host.lines_share"
COPY = "host.result_copy"
FREE = {
    "host.attention_rate": (0.1, 3.0, 16.0),
    "host.attention_widening": (0.001, 0.2, 4.0),
    "host.attention_head": (0.1, 500.0, 20000.0),
    "memory.core_share": (0.05, 0.5, 1.0),
    "host.simd_share": (0.005, 0.05, 1.0),
    "host.barrier": (1.0, 60.0, 2000.0),
}
"""Of a system file, in its units: the least, where the search begins, the most."""
CONSTANTS = (LINES, COPY, *FREE)
HELD = 0.02
"""How much less than an error of a run a constant's way from where the search begins counts, in logarithms.
Assumed: little enough to move no constant that the runs tell by more than a percent, and enough that without
the one run of shared keys there is one answer and not a valley."""


def host_rows() -> list[Row]:
    """The runs that the constants are fitted to: all with PIM units and attention on the cores."""
    return [row for row in decode_rows() if row["linears"] == "lutmm" and row["attention"] == "cores"]


def host_constants() -> dict[str, dict[str, float]]:
    """Of `CONSTANTS`, in their units, as a system file has them: the value, and the ends of what comes out
    when one run after another is left out."""
    values, without = host_fits()
    found = {
        name: {
            "value": digits(values[i]),
            "low": digits(min(values[i], without[:, i].min())),
            "high": digits(max(values[i], without[:, i].max())),
        }
        for i, name in enumerate(CONSTANTS)
    }
    # A core may have more lines under way than it needs for a cache: as many as for the weights of a product.
    found[LINES]["high"] = digits(max(found[LINES]["high"], _lines_of_weights()))
    return found


def _lines_of_cache() -> float:
    """Share of the lines that its L2 allows which one core has under way in attention: of its fastest run, as
    the others wait for something else than memory."""
    alone = [row for row in decode_rows(CODES) if row["attention"] == "cores"]
    read = [
        row["batch"] * part_of_model(row).cached(CACHE_BITS[row["cache"]]).kv_bytes(row["context"])
        for row in alone
    ]
    return max(_under_way(size, row["attention_cycles"]) for size, row in zip(read, alone, strict=True))


def _lines_of_weights() -> float:
    """The same of the products with queries, keys and values in NEON, whose weights come from memory."""
    shares = []
    for row in decode_rows():
        if row["linears"] == "neon" and row["threads"] == row["batch"] == 1:
            spec, (bits, group) = part_of_model(row), bits_and_group(row)
            first = spec.layer_linears(0)[:3]
            size = spec.n_layers * sum(linear.k * linear.n for linear in first) * (bits / 8 + 2 / group)
            shares.append(_under_way(size, row["qkv_cycles"]))
    return max(shares)


def _copying(rows: list[Row]) -> float:
    """Cycles in which one thread copies a result: by how much its head takes longer than that of the most
    threads which ran the same step, without handing over, looking at records and meeting."""
    machine = load_system(HOST)
    clock, host, slices = machine.cores.clock.si, machine.host, machine.llc.slices.whole
    same = ("model", "weights", "blocks", "batch", "context", "cache", "warm")
    steps: dict[tuple[Any, ...], dict[int, Row]] = {}
    for row in rows:
        steps.setdefault(tuple(row[name] for name in same), {})[row["threads"]] = row
    longer, results = [], []
    for of in steps.values():
        most = max(of)
        if 1 in of and most > 1:
            one, many = of[1], of[most]
            fewer = slices - ceil(slices / most)  # shares that one thread has more than each of many
            around = fewer * (host.submit.si + host.poll.si) - (most - 1) * host.barrier.si
            longer.append(one["head_cycles"] - many["head_cycles"] - clock * around)
            # Those of a slice's last tile: it copies the others while the units work.
            results.append(fewer / slices * one["batch"] * part_of_model(one).vocab / _tiles_of_head(one))
    return float(np.dot(longer, results) / np.dot(results, results))


def _tiles_of_head(row: Row) -> int:
    """Tiles of one pass in a slice's share of the head."""
    ((spec, point),) = asked([row])
    *_, head = (op for op in decode_step(spec, point.formats(spec), row["batch"], 1) if op.kind == "gemv")
    units = PimUnits(load_system(row["system"]), substrate=None, convert=None, prt=True)
    plan = TileKind(units, request_of(head, point)).plan
    return ceil(plan.owned / plan.outputs_per_pass)


def _under_way(size: float, cycles: float) -> float:
    """Bytes that came to one core in so many cycles, as a share of the lines that its L2 allows."""
    machine = load_system(HOST)
    seconds = cycles / machine.cores.clock.si
    return size / seconds * machine.memory.latency.si / (machine.l2.mshrs.value * machine.l2.line.value)


def core_seconds(system: System, spec: ModelSpec, point: Point) -> dict[str, float]:
    """Seconds that the cores of a machine work alone in each part of `FITTED`, their reading at its
    longest."""
    parts = dict.fromkeys((part for parts in FITTED.values() for part in parts), 0.0)
    host = HostCores(system, point.threads)
    for op in decode_step(spec, point.formats(spec), point.batch, point.context):
        part = PART_OF.get(op.name.rpartition(".")[2])
        if part is not None:
            tasks = host.work(op, spec, 0)
            parts[part] += sum(max(each.seconds, (each.read + each.written) / each.rate) for each in tasks)
    return parts


def asked(rows: Sequence[Row]) -> list[tuple[ModelSpec, Point]]:
    """What the engine is asked of runs: the model's part that ran, and the point."""
    questions = []
    for row in rows:
        spec, (bits, group) = part_of_model(row), bits_and_group(row)
        point = Point(
            model=shape(row), weights=f"{bits}g{group}", batch=row["batch"], threads=row["threads"],
            context=row["context"], kv_bits=CACHE_BITS[row["cache"]], nbw=row["nbw"],
        )  # fmt: skip
        questions.append((spec.cached(point.kv_bits), point))
    return questions


@cache
def host_fits() -> tuple[Floats, Floats]:
    """Of `CONSTANTS` (8,): fitted to all of `host_rows`, and (rows, 8) with each of them left out."""
    rows, machine = host_rows(), load_system(HOST)
    clock = machine.cores.clock.si
    regions = [[name for part in parts for name in CORE_PARTS[part]] for parts in FITTED.values()]
    found = np.array([[sum(row[f"{name}_cycles"] for name in of) for of in regions] for row in rows], float)
    questions = asked(rows)

    def cycles(x: Floats, of: list[Any]) -> Floats:
        moved = vary(machine, dict(zip(CONSTANTS, map(float, x), strict=True)))
        seconds = [core_seconds(moved, spec, point) for spec, point in of]
        return clock * np.array([[sum(s[p] for p in parts) for parts in FITTED.values()] for s in seconds])

    least, start, most = np.log(np.array(list(FREE.values()))).T

    def fit(kept: list[int]) -> Floats:
        read = [_lines_of_cache(), _copying([rows[i] for i in kept])]

        def off(x: Floats) -> Floats:
            moved = cycles(np.array([*read, *np.exp(x)]), [questions[i] for i in kept])
            return np.concatenate([np.log(moved / found[kept]).ravel(), HELD * (x - start)])

        answer = least_squares(
            off, start, bounds=(least, most), loss="soft_l1", f_scale=LOSS_SCALE, xtol=1e-10, ftol=1e-10
        )
        return np.array([*read, *np.exp(answer.x)])

    every = list(range(len(rows)))
    return fit(every), np.array([fit([i for i in every if i != out]) for out in every])
