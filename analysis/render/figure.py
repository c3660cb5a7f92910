"""Declaration of a figure, and its drawing for a file and for the page.

A `Figure` has panels of marks, each over a data frame. `draw` makes matplotlib's figure of it, `values` a
table of its numbers; the declaration is independent of both. Colours are those of Okabe and Ito, with grey
for yellow, which neither paper nor a dark page shows well. Markers, dashes and hatches repeat the information
of the colours."""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, NullLocator

from sailsim.base.atomic import write_whole

# A PNG shows boxes for a name in another script; the page uses the browser's fonts.
warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)

OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "grey": "#999999",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
}
SERIES = tuple(
    OKABE_ITO[name] for name in ("blue", "vermillion", "green", "purple", "orange", "sky", "black")
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "legend.frameon": False,
    "svg.hashsalt": "sailsim",
    "svg.fonttype": "path",
    "text.parse_math": False,  # a dollar in a name begins no formula
    "savefig.dpi": 150,
}
_UNDATED: dict[str, Any] = {"svg": {"Date": None}, "png": {"Software": None}}
"""Metadata by kind of file that leave out dates and versions, so that equal figures give equal files."""


def style() -> AbstractContextManager[None]:
    """Context with the style of every figure, for drawing and for saving."""
    return mpl.rc_context(_STYLE)


def save(drawing: Drawing, *paths: Path) -> list[Path]:
    """Write a figure as SVG or PNG by each path's ending, whole or not at all; returns the paths.

    Raises:
        OSError: one cannot be written.
    """
    for path in paths:
        kind = path.suffix.removeprefix(".")
        buffer = BytesIO()
        with style():
            drawing.savefig(buffer, format=kind, metadata=_UNDATED[kind])
        write_whole(path, buffer.getvalue())
    return list(paths)


GREY = "#444444"
Kind = Literal["lines", "bars", "ranks", "spans"]


class LineStyle(NamedTuple):
    """Style of a line or of a part of a stack; a line without ``dash`` is marks alone."""

    colour: str
    marker: str = "o"
    dash: Any = "-"
    hatch: str = ""
    filled: bool = True
    size: float = 6


def line_style(which: int | str, *style: Any, **changed: Any) -> LineStyle:
    """Style of a figure's line by its number, with a colour, a mark and dashes of its own, or of a colour by
    name with the other fields of a `LineStyle`."""
    if isinstance(which, str):
        return LineStyle(OKABE_ITO.get(which, which), *style, **changed)
    return LineStyle(SERIES[which % 7], MARKERS[which % 7], DASHES[which % 7])._replace(**changed)


PHASES: Mapping[str, tuple[str, LineStyle]] = {
    "dram": ("DRAM: units wait for weights", line_style("blue")),
    "load": ("load: activations, weights on chip", line_style("sky", hatch="//")),
    "build": ("table build", line_style("orange")),
    "lookup": ("look-up", line_style("vermillion", hatch="\\\\")),
    "convert": ("convert and scale", line_style("grey", hatch="..")),
    "write_back": ("write back", line_style("purple", hatch="xx")),
    "cores": ("cores: attention and the rest", line_style("green")),
    "sync": ("hand-over", line_style("black")),
}
"""Words and style of each phase of a step."""


class ReferenceLine(NamedTuple):
    """A line across a panel at a value, with a label if any; that of a paper's value is dotted."""

    value: float
    words: str = ""
    dotted: bool = False


@dataclass(frozen=True)
class FigureAxis:
    """An axis: the column along it, its label with the unit, its ticks with their words, its limits."""

    column: str
    label: str = ""
    log: bool = False
    ticks: Mapping[Any, str] | None = None
    groups: Mapping[Any, str] | None = None
    """Places and words of a second row of labels, below the ticks."""
    limits: tuple[float | None, float | None] = (None, None)

    @classmethod
    def of_names(cls, names: Sequence[str], upward: bool = False) -> FigureAxis:
        """Axis of the column ``at`` with names at places 0, 1, ..., from the top down unless ``upward``."""
        ends = (-0.6, len(names) - 0.4)
        return cls("at", ticks=dict(enumerate(names)), limits=ends if upward else ends[::-1])

    def words(self, value: Any) -> str:
        """Words for a place along the axis: those of a tick there, or the number."""
        near = (words for tick, words in (self.ticks or {}).items() if abs(tick - value) < 0.3)
        return next(near, f"{value:,.4g}")


@dataclass(frozen=True)
class Panel:
    """Marks over rows.

    Attributes:
        rows: a row for each mark; a row without a value is not drawn.
        line: the column whose words separate lines, parts of a stack, or marks of one place.
        kind: ``lines`` along x; ``bars`` that stack up; ``ranks``, values along x at places of y; ``spans``
            along x, from ``low`` to ``high``.
        low, high: columns with the ends of a value's interval, for stacked bars that of the whole.
        least, most: columns with the ends of a wider interval.
        totals: whether the sums of bars are written above them.
        rules: lines across the panel at values.
        split: places of lines that separate ranks.
        notes: small words at points.
        width: width relative to other panels.
    """

    rows: pd.DataFrame
    x: FigureAxis
    y: FigureAxis
    line: str = ""
    kind: Kind = "lines"
    title: str = ""
    low: str = ""
    high: str = ""
    least: str = ""
    most: str = ""
    totals: bool = False
    rules: Sequence[ReferenceLine] = ()
    split: Sequence[float] = ()
    notes: Sequence[tuple[float, float, str]] = ()
    width: float = 1.0

    @property
    def place(self) -> FigureAxis:
        """The axis of the marks' places."""
        return self.y if self.kind in ("ranks", "spans") else self.x

    @property
    def value(self) -> FigureAxis:
        """The axis of the marks' values."""
        return self.x if self.kind in ("ranks", "spans") else self.y

    def marks(self) -> pd.DataFrame:
        """The rows that have a value, with columns `line`, `place`, `value` and the panel's ends."""
        columns = {"place": self.place.column, "value": self.value.column, "low": self.low, "high": self.high}
        columns |= {"least": self.least, "most": self.most}
        numbers = {name: self.rows[column].astype(float) for name, column in columns.items() if column}
        marks = pd.DataFrame(numbers).assign(line=self.rows[self.line] if self.line else "")
        return marks[marks["value"].notna()]


@dataclass(frozen=True)
class Figure:
    """A figure: its title, its panels in rows of ``columns``, and sentences below it.

    ``looks`` are the styles of lines and parts by their words, in the legend's order; others get the next
    `line_style`. With ``equal`` all panels have one scale. ``height`` is a panel's, in inches.
    """

    title: str
    panels: Sequence[Panel]
    caption: Sequence[str] = ()
    looks: Mapping[str, LineStyle] = field(default_factory=dict)
    columns: int = 0
    equal: bool = False
    height: float = 3.0

    def styled(self) -> dict[str, LineStyle]:
        """Style of every line that is drawn."""
        looks = dict(self.looks)
        drawn = {words: None for panel in self.panels for words in panel.marks()["line"].unique()}
        for words in drawn:
            looks.setdefault(words, line_style(len(looks)))
        return {words: own for words, own in looks.items() if words in drawn}


def values(figure: Figure) -> tuple[list[str], list[list[object]]]:
    """Header and rows of the table of a figure's marks."""
    places = {panel.place.label for panel in figure.panels}
    titles = {panel.value.label for panel in figure.panels}
    place, title = (labels.pop() if len(labels) == 1 else "" for labels in (places, titles))
    heads: dict[Any, str] = {"title": "panel", "line": "what"}
    heads |= {"place": place or "at", "value": title or "value"}
    heads |= {end: end for end in ("low", "high", "least", "most")}
    rows = pd.concat(
        marks.assign(title=panel.title, place=marks["place"].map(panel.place.words))
        for panel in figure.panels
        if len(marks := panel.marks())
    ).reindex(columns=list(heads))
    known = rows.mask(rows == "").dropna(axis="columns", how="all")
    return [heads[name] for name in known], known.to_numpy().tolist()


def draw(figure: Figure) -> Drawing:
    """Matplotlib's drawing of a figure, without title and caption, which the page shows as text."""
    count = len(figure.panels)
    columns = figure.columns or count
    grid = -(-count // columns)
    looks = figure.styled()
    labels = [words for words in looks if words]
    one_scale = all(panel.x == figure.panels[0].x for panel in figure.panels)
    with style():
        shares = [panel.width for panel in figure.panels[:columns]]
        inches = min(9.2, max(6.0, 4.0 * columns))
        legend = 2.2 if len(labels) > 1 else 1.4
        drawing = Drawing(figsize=(inches + legend, 0.5 + figure.height * grid), layout="constrained")
        FigureCanvasAgg(drawing)
        axes = drawing.subplots(
            grid, columns, squeeze=False, sharex=one_scale, sharey=figure.equal, width_ratios=shares
        )
        pairs = list(zip(axes.flat, figure.panels, strict=False))
        for place, panel in pairs:
            _MARKS[panel.kind](place, panel, looks)
        for i, (place, panel) in enumerate(pairs):  # shared scales are known once all marks are drawn
            letters = int(12.5 * inches * shares[i % columns] / sum(shares))
            _furnish(place, panel, letters)
            if one_scale and i + columns < count:
                place.set_xlabel("")
            if i % columns and figure.panels[i - 1].y.label == panel.y.label:
                place.set_ylabel("")
        for place in axes.flat[count:]:
            place.set_visible(False)
        if len(labels) > 1:
            _legend(drawing, figure, {name: looks[name] for name in labels})
        engine = drawing.get_layout_engine()
        assert engine is not None
        engine.execute(drawing)
        drawing.set_layout_engine("none")  # one layout for all files
        _thin(drawing)
    return drawing


def _thin(drawing: Drawing) -> None:
    """Hide the labels of ticks that overlap the label before."""
    for axis in (axis for axes in drawing.axes if axes.get_visible() for axis in (axes.xaxis, axes.yaxis)):
        last = None
        for tick in axis.get_major_ticks():
            box = tick.label1.get_window_extent()
            if last is not None and box.overlaps(last):
                tick.label1.set_visible(False)
            elif tick.label1.get_text():
                last = box


def save_captioned(figure: Figure, drawing: Drawing, stem: Path) -> None:
    """Write the drawing of a figure as SVG and PNG, and add its title and caption to it. Raises OSError as
    `save`."""
    width, height = drawing.get_size_inches()
    letters = int(width * 15.2)
    lines = [line for text in figure.caption if text for line in textwrap.wrap(text, letters)]
    with style():
        drawing.set_size_inches(width, height + 0.35 + 0.155 * len(lines) + 0.12)
        drawing.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7.6, color=GREY, linespacing=1.35)
        drawing.suptitle(figure.title, x=0.01, ha="left", fontweight="bold", fontsize=12)
        drawing.set_layout_engine("constrained")
    save(drawing, *(stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png")))


def _lines(axes: Axes, panel: Panel, looks: Mapping[str, LineStyle]) -> None:
    for name, own in _by_look(panel, looks):
        colour, marker, dash, _, filled, size = looks[name]
        face = colour if filled else "white"
        if panel.low and len(own) > 1:
            axes.fill_between(own["place"], own["low"], own["high"], color=colour, alpha=0.13, lw=0)
        elif panel.low:
            axes.vlines(own["place"], own["low"], own["high"], color=colour, alpha=0.4, lw=3)
        axes.plot(own["place"], own["value"], marker=marker, color=colour, ls=dash, ms=size, mfc=face)


def _bars(axes: Axes, panel: Panel, looks: Mapping[str, LineStyle]) -> None:
    every = panel.marks()
    tops = pd.Series(0.0, every["place"].unique())
    for name, own in _by_look(panel, looks):
        axes.bar(
            own["place"], own["value"], 0.74, tops[own["place"]], color=looks[name].colour,
            hatch=looks[name].hatch, edgecolor="white", linewidth=0.4,
        )  # fmt: skip
        tops[own["place"]] += own["value"].to_numpy()
    if panel.low:
        ends = every.drop_duplicates("place")
        axes.vlines(ends["place"], ends["low"], ends["high"], color=GREY, lw=0.9)
    for place, top in tops.items() if panel.totals else ():
        axes.annotate(f"{top:.3g}", (place, top), ha="center", va="bottom", fontsize=8)
    if len(tops) == 1:  # a single bar is as wide as one of three
        axes.set_xlim(tops.index[0] - 1.5, tops.index[0] + 1.5)
    axes.grid(axis="x", visible=False)


def _ranks(axes: Axes, panel: Panel, looks: Mapping[str, LineStyle]) -> None:
    lines = _by_look(panel, looks)
    apart = 0.16 if panel.marks()["place"].duplicated().any() else 0.0
    for i, (name, own) in enumerate(lines):
        y, colour = own["place"] + apart * (i - (len(lines) - 1) / 2), looks[name].colour
        if panel.least:
            axes.hlines(y, own["least"], own["most"], color=colour, lw=5, alpha=0.22)
        if panel.low:
            known = own[own["low"].notna()]
            # The bar is drawn about its middle, since a nominal value may lie outside its interval.
            middle, half = (known["low"] + known["high"]) / 2, (known["high"] - known["low"]) / 2
            axes.errorbar(middle, y[known.index], xerr=half, color=colour, lw=1, capsize=2, fmt="none")
        axes.plot(own["value"], y, looks[name].marker, color=colour, ls="", ms=7)
    for place in panel.split:
        axes.axhline(place, color="#888888", lw=0.8)


def _spans(axes: Axes, panel: Panel, looks: Mapping[str, LineStyle]) -> None:
    for name, own in _by_look(panel, looks):
        colour, hatch = looks[name].colour, looks[name].hatch
        for place in own["place"].unique():
            some = own[own["place"] == place]
            bars = list(zip(some["low"], some["high"] - some["low"], strict=True))
            ends = (place - 0.4, 0.8)
            axes.broken_barh(bars, ends, facecolors=colour, edgecolors="white", linewidth=0.5, hatch=hatch)
    axes.grid(axis="y", visible=False)


_MARKS: Mapping[Kind, Callable[[Axes, Panel, Mapping[str, LineStyle]], None]] = {
    "lines": _lines, "bars": _bars, "ranks": _ranks, "spans": _spans
}  # fmt: skip


def _by_look(panel: Panel, looks: Mapping[str, LineStyle]) -> list[tuple[str, pd.DataFrame]]:
    """A panel's marks by line, in the order of the legend, sorted by place."""
    rows = panel.marks().sort_values("place", kind="stable")
    return [(name, own) for name in looks if len(own := rows[rows["line"] == name])]


def _furnish(axes: Axes, panel: Panel, letters: int) -> None:
    """Draw reference lines, title and labels of at most so many letters a line, scales and ticks."""
    _rules(axes, panel)
    for axis, scale, ends, own in (
        (axes.xaxis, axes.set_xscale, axes.set_xlim, panel.x),
        (axes.yaxis, axes.set_yscale, axes.set_ylim, panel.y),
    ):
        if own.limits != (None, None):
            ends(*own.limits)
        if own.log:
            scale("log")
            first, last = axis.get_view_interval()
            wide = axis is axes.xaxis and last > 300 * first
            axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
            axis.set_minor_locator(NullLocator())
        if own.ticks is not None:
            if any("\n" in each for each in own.ticks.values()):
                axis.set_tick_params(labelsize=8)
            axis.set_major_locator(FixedLocator(list(own.ticks)))
            axis.set_major_formatter(FixedFormatter(list(own.ticks.values())))
            axis.set_minor_locator(NullLocator())
        if own.groups is not None:
            axis.set_tick_params(labelsize=8)
            axis.set_minor_locator(FixedLocator(list(own.groups)))
            axis.set_minor_formatter(FixedFormatter(list(own.groups.values())))
            axis.set_tick_params(which="minor", length=0, pad=18)
    if len(panel.x.ticks or ()) > 3 and any(len(words) > 5 for words in (panel.x.ticks or {}).values()):
        axes.tick_params(axis="x", rotation=30)
    axes.set_title(textwrap.fill(panel.title, letters), loc="left")
    axes.set_xlabel(textwrap.fill(panel.x.label, letters) or panel.x.label)
    axes.set_ylabel(panel.y.label)
    for x, y, text in panel.notes:
        axes.annotate(text, (x, y), (5, 3), textcoords="offset points", fontsize=8)


def _rules(axes: Axes, panel: Panel) -> None:
    for value, words, dotted in panel.rules:
        dash: Any = (0, (2, 2)) if dotted else "-"
        if panel.value is panel.x:
            axes.axvline(value, color=GREY, lw=1, ls=dash)
            axes.annotate(words, (value, 1), (3, 2), ("data", "axes fraction"), "offset points", size=8.5)
        else:
            axes.axhline(value, color=GREY, lw=1, ls=dash)
            place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "bottom", "ha": "right"}
            axes.annotate(words, (0.99, value), size=8.5, **place)


def _short(value: float) -> str:
    """A tick's number with k or M for thousands or millions."""
    for limit, end in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{end}"
    return f"{value:g}"


def _legend(drawing: Drawing, figure: Figure, looks: Mapping[str, LineStyle]) -> None:
    kinds = {name: panel.kind for panel in figure.panels for name in panel.marks()["line"].unique()}
    handles: list[Any] = []
    for name, own in looks.items():
        if kinds[name] in ("bars", "spans"):
            handles.append(Patch(facecolor=own.colour, hatch=own.hatch, edgecolor="white", label=name))
            continue
        face, dash = own.colour if own.filled else "white", "" if kinds[name] == "ranks" else own.dash
        handles.append(
            Line2D([], [], color=own.colour, marker=own.marker, ls=dash, mfc=face, ms=own.size, label=name)
        )
    if all(isinstance(each, Patch) for each in handles):
        handles.reverse()  # the order of stacked bars from the top
    drawing.legend(handles=handles, loc="outside right center", fontsize=8.5 if len(handles) > 6 else 9.5)


def inline_svg(drawing: Drawing, name: str) -> str:
    """A drawing as an SVG element inside HTML; ``name`` makes its ids differ from those of other drawings."""
    buffer = StringIO()
    with style(), mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        drawing.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Format", "Type", "Creator")))
    _, begin, element = buffer.getvalue().partition("<svg")
    return begin + re.sub('<g id="[^"]*">', "<g>", element)  # no element refers to a group's id
