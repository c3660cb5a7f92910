"""README's table of the paper's claims and its figures, from the results of `make sim`."""

from __future__ import annotations

from pathlib import Path

from sailsim.analysis.costs.dollars import prices
from sailsim.analysis.paper.claims import SHIPPED
from sailsim.analysis.paper.stored_claims import claims
from sailsim.analysis.render.claim_rows import ClaimRows, claim_rows
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
    header = ("claim", "paper", "here", "", "at equal quality", "at", "in other words")
    rows = [_row(each) for each in claim_rows(claims(out), SHIPPED)]
    points = len(set(Store(out).frame()["point_key"]))
    return {"claims": f"{table(header, rows, 'lrrlrlr')}\n\nThe highest values of {points} points."}


def draw_results(figures: Path, out: Path) -> list[Path]:
    """Draw the figures that pages show into a folder; returns the paths."""
    results = Runs.of(stored_runs(Store(out)), prices())
    return [path for name in SHOWN for path in save(draw(name, results), figures / f"{name}.png")]


def _row(claim: ClaimRows) -> list[object]:
    """A claim: what its primary reading gives, where, and at equal quality, and the span of the others."""
    main = claim.main
    return [
        f"{main['claim']}: {main['reading']}",
        claim.number(main["paper"]),
        claim.number(main["here"]),
        main["verdict"],
        claim.number(main["equal_quality"]),
        main["configuration"],
        claim.span,
    ]
