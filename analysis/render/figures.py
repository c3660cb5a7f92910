"""Figures of a sweep, drawn from its store alone.

Each figure holds all but a few columns at a reference (the point's defaults where the store has them, else
the most frequent value) and says so under the plot, with the system, the model, the source of the pattern
counts and, where dollars are shown, the prices and their date. Colours are those of Okabe and Ito; markers,
dashes and hatches repeat what they say. What a store lacks becomes a picture of one sentence that names the
missing points.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.paper.claims import SHIPPED
from sailsim.analysis.render.dollar_figure import dollars
from sailsim.analysis.render.energy_figure import energy
from sailsim.analysis.render.gem5_figures import FOLDER, gem5_figures
from sailsim.analysis.render.speed_figures import speedup, step_time, threads
from sailsim.analysis.render.style import save, style
from sailsim.analysis.render.unit_figures import conversion, prt
from sailsim.analysis.results.results import (
    MissingPointsError,
    Runs,
    stored_runs,
)
from sailsim.base.progress import followed
from sailsim.sim import Store

FIGURES: Mapping[str, Callable[..., Figure]] = {
    "speedup": speedup,
    "threads": threads,
    "dollars": dollars,
    "step_time": step_time,
    "energy": energy,
    "prt": prt,
    "conversion": conversion,
}
"""Name of the file and what draws it from `Runs`, in the order of the report."""
MARKED = ("speedup", "prt")
"""Those that mark what a paper claims, and take it too."""


def _sentence(text: str) -> Figure:
    """A picture of one sentence, in the place of a figure whose points are missing."""
    figure = Figure(figsize=(8, 1.6))
    FigureCanvasAgg(figure)
    figure.text(0.03, 0.5, "\n".join(textwrap.wrap(text, 88)), fontsize=11, va="center")
    return figure


def draw(name: str, results: Runs, paper: str = SHIPPED) -> Figure:
    """One figure by name with a paper's claims, or the sentence that says which points it lacks."""
    with style():
        try:
            return FIGURES[name](results, paper) if name in MARKED else FIGURES[name](results)
        except MissingPointsError as missing:
            return _sentence(str(missing))


def figures(
    store: Store | str | Path,
    out: str | Path | None = None,
    price_file: str | Path | None = None,
    progress: bool = False,
) -> list[Path]:
    """Draw every figure of a store as SVG and PNG into ``out`` (default: `figures` in the store's folder),
    and those of gem5's results below it where there are any.

    ``progress`` is told on standard error. Returns the paths in the order of the report, SVG before PNG.
    Raises SailsimError for a store without results.
    """
    opened = store if isinstance(store, Store) else Store(store)
    results = Runs.of(stored_runs(opened), prices(price_file))
    folder = Path(out) if out is not None else opened.path / "figures"
    drawn = {name: draw(name, results) for name in followed(FIGURES, "figures", progress)} | gem5_figures(
        opened.path / FOLDER
    )
    written = []
    for name, figure in drawn.items():
        written += save(figure, folder / f"{name}.svg", folder / f"{name}.png")
    return written
