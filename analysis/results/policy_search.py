"""The fastest assignment of formats to a model's matrices at a given loss, and the best about as fast.

Losses of groups (`sensitivities`) and the time that a step of SAIL takes with a group in a format are taken
to add up; which formats make the shortest step within a loss is then a choice of one format a group, an
integer program (`search`). So is which of those that are hardly slower loses least (`least_lossy`). They do
add up only about: what was found is measured as a whole (`policy_tries`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import Bounds, LinearConstraint, milp

from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.sim import Point
from sailsim.sim.simulate import simulate

SLOWER = 1e-3
"""Fraction of the fastest step that is given up for less loss where nothing is said. Assumed: so small a
difference is none, since a tile may take 4.5 % more or fewer cycles in gem5 (docs/gem5-validation.md)."""

ROUNDING = 1e-9
"""Of a sum: what adding up may be off by, so that it is neither beyond a bound nor a gain."""

Cells = npt.NDArray[np.float64]
"""A number for each group (row) and choice (column)."""
Picked = npt.NDArray[np.bool_]
"""The choice (column) of each group (row)."""


@dataclass(frozen=True)
class Found:
    """A policy.

    Attributes:
        budget: the loss that was allowed, nats a token.
        formats: of every group, the choice.
        loss: predicted: the sum of the groups'.
        step_s: predicted: the sum of the groups', and what no format changes.
    """

    budget: float
    formats: dict[str, str]
    loss: float
    step_s: float


@dataclass(frozen=True)
class StepTimes:
    """Seconds of a step by group and choice, beyond ``rest_s``, which no choice changes."""

    rest_s: float
    groups: pd.DataFrame


def step_times(point: Point, groups: Mapping[str, tuple[str, ...]], choices: Sequence[str]) -> StepTimes:
    """What each group adds to a step of SAIL at a point, in each choice, to first order.

    All matrices of a kind have one shape, so a group's part is its share of what the step gains when the
    whole kind goes from the first choice to another; the step with the first choice everywhere is the rest.

    Raises SailsimError as `simulate`.
    """
    kinds: dict[str, list[str]] = {}
    for group in groups:
        kinds.setdefault(group.rpartition(".")[2], []).append(group)
    first = choices[0]
    with TemporaryDirectory() as folder:

        def seconds(kind: str, choice: str) -> float:
            path = Path(folder) / f"{kind}-{choice}.toml"
            names = [name for group in kinds[kind] for name in groups[group]]
            write_whole(path, policy_text("trial", first, dict.fromkeys(names, choice)).encode())
            return simulate(replace(point, weights=str(path), wbits=0, group_size=0)).step_s

        base = seconds(next(iter(kinds)), first)
        rows = {
            group: [
                (seconds(kind, choice) - base if choice != first else 0.0)
                * len(groups[group])
                / sum(len(groups[each]) for each in kinds[kind])
                for choice in choices
            ]
            for kind in kinds
            for group in kinds[kind]
        }
    return StepTimes(base, pd.DataFrame.from_dict(rows, orient="index", columns=list(choices)))


def search(losses: pd.DataFrame, times: StepTimes, budget: float) -> Found:
    """The shortest step whose predicted loss is at most ``budget`` nats a token; of equally short ones that
    of the least loss.

    Args:
        losses: by group (rows) and choice (columns); one below 0 counts as 0, since it is what the text
            happens to like.
        times: of the same groups and choices.
        budget: above 0.

    Raises:
        SailsimError: no assignment is that good.
    """
    lost, took = _numbers(losses, times)
    picked = _best(took, lost, budget)
    if picked is None:
        raise SailsimError(
            f"loss is {budget:g}; allowed is at least {least_loss(losses):.3g} nats a token, what the "
            "best choice of each group loses."
        )
    return _found(losses, times, budget, picked)


def least_lossy(
    losses: pd.DataFrame,
    times: StepTimes,
    fastest: Found,
    slower: float = SLOWER,
    doubt: pd.DataFrame | None = None,
) -> Found:
    """The least predicted loss of all whose step is longer than that of the fastest by ``slower`` at most.

    It is the program of `search` with its sums exchanged. Since a loss below 0 counts as 0, many may lose the
    same: of these the fastest.

    Args:
        losses, times: as `search`.
        fastest: what `search` found.
        slower: a fraction of its step.
        doubt: what each loss may be more by chance, which counts here: of many formats some are lucky.

    Raises:
        SailsimError: ``slower`` is out of range.
    """
    check_slower(slower)
    lost, took = _numbers(losses, times)
    least = lost if doubt is None else lost + doubt.loc[losses.index, losses.columns].to_numpy()
    picked = _best(least, took, (1 + slower) * fastest.step_s)
    assert picked is not None  # the fastest itself is within the bound
    own = [list(losses.columns).index(fastest.formats[group]) for group in losses.index]
    gained = least[range(len(own)), own].sum() - least[picked].sum()
    return _found(losses, times, fastest.budget, picked) if gained > 0 else fastest


def check_slower(slower: float) -> None:
    """Raises SailsimError for a fraction that `least_lossy` does not take."""
    if not 0 <= slower <= 1:
        raise SailsimError(f"slower is {slower:g}; allowed is 0..1, a fraction of the fastest step.")


def least_loss(losses: pd.DataFrame) -> float:
    """What the best choice of each group loses, nats a token; arguments as `search`."""
    return float(np.maximum(losses.to_numpy(), 0).min(axis=1).sum())


def _numbers(losses: pd.DataFrame, times: StepTimes) -> tuple[Cells, Cells]:
    """What each group (rows) loses in each choice, nats a token, and its part of a step, seconds, with an
    equal share of the rest: sums are whole steps."""
    took = times.groups.loc[losses.index, losses.columns].to_numpy()
    return np.maximum(losses.to_numpy(), 0), took + times.rest_s / len(took)


def _found(losses: pd.DataFrame, times: StepTimes, budget: float, picked: Picked) -> Found:
    lost, took = _numbers(losses, times)
    choices = list(losses.columns)
    formats = {group: choices[row.argmax()] for group, row in zip(losses.index, picked, strict=True)}
    return Found(budget, formats, float(lost[picked].sum()), float(took[picked].sum()))


def _best(aim: Cells, spent: Cells, bound: float) -> Picked | None:
    """As `_least`, and of equally good ones that which spends least."""
    picked = _least(aim, spent, bound)
    if picked is None:
        return None
    thrifty = _least(spent, aim, float(aim[picked].sum()))
    return picked if thrifty is None else thrifty


def _least(aim: Cells, spent: Cells, bound: float) -> Picked | None:
    """One choice (column) of every group (row): the least sum of ``aim`` of those whose sum of ``spent`` is
    at most ``bound``, by an integer program; None if none is.

    The solver's tolerances are absolute, about 1e-6: both sums are counted from the least that they can be,
    in units of what there is to spend, and of the most that there is to gain.
    """
    over, gain = (table - table.min(axis=1, keepdims=True) for table in (spent, aim))
    most, gained = (float(table.max(axis=1).sum()) for table in (over, gain))
    room = bound - float(spent.min(axis=1).sum()) + ROUNDING * max(abs(bound), most)
    if room < 0:
        return None
    room = room or 1.0  # else nothing can be spent
    unit = max(gained, ROUNDING * float(np.abs(aim).max(axis=1).sum())) or 1.0
    fits = over <= room
    one_each = np.kron(np.eye(len(aim)), np.ones(aim.shape[1]))
    answer = milp(
        gain.ravel() / unit,
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(np.where(fits, over / room, 0).reshape(1, -1), -np.inf, 1),
        ],
        integrality=np.ones(aim.size),
        bounds=Bounds(0, fits.ravel().astype(float)),
        options={"mip_rel_gap": 0.0},
    )
    return None if answer.x is None else np.rint(answer.x).astype(bool).reshape(aim.shape)


def policy_text(name: str, default: str, tensors: Mapping[str, str], source: str = "") -> str:
    """A policy file: every matrix by its name, and what all others get."""
    lines = [f'name = "{name}"', f'source = "{source or "a search"}"', f'default = "{default}"', "[tensors]"]
    lines += [f'"{tensor}" = "{choice}"' for tensor, choice in tensors.items()]
    return "\n".join(lines) + "\n"
