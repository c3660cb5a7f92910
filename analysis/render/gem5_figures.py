"""Figures of what gem5 simulated: tiles beside the fast engine, the timeline of one tile, and whole tokens.

They are drawn from the folder of gem5's results (`sailsim gem5 validate`, `replay --timeline` and `decode`):
`gem5` in a sweep's folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sailsim.analysis.render.gem5_decode_figure import TITLE as TOKENS_TITLE
from sailsim.analysis.render.gem5_decode_figure import figure_of
from sailsim.analysis.render.style import MARKERS, PHASE_STYLE, SERIES, canvas, caption, style
from sailsim.lut_gemv.counts import TILE_PHASES
from sailsim.sim.gem5.decode import COMMAND as DECODE
from sailsim.sim.gem5.records import records_of
from sailsim.sim.gem5.replay import TIMELINE, TileTimeline, timelines_of
from sailsim.sim.gem5.validation import COMMAND as VALIDATE
from sailsim.sim.gem5.validation import Comparison, comparisons_of

FOLDER = "gem5"
"""Of gem5's results in a sweep's folder."""
TOKENS = "gem5-tokens"
TITLES = {
    "gem5": "Fast engine against gem5, tile by tile",
    "timeline": "One tile through a slice",
    TOKENS: TOKENS_TITLE,
}
GREY = "#444444"
SHOWN_GROUPS = (34, 6)
"""Groups of a timeline that a figure shows, at its beginning and at its end: more would be too fine."""


def gem5_figures(folder: Path, claimed: bool = True) -> dict[str, Figure]:
    """The figures that a folder of gem5's results has data for, by name; none if there is no such folder.

    ``claimed``: with a line at what SAIL's paper claims.

    Raises:
        SailsimError: its results are damaged.
    """
    records = records_of(folder)

    def of(command: str) -> list[dict[str, Any]]:
        return [record for record in records if record["command"] == command]

    figures: dict[str, Figure] = {}
    validated, timelines = of(VALIDATE), of(TIMELINE)
    if validated:
        figures["gem5"] = tiles_figure(
            [each for one in validated for each in comparisons_of(one)], validated[0]
        )
    tokens = figure_of(of(DECODE), claimed)
    if tokens is not None:
        figures[TOKENS] = tokens
    if timelines:
        figures["timeline"] = timeline_figure(timelines_of(timelines[-1]))
    return figures


def tiles_figure(tiles: Sequence[Comparison], record: Mapping[str, Any]) -> Figure:
    """How far the fast engine is off gem5, tile by tile, against the tile's cycles.

    ``record``: one of them as it is stored, with `system` and `gem5_version`.
    """
    with style():
        figure, (axes,) = canvas(TITLES["gem5"], width=8.6)
        for i, (substrate, load) in enumerate(dict.fromkeys((each.substrate, each.load) for each in tiles)):
            own = [each for each in tiles if (each.substrate, each.load) == (substrate, load)]
            cycles, errors = ([getattr(each, name) for each in own] for name in ("gem5_cycles", "error"))
            label, colour = f"{substrate}, {load}", SERIES[i % 7]
            axes.plot(cycles, [100 * error for error in errors], MARKERS[i % 7], color=colour, label=label)
        axes.axhline(0, color=GREY, lw=0.8)
        axes.set_xscale("log")
        axes.set_xlabel("cycles of the tile in gem5")
        axes.set_ylabel("fast engine against gem5, %")
        axes.set_title("above 0: the engine takes longer", loc="left")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)
        exact = "every result is exact" if all(each.correct for each in tiles) else "RESULTS ARE WRONG"
        equal = "every phase equals the core's" if all(t.phases_equal for t in tiles) else "PHASES DIFFER"
        off = np.abs([each.error for each in tiles])
        caption(
            figure,
            f"gem5 {record['gem5_version']}, system {Path(str(record['system'])).stem}. "
            "Weights come from DRAM.",
            f"{len(tiles)} tiles: {exact}, {equal}; the engine's time is off by {np.median(off):.1%} in the "
            f"median and {off.max():.1%} at worst.",
        )
    return figure


def timeline_figure(timelines: Sequence[TileTimeline]) -> Figure:
    """Load, build, look-up, conversion and write-back of a tile's first and last groups against cycles.

    ``timelines`` are of one tile: a line of panels for each source.
    """
    count = min(len(timeline.groups) for timeline in timelines)
    first, last = SHOWN_GROUPS
    ranges = [(0, first), (count - last, count)] if count > first + last else [(0, count)]
    with style():
        figure, grid = canvas(
            f"{TITLES['timeline']}: {timelines[0].tile}",
            len(ranges),
            len(timelines),
            width=11.0,
            height=1.0 + 2.1 * len(timelines),
            sharey=True,
            width_ratios=[last - first + 4 for first, last in ranges],
        )
        for line, timeline in zip(grid, timelines, strict=True):
            for axes, (first, last) in zip(line, ranges, strict=True):
                _bars(axes, timeline, first, last)
            line[0].set_title(
                f"{timeline.source}: {timeline.end:,} cycles; small numbers: groups", loc="left"
            )
            if len(ranges) > 1:
                line[1].set_title("the last groups", loc="left")
        clock = timelines[0].clock_ghz
        grid[-1, 0].set_xlabel(f"cycles of the C-SRAM clock ({clock:g} GHz) from the tile's start")
        caption(figure, *(_sentence(timeline) for timeline in timelines), _MEANING)
    return figure


_MEANING = (
    "Load: from when the port is free for a group's weights to when they are here and staged. With double "
    "buffering a group loads while the one before it computes; a gap between a look-up and the next build is "
    "a wait for weights."
)


def _label(row: str) -> str:
    return "load" if row == "load" else PHASE_STYLE[row][0].partition(" and ")[0]


def _bars(axes: Axes, timeline: TileTimeline, first: int, last: int) -> None:
    """The bars of the groups from `first` on, up to but not with `last`."""
    begin = timeline.groups[first][2]
    end = timeline.groups[last][4] if last < len(timeline.groups) else timeline.end
    for y, row in enumerate(TILE_PHASES):
        bars = [(at, length) for at, length in timeline.bars()[row] if at + length > begin and at < end]
        _, colour, hatch = PHASE_STYLE[row]
        axes.broken_barh(
            bars, (y - 0.4, 0.8), facecolors=colour, edgecolors="white", linewidth=0.5, hatch=hatch
        )
    step = max(1, (last - first) // 12) if last - first > 12 else last - first
    for i in range(first, last, step):
        _, group, _, _, start, *_ = timeline.groups[i]
        axes.annotate(f"{group}", (start, -0.62), ha="left", va="bottom", fontsize=7.5)
    axes.set_xlim(begin, end)
    axes.set_ylim(len(TILE_PHASES) - 0.5, -1.05)
    axes.set_yticks(range(len(TILE_PHASES)), [_label(row) for row in TILE_PHASES])
    axes.xaxis.set_major_locator(MaxNLocator(2 + (last - first) // 5))
    axes.grid(axis="y", visible=False)


def _sentence(timeline: TileTimeline) -> str:
    """The whole tile in words: what each phase takes and how long the arrays wait."""
    table = np.array(timeline.groups)
    sums: Mapping[str, int] = {
        "build": int(table[:, 5].sum()),
        "look-up": int(table[:, 6].sum()),
        "conversion": int(table[:, 7].sum()),
        "write-back": int(table[:, 8].sum()),
    }
    waits = timeline.end - sum(sums.values())
    parts = ", ".join(f"{name} {cycles:,}" for name, cycles in sums.items())
    edges = ""
    if timeline.before is not None and timeline.after is not None:
        edges = (
            f"; before it {timeline.before:,} cycles for the activations, after it {timeline.after:,} until "
            "the results are acknowledged"
        )
    return (
        f"{timeline.source}, all {len(table):,} groups: {parts}, waiting for weights {waits:,} of "
        f"{timeline.end:,} cycles{edges}."
    )
