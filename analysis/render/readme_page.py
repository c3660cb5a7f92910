"""README's table of the paper's claims and its figures, from the results of `make sim`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.paper.claims import load_paper
from sailsim.analysis.paper.stored_claims import claims
from sailsim.analysis.render.figures import draw
from sailsim.analysis.render.markdown import table
from sailsim.analysis.render.style import save
from sailsim.analysis.results.results import Runs, stored_runs
from sailsim.sim import Store

SHOWN = ("speedup", "step_time", "energy")
"""Figures of a sweep that README and docs/energy-area.md show."""


def results_parts(out: Path) -> dict[str, str]:
    """The table by its name, from a folder of results.

    Raises SailsimError for a folder without results.
    """
    lines = iter(claims(out).to_dict("records"))
    header = ("claim", "paper", "here", "", "at", "in other words")
    rows = []
    for claim in load_paper().claim:
        metrics = claim.metrics("store")
        rows.append(_row(list(islice(lines, len(metrics))), metrics.index(claim.primary)))
    points = len(set(Store(out).frame()["point_key"]))
    return {"claims": f"{table(header, rows, 'lrrllr')}\n\nThe highest values of {points} points."}


def draw_results(figures: Path, out: Path) -> list[Path]:
    """Draw the figures that pages show into a folder; returns the paths."""
    results = Runs.of(stored_runs(Store(out)), prices())
    return [path for name in SHOWN for path in save(draw(name, results), figures / f"{name}.png")]


def _row(readings: Sequence[Mapping[Any, Any]], primary: int) -> list[object]:
    """A claim: what its primary reading gives and where, and the span of the others."""
    main = readings[primary]
    others = [each["here"] for each in readings if each is not main and each["ratio"] is not None]
    unit = {"x": "x", "%": " %"}.get(main["unit"], "")
    return [
        f"{main['claim']}: {main['reading']}",
        f"{main['paper']:.3g}{unit}",
        "-" if main["here"] is None else f"{main['here']:.3g}{unit}",
        main["verdict"],
        main["configuration"],
        f"{min(others):.3g} .. {max(others):.3g}{unit}" if others else "",
    ]
