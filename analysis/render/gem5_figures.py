"""Figures of what gem5 simulated: tiles of a sweep beside the fast engine, the timeline of one tile, and
whole tokens.

They are drawn from the folder of gem5's results (`sailsim gem5 sweep` and `decode`): `gem5` in a sweep's
folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sailsim.analysis.render.gem5_decode_figure import TITLE as TOKENS_TITLE
from sailsim.analysis.render.gem5_decode_figure import figure_of
from sailsim.analysis.render.style import DASHES, MARKERS, PHASE_STYLE, SERIES, canvas, caption, style
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.counts import TILE_PHASES
from sailsim.lut_gemv.trace import LAYOUTS
from sailsim.sim.gem5.decode import COMMAND as DECODE
from sailsim.sim.gem5.tiles import COMMAND
from sailsim.sim.gem5.timeline import TIMELINE, TileTimeline, read_timelines
from sailsim.sim.study.folder import Store

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
        SailsimError: its results or its timeline are damaged.
    """
    found: dict[str, Figure] = {}
    store = Store(folder)
    if store.keys():
        frame = store.frame()
        tiles = frame[frame["command"] == COMMAND]
        if len(tiles):
            found["gem5"] = tiles_figure(tiles)
        tokens = figure_of([row for row in store.records() if row["command"] == DECODE], claimed)
        if tokens is not None:
            found[TOKENS] = tokens
    path = folder / TIMELINE
    if path.is_file():
        found["timeline"] = timeline_figure(read_timelines(path))
    return found


def tiles_figure(tiles: pd.DataFrame) -> Figure:
    """Time of each tile in gem5 and in the fast engine by the weights' format, a panel per batch; and how far
    the engine is off."""
    with style():
        batches = sorted(tiles["batch"].unique())[:3]
        columns = len(batches) + 1
        figure, panels = canvas(TITLES["gem5"], columns, width=3.4 * columns + 1.6, height=4.2)
        uniform = _of_bits_alone(tiles)
        tiles, places = _placed(tiles, uniform)
        for axes, batch in zip(panels, batches, strict=False):
            _times(axes, tiles[tiles["batch"] == batch])
            axes.set_title(f"batch {batch:g}", loc="left")
            axes.set_ylim(
                0, 1.1 * float(tiles.loc[tiles["batch"] == batch, ["gem5_s", "engine_s"]].max().max()) * 1e6
            )
        panels[0].set_ylabel("time of the tile, us")
        _errors(panels[-1], tiles, batches)
        for axes in panels:
            axes.set_xticks(list(places), list(places.values()), rotation=0 if uniform else 30)
            axes.set_xlabel("bits of a weight" if uniform else "format of the weights")
        panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)
        first = tiles.iloc[0]
        off = tiles["error"].abs()
        whole = tiles[tiles["slices"] > 1]
        together = (
            f" Stars: the whole matrix on {whole['slices'].iloc[0]:g} units at once, which compete for DRAM; "
            "open where their shares begin an odd number of DRAM rows apart."
            if len(whole)
            else ""
        )
        blocks = f" one scale for {first['group_size']:g} weights," if uniform else ""
        exact = "every result is exact" if tiles["correct"].all() else "RESULTS ARE WRONG"
        equal = "every phase equals the core's" if tiles["phases_equal"].all() else "PHASES DIFFER"
        caption(
            figure,
            f"Lines: fast engine. Markers: gem5 {first['gem5_version']}, one slice's share "
            f"({first['k']:g} x {tiles[tiles['slices'] == tiles['slices'].min()]['n'].iloc[0]:g}) of "
            f"{first['tensor']} of {first['model']} alone on one PIM unit.{together}",
            f"System: {Path(str(first['system'])).stem}. Held fixed: {first['abits']:g}-bit activations,"
            f"{blocks} substrate {first['substrate']}, conversion in memory. Weights come from DRAM.",
            f"{len(tiles)} tiles: {exact}, {equal}; the engine's time is off by {off.median():.1%} in the "
            f"median and {off.max():.1%} at worst.{_bare(whole)}",
        )
    return figure


def _bare(whole: pd.DataFrame) -> str:
    """How far off the engine is with a DRAM like gem5's, for whole matrices in banks of their own."""
    apart = whole[whole["layout"] == "rows"] if "layout" in whole else whole[:0]
    if apart.empty:
        return ""
    off = apart["bare_error"]
    return (
        " With a DRAM that loses nothing to long reads but refreshes, as gem5's, open stars are "
        f"{off.min():+.1%} to {off.max():+.1%}: the engine's own reaches what was measured on a real machine."
    )


def _of_bits_alone(tiles: pd.DataFrame) -> bool:
    """Whether the formats are uniform ones that differ in their bits alone (so are all of older results)."""
    chosen = "weights" in tiles and (tiles["weights"] != "").any()
    return not chosen and tiles["group_size"].nunique() == 1


def _placed(tiles: pd.DataFrame, uniform: bool) -> tuple[pd.DataFrame, dict[int, str]]:
    """The tiles with their place along the axis of formats, `place`, and what each place is called."""
    if uniform:
        widths = sorted(int(width) for width in tiles["wbits"].unique())
        return tiles.assign(place=tiles["wbits"]), {width: str(width) for width in widths}
    types = list(dict.fromkeys(tiles.sort_values(["wbits", "type"])["type"]))
    return tiles.assign(place=tiles["type"].map(types.index)), dict(enumerate(types))


def _times(axes: Axes, rows: pd.DataFrame) -> None:
    for i, (nbw, own) in enumerate(rows[rows["slices"] == 1].groupby("nbw")):
        own = own.sort_values("place")
        predicted = axes.plot(
            own["place"], own["engine_s"] * 1e6, color=SERIES[i % 7], ls=DASHES[i % 7], lw=1.4
        )
        predicted[0].set(marker="_", markersize=14)  # seen where there is a single width, too
        axes.plot(
            own["place"], own["gem5_s"] * 1e6, MARKERS[i % 7], color=SERIES[i % 7], label=f"NBW {nbw:g}"
        )
    for i, (_, whole) in enumerate(_together(rows)):
        face = GREY if i == 0 else "white"
        axes.plot(whole["place"], whole["engine_s"] * 1e6, color=GREY, lw=1.4, ls=":")
        axes.plot(whole["place"], whole["gem5_s"] * 1e6, "*", color=GREY, markerfacecolor=face, ms=10)


def _together(tiles: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The tiles of whole matrices by layout, in the order of `LAYOUTS`; older results have packed ones."""
    whole = tiles[tiles["slices"] > 1].sort_values("place")
    if "layout" not in whole:
        return [("packed", whole)] if len(whole) else []
    layouts = whole["layout"].fillna("packed")
    return [(layout, whole[layouts == layout]) for layout in LAYOUTS if (layouts == layout).any()]


def _errors(axes: Axes, tiles: pd.DataFrame, batches: Sequence[Any]) -> None:
    alone = tiles[tiles["slices"] == 1]
    for i, nbw in enumerate(sorted(alone["nbw"].unique())):
        for j, batch in enumerate(batches):
            own = alone[(alone["nbw"] == nbw) & (alone["batch"] == batch)].sort_values("place")
            face = SERIES[i % 7] if j == 0 else "white"
            axes.plot(
                own["place"] + 0.12 * (j - (len(batches) - 1) / 2),
                100 * own["error"],
                MARKERS[i % 7],
                color=SERIES[i % 7],
                markerfacecolor=face,
                label=f"NBW {nbw:g}, batch {batch:g}",
            )
    for i, (layout, whole) in enumerate(_together(tiles)):
        axes.plot(
            whole["place"],
            100 * whole["error"],
            "*",
            color=GREY,
            markerfacecolor=GREY if i == 0 else "white",
            ms=10,
            label=f"whole matrix, {LAYOUTS[layout]}",
        )
    axes.axhline(0, color=GREY, lw=0.8)
    most = max(5.0, 110 * float(tiles["error"].abs().max()))
    axes.set_ylim(-most, most)
    axes.set_ylabel("fast engine against gem5, %")
    axes.set_title("above 0: the engine takes longer", loc="left")


def timeline_figure(timelines: Sequence[TileTimeline], shown: tuple[int, int] = SHOWN_GROUPS) -> Figure:
    """Load, build, look-up, conversion and write-back of a tile's first and last groups against cycles.

    Args:
        timelines: of one tile; a line of panels for each source.
        shown: how many groups, at the beginning and at the end; all where the tile has fewer.

    Raises:
        SailsimError: no group is to be shown.
    """
    count = min(len(timeline.groups) for timeline in timelines)
    if min(shown) < 1:
        raise SailsimError(f"groups is {shown[0]}:{shown[1]}; allowed are at least 1 at each end.")
    ranges = [(0, min(shown[0], count))]
    if count > sum(shown):
        ranges.append((count - shown[1], count))
    elif count > shown[0]:
        ranges = [(0, count)]
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
