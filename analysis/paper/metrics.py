"""The numbers that claims are about, from what runners did: one function a metric, whatever it did it on.

An `Outcomes` has runs at some points: the points of a store, or machines (rows) on workloads (columns). Its
arrays have one shape, and a metric's values have it too; NaN where a run has no number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sailsim.analysis.paper.claims import Choice, Claim, ClaimMetric, MetricName, Payment, Saved
from sailsim.analysis.results.runs import SAIL

Numbers = NDArray[np.float64]


class Runs(Protocol):
    """What one runner did at every point."""

    @property
    def tokens_per_s(self) -> Numbers:
        """Tokens of the whole batch a second."""

    def tokens_per_usd(self, payment: Payment) -> Numbers:
        """Tokens that a dollar buys where it pays so."""

    def spent(self, what: Saved) -> Numbers:
        """Cycles, seconds or reads of one step."""


class Outcomes(Protocol):
    """Where the runs come from."""

    def runs(self, runner: str, beside: str | None = None) -> Runs:
        """A runner's runs; SAIL's on the machine whose cores run the software of the runner `beside`."""

    def without(self, choice: Choice) -> Runs:
        """SAIL's runs at the same points without a choice."""

    def area_share(self, counted: str, base: str) -> Numbers:
        """Added area over what there is, by `costs.area.COUNTED` and `BASES`."""


def speedup(outcomes: Outcomes, metric: ClaimMetric) -> Numbers:
    """SAIL's rate over the runner's."""
    sail, other = _pair(outcomes, metric)
    return sail.tokens_per_s / other.tokens_per_s


def usd_ratio(outcomes: Outcomes, metric: ClaimMetric) -> Numbers:
    """SAIL's tokens per dollar over the runner's, both paying in one way."""
    sail, other = _pair(outcomes, metric)
    assert metric.payment is not None
    return sail.tokens_per_usd(metric.payment) / other.tokens_per_usd(metric.payment)


def saving(outcomes: Outcomes, metric: ClaimMetric) -> Numbers:
    """Percent that SAIL saves by a choice."""
    assert metric.saved is not None
    assert metric.without is not None
    whole = outcomes.without(metric.without).spent(metric.saved)
    return 100 * (1 - outcomes.runs(SAIL).spent(metric.saved) / whole)


def area_share(outcomes: Outcomes, metric: ClaimMetric) -> Numbers:
    """Percent of area that is added."""
    assert metric.counted is not None
    assert metric.base is not None
    return 100 * outcomes.area_share(metric.counted, metric.base)


def _pair(outcomes: Outcomes, metric: ClaimMetric) -> tuple[Runs, Runs]:
    assert metric.runner is not None
    return outcomes.runs(SAIL, metric.runner), outcomes.runs(metric.runner)


METRICS: Mapping[MetricName, Callable[[Outcomes, ClaimMetric], Numbers]] = {
    "speedup": speedup,
    "usd_ratio": usd_ratio,
    "saving": saving,
    "area_share": area_share,
}


def values(metric: ClaimMetric, outcomes: Outcomes) -> Numbers:
    """A metric at every point."""
    return np.asarray(METRICS[metric.metric](outcomes, metric), dtype=float)


def highest(found: Numbers) -> Numbers:
    """The highest along the last axis; NaN where there is no number at all."""
    empty = np.isnan(found).all(axis=-1)
    return np.where(empty, np.nan, np.where(np.isnan(found), -np.inf, found).max(axis=-1))


def reaches(claim: Claim, found: Numbers) -> NDArray[np.bool_]:
    """Whether values are as good as the paper's."""
    if claim.better == "lower":
        return np.asarray(np.isfinite(found) & (found <= claim.value))
    return np.asarray(found >= claim.value)
