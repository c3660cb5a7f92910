"""The fastest assignment of formats to a model's matrices at a given loss.

Losses of groups (`sensitivities`) and the time that a step of SAIL takes with a group in a format are taken
to add up; which formats make the shortest step within a loss is then a choice of one format a group, an
integer program. They do add up only about: what was found is measured as a whole (`policy_tries`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from scipy.optimize import Bounds, LinearConstraint, milp

from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.sim import Point
from sailsim.sim.simulate import simulate


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
    """The shortest step whose predicted loss is at most ``budget`` nats a token.

    Args:
        losses: by group (rows) and choice (columns); one below 0 counts as 0, since it is what the text
            happens to like.
        times: of the same groups and choices.
        budget: above 0.

    Raises:
        SailsimError: no assignment is that good.
    """
    choices = list(losses.columns)
    lost = np.maximum(losses.to_numpy(), 0)
    took = times.groups.loc[losses.index, choices].to_numpy()
    n = lost.size
    one_each = np.kron(np.eye(len(lost)), np.ones(len(choices)))
    # Among equally fast ones the one that loses least.
    aim = took.ravel() / times.rest_s + 1e-9 * lost.ravel()
    answer = milp(
        aim,
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(lost.reshape(1, n), -np.inf, budget),
        ],
        integrality=np.ones(n),
        bounds=Bounds(0, 1),
    )
    if answer.x is None:
        raise SailsimError(
            f"loss is {budget:g}; allowed is at least {least_loss(losses):.3g} nats a token, what the "
            "best choice of each group loses."
        )
    picked = np.rint(answer.x).astype(bool).reshape(lost.shape)
    formats = {group: choices[row.argmax()] for group, row in zip(losses.index, picked, strict=True)}
    return Found(budget, formats, float(lost[picked].sum()), times.rest_s + float(took[picked].sum()))


def least_loss(losses: pd.DataFrame) -> float:
    """What the best choice of each group loses, nats a token; arguments as `search`."""
    return float(np.maximum(losses.to_numpy(), 0).min(axis=1).sum())


def policy_text(name: str, default: str, tensors: Mapping[str, str], source: str = "") -> str:
    """A policy file: every matrix by its name, and what all others get."""
    lines = [f'name = "{name}"', f'source = "{source or "a search"}"', f'default = "{default}"', "[tensors]"]
    lines += [f'"{tensor}" = "{choice}"' for tensor, choice in tensors.items()]
    return "\n".join(lines) + "\n"
