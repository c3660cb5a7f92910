"""What the results of fits hold: numbers, intervals, error rows, and how far two results may differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, isfinite
from typing import Any

import numpy as np

from calibration.solver import (
    HeldOut,
    Parameter,
    Problem,
    Solution,
)
from sailsim.sim.software.fitted import Floats

WEAK = 0.3
"""Standard error over value from which on a constant's note says that the rows hardly determine it."""

MIN_BAND = 0.05
"""An interval is never narrower than this on either side, however few the measurements."""


def digits(value: float) -> float:
    """A number as the results hold it: six digits."""
    return float(f"{value:.6g}")


def band_of(*ratios: Floats) -> dict[str, float]:
    """Factors on a prediction that hold nine tenths of the measurements, of each way of holding them out.

    Rows that a fold cannot predict (NaN) do not count.
    """
    ends = np.array([np.quantile(1 / r[np.isfinite(r)], [0.05, 0.95]) for r in ratios])
    low, high = ends[:, 0].min(), ends[:, 1].max()
    return {"low": digits(min(low, 1 - MIN_BAND)), "high": digits(max(high, 1 + MIN_BAND))}


def band_of_kind(*ratios: Floats) -> dict[str, float]:
    """Factors that hold nine tenths of groups of measurements (predicted over measured) which count the same.

    A machine's kind or a way of holding out with many rows does not speak for the others.
    """
    known = [1 / r[np.isfinite(r)] for r in ratios]
    weights = np.concatenate([np.full(len(r), 1 / len(r)) for r in known if len(r)])
    ends = np.quantile(np.concatenate(known), [0.05, 0.95], weights=weights, method="inverted_cdf")
    return {
        "low": digits(min(float(ends[0]), 1 - MIN_BAND)),
        "high": digits(max(float(ends[1]), 1 + MIN_BAND)),
    }


def constants_of(
    problem: Problem, solution: Solution, source: str, which: Sequence[int] | None = None
) -> dict[str, dict[str, Any]]:
    """The fitted constants by name, or those at some places, as the results hold them."""
    found = {}
    for i, p in enumerate(problem.parameters):
        if which is not None and i not in which:
            continue
        value = float(solution.values[i])
        error = float(np.sqrt(max(solution.covariance[i, i], 0.0)))
        at_bound = error == 0.0
        if at_bound:  # the solver stops a hair inside
            value = min((p.low, p.high), key=lambda bound: abs(bound - value))
        entry: dict[str, Any] = {
            "value": digits(value),
            "unit": p.unit,
            "source": source,
            "kind": "fitted",
            "low": digits(max(p.low, value - 1.645 * error)),
            "high": digits(min(p.high, value + 1.645 * error)),
            "note": p.meaning + _determined(p, value, None if at_bound else error, solution),
            "standard_error": None if at_bound else digits(error),
        }
        entry["low"], entry["high"] = min(entry["low"], entry["value"]), max(entry["high"], entry["value"])
        found[p.name] = entry
    return found


def _determined(parameter: Parameter, value: float, error: float | None, solution: Solution) -> str:
    """What the note of a constant adds where the rows do not settle it."""
    if any(parameter.name in combination.split(" with ") for combination in solution.open):
        return "; the rows leave it open, the value is the one nearest to the start"
    if error is None:
        return "; the data push it to its bound"
    if error > WEAK * abs(value):
        share = float(f"{error / abs(value):.1g}")  # one digit: all that another machine's solver repeats
        return f"; weakly determined, one standard error is {share:.0%} of it"
    return ""


def error_row(rows: str, held: str, ratios: Floats) -> dict[str, Any]:
    """One line of an error table from predicted over measured; ``held`` is what the fit did not see."""
    error = np.abs(ratios - 1)
    worst = int(np.argmax(error))
    return {
        "measurements": rows,
        "held_out": held,
        "count": len(ratios),
        "median_error": digits(float(np.median(error))),
        "worst_error": digits(float(error[worst])),
        "bias": digits(exp(float(np.median(np.log(ratios)))) - 1),
    }


def held_row(rows: str, held: str, found: HeldOut) -> dict[str, Any]:
    """The line of rows that folds predicted, and what the folds left open, if anything."""
    known = np.isfinite(found.ratio)
    row = error_row(rows, held, found.ratio[known])
    if found.moved:
        most = max(float(moved[known].max(initial=0.0)) for moved in found.moved.values())
        row["open"] = sorted(found.moved)
        row["open_moves"] = digits(exp(most) - 1)
        row["not_predicted"] = int((~known).sum())
    return row


def covariance_of(problem: Problem, solution: Solution) -> dict[str, Any]:
    """Order of the parameters of a fit and their covariance."""
    rows = [[digits(v) for v in row] for row in solution.covariance.tolist()]
    return {"order": [p.name for p in problem.parameters], "matrix": rows}


def noise_row(name: str, spread: Floats) -> dict[str, Any]:
    """Scatter of equal runs: median and largest of highest over lowest, minus 1."""
    return {
        "measurements": name,
        "count": len(spread),
        "median_spread": digits(float(np.median(spread))),
        "worst_spread": digits(float(spread.max())),
    }


SHOWN = 1e-3
"""How far two results may differ: of a constant relative, of an error or an interval absolute, which is a
tenth of a percent and the last digit shown. A median steps from row to row, so no relative measure would
do."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of the numbers and texts that differ between two results by more than `SHOWN`.

    A constant may differ by so much of its standard error, too; covariances are compared in units of the two.
    """
    found: list[str] = []

    def compare(path: str, a: Any, b: Any, unit: float = 0.0) -> None:
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            unit = max(unit, float(a.get("standard_error") or 0.0))
            for key in sorted(a.keys() | b.keys()):
                compare(f"{path}.{key}", a.get(key), b.get(key), _unit(key, unit))
        elif path.endswith(".matrix") and np.shape(a) == np.shape(b):
            errors = np.sqrt(np.diag(a))
            off = np.abs(np.subtract(a, b)) > SHOWN * np.maximum(np.outer(errors, errors), 1e-12)
            found.extend(f"{path.removeprefix('.')}[{i}][{j}]" for i, j in np.argwhere(off))
        elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            for i, (x, y) in enumerate(zip(a, b, strict=True)):
                compare(f"{path}[{i}]", x, y, unit)
        elif isinstance(a, float | int) and isinstance(b, float | int):
            if not (isfinite(a) and isfinite(b)) or abs(a - b) > SHOWN * max(abs(a), abs(b), unit, 1e-6):
                found.append(path.removeprefix("."))
        elif a != b:
            found.append(path.removeprefix("."))

    compare("", old, new)
    return found


def _unit(key: str, inherited: float) -> float:
    """What a difference is measured against beside the number itself: ratios of rates against 1."""
    return 1.0 if key in ("errors", "intervals", "coverage", "noise") else inherited


def error_lines(errors: Sequence[Mapping[str, Any]]) -> list[str]:
    """The error rows as lines of a table for a terminal."""
    lines = [f"{'median':>7} {'worst':>7} {'bias':>7} {'rows':>5}  measurements, held out"]
    for row in errors:
        left = f" (leaves open: {'; '.join(row['open'])})" if row.get("open") else ""
        lines.append(
            f"{row['median_error']:7.1%} {row['worst_error']:7.1%} {row['bias']:+7.1%} {row['count']:>5}  "
            f"{row['measurements']}, {row['held_out']}{left}"
        )
    return lines
