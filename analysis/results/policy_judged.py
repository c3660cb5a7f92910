"""Policies that were searched, beside what they turn out to be: measured on a text and simulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sailsim.analysis.results.policy_search import Found, policy_text, search, step_times
from sailsim.analysis.results.quality import QualityPoint, measure_quality
from sailsim.analysis.results.sensitivities import (
    CHUNKS,
    LENGTH,
    TOGETHER,
    groups,
    measure_sensitivities,
    sensitivity_points,
)
from sailsim.sim import Point
from sailsim.sim.simulate import simulate
from sailsim.sim.study import Workers
from sailsim.workloads import open_gguf


@dataclass(frozen=True)
class Searched:
    """Policies by the names of their files, and those files' texts."""

    policies: dict[str, Found]
    texts: dict[str, str]


def search_all(
    point: Point,
    choices: Sequence[str],
    budgets: Sequence[float],
    out: Path,
    *,
    together: int = TOGETHER,
    chunks: int = CHUNKS,
    length: int = LENGTH,
    text: str = "",
    jobs: int | Workers = 1,
) -> Searched:
    """A policy for every allowed loss, for the model and machine of a point. Raises SailsimError."""
    of = groups(open_gguf(point.model).spec, together)
    wanted = sensitivity_points(point.model, choices, together, chunks, length, text)
    times = step_times(point, of, choices)
    frame = measure_sensitivities(wanted, out, jobs=jobs, progress=True)
    losses = frame.pivot(index="group", columns="weights", values="loss").loc[list(of), list(choices)]
    policies, texts = {}, {}
    for budget in budgets:
        found = search(losses, times, budget)
        name = f"loss-{budget:g}.toml"
        tensors = {tensor: found.formats[group] for group in of for tensor in of[group]}
        source = f"sailsim policy: the fastest step of {point.system} at a loss of {budget:g} nats a token"
        policies[name] = found
        texts[name] = policy_text(name.removesuffix(".toml"), choices[0], tensors, source)
    return Searched(policies, texts)


def judged(
    point: Point,
    found: Searched,
    choices: Sequence[str],
    folder: Path,
    *,
    text: str = "",
    jobs: int | Workers = 1,
) -> list[dict[str, Any]]:
    """A row for every choice everywhere and every policy, whose files lie in a folder: predicted, measured on
    the text of `quality` beside floats, and simulated."""
    names = [*choices, *(str(folder / name) for name in found.policies)]
    asked = [QualityPoint(point.model, name, abits=point.abits, text=text) for name in names]
    asked.insert(0, asked[0].in_floats())
    frame = measure_quality(asked, folder / "quality", jobs=jobs, progress=True)
    of = {row["weights"]: row for row in frame.to_dict("records")}
    rows = []
    for name in names:
        measured, predicted = of[name], found.policies.get(Path(name).name)
        step = simulate(replace(point, weights=name, wbits=0, group_size=0))
        rows.append(
            {
                "weights": Path(name).name,
                "bits_per_weight": float(measured["bits_per_weight"]),
                "predicted_loss": predicted.loss if predicted else None,
                "loss": float(measured["loss"]),
                "loss_error": float(measured["loss_error"]),
                "predicted_ms": 1e3 * predicted.step_s if predicted else None,
                "ms": 1e3 * step.step_s,
                "perplexity": float(measured["perplexity"]),
            }
        )
    return rows
