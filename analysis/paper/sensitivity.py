"""What decides a claim: the unknowns by the variance that they explain."""

from __future__ import annotations

from typing import Any

import numpy as np
from SALib.analyze import sobol

from sailsim.analysis.paper.claims import Claim
from sailsim.analysis.paper.distributions import Sampled, digits
from sailsim.analysis.paper.metrics import highest, values
from sailsim.analysis.paper.parameters import Factor

SHOWN = 10
"""Factors of a tornado."""
LEAST_INDEX = 0.005
"""Total index up to which a factor is not shown."""


def decides(sampled: Sampled, claim: Claim) -> list[dict[str, Any]]:
    """Factors by their total Sobol index on a claim, most first, with the claim's median at their ends.

    Indices are of the logarithm, but of the value itself where a claim can be 0 (`Claim.scale`). `low` and
    `high` are medians over the free machines whose factor lies in the lowest and in the highest third of its
    range; over the choices, the least and the greatest median.
    """
    deciding = list(sampled.space.deciding)
    outcome = highest(values(claim.primary, sampled.saltelli)[:, deciding])
    known = np.isfinite(outcome)
    if not known.any():
        return []
    outcome = np.where(known, outcome, outcome[known].min())
    if claim.scale == "log":
        outcome = np.log(np.maximum(outcome, 1e-9))
    count = len(sampled.space.factors)
    problem = {"num_vars": count, "names": list(sampled.space.names), "bounds": [[0.0, 1.0]] * count}
    if float(np.ptp(outcome)) == 0.0:
        return []
    indices = sobol.analyze(
        problem, outcome, calc_second_order=False, num_resamples=100, print_to_console=False, seed=1
    )
    medians = _medians(sampled, claim)
    order = sorted(range(count), key=lambda i: -float(indices["ST"][i]))
    return [
        {
            "factor": sampled.space.factors[i].name,
            "total": digits(float(indices["ST"][i]), 3),
            "total_conf": digits(float(indices["ST_conf"][i]), 2),
            "first": digits(float(indices["S1"][i]), 3),
            **medians[i],
        }
        for i in order[:SHOWN]
        if float(indices["ST"][i]) > LEAST_INDEX
    ]


def _medians(sampled: Sampled, claim: Claim) -> list[dict[str, Any]]:
    """Per factor: the claim's median at the two ends of its range, and what the ends are."""
    outcome = highest(values(claim.primary, sampled.free))
    known = np.isfinite(outcome)
    rows: list[dict[str, Any]] = []
    for i, factor in enumerate(sampled.space.factors):
        u = sampled.free_rows[:, i]
        if factor.values:
            drawn = np.array([str(factor.at(float(x))) for x in u])
            groups = [(str(v), known & (drawn == str(v))) for v in dict.fromkeys(factor.values)]
        else:
            groups = [
                (_shown(factor, 1 / 6), known & (u < 1 / 3)),
                (_shown(factor, 5 / 6), known & (u > 2 / 3)),
            ]
        medians = [(name, float(np.median(outcome[at]))) for name, at in groups if at.any()]
        if not medians:
            rows.append({"low": None, "low_at": "", "high": None, "high_at": ""})
            continue
        low, high = min(medians, key=lambda m: m[1]), max(medians, key=lambda m: m[1])
        rows.append({"low": digits(low[1]), "low_at": low[0], "high": digits(high[1]), "high_at": high[0]})
    return rows


def _shown(factor: Factor, u: float) -> str:
    """A factor's value in words, near an end of its range."""
    if factor.normal:
        return "low" if u < 0.5 else "high"
    value = factor.at(u)
    return f"{value:.3g}" if isinstance(value, int | float) else str(value)
