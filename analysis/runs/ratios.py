"""Ratios of rates, with the intervals of both sides."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, hypot, log
from typing import Any

from sailsim.analysis.costs.dollars import is_missing

INTERVAL_COLUMNS = ("median", "low", "high")
"""Keys of the result of `ratio_interval`."""


def ratio_interval(sail: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, float | None]:
    """``median``, ``low`` and ``high`` of SAIL's rate over a row's, a 90 % interval.

    In logarithms, the distances of each interval's ends from its middle, SAIL's median or the row's rate, are
    combined in quadrature, as `fitted.Interval.widened` does. That assumes that the two are independent. They
    are not quite on the cores of one server, and not at all on two accelerators of one prior: there the
    ends are too far apart. A side without an interval adds nothing, and SAIL over itself is 1.
    """
    if row["runner"] == sail["runner"]:
        return dict.fromkeys(INTERVAL_COLUMNS, 1.0)
    (below, own, above), (low, middle, high) = _in_logarithms(sail), _in_logarithms(row)
    median = own - middle
    ends = (median, median - hypot(own - below, high - middle), median + hypot(above - own, middle - low))
    return {name: exp(end) for name, end in zip(INTERVAL_COLUMNS, ends, strict=True)}


def _in_logarithms(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Low end, middle and high end of the logarithm of a rate."""
    middle = row["tokens_per_s"] if is_missing(row["median"]) else row["median"]
    ends = (middle if is_missing(row[end]) else row[end] for end in ("low", "high"))
    low, high = map(log, ends)
    return low, log(middle), high


def quotient(upper: float | None, lower: float | None) -> float | None:
    """Ratio of two values; None where one of them is missing."""
    return None if upper is None or lower is None or is_missing(upper) or is_missing(lower) else upper / lower
