"""docs/map.md: who gives most at every batch, context and width, and by how much."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from sailsim.analysis.baselines.cpu_software import SIMULATED
from sailsim.analysis.baselines.kinds import FASTEST
from sailsim.analysis.baselines.runners import Runner, named, packed, shipped_runners
from sailsim.analysis.render.markdown import table
from sailsim.analysis.render.style import canvas, caption, save, style
from sailsim.analysis.results.compare import compare
from sailsim.base.progress import followed
from sailsim.sim import Point

MODEL = "llama-2-7b"
WIDTHS = (2, 4, 8)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
CONTEXTS = (128, 512, 2048)
THREADS = (8, 16, 32, 64)
"""Each side takes those that suit it best."""
SIDES: Mapping[str, Callable[[], Sequence[Runner]]] = {
    "sail-n1": shipped_runners,
    "sail-n1-fast-host": partial(named, "sail"),
}
"""So does SAIL with the software of its cores: attention as in llama.cpp, or as in Ampere's fork. Cores
run as many processes of a software as are the fastest."""
SHADES = 8.0
"""Ratio from which on a colour does not get stronger."""
METRICS = {"tokens_per_s": "tokens/s", "tokens_per_usd_used": "tokens/USD"}
SERVER, ALL = "the same cores", "all machines"
_NOT_OF_THEM = (FASTEST, *SIMULATED)
"""The fastest software is one of the others, which say what it is; gem5's kernels ran on no machine."""
_Wanted = Callable[[Mapping[str, Any]], bool]
AMONG: Mapping[str, _Wanted] = {
    SERVER: lambda run: run["kind"] == "cores" and run["software"] not in _NOT_OF_THEM,
    ALL: lambda run: run["kind"] in ("cores", "card") and run["software"] not in _NOT_OF_THEM,
}


@dataclass(frozen=True)
class Cell:
    """SAIL's best over the best of others, and who that is."""

    wbits: int
    batch: int
    context: int
    metric: str
    among: str
    ratio: float
    other: str


@lru_cache(maxsize=1)
def cells() -> tuple[Cell, ...]:
    """Every cell of the map."""
    asked = list(product(WIDTHS, BATCHES, CONTEXTS))
    return tuple(cell for at in followed(asked, "cells") for cell in _cells(*at))


def _cells(wbits: int, batch: int, context: int) -> Iterator[Cell]:
    point = Point(model=MODEL, wbits=wbits, batch=batch, context=context)
    found = [
        run
        for threads, (system, runners) in product(THREADS, SIDES.items())
        for run in _runs(replace(point, threads=threads, system=system), packed(runners()))
    ]
    for metric, (among, wanted) in product(METRICS, AMONG.items()):
        known = [run for run in found if run[metric] is not None]
        sail = max(run[metric] for run in known if run["kind"] == "accelerator")
        best = max((run for run in known if wanted(run)), key=lambda run: float(run[metric]))
        yield Cell(wbits, batch, context, metric, among, sail / best[metric], _name(best))


def _runs(point: Point, runners: tuple[Runner, ...]) -> list[dict[str, Any]]:
    return list(compare(point, runners=runners)["runs"].values())


def _name(run: Mapping[str, Any]) -> str:
    """Who it is, short enough for a cell: a card, a star if a serving stack runs on it, or the software."""
    title = str(run["title"])
    if run["kind"] == "card":
        return title.replace(", serving", "*").replace(", f16", "")
    return title.rpartition(", ")[2].removesuffix("'s fork")


def map_parts() -> dict[str, str]:
    """The table of how often SAIL leads."""
    rows: list[list[object]] = []
    for metric, among in product(METRICS, AMONG):
        line: list[object] = [f"{METRICS[metric]}, beside {among}"]
        for wbits in WIDTHS:
            ratios = [
                cell.ratio
                for cell in cells()
                if (cell.metric, cell.among, cell.wbits) == (metric, among, wbits)
            ]
            ahead = sum(ratio > 1 for ratio in ratios)
            line.append(f"{ahead} of {len(ratios)}; {min(ratios):.2g} .. {max(ratios):.2g}x")
        rows.append(line)
    return {"leads": table(("SAIL leads in", *(f"{w} bits" for w in WIDTHS)), rows, "llll")}


def draw_map(figures: Path) -> list[Path]:
    """The figure of the page, into a folder; returns its path."""
    with style():
        figure = _figure()
    return save(figure, figures / "map.png")


def _figure() -> Figure:
    views = list(product(METRICS, AMONG))
    figure, axes = canvas(
        "Who gives most: SAIL over the best of the others, Llama-2-7B, by batch and context",
        columns=len(WIDTHS),
        lines=len(views),
        width=13.0,
        height=12.0,
    )
    for row, (metric, among) in enumerate(views):
        for column, wbits in enumerate(WIDTHS):
            _panel(axes[row, column], metric, among, wbits)
            axes[row, column].set_title(f"{METRICS[metric]}, beside {among}, {wbits} bits", loc="left")
    caption(
        figure,
        "A number is SAIL's best over the best of the others, of 8, 16, 32 and 64 threads each; below it who "
        "that is. Blue: SAIL leads. The cores run llama.cpp, Ampere's fork or T-MAC, whichever is fastest; "
        "T-MAC's rate with many threads and batches is carried over from one and two threads of a sibling "
        "core. What SAIL leaves to the cores, attention above all, runs as in llama.cpp or as in the fork.",
        "A star: a serving stack on the card. Dollars: SAIL and cores pay the vCPUs that they use, a card is "
        "paid whole; cards without a price are not in it. 8-bit activations, a scale for 128 weights.",
    )
    return figure


def _panel(axes: Axes, metric: str, among: str, wbits: int) -> None:
    shown = {
        (cell.context, cell.batch): cell
        for cell in cells()
        if (cell.metric, cell.among, cell.wbits) == (metric, among, wbits)
    }
    grid = np.array([[log2(shown[context, batch].ratio) for batch in BATCHES] for context in CONTEXTS])
    most = log2(SHADES)
    axes.imshow(grid, cmap="RdBu", norm=TwoSlopeNorm(0.0, -most, most), aspect="auto", origin="lower")
    axes.grid(visible=False)
    for (y, context), (x, batch) in product(enumerate(CONTEXTS), enumerate(BATCHES)):
        cell = shown[context, batch]
        dark = abs(grid[y, x]) > 0.7 * most
        axes.text(
            x, y, f"{cell.ratio:.2g}\n{cell.other}", ha="center", va="center", fontsize=7.5,
            color="white" if dark else "black",
        )  # fmt: skip
    axes.set_xticks(range(len(BATCHES)), [str(batch) for batch in BATCHES])
    axes.set_yticks(range(len(CONTEXTS)), [str(context) for context in CONTEXTS])
    axes.set_xlabel("batch")
    axes.set_ylabel("context")
