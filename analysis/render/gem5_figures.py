"""Figures of gem5's simulations: tiles against the fast engine, the timeline of one tile, and whole tokens.

They show the results in a sweep's folder `gem5` (`sailsim gem5 validate`, `replay --timeline` and `decode`),
or the runs that ship."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sailsim.analysis.costs.constants import data_file
from sailsim.analysis.paper.claim import load_paper
from sailsim.analysis.render.figure import PHASES, Figure, FigureAxis, Panel, ReferenceLine, line_style
from sailsim.analysis.studies import gem5_steps
from sailsim.analysis.studies.gem5_steps import Row
from sailsim.base.atomic import read_records
from sailsim.lut_gemv.counts import TILE_PHASES
from sailsim.sim.gem5 import stored
from sailsim.sim.gem5.stored import NeighbourLoad, TileTimeline
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.study.store import FILE, Store
from sailsim.workloads.model_files.load import load_model, uniform_choice

FOLDER = "gem5"
"""Name of the folder of gem5's results in a sweep's folder."""


def _records(folder: Path | None, command: str) -> list[Row]:
    """Records of a command in a folder of gem5's results, if there is one. Raises SailsimError for damaged
    results."""
    rows = Store(folder).records() if folder is not None and (folder / FILE).is_file() else []
    return [row for row in rows if row["command"] == command]


def tiles(folder: Path | None) -> tuple[pd.DataFrame, bool]:
    """The tiles of a folder's validations, a row each, and True; without any the tiles of
    docs/gem5-results.md, and False."""
    compared = [
        dict(row) | {name: record[name] for name in ("system", "gem5_version")}
        for record in _records(folder, stored.VALIDATE)
        for row in stored.rows_of(record)
    ]
    if compared:
        return pd.DataFrame(compared), True
    data = read_records(data_file("gem5/validation.jsonl"))
    shipped = pd.DataFrame(data["tiles"])
    return shipped.assign(system=data["system"], gem5_version=data["gem5_version"]), False


def timelines(folder: Path | None) -> tuple[list[TileTimeline], bool]:
    """The timelines of a folder's last tile, and True; without any those of docs/gem5-results.md, and
    False."""
    records = _records(folder, stored.TIMELINE)
    if records:
        return stored.timelines_of(records[-1]), True
    rows = read_records(data_file("gem5/tiles.jsonl"))["timelines"]
    return stored.timelines_of({"timelines": [json.dumps(row) for row in rows]}), False


def tokens(folder: Path | None) -> tuple[list[Row], bool]:
    """The runs of whole tokens in a folder that agree in all but kind, batch, threads and bits, and have most
    widths both on cores and on units, and True; if no width ran on both, the shipped runs of Llama 2 7B's
    first block and head, and False."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in _records(folder, stored.DECODE):
        if row.get("step_cycles") is not None and uniform_choice(str(row["weights"])) is not None:
            groups.setdefault(tuple(row[name] for name in _SAME), []).append(row)

    def widths(group: Sequence[Row]) -> int:
        return len({bits for own in _on_both(_steps(group)).values() for bits in own})

    best = max(groups.values(), key=widths, default=[])
    if widths(best):
        return [gem5_steps.with_engine(row) for row in best], True
    wanted = {"model": "llama-2-7b", "blocks": 1, "context": 512, "cache": "fp16"}
    shipped = gem5_steps.every_row()
    return [row for row in shipped if all(row[name] == value for name, value in wanted.items())], False


def tiles_figure(folder: Path | None) -> Figure:
    """Error of the fast engine against gem5 by the tile's cycles, a mark for each tile."""
    rows, _ = tiles(folder)
    loads = rows[["units", "streams", "stream_offset"]].itertuples(index=False, name=None)
    names = [f"{on}, {NeighbourLoad(*load)}" for on, load in zip(rows["substrate"], loads, strict=True)]
    looks = {name: line_style(i, dash="", filled=i < 7) for i, name in enumerate(dict.fromkeys(names))}
    panel = Panel(
        rows.assign(line=names, percent=100 * rows["error"]),
        FigureAxis("gem5_cycles", "cycles of the tile in gem5", log=True),
        FigureAxis("percent", "difference from gem5, %"),
        "line",
        title="above 0: the engine takes longer",
        rules=[ReferenceLine(0)],
    )
    first, off = rows.iloc[0], rows["error"].abs()
    exact = "every result is exact" if rows["correct"].all() else "RESULTS ARE WRONG"
    equal = "every phase equals the core's" if rows["phases_equal"].all() else "PHASES DIFFER"
    caption = [
        f"gem5 {first['gem5_version']}, system {Path(str(first['system'])).stem}. Weights come from DRAM.",
        f"{len(rows)} tiles: {exact}, {equal}. The engine's time differs by {off.median():.1%} in the "
        f"median and by {off.max():.1%} at most.",
    ]
    return Figure("Fast engine against gem5, tile by tile", [panel], caption, looks, height=3.6)


SHOWN_GROUPS = (34, 6)
"""Numbers of groups that a figure of a timeline shows, at its beginning and at its end."""


def timeline_figure(timelines: Sequence[TileTimeline]) -> Figure:
    """Load, build, look-up, conversion and write-back of a tile's first and last groups over cycles.

    ``timelines`` are of one tile; each has a row of panels.
    """
    count = min(len(timeline.groups) for timeline in timelines)
    first_few, last_few = SHOWN_GROUPS
    ranges = [(0, first_few), (count - last_few, count)] if count > first_few + last_few else [(0, count)]
    labels = {name: PHASES[name][0].partition(" and ")[0].partition(":")[0] for name in TILE_PHASES}
    clock = f"cycles of the C-SRAM clock ({timelines[0].clock_ghz:g} GHz) from the tile's start"
    y = FigureAxis("at", ticks=dict(enumerate(labels.values())), limits=(len(TILE_PHASES) - 0.5, -1.2))
    panels = []
    for timeline in timelines:
        for first, last in ranges:
            begin = timeline.groups[first][2]
            end = timeline.groups[last][4] if last < len(timeline.groups) else timeline.end
            bars = (
                {"at": place, "line": labels[name], "start": at, "end": at + length}
                for place, name in enumerate(TILE_PHASES)
                for at, length in timeline.bars()[name]
                if at + length > begin and at < end
            )
            step = max(1, (last - first) // 12) if last - first > 12 else last - first
            groups = (timeline.groups[i] for i in range(first, last, step))
            notes = [(group[4], -0.55, str(group[1])) for group in groups]
            title = f"{timeline.source}: {timeline.end:,} cycles; small numbers: groups"
            words, title = (clock, title) if first == 0 else ("cycles", "the last groups")
            x = FigureAxis("start", words, limits=(begin, end))
            width = last - first + 4
            panels.append(
                Panel(
                    pd.DataFrame(bars), x, y, "line", "spans", title, "start", "end", notes=notes, width=width
                )
            )
    return Figure(
        "One tile through a slice",
        panels,
        [
            f"Tile: {timelines[0].tile}.",
            *map(_sums, timelines),
            "Load: from the moment when the port is free for a group's weights until they are staged. With "
            "double buffering a group loads while the one before it computes. A gap between a look-up and "
            "the next build is a wait for weights.",
        ],
        {labels[name]: PHASES[name][1] for name in TILE_PHASES},
        columns=len(ranges),
        height=2.1,
    )


def _sums(timeline: TileTimeline) -> str:
    """Sentence on the whole tile: the cycles of each phase, and the arrays' waits."""
    sums = np.array(timeline.groups)[:, 5:9].sum(axis=0).tolist()
    names = ("build", "look-up", "conversion", "write-back")
    parts = ", ".join(f"{name} {cycles:,}" for name, cycles in zip(names, sums, strict=True))
    waits = f"waiting for weights {timeline.end - sum(sums):,} of {timeline.end:,} cycles"
    edges = ""
    if timeline.before is not None and timeline.after is not None:
        before = f"before it {timeline.before:,} cycles for the activations"
        edges = f"; {before}, after it {timeline.after:,} until the results are acknowledged"
    return f"{timeline.source}, all {len(timeline.groups):,} groups: {parts}, {waits}{edges}."


Side = tuple[int, int]
"""Batch and threads, the same in all runs of a panel of whole tokens."""
Steps = Mapping[tuple[Side, int, str], Row]
"""Runs by side, bits of a weight, and the kind of products."""
_SAME = ("system", "model", "blocks", "context", "cache", "warm")
"""Columns that are equal in all runs of a figure."""
_OF_A_BLOCK = ("qkv", "rope", "attention", "o", "ffn")
_PARTS = {
    "embed": line_style("black"),
    "norms and rounding": line_style("sky"),
    "rotation": line_style("grey"),
    "attention": line_style("green"),
    "products of the blocks, activation": line_style("blue"),
    "head": line_style("orange", hatch="//"),
    "sampling": line_style("purple"),
}


def whole_step(run: Row) -> dict[str, float]:
    """Cycles of a whole model's step by region, extrapolated from a run of its first blocks and the head.

    Each other block takes the mean of the blocks that ran, without the last norm and the rounding before the
    head; each other output of the head takes the mean of those that ran. A run of all blocks is unchanged.
    """
    spec, blocks = load_model(gem5_steps.shape(run)), run["blocks"]
    rounded = blocks * (2 * spec.d_model + spec.d_attn + spec.d_ffn)
    of_blocks = dict.fromkeys(_OF_A_BLOCK, 1.0) | {
        "norm": 2 * blocks / (2 * blocks + 1),
        "quantise": rounded / (rounded + spec.d_model),
    }
    more = spec.n_layers / blocks - 1 if blocks else 0
    regions = [name for names in gem5_steps.CORE_PARTS.values() for name in names]
    times = {name: 1 + more * of_blocks.get(name, 0.0) for name in regions}
    times |= dict.fromkeys(("head", "sample"), spec.vocab / run.get("outputs", spec.vocab))
    return {name: run[f"{name}_cycles"] * factor for name, factor in times.items()}


def decode_figure(rows: Sequence[Row], claimed: bool = True) -> Figure:
    """Speedups by width and, for every batch and number of threads, a panel with the steps' parts.

    Args:
        rows: runs of one model and context (`gem5_steps.with_engine`), in formats that differ by their bits
            alone: of a model's first block and head, or of all of it. Some widths ran on cores and on units.
        claimed: whether SAIL's claim has a line.
    """
    steps = _steps(rows)
    widths = _on_both(steps)
    first, spec = rows[0], load_model(gem5_steps.shape(rows[0]))
    lines: list[dict[str, Any]] = []
    looks = {}
    for i, (side, own) in enumerate(widths.items()):
        name = _side_in_words(side)
        looks[f"gem5, {name}"] = line_style(i, dash="-")
        looks[f"engine, {name}"] = line_style(i, dash="--", filled=False)
        for bits in own:
            units = steps[side, bits, "lutmm"]
            neon, simulated = (sum(whole_step(run).values()) for run in (steps[side, bits, "neon"], units))
            for source, cycles in (("gem5", simulated), ("engine", units["engine_cycles"])):
                lines.append({"bits": bits, "speedup": neon / cycles, "line": f"{source}, {name}"})
    paper = load_paper().by_name("speedup").value
    ticks = {bits: str(bits) for own in widths.values() for bits in own}
    bits_axis = FigureAxis("bits", "bits of a weight", ticks=ticks)
    rules = [ReferenceLine(1)]
    if claimed:
        rules.append(ReferenceLine(paper, f"paper: {paper:g}x", dotted=True))
    times = FigureAxis("speedup", "speedup of the units over NEON", limits=(0, 1.15 * paper))
    panels = [Panel(pd.DataFrame(lines), bits_axis, times, "line", title="speedup", rules=rules)]
    panels += [_step_parts(steps, side, own) for side, own in widths.items()]
    together = (
        f"Of {spec.n_layers} blocks the first {first['blocks']} were run, and the head; a step counts "
        f"{spec.n_layers} such blocks and the head."
    )
    of_paper = " The paper's value is its maximum over llama.cpp, at a point that it does not name."
    return Figure(
        "Whole tokens in gem5: one program, its products on cores or on PIM units",
        panels,
        [
            f"{spec.title}, context {first['context']}, 8-bit activations, machine {first['system']}, O3 "
            "cores. A step is a token of every sequence. Both sides run one program with the same attention, "
            "norms and rounding. NEON: this project's SDOT kernels. LUT: this project's table look-ups on "
            "the cores.",
            together if first["blocks"] else "",
            f"Lines of the engine: gem5's step with NEON over the engine's step of {gem5_steps.HOST}."
            f"{of_paper if claimed else ''}",
        ],
        looks | _PARTS,
        columns=2,
        height=3.2,
    )  # fmt: skip


def _steps(rows: Sequence[Row]) -> Steps:
    bits = [gem5_steps.bits_and_group(row)[0] for row in rows]
    return {
        ((row["batch"], row["threads"]), b, row["linears"]): row for row, b in zip(rows, bits, strict=True)
    }


def _on_both(steps: Steps) -> dict[Side, list[int]]:
    widths: dict[Side, list[int]] = {}
    for side, bits, kind in sorted(steps):
        if kind == "lutmm" and (side, bits, "neon") in steps:
            widths.setdefault(side, []).append(bits)
    return widths


def _side_in_words(side: Side) -> str:
    batch, count = side
    return f"{count} thread{'s' if count > 1 else ''}, batch {batch}"


def _step_parts(steps: Steps, side: Side, widths: Sequence[int]) -> Panel:
    """Panel of the steps of a side by the parts of their time, with bars of one width together."""
    words = {"neon": "NEON", "lut": "LUT", "lutmm": "units"}
    rows, ticks, groups, at = [], {}, {}, 0.0
    for bits in widths:
        kinds = [kind for kind in words if (side, bits, kind) in steps]
        groups[at + (len(kinds) - 1) / 2 + 1e-3] = f"{bits} bits"  # at a tick's place it would be hidden
        for kind in kinds:
            step = steps[side, bits, kind]
            regions, clock = whole_step(step), load_system(step["system"]).cores.clock.si
            ticks[at] = words[kind]
            for part, names in gem5_steps.CORE_PARTS.items():
                milliseconds = sum(regions[name] for name in names) / clock * 1e3
                rows.append({"at": at, "line": part, "ms": milliseconds})
            at += 1
        at += 0.6
    x, y = FigureAxis("at", " ", ticks=ticks, groups=groups), FigureAxis("ms", "ms a step, by part")
    return Panel(pd.DataFrame(rows), x, y, "line", "bars", _side_in_words(side))
