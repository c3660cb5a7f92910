"""The tables of docs/gem5-decode.md: whole tokens on gem5, and the fast engine's beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sailsim.analysis.baselines.prediction import data_file
from sailsim.analysis.render.gem5_decode_steps import CORE_PARTS, Row, put_together, shape
from sailsim.analysis.render.markdown import table
from sailsim.base.records import read_records
from sailsim.lut_gemv import TILE_PHASES
from sailsim.sim import Point, StepResult, load_system, simulate_step
from sailsim.sim.gem5.decode import LINEARS, REGIONS, differing
from sailsim.sim.host import HostCores
from sailsim.workloads import ModelSpec, decode_step, load_model

FAST = "sail-n1-fast-host"
"""The same machine whose cores run faster software."""
_CORE_OPS = {
    "token_embd": "embed",
    "attn_norm": "norms and rounding",
    "ffn_norm": "norms and rounding",
    "output_norm": "norms and rounding",
    "rope": "rotation",
    "attention": "attention",
    "ffn_act": "products of the blocks, activation",
    "sample": "sampling",
}
_UNIT_PHASES = (*TILE_PHASES, "dram")


def decode_parts() -> dict[str, str]:
    """The tables by their names."""
    data = read_records(data_file("gem5/decode.jsonl"))
    rows = sorted((r for r in data["rows"] if r.get("step_cycles") is not None), key=_order)
    whole = [r for r in rows if not r["blocks"]]
    parts = [r for r in rows if r["blocks"]]
    return {
        "origin": _origin(data["run"]),
        "steps": _steps(whole),
        "regions": _regions(rows),
        "host": _host(rows),
        "engine": _engine(whole + _only_in_blocks(parts, whole)),
        "blocks": _blocks(parts, whole),
        "same": _same(rows),
    }


def _order(row: Row) -> tuple[Any, ...]:
    names = ("model", "blocks", "weights", "batch", "context", "warm", "threads")
    return (*(row[name] for name in names), LINEARS.index(row["linears"]))


def _origin(run: Mapping[str, str]) -> str:
    return table(("", ""), [(name, run[name]) for name in ("gem5", "commit", "date", "build", "options")])


def _model(row: Row) -> str:
    name = shape(row)
    blocks = f", {row['blocks']} of its blocks" if row["blocks"] else ""
    return f"{name} {row['weights']}{blocks}"


def _steps(rows: Sequence[Row]) -> str:
    """Cycles of a step by kind, and what units save."""
    lines = []
    for key, found in _grouped(rows, ("model", "blocks", "weights", "batch", "context", "warm", "threads")):
        of = {row["linears"]: row["step_cycles"] for row in found}
        units = of.get("lutmm")
        lines.append(
            (
                _model(found[0]),
                *key[-4:],
                *(f"{of[kind]:,.0f}" if kind in of else None for kind in LINEARS),
                *(f"{of[kind] / units:.2f}x" if units and kind in of else None for kind in ("neon", "lut")),
            )
        )
    heads = ("model", "batch", "context", "warm", "threads", *(f"`{kind}`, cycles" for kind in LINEARS))
    return table((*heads, "units over `neon`", "units over `lut`"), lines, "lrrrrrrrrr")


def _regions(rows: Sequence[Row]) -> str:
    lines = [
        (
            _model(r), r["batch"], r["threads"], f"`{r['linears']}`",
            *(f"{r[f'{name}_cycles'] / 1000:,.0f}" for name in (*REGIONS, "barrier", "units", "step")),
        )
        for r in rows
    ]  # fmt: skip
    names = (*REGIONS, "(barrier)", "(units)", "step")
    return table(("model", "batch", "threads", "", *names), lines, "lrrl" + "r" * len(names))


def _only_in_blocks(parts: Sequence[Row], whole: Sequence[Row]) -> list[Row]:
    """Runs of some blocks of models that were not run whole."""
    known = {row["model"] for row in whole}
    return [row for row in parts if row["model"] not in known]


def _blocks(parts: Sequence[Row], whole: Sequence[Row]) -> str:
    """Whole steps put together from blocks, beside whole ones where they were run."""
    names = ("model", "weights", "batch", "context", "threads", "warm", "linears")
    known = {tuple(row[name] for name in names): row["step_cycles"] for row in whole}
    lines = []
    for key, found in _grouped(parts, names):
        of = {row["blocks"]: row for row in found}
        if 1 not in of:
            continue
        made, run = put_together(of[1], of.get(2)), known.get(key)
        called = f"{shape(of[1])} {of[1]['weights']}"
        lines.append(
            (
                called, *key[2:5], f"`{key[-1]}`", f"{of[1]['step_cycles']:,.0f}",
                f"{of[2]['step_cycles']:,.0f}" if 2 in of else None, f"{made:,.0f}",
                f"{run:,.0f}" if run else None, f"{made / run - 1:+.1%}" if run else None,
            )
        )  # fmt: skip
    heads = ("model", "batch", "context", "threads", "", "1 block", "2 blocks", "put together", "run whole")
    return table((*heads, "difference"), lines, "lrrrlrrrrr")


def _host(rows: Sequence[Row]) -> str:
    lines = [
        (
            _model(r), r["batch"], r["threads"], f"`{r['linears']}`",
            f"{r['instructions'] / 1e6:,.1f}", f"{r['dram_gb_s']:.1f}", f"{r['host_s']:,.0f}",
            f"{r['cpu_before_s']:,.0f}", f"{r['cpu_measured_s']:,.0f}",
            f"{r['instructions_per_s'] / 1000:,.0f}",
        )
        for r in rows
    ]  # fmt: skip
    heads = ("million instructions", "DRAM, GB/s", "wall, s", "CPU before, s", "CPU measured, s")
    return table(
        ("model", "batch", "threads", "", *heads, "thousand instructions/CPU-s"), lines, "lrrlrrrrrr"
    )


def _same(rows: Sequence[Row]) -> str:
    groups = _grouped(rows, ("model", "weights", "blocks", "batch", "context", "warm"))
    wrong = differing(rows)
    said = " ".join(wrong) or "In each all kinds and threads chose the same tokens with the same logits."
    return f"{len(rows)} runs, {len(groups)} different steps of a model among them. {said}"


def _grouped(rows: Iterable[Row], names: Sequence[str]) -> list[tuple[tuple[Any, ...], list[Row]]]:
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return list(found.items())


@dataclass(frozen=True)
class Predicted:
    """The engine's step in cycles of the cores: whole, by `CORE_PARTS`, and what the units are at work."""

    step: float
    parts: dict[str, float]
    units: float


def predicted(row: Row, machine: str = "") -> Predicted:
    """The engine's step of a run with units: same machine, or the one named, weights, threads, batch and
    context."""
    asked = (row[name] for name in ("blocks", "weights", "nbw", "batch", "threads", "context"))
    return _predicted(machine or row["system"], shape(row), *asked)


@cache
def _predicted(
    machine: str, model: str, blocks: int, weights: str, nbw: int, batch: int, threads: int, context: int
) -> Predicted:
    system, spec = load_system(machine), load_model(model)
    spec = replace(spec, n_layers=blocks or spec.n_layers, extra_params=0)
    point = Point(
        system=machine, model=model, weights=weights, nbw=nbw, batch=batch, threads=threads, context=context
    )
    clock = system.cores.clock.si

    def step(of: ModelSpec) -> StepResult:
        return simulate_step(system, of, point)

    result = step(spec)
    parts = dict.fromkeys(CORE_PARTS, 0.0)
    host = HostCores(system, threads)
    for op in decode_step(spec, point.formats(spec), batch, context):
        if op.kind != "gemv":
            tasks = host.work(op, spec, 0)
            alone = sum(max(task.seconds, (task.read + task.written) / task.rate) for task in tasks)
            parts[_CORE_OPS[op.name.rpartition(".")[2]]] += alone
    # What a head of one output a slice does not need.
    small = replace(spec, vocab=system.llc.slices.whole)
    parts["head"] = result.step_s - step(small).step_s - parts["sampling"]
    parts["products of the blocks, activation"] += result.step_s - sum(parts.values())
    units = sum(result.breakdown[phase] for phase in _UNIT_PHASES)
    return Predicted(
        result.step_s * clock, {name: seconds * clock for name, seconds in parts.items()}, units * clock
    )


def at_work(row: Row, core_clock: float, units: int) -> float:
    """Cycles of the cores in which a unit of gem5 had a descriptor: of a step, averaged over the units."""
    stages = ("descriptor", "operands", "groups", "results", "completion")
    ticks = sum(row[f"unit_{stage}Ticks"] for stage in stages)
    return float(ticks / units / row["steps"] * 1e-12 * core_clock)


def _engine(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        if row["linears"] != "lutmm":
            continue
        system, slow, fast = load_system(row["system"]), predicted(row), predicted(row, FAST)
        busy = at_work(row, system.cores.clock.si, system.llc.slices.whole)
        compared = [
            (part, sum(row[f"{name}_cycles"] for name in names), slow.parts[part], fast.parts[part])
            for part, names in CORE_PARTS.items()
        ]
        compared.append(("step", row["step_cycles"], slow.step, fast.step))
        compared.append(("(units at work)", busy, slow.units, fast.units))
        lines += [
            (
                _model(row), row["batch"], row["context"], row["threads"], part, f"{found:,.0f}",
                f"{first:,.0f}", f"{first / found:.2f}", f"{second:,.0f}", f"{second / found:.2f}",
            )
            for part, found, first, second in compared
        ]  # fmt: skip
    heads = ("model", "batch", "context", "threads", "part", "gem5", "engine", "over gem5")
    return table((*heads, f"engine, `{FAST}`", "over gem5"), lines, "lrrrlrrrrr")
