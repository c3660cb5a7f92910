"""Least squares that says what its rows leave open.

A fit here has a dozen parameters, bounds and a robust loss, so two things can go wrong without a word: the
search ends in a valley that is not the lowest, and the rows do not determine what they are asked for, so
that the answer is where the search happened to stop, which changes with the version of the optimiser. Hence
several starts, of which the lowest wins, and a rule for open directions: of all values that fit equally well,
those nearest to the declared starts, with the names of the parameters said (`Solution.open`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import qmc

from calibration.measurements import MeasuredRows
from sailsim.sim.software.fitted import Floats

LOSS_SCALE = 0.08
"""Scatter (log) beyond which a measurement loses weight: about the run-to-run scatter of one machine."""
STARTS = 8
"""Points that a search begins at: the declared one, and others spread over the bounds."""
_SAME_COST = 1e-6
"""Relative difference of costs below which two ends of a search are one, and the earlier start's counts."""
_PULL = 1e-2
"""Weight that draws an open direction to one of its ends, in residuals over the bounds' range."""
_NEAREST = 1e-3
"""The same of the pull to the starts where a direction is open: far too weak for what the rows determine."""
_NO_CURVATURE = 1e-9
"""Curvature over the largest one below which it is rounding."""
_NAMED = 0.3
"""Share of an open direction from which on a parameter is named as part of it."""
_MATTERS = 1e-3
"""How far (log) a prediction must be movable for the open combination to be named beside it."""
OPEN_PREDICTION = 0.25
"""How far (log) open directions may move a prediction before it counts as no prediction at all."""

Predict = Callable[[Floats, MeasuredRows], Floats]


@dataclass(frozen=True)
class Parameter:
    """One unknown of a fit: its start, bounds, unit and meaning."""

    name: str
    start: float
    low: float
    high: float
    unit: str
    meaning: str


@dataclass(frozen=True)
class Problem:
    """A set of parameters, the rows that determine them and the model between the two.

    ``loss`` is one of SciPy's: "cauchy" where twins differ, "soft_l1" where each row is another GPU or
    format.
    """

    parameters: tuple[Parameter, ...]
    rows: MeasuredRows
    predict: Predict
    loss: Literal["cauchy", "soft_l1"] = "cauchy"
    starts: int = STARTS
    """Points that a search begins at."""

    def column(self, field: Literal["start", "low", "high"]) -> Floats:
        """One field of all parameters."""
        return np.array([getattr(p, field) for p in self.parameters])


@dataclass(frozen=True)
class Solution:
    """Values in the order of the parameters, and their covariance (zero rows: held at a bound).

    ``open`` names the combinations of parameters that the rows do not determine: along each of them one
    standard error is longer than the whole range of the bounds. ``ends`` are other values that fit as well,
    at both ends of each.
    """

    values: Floats
    covariance: Floats
    cost: float
    open: tuple[str, ...] = ()
    ends: tuple[tuple[Floats, Floats], ...] = ()


def solve(problem: Problem, rows: MeasuredRows | None = None, starts: int | None = None) -> Solution:
    """Fit the parameters on the problem's rows, or on ``rows`` (a fold).

    ``starts``: how many points to begin at; default the problem's.
    """
    rows = problem.rows if rows is None else rows
    best = None
    for start in _starts(problem, problem.starts if starts is None else starts):
        found = _search(problem, rows, start)
        if best is None or found.cost < best.cost * (1 - _SAME_COST):
            best = found
    assert best is not None
    values, jac, cost = best.x, best.jac, float(best.cost)
    untouched = np.abs(jac).sum(axis=0) == 0
    kept = np.where(untouched, problem.column("start"), values)
    if _cost(problem, rows, kept) <= cost * (1 + _SAME_COST):
        values = kept
    ends: list[tuple[Floats, Floats]] = []
    for i in np.flatnonzero(untouched):
        alone = np.arange(len(values)) == i
        ends.append(
            (np.where(alone, problem.column("low"), values), np.where(alone, problem.column("high"), values))
        )
    inside = _inside(problem, values) & ~untouched
    directions, names = _open_directions(problem, rows, jac, inside, cost)
    if names:
        everything = np.eye(len(values))
        nearest = _search(problem, rows, values, _NEAREST * everything, problem.column("start"))
        values, jac = nearest.x, nearest.jac[: len(rows.measured)]
        inside = _inside(problem, values) & ~untouched
        directions, names = _open_directions(problem, rows, jac, inside, cost)
        for direction in directions:
            way = direction * _width(problem)
            one, other = (
                _search(problem, rows, values, _PULL * direction[None, :], values + sign * way).x
                for sign in (-1.0, 1.0)
            )
            ends.append((one, other))
    curvature = jac[:, inside]
    freedom = max(len(rows.measured) - int(inside.sum()), 1)
    covariance = np.zeros((len(values), len(values)))
    covariance[np.ix_(inside, inside)] = np.linalg.pinv(curvature.T @ curvature) * 2 * cost / freedom
    names = (*(problem.parameters[i].name for i in np.flatnonzero(untouched)), *names)
    return Solution(np.asarray(values), covariance, cost, names, tuple(ends))


@dataclass(frozen=True)
class HeldOut:
    """Rows that were each predicted by a fit without the rows of the same label.

    ``ratio`` is predicted over measured: NaN for rows that were never held out, and for those that the rows
    left in the fit say nothing of (`OPEN_PREDICTION`). ``moved`` has, for each combination of parameters that
    a fold left open, how far (log) that can move each row's prediction.
    """

    ratio: Floats
    moved: Mapping[str, Floats]

    def where(self, keep: NDArray[np.bool_]) -> HeldOut:
        """The rows that ``keep`` selects, and the combinations that matter to them."""
        matter = {name: moved[keep] for name, moved in self.moved.items() if moved[keep].max() > _MATTERS}
        return HeldOut(self.ratio[keep], matter)


def held_out(
    problem: Problem,
    label: str,
    among: NDArray[np.bool_] | None = None,
    without: Callable[[str], Problem] | None = None,
) -> HeldOut:
    """Hold out the rows of each value of ``label`` in turn.

    ``among`` limits what is held out; the other rows are always in the fit. ``without`` is the problem as it
    would be had a value's rows never been seen, where more of it than its parameters comes from them.
    """
    rows = problem.rows
    count = len(rows.measured)
    chosen = np.ones(count, dtype=bool) if among is None else among
    ratio = np.full(count, np.nan)
    moved: dict[str, Floats] = {}
    for group in np.unique(rows.labels[label][chosen]):
        out = (rows.labels[label] == group) & chosen
        aside = rows.where(out)
        fold = problem if without is None else without(str(group))
        solution = solve(fold, rows.where(~out))
        predicted = fold.predict(solution.values, aside)
        most = np.zeros(len(predicted))
        for name, ends in zip(solution.open, solution.ends, strict=True):
            far = np.abs([np.log(fold.predict(end, aside) / predicted) for end in ends]).max(axis=0)
            moved.setdefault(name, np.zeros(count))[out] = far
            most = np.maximum(most, far)
        ratio[out] = np.where(most <= OPEN_PREDICTION, predicted / aside.measured, np.nan)
    return HeldOut(ratio, moved)


def _inside(problem: Problem, values: Floats) -> NDArray[np.bool_]:
    """Which values are not at a bound."""
    near = 1e-6 * _scale(problem)
    low, high = problem.column("low"), problem.column("high")
    return np.asarray((values - low > near) & (high - values > near))


def _residuals(problem: Problem, rows: MeasuredRows, x: Floats) -> Floats:
    return np.asarray(np.log(problem.predict(x, rows) / rows.measured))


def _cost(problem: Problem, rows: MeasuredRows, x: Floats) -> float:
    """What SciPy minimizes."""
    z = (_residuals(problem, rows, x) / LOSS_SCALE) ** 2
    rho = np.log1p(z) if problem.loss == "cauchy" else 2 * (np.sqrt(1 + z) - 1)
    return float(0.5 * LOSS_SCALE**2 * rho.sum())


def _starts(problem: Problem, count: int) -> list[Floats]:
    """The declared start and ``count`` - 1 points of a Halton sequence over the bounds, always the same."""
    low, high = problem.column("low"), problem.column("high")
    spread = qmc.Halton(len(low), scramble=False).random(count)[1:]  # its first point is a corner
    return [problem.column("start"), *(low + point * (high - low) for point in spread)]


def _width(problem: Problem) -> Floats:
    return np.asarray(problem.column("high") - problem.column("low"))


def _scale(problem: Problem) -> Floats:
    return np.asarray(np.maximum(np.abs(problem.column("start")), 0.1 * _width(problem)))


def _search(
    problem: Problem,
    rows: MeasuredRows,
    start: Floats,
    directions: Floats | None = None,
    aim: Floats | None = None,
) -> Any:
    """SciPy's answer from one start; ``directions`` (n, parameters) are drawn to ``aim`` by their length."""
    low, high, width = problem.column("low"), problem.column("high"), _width(problem)

    def residuals(x: Floats) -> Floats:
        found = _residuals(problem, rows, x)
        if directions is None or aim is None:
            return found
        return np.concatenate([found, directions @ ((x - aim) / width)])

    return least_squares(
        residuals,
        np.clip(start, low + 1e-10 * width, high - 1e-10 * width),
        # Where a direction is nearly flat, the error of a two-point derivative would choose its end.
        jac="2-point" if directions is None else "3-point",
        bounds=(low, high),
        x_scale=_scale(problem),
        loss=problem.loss,
        f_scale=LOSS_SCALE,
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
        max_nfev=2000,
    )


def _open_directions(
    problem: Problem, rows: MeasuredRows, jac: Floats, inside: NDArray[np.bool_], cost: float
) -> tuple[Floats, tuple[str, ...]]:
    """Unit vectors (n, parameters), in ranges of the bounds, that the rows leave open, and their names."""
    width = _width(problem)
    where = np.flatnonzero(inside)
    scaled = jac[:, where] * width[where]
    freedom = max(len(rows.measured) - len(where), 1)
    curvature, vectors = np.linalg.eigh(scaled.T @ scaled)
    flat = curvature < max(2 * cost / freedom, _NO_CURVATURE * float(curvature.max(initial=0.0)))
    directions = np.zeros((int(flat.sum()), len(width)))
    directions[:, where] = vectors[:, flat].T
    names = [
        " with ".join(
            problem.parameters[i].name for i in np.argsort(-np.abs(d), kind="stable") if abs(d[i]) > _NAMED
        )
        for d in directions
    ]
    return directions, tuple(names)
