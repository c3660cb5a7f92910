"""The look of every figure: colours, canvas, caption, axes.

Colours are those of Okabe and Ito; markers, dashes and hatches repeat what they say.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from sailsim.base.atomic import write_whole

OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
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
    "text.parse_math": False,  # a dollar in a name is one
    "savefig.dpi": 150,
}


_DATED = {"svg": "Date", "pdf": "CreationDate"}
"""What would make two files of one figure differ, by their kind."""


@contextmanager
def style() -> Iterator[None]:
    """The look of every figure, while drawing and while saving."""
    with mpl.rc_context(_STYLE):
        yield


def canvas(
    title: str, columns: int = 1, lines: int = 0, width: float = 8.0, height: float = 4.4, **kw: Any
) -> tuple[Figure, Any]:
    """A figure with a headline and a row of axes, or with ``lines`` a grid of them."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(max(lines, 1), columns, squeeze=False, **kw)
    if not lines:
        axes = axes[0]
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    return figure, axes


def caption(figure: Figure, *sentences: str) -> None:
    """Small print under the axes; the figure grows by what it takes."""
    columns = int(figure.get_figwidth() * 15.2)
    lines = [line for sentence in sentences if sentence for line in textwrap.wrap(sentence, columns)]
    added = 0.155 * len(lines) + 0.12
    height = float(figure.get_figheight()) + added
    figure.set_figheight(height)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0, added / height, 1, 1 - added / height))  # type: ignore[call-arg]
    figure.text(
        0.01, 0.06 / height, "\n".join(lines), fontsize=7.6, color="#444444", va="bottom", linespacing=1.35
    )


def plain_numbers(axis: Any, values: Sequence[float] | None = None) -> None:
    """Plain numbers on a logarithmic axis, ticks at ``values`` if given."""
    if values is not None:
        axis.set_major_locator(FixedLocator([float(v) for v in values]))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}" if v >= 10 else f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def draw_line(axes: Axes, i: int, x: Any, y: Any, label: str, **kw: Any) -> None:
    """The ``i``-th line of some axes, in its colour, marker and dashes."""
    style = {"color": SERIES[i % 7], "marker": MARKERS[i % 7], "linestyle": DASHES[i % 7]} | kw
    axes.plot(x, y, label=label, **style)


def mark_paper(axes: Axes, y: float, text: str) -> None:
    """The label of the dotted line of a published value, above its right end."""
    axes.annotate(text, (0.99, y), xycoords=("axes fraction", "data"), va="bottom", ha="right", fontsize=8.5)


def save(figure: Figure, *paths: Path) -> list[Path]:
    """Write a figure as SVG, PNG or PDF, as each path ends, whole or not at all; returns the paths.

    Raises:
        OSError: one cannot be written.
    """
    for path in paths:
        kind = path.suffix.removeprefix(".")
        metadata: dict[str, Any] = {_DATED.get(kind, "Software"): None}
        buffer = BytesIO()
        with style():
            figure.savefig(buffer, format=kind, metadata=metadata)
        write_whole(path, buffer.getvalue())
    return list(paths)


PHASE_STYLE: Mapping[str, tuple[str, str, str]] = {
    "dram": ("DRAM: units wait for weights", OKABE_ITO["blue"], ""),
    "load": ("load: activations, weights on chip", OKABE_ITO["sky"], "//"),
    "build": ("table build", OKABE_ITO["orange"], ""),
    "lookup": ("look-up", OKABE_ITO["vermillion"], "\\\\"),
    "convert": ("convert and scale", OKABE_ITO["yellow"], ".."),
    "write_back": ("write back", OKABE_ITO["purple"], "xx"),
    "cores": ("cores: attention and the rest", OKABE_ITO["green"], ""),
    "sync": ("hand-over", OKABE_ITO["black"], ""),
}
