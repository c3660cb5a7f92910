"""Figures of a sweep, drawn from its store alone.

Each figure holds all but a few columns at a reference (the point's defaults where the store has them, else
the most frequent value) and says so under the plot, with the system, the model, the source of the pattern
counts and, where dollars are shown, the prices and their date. Colours are those of Okabe and Ito; markers,
dashes and hatches repeat what they say. A figure runs along what the store has more than one value of, where
it lacks what the figure was meant for; one that nothing suits is left out, with a sentence that names the
points.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.paper.claims import SHIPPED
from sailsim.analysis.render.dollar_figure import dollars
from sailsim.analysis.render.energy_figure import energy, energy_units
from sailsim.analysis.render.gem5_figures import FOLDER, gem5_figures
from sailsim.analysis.render.speed_figures import speedup, step_time, threads
from sailsim.analysis.render.style import save, style
from sailsim.analysis.render.unit_figures import conversion, prt
from sailsim.analysis.results.results import (
    MissingPointsError,
    Runs,
    stored_runs,
)
from sailsim.base.errors import escaped
from sailsim.base.progress import followed
from sailsim.sim.study.folder import Store

FIGURES: Mapping[str, Callable[..., Figure]] = {
    "speedup": speedup,
    "threads": threads,
    "dollars": dollars,
    "step_time": step_time,
    "energy": energy,
    "energy_units": energy_units,
    "prt": prt,
    "conversion": conversion,
}
"""Name of the file and what draws it from `Runs`, in the order of the report."""
MARKED = ("speedup", "prt")
"""Those that mark what a paper claims, and take it too."""


def draw(name: str, results: Runs, paper: str = SHIPPED) -> Figure:
    """One figure by name with a paper's claims.

    Raises MissingPointsError where the store has nothing that suits it; the sentence says what it lacks.
    """
    with style():
        return FIGURES[name](results, paper) if name in MARKED else FIGURES[name](results)


def suited(results: Runs, progress: bool = False) -> tuple[dict[str, Figure], list[str]]:
    """The figures that a store's points suit, by name, and a sentence for each of the others."""
    drawn, lacking = {}, []
    for name in followed(FIGURES, "figures", progress):
        try:
            drawn[name] = draw(name, results)
        except MissingPointsError as missing:
            lacking.append(str(missing))
    return drawn, lacking


def figures(
    store: Store | str | Path,
    out: str | Path | None = None,
    price_file: str | Path | None = None,
    progress: bool = False,
) -> list[Path]:
    """Draw every figure that a store's points suit as SVG and PNG into ``out`` (default: `figures` in its
    folder), and those of gem5's results below it where there are any.

    ``progress`` is told on standard error, and so is what a figure that is left out lacks; a file that an
    earlier call has left of it goes. Returns the paths in the order of `FIGURES`, SVG before PNG. Raises
    SailsimError for a store without results.
    """
    opened = store if isinstance(store, Store) else Store(store)
    results = Runs.of(stored_runs(opened), prices(price_file))
    folder = Path(out) if out is not None else opened.path / "figures"
    drawn, lacking = suited(results, progress)
    if progress:
        for sentence in lacking:
            print(escaped(f"left out: {sentence}"), file=sys.stderr)
    for name in set(FIGURES) - set(drawn):
        for kind in ("svg", "png"):
            (folder / f"{name}.{kind}").unlink(missing_ok=True)
    written = []
    for name, figure in (drawn | gem5_figures(opened.path / FOLDER)).items():
        written += save(figure, folder / f"{name}.svg", folder / f"{name}.png")
    return written
