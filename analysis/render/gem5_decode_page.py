"""The tables of docs/gem5-decode.md: whole tokens on gem5, and the fast engine's beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from sailsim.analysis.baselines.prediction import data_file
from sailsim.analysis.baselines.simulated_rows import (
    SEARCHING,
    TABLE,
    Row,
    decode_rows,
    needless_cycles,
    shape,
)
from sailsim.analysis.baselines.simulated_steps import CORE_PARTS, HOST, at_work, predicted
from sailsim.analysis.calibration.simulated_host import CONSTANTS, host_fits, host_rows
from sailsim.analysis.render.gem5_decode_steps import put_together
from sailsim.analysis.render.markdown import table
from sailsim.base.records import read_records
from sailsim.sim import load_system
from sailsim.sim.gem5.decode import LINEARS, REGIONS, differing

RELINKED = {"lutmm": 9_146_195, "neon": 16_527_660}
"""Cycles of SmolLM2's step, one sequence and thread, by the program as it is linked since 2026-11-28; gem5
and its build as of the rows beside it."""


def decode_parts() -> dict[str, str]:
    """The tables by their names."""
    rows = sorted(decode_rows(), key=_order)
    whole = [r for r in rows if not r["blocks"]]
    parts = [r for r in rows if r["blocks"]]
    run = read_records(data_file(TABLE))["run"]
    return {
        "origin": _origin(run),
        "steps": _steps(whole),
        "regions": _regions(rows),
        "host": _host(rows, run),
        "engine": _engine(whole + _only_in_blocks(parts, whole)),
        "judged": _judged(),
        "blocks": _blocks(parts, whole),
        "same": _same(rows),
        "programs": f"{_programs(rows)} {_relinked(whole)}",
    }


def _order(row: Row) -> tuple[Any, ...]:
    names = ("model", "blocks", "weights", "cache", "batch", "context", "warm", "threads")
    return (*(row[name] for name in names), LINEARS.index(row["linears"]))


def _origin(run: Mapping[str, str]) -> str:
    second = [("build 2", run["second_build"])] if "second_build" in run else []
    first = [(name, run[name]) for name in ("gem5", "commit", "date", "build", "options")]
    return table(("", ""), first + second)


def _model(row: Row) -> str:
    name = shape(row)
    blocks = f", {row['blocks']} of its blocks" if row["blocks"] else ""
    cached = "" if row["cache"] == "fp16" else f", {row['cache']} cache"
    return f"{name} {row['weights']}{blocks}{cached}"


def _steps(rows: Sequence[Row]) -> str:
    """Cycles of a step by kind, and what units save."""
    lines = []
    for key, found in _grouped(
        rows, ("model", "blocks", "weights", "cache", "batch", "context", "warm", "threads")
    ):
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
    names = ("model", "weights", "batch", "context", "threads", "warm", "cache", "linears")
    known = {tuple(row[name] for name in names): row["step_cycles"] for row in whole}
    lines = []
    for key, found in _grouped(parts, names):
        of = {row["blocks"]: row for row in found}
        if 1 not in of:
            continue
        made, run = put_together(of[1], of.get(2)), known.get(key)
        called = _model({**of[1], "blocks": 0})
        lines.append(
            (
                called, *key[2:5], f"`{key[-1]}`", f"{of[1]['step_cycles']:,.0f}",
                f"{of[2]['step_cycles']:,.0f}" if 2 in of else None, f"{made:,.0f}",
                f"{run:,.0f}" if run else None, f"{made / run - 1:+.1%}" if run else None,
            )
        )  # fmt: skip
    heads = ("model", "batch", "context", "threads", "", "1 block", "2 blocks", "put together", "run whole")
    return table((*heads, "difference"), lines, "lrrrlrrrrr")


def _host(rows: Sequence[Row], run: Mapping[str, str]) -> str:
    """What the runs cost; builds of gem5 differ in that alone."""
    second = run.get("second_compiled")
    lines = [
        (
            _model(r), r["batch"], r["threads"], f"`{r['linears']}`",
            2 if second and r["gem5_compiled"] == second else 1,
            f"{r['instructions'] / 1e6:,.1f}", f"{r['dram_gb_s']:.1f}", f"{r['host_s']:,.0f}",
            f"{r['cpu_before_s']:,.0f}", f"{r['cpu_measured_s']:,.0f}",
            f"{r['instructions_per_s'] / 1000:,.0f}",
        )
        for r in rows
    ]  # fmt: skip
    heads = ("build", "million instructions", "DRAM, GB/s", "wall, s", "CPU before, s", "CPU measured, s")
    return table(
        ("model", "batch", "threads", "", *heads, "thousand instructions/CPU-s"), lines, "lrrlrrrrrrr"
    )


def _same(rows: Sequence[Row]) -> str:
    groups = _grouped(rows, ("model", "weights", "blocks", "batch", "context", "warm", "cache"))
    wrong = differing(rows)
    said = " ".join(wrong) or "In each all kinds and threads chose the same tokens with the same logits."
    return f"{len(rows)} runs, {len(groups)} different steps of a model among them. {said}"


def _relinked(rows: Sequence[Row]) -> str:
    """What another order of the same code changes: the two steps that were run again."""
    said = []
    for linears, cycles in RELINKED.items():
        (row,) = (
            row
            for row in rows
            if shape(row) == "smollm2-135m"
            and (row["linears"], row["threads"], row["batch"]) == (linears, 1, 1)
        )
        said.append(f"{cycles:,} cycles with `{linears}` ({cycles / row['step_cycles'] - 1:+.1%})")
    return (
        "All of them were linked with the whole C++ core, as programs were until 2026-11-28. Linked with "
        f"what it calls, SmolLM2's step with one sequence and thread takes {' and '.join(said)}."
    )


def _programs(rows: Sequence[Row]) -> str:
    """Which runs are of the program that compared needlessly, and what it lost there."""
    before = [row for row in rows if row["content"] == SEARCHING]
    if not before:
        return f"All {len(rows)} runs are of the program that ships."
    grouped = _grouped([{**row, "model": shape(row)} for row in before], ("model", "batch"))
    steps = "; ".join(
        f"{model}, batch {batch}, threads {', '.join(map(str, sorted({row['threads'] for row in found})))}"
        for (model, batch), found in grouped
    )
    lost = [needless_cycles(row) / row["step_cycles"] for row in before]
    return (
        f"{len(rows) - len(before)} of {len(rows)} runs are of the program that ships, {len(before)} of the "
        f"one before it: {steps}. Its needless comparisons are {min(lost):.1%} to {max(lost):.1%} of their "
        "steps."
    )


def _grouped(rows: Iterable[Row], names: Sequence[str]) -> list[tuple[tuple[Any, ...], list[Row]]]:
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return list(found.items())


def _engine(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        if row["linears"] != "lutmm":
            continue
        system, other, like = load_system(row["system"]), predicted(row), predicted(row, HOST)
        busy = at_work(row, system.cores.clock.si, system.llc.slices.whole)
        compared = [
            (part, sum(row[f"{name}_cycles"] for name in names), like.parts[part], other.parts[part])
            for part, names in CORE_PARTS.items()
        ]
        compared.append(("step", row["step_cycles"], like.step, other.step))
        compared.append(("(units at work)", busy, like.units, other.units))
        lines += [
            (
                _model(row), row["batch"], row["context"], row["threads"], part, f"{found:,.0f}",
                f"{first:,.0f}", f"{first / found:.2f}", f"{second:,.0f}", f"{second / found:.2f}",
            )
            for part, found, first, second in compared
        ]  # fmt: skip
    heads = ("model", "batch", "context", "threads", "part", "gem5", f"engine, `{HOST}`", "over gem5")
    return table((*heads, "engine, `sail-n1`", "over gem5"), lines, "lrrrlrrrrr")


def _judged() -> str:
    """How far the engine is off, on whole steps and part by part, where both have the same software."""
    of = host_rows()
    off = [predicted(row, HOST).step / row["step_cycles"] - 1 for row in of]
    worst = max(range(len(of)), key=lambda i: abs(off[i]))
    fits = [tuple(zip(CONSTANTS, map(float, values), strict=True)) for values in host_fits()[1]]
    left_out = [
        predicted(row, HOST, fit).step / row["step_cycles"] - 1 for row, fit in zip(of, fits, strict=True)
    ]
    said = (
        f"{len(of)} steps with units: the engine's `{HOST}` is off by {median(map(abs, off)):.1%} in the "
        f"median and {off[worst]:+.1%} at worst ({_model(of[worst])}, batch {of[worst]['batch']}, "
        f"{of[worst]['threads']} threads). With each step left out of the fit of its cores: "
        f"{median(map(abs, left_out)):.1%} and {max(left_out, key=abs):+.1%}. In parts of the step:"
    )
    lines = []
    for part, names in CORE_PARTS.items():
        gem5 = [sum(row[f"{name}_cycles"] for name in names) for row in of]
        ratios = [predicted(row, HOST).parts[part] / found for row, found in zip(of, gem5, strict=True)]
        share = [found / row["step_cycles"] for row, found in zip(of, gem5, strict=True)]
        lines.append(
            (part, f"{median(share):.1%}", f"{median(ratios):.2f}", f"{min(ratios):.2f} .. {max(ratios):.2f}")
        )
    heads = ("part", "of gem5's step, median", "engine over gem5, median", "range")
    return f"{said}\n\n{table(heads, lines, 'lrrr')}"
