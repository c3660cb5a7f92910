"""The look of every figure: colours, canvas, caption, axes.

Colours are those of Okabe and Ito; markers, dashes and hatches repeat what they say.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

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
    text, added = small_print(figure, sentences)
    height = float(figure.get_figheight()) + added
    figure.set_figheight(height)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0, added / height, 1, 1 - added / height))  # type: ignore[call-arg]
    figure.text(0.01, 0.06 / height, text, **SMALL)


SMALL: dict[str, Any] = {"fontsize": 7.6, "color": "#444444", "va": "bottom", "linespacing": 1.35}


def small_print(figure: Figure, sentences: Iterable[str]) -> tuple[str, float]:
    """Sentences in lines that are as long as a figure is wide, and the inches that they take."""
    letters = int(figure.get_figwidth() * 15.2)
    lines = [line for sentence in sentences if sentence for line in textwrap.wrap(sentence, letters)]
    return "\n".join(lines), 0.155 * len(lines) + 0.12


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
"""What each phase of a step is called, its colour and its hatch."""
ENERGY_STYLE: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "PIM units": (("arrays", "convert", "dfm", "prt"), OKABE_ITO["vermillion"], "\\\\"),
    "LLC and mesh": (("llc", "mesh"), OKABE_ITO["sky"], "//"),
    "DRAM": (("dram",), OKABE_ITO["blue"], ""),
    "cores at work and waiting": (("cores",), OKABE_ITO["green"], ""),
    "what runs all the time": (("static",), "#bbbbbb", ".."),
}
"""Causes of energy that share a colour, by their name in the figure; the units' own parts have one of
theirs."""
UNIT_STYLE: Mapping[str, tuple[str, str, str]] = {
    "arrays": ("arrays: tables and look-ups", OKABE_ITO["vermillion"], "\\\\"),
    "convert": ("convert and scale", OKABE_ITO["yellow"], ".."),
    "dfm": ("shift and add", OKABE_ITO["orange"], ""),
    "prt": ("pattern reuse table", OKABE_ITO["purple"], "xx"),
}
"""The same of the units' parts."""
