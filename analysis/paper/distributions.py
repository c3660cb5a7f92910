"""What sampled machines give for a claim: its metrics' distributions, and those of other designs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.analysis.paper.claims import Claim, ClaimMetric
from sailsim.analysis.paper.evaluator import evaluate_machine
from sailsim.analysis.paper.metrics import Numbers, highest, reaches, values
from sailsim.analysis.paper.parameters import Alternative
from sailsim.analysis.paper.sample_outcomes import SampleOutcomes
from sailsim.analysis.paper.space import ParameterSpace

QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Sampled:
    """What the sampling gave: the space without what decides nothing, and the outcomes.

    `saltelli` has the rows of Saltelli's scheme in SALib's order, `free` the independent machines, whose u's
    are `free_rows`; `alternatives` are every other of them with another design.
    """

    space: ParameterSpace
    saltelli: SampleOutcomes
    free: SampleOutcomes
    free_rows: NDArray[np.float64]
    alternatives: tuple[SampleOutcomes, ...]
    untimed: frozenset[str]
    inert: tuple[str, ...]
    impossible: int


def nominal_outcomes(space: ParameterSpace) -> SampleOutcomes:
    """The nominal machine on every workload, its cores with every software."""
    return SampleOutcomes.of(
        space, [space.nominal], [evaluate_machine(space, space.nominal, tuple(space.hosts))]
    )


def described(claim: Claim, sampled: Sampled, nominal: SampleOutcomes) -> dict[str, Any]:
    """A claim's metrics and the values of the primary one, as the results' file has them."""
    free = values(claim.primary, sampled.free)
    return {
        "readings": [_metric(claim, m, sampled, nominal) for m in claim.metrics("samples")],
        "values": rounded(np.sort(finite(highest(free)))),
        "fixed_values": rounded(np.sort(finite(free[:, sampled.space.fixed]))),
    }


def _metric(claim: Claim, metric: ClaimMetric, sampled: Sampled, nominal: SampleOutcomes) -> dict[str, Any]:
    fixed = sampled.space.fixed
    of_nominal = values(metric, nominal)[0]
    at = int(np.nanargmax(of_nominal)) if np.isfinite(of_nominal).any() else None
    of_free = values(metric, sampled.free)
    most = highest(of_free)
    most = np.where(np.isnan(most), -np.inf, most)
    everywhere, there = finite(most), finite(of_free[:, fixed])
    per_point = claim.aggregation == "highest"
    best = everywhere.min if claim.better == "lower" else everywhere.max
    return {
        "claim": claim.name,
        "words": metric.words,
        "primary": metric.primary,
        "nominal": None if at is None else digits(float(of_nominal[at])),
        "nominal_at": sampled.space.workloads[at].name if per_point and at is not None else "",
        "nominal_fixed": digits(float(of_nominal[fixed])),
        "quantiles": quantiles(everywhere),
        "fixed_quantiles": quantiles(there),
        "reach": int(reaches(claim, most).sum()),
        "fixed_reach": int(reaches(claim, there).sum()),
        "machines": len(most),
        "most": digits(float(best())) if len(everywhere) else None,
    }


def alternatives(sampled: Sampled, claim: Claim) -> list[dict[str, Any]]:
    """What other designs give on the same machines; for a claim about points, as they were run on those
    alone."""
    if claim.aggregation != "highest":
        return []
    space, rows = sampled.space, []
    deciding = list(space.deciding)
    for alternative, outcomes in zip(space.alternatives, sampled.alternatives, strict=True):
        machine = space.nominal.with_values(alternative.values)
        nominal = SampleOutcomes.of(space, [machine], [evaluate_machine(space, machine)])
        drawn = finite(highest(values(claim.primary, outcomes)[:, deciding]))
        rows.append(
            {
                "name": alternative.name,
                "reason": "; drawn for it ".join([alternative.reason, *_drawn(space, alternative)]),
                "nominal": digits(float(highest(values(claim.primary, nominal)[:, deciding])[0])),
                "quantiles": quantiles(drawn),
                "machines": len(drawn),
            }
        )
    return rows


def _drawn(space: ParameterSpace, alternative: Alternative) -> list[str]:
    """What is drawn for a design alone, with its range, in a phrase; nothing where nothing is."""
    named = [f"{f.name} {f.span}" for f in space.apart if f.name in alternative.drawn]
    return [", ".join(named)] if named else []


def finite(numbers: Numbers) -> Numbers:
    """Those that are numbers."""
    return numbers[np.isfinite(numbers)]


def digits(value: float, count: int = 5) -> float | None:
    """A number as the results' file has it; None for what is no number."""
    return None if not math.isfinite(value) else float(f"{value:.{count}g}")


def rounded(numbers: Numbers) -> list[float | None]:
    """Many numbers as the results' file has them."""
    return [digits(float(value), 4) for value in numbers]


def quantiles(numbers: Numbers) -> list[float | None] | None:
    """Those of `QUANTILES`; None of no numbers."""
    return [digits(float(q)) for q in np.quantile(numbers, QUANTILES)] if len(numbers) else None
