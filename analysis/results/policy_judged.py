"""Policies that were searched, beside what they turn out to be: measured on another text and simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sailsim.analysis.results.policy_tries import Searched
from sailsim.analysis.results.quality import QualityPoint, measure_quality
from sailsim.sim import Point
from sailsim.sim.simulate import simulate
from sailsim.sim.study import Workers


def judged(
    point: Point,
    found: Searched,
    choices: Sequence[str],
    folder: Path,
    *,
    text: str = "",
    jobs: int | Workers = 1,
) -> list[dict[str, Any]]:
    """A row for every choice everywhere and every policy, whose files lie in a folder: predicted, verified on
    the text of the search, measured on the text of `quality` beside floats, and simulated."""
    names = [*choices, *(str(folder / name) for name in found)]
    asked = [QualityPoint(point.model, name, abits=point.abits, text=text) for name in names]
    asked.insert(0, asked[0].in_floats())
    frame = measure_quality(asked, folder / "quality", jobs=jobs, progress=True)
    of = {row["weights"]: row for row in frame.to_dict("records")}
    rows = []
    for name in names:
        measured, tried = of[name], found.get(Path(name).name)
        step = simulate(replace(point, weights=name, wbits=0, group_size=0))
        rows.append(
            {
                "weights": Path(name).name,
                "budget": tried.budget if tried else None,
                "bits_per_weight": float(measured["bits_per_weight"]),
                "tries": tried.tries if tried else None,
                "predicted_loss": tried.predicted_loss if tried else None,
                "verified_loss": tried.loss if tried else None,
                "verified_error": tried.loss_error if tried else None,
                "loss": float(measured["loss"]),
                "loss_error": float(measured["loss_error"]),
                "fastest_loss": tried.rest + tried.fastest.loss if tried else None,
                "predicted_ms": 1e3 * tried.found.step_s if tried else None,
                "fastest_ms": 1e3 * tried.fastest.step_s if tried else None,
                "ms": 1e3 * step.step_s,
                "perplexity": float(measured["perplexity"]),
                "perplexity_error": float(measured["perplexity_error"]),
                "agreement": float(measured["agreement"]),
            }
        )
    return rows
