"""The picture of a folder that somebody asked for, in the look of all others."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sailsim.analysis.render.style import DASHES, MARKERS, SERIES, canvas, draw_line, plain_numbers, style
from sailsim.analysis.results.chart import Chart, Panel
from sailsim.base.errors import SailsimError

ENDINGS = (".png", ".svg", ".pdf")
FEW_TICKS = 12
"""So many values of x get a tick each."""
HATCHES = ("", "//", "..", "xx", "\\\\", "--", "oo")


def check_ending(path: Path) -> None:
    """Raise SailsimError for a file of another kind than `ENDINGS`."""
    if path.suffix not in ENDINGS:
        raise SailsimError(f"out is {path}; allowed are files that end in {', '.join(ENDINGS)}.")


def plot(chart: Chart, log_x: bool = False, log_y: bool = False) -> Figure:
    """Draw a chart. Raises SailsimError for a logarithmic axis of words, or of numbers not above 0."""
    words = chart.kind == "bar"
    if log_x and words:
        raise SailsimError(f"x is {chart.ask.x!r}, drawn as words; allowed without a logarithmic axis.")
    for log, name, of in ((log_x, chart.ask.x, "x"), (log_y, chart.ask.y, "y")):
        every = [v for panel in chart.panels for each in panel.series for v in getattr(each, of)]
        if log and min(every) <= 0:
            raise SailsimError(
                f"{of} is {name!r}, down to {min(every):g}; allowed on a logarithm is above 0."
            )
    with style():
        return _drawn(chart, log_x, log_y)


def _drawn(chart: Chart, log_x: bool, log_y: bool) -> Figure:
    columns = min(len(chart.panels), 3)
    lines = -(-len(chart.panels) // columns)
    width = 3.6 + 3.2 * columns if columns > 1 else 8.0
    below = [line for said in chart.said for line in textwrap.wrap(said, int(width * 13))]
    title = "\n".join([_plain(chart.title), *(" " for _ in below)])
    legend = 0.9 + 0.19 * len(chart.panels[0].series) if chart.color is not None else 0.0
    height = max(0.9 + 3.1 * lines, legend) + 0.2 * len(below)
    figure, grid = canvas(title, columns, lines, width, height, sharey=True)
    figure.text(
        0.01, 0.98 - 0.21 / height, _plain("\n".join(below)), fontsize=8.5, color="#444444", va="top"
    )  # fmt: skip
    places = [axes for row in grid for axes in row]
    for axes in places[len(chart.panels) :]:
        axes.set_visible(False)
    for i, (axes, panel) in enumerate(zip(places, chart.panels, strict=False)):
        _panel(axes, chart, panel)
        if panel.title != "":
            axes.set_title(_plain(panel.title), loc="left")
        axes.set_xlabel(_plain(chart.x.label))
        if i % columns == 0:
            axes.set_ylabel(_plain(chart.y.label))
        _along(axes, chart, panel, log_x)
    _up(places[0], chart, log_y)  # all share it
    if chart.color is not None:
        handles, labels = places[0].get_legend_handles_labels()
        places[min(columns, len(chart.panels)) - 1].legend(
            handles,
            labels,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            fontsize=8.5,
            title=_plain(chart.color.label),
            alignment="left",
        )
    return figure


def _panel(axes: Axes, chart: Chart, panel: Panel) -> None:
    """All marks of a panel; every colour is there, so that all panels have the same ones."""
    if chart.kind == "bar":
        _bars(axes, panel)
        return
    for i, each in enumerate(panel.series):
        other = (i + i // 7) % 7  # beyond seven, a colour comes again with another marker
        look = {"marker": MARKERS[other], "linestyle": DASHES[other] if chart.kind == "line" else "none"}
        draw_line(axes, i, each.x, each.y, _plain(each.title), **look)


def _bars(axes: Axes, panel: Panel) -> None:
    names = list(dict.fromkeys(x for each in panel.series for x in each.x))
    numbers = all(isinstance(name, int | float) for name in names)
    names = sorted(names) if numbers else names
    width = 0.8 / len(panel.series)
    for i, each in enumerate(panel.series):
        at = np.array([names.index(x) for x in each.x]) + (i - (len(panel.series) - 1) / 2) * width
        axes.bar(
            at,
            each.y,
            width,
            label=_plain(each.title),
            color=SERIES[i % 7],
            hatch=HATCHES[(i // 7) % 7],
            edgecolor="white",
            linewidth=0.4,
        )
    long = max(len(str(name)) for name in names) * len(names) > 60
    axes.set_xticks(
        range(len(names)),
        [_plain(name) for name in names],
        rotation=30 if long else 0,
        ha="right" if long else "center",
    )
    axes.grid(axis="x", visible=False)


def _up(axes: Axes, chart: Chart, log: bool) -> None:
    """The axis of y, when all is drawn: lines and bars begin at 0."""
    if log:
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
    elif chart.kind != "scatter":
        every = [y for panel in chart.panels for each in panel.series for y in each.y]
        if min(every) >= 0:
            axes.set_ylim(bottom=0.0)


def _along(axes: Axes, chart: Chart, panel: Panel, log: bool) -> None:
    """The axis of x: a tick for each value where they are few."""
    if chart.kind == "bar":
        return
    values = sorted({x for each in panel.series for x in each.x})
    few = values if len(values) <= FEW_TICKS and chart.kind == "line" else None
    if log:
        axes.set_xscale("log")
        plain_numbers(axes.xaxis, few)
    elif few is not None:
        axes.set_xticks(few)


def _plain(text: object) -> str:
    """Text that is no formula."""
    return str(text).replace("$", r"\$")
