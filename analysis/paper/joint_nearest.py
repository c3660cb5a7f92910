"""The machine of few changes that is nearest to all claims of a paper at once, as a file and its commands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sailsim.analysis.paper.combinations import Combinations
from sailsim.analysis.paper.distributions import digits
from sailsim.analysis.paper.joint_samples import KIND, judged
from sailsim.analysis.paper.nearest import run_command, save_found
from sailsim.analysis.paper.parameters import Factor, Value
from sailsim.analysis.paper.space import ParameterSpace
from sailsim.sim.study.origin import code_version
from sailsim.sim.study.run import run_study
from sailsim.sim.study.tasks import Task
from sailsim.sim.study.workers import Workers

NAME = "nearest-all"
ROUNDS = 8
"""Values that the search changes at most."""
HELPS = 0.99
"""A round ends the search unless it brings the distance down to less than this part of it."""
TRIED = 24
"""Factors that the search goes on with after its first round."""
NARROWINGS = 3
"""How often the neighbourhood of the best value of a range is searched again, four times as finely."""
OWN_GROUPS = ("machine", "weights")
"""Groups of factors that a search changes: what a system file and a command can say."""
Changes = Mapping[str, Value]


class _Search:
    """Machines of a space by their distance from all claims, each by the combination that suits it best."""

    def __init__(self, space: ParameterSpace, declared: Combinations) -> None:
        self.space, self.declared = space, declared
        self._known: dict[str, float] = {}

    def distance(self, changes: Changes) -> float:
        """Of the nominal machine with some changes."""
        key = json.dumps(sorted(changes.items()))
        if key not in self._known:
            machine = self.space.nominal.with_values(changes)
            self._known[key] = float(self.declared.nearest(judged(self.space, [machine]))[0])
        return self._known[key]

    def run(self, start: Changes) -> Changes:
        """One change after another, each the one that brings the machine nearest, and without those that it
        does not need."""
        here = self._without_idle({name: _short(value) for name, value in start.items()})
        factors = [f for f in self.space.factors if f.group in OWN_GROUPS]
        for rounds in range(ROUNDS):
            tried = [
                (self.distance(here | {factor.name: level}), i, {factor.name: level})
                for i, factor in enumerate(factors)
                for level in map(_short, factor.levels())
            ]
            tried.sort(key=lambda each: each[:2])
            best = {**here, **self._narrowed(here, factors[tried[0][1]], tried[0][2])}
            if not self.distance(best) < HELPS * self.distance(here):
                break
            here = best
            if rounds == 0:
                factors = [factors[i] for i in list(dict.fromkeys(i for _, i, _ in tried))[:TRIED]]
        return self._without_idle(here)

    def _without_idle(self, changes: Changes) -> dict[str, Value]:
        """The changes without those that it loses little by, all together at most what `HELPS` says."""
        here, most = dict(changes), self.distance(changes) / HELPS
        for name in list(here):
            fewer = {n: value for n, value in here.items() if n != name}
            if self.distance(fewer) <= most:
                here = fewer
        return here

    def _narrowed(self, here: Changes, factor: Factor, change: Changes) -> Changes:
        """The best value near one of a factor's levels."""
        if factor.values:
            return change
        best = dict(change)
        step = 0.25
        middle = min(
            np.linspace(0, 1, 5), key=lambda u: abs(_number(factor.at(u)) - _number(best[factor.name]))
        )
        for _ in range(NARROWINGS):
            step /= 4
            around = [middle + step * i for i in range(-4, 5)]
            tried = [(u, {factor.name: _short(factor.at(u))}) for u in around if 0 <= u <= 1]
            middle, found = min(tried, key=lambda each: self.distance({**here, **each[1]}))
            if self.distance({**here, **found}) < self.distance({**here, **best}):
                best = found
        return best


def _number(value: Value) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _short(value: Value) -> Value:
    """A value that a file can be read with."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def nearest_to_all(
    space: ParameterSpace,
    declared: Combinations,
    starts: Mapping[str, Changes],
    folder: Path,
    jobs: int | Workers,
    seed: int,
    progress: bool = False,
) -> dict[str, Any]:
    """The nearest machine that the search finds from some machines, and its file, saved in the folder.

    Only values of the machine and the weights change; software, costs and area stay nominal.
    """
    content = json.dumps(
        [asdict(space), declared.groups, declared.where, code_version()], sort_keys=True, default=str
    )
    within = hashlib.sha256(content.encode()).hexdigest()[:24]
    tasks = [
        Task(f"{within}-{json.dumps(sorted(start.items()))}", name, (name, start), name)
        for name, start in starts.items()
    ]
    store = run_study(
        tasks,
        partial(_answered, space, declared),
        folder,
        kind=KIND,
        jobs=jobs,
        progress=progress,
        what="searches for the nearest machine",
        group="nearest",
    )
    rows = store.frame("nearest").set_index("start")
    tried = [(float(rows["distance"][name]), json.loads(rows["changes"][name]), name) for name in starts]
    distance, changes, start = min(tried, key=lambda each: each[0])
    return {
        "name": NAME,
        "from": start,
        "factor": digits(float(np.exp(distance)), 4),
        "draw": changes,
        **_saved(space, changes, folder, seed),
    }


def _answered(space: ParameterSpace, declared: Combinations, what: tuple[str, Changes]) -> dict[str, Any]:
    name, start = what
    search = _Search(space, declared)
    changes = search.run(start)
    return {"start": name, "distance": search.distance(changes), "changes": json.dumps(changes)}


def _saved(space: ParameterSpace, changes: Changes, folder: Path, seed: int) -> dict[str, Any]:
    """The system file of the machine, and what it changes."""
    path = folder / f"{NAME}.toml"
    source = f"sailsim joint, nearest to all claims at once, seed {seed}"
    title = "Nearest to all of the paper's claims at once"
    changed = save_found(space, changes, path, title, source, f"{source}.")
    return {
        "file": path.name,
        "changes": changed,
        "group_size": space.nominal.with_values(changes).group_size,
    }


def commands(near: Mapping[str, Any], space: ParameterSpace, places: Sequence[str]) -> list[str]:
    """Commands that run the nearest machine on some workloads."""
    chosen = (workload for workload in space.workloads if workload.name in places)
    return [run_command(near["file"], workload, near["group_size"]) for workload in chosen]
