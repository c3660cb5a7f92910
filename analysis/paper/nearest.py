"""A plausible machine near a claim: the nominal one with few values changed within their ranges."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sailsim.analysis.paper.claims import Claim
from sailsim.analysis.paper.distributions import digits
from sailsim.analysis.paper.evaluator import Memo, evaluate_machine
from sailsim.analysis.paper.factors import GROUP_SIZE
from sailsim.analysis.paper.metrics import values
from sailsim.analysis.paper.parameters import Factor, Value, Workload
from sailsim.analysis.paper.sample_outcomes import SampleOutcomes
from sailsim.analysis.paper.sampling import KIND
from sailsim.analysis.paper.space import ParameterSpace
from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.saved import save_system
from sailsim.sim.study.origin import code_version
from sailsim.sim.study.run import run_study
from sailsim.sim.study.tasks import Task
from sailsim.sim.study.workers import Workers
from sailsim.sim.vary import changed_values, leaves_and_words, value_of


def run_command(file: str, workload: Workload, group_size: int) -> str:
    """The command that runs a saved machine on a workload, where docs/ has its file."""
    return (
        f"sailsim run --system docs/systems/{file} --model {workload.model} "
        f"--wbits {workload.wbits} --batch {workload.batch} --threads {workload.threads} "
        f"--context {workload.context} --group-size {group_size} --json"
    )


def save_found(
    space: ParameterSpace, changes: Mapping[str, Value], path: Path, title: str, source: str, comment: str
) -> dict[str, dict[str, Value]]:
    """Write the nominal machine with some changes as a file of its name; returns what it changes by field,
    `value` and what it `was`, with the weights of a scale, which no system file says.

    Raises SailsimError for a machine that cannot be, and OSError.
    """
    machine, base = space.nominal.with_values(changes), space.hosts[space.software]
    system = machine.system(space.software, source=source, name=path.stem)
    system = system.model_copy(update={"title": title})
    save_system(system, path, base, comment)
    nominal = load_system(base)
    was = {field: value_of(said) for field, said in leaves_and_words(nominal).items()}
    now = {field: value_of(said) for field, said in changed_values(system, nominal).items()}
    changed = {
        field: {"value": value, "was": was[field]} for field, value in now.items() if value != was[field]
    }
    if GROUP_SIZE in changes:
        changed[GROUP_SIZE] = {"value": machine.group_size, "was": space.nominal.group_size}
    return changed


NEAR = 0.02
"""A configuration is at the paper's value when it is this near."""
TRIED = 12
"""Factors that the search goes on with after its first round."""
ROUNDS = 6
"""Values that the search changes at most."""
STARTS = 2
"""Workloads that are tried."""
HELPS = 0.98
"""A round ends the search unless it brings the claim's distance down to less than this part of it."""
BISECTIONS = 8


@dataclass(frozen=True)
class _Found:
    """Where a search is: the changed values and what the claim is there."""

    at: int
    changes: Mapping[str, Value]
    value: float


class _Search:
    """One claim on the workloads of a space."""

    def __init__(self, space: ParameterSpace, claim: Claim) -> None:
        self.space, self.claim, self._memo = space, claim, Memo()
        self.factors = [f for f in space.factors if f.group in ("machine", "weights")]

    def value(self, at: int, changes: Mapping[str, Value]) -> float:
        """The claim of a machine on one workload."""
        machine = self.space.nominal.with_values(changes)
        record = evaluate_machine(self.space, machine, None, self._memo, only=(at,))
        outcomes = SampleOutcomes.of(self.space, [machine], [record])
        return float(values(self.claim.primary, outcomes)[0, at])

    def distance(self, value: float) -> float:
        """How far from the paper's value, as a ratio."""
        return abs(value / self.claim.value - 1) if math.isfinite(value) else math.inf

    def starts(self) -> list[_Found]:
        """The nominal machine on the workloads where it comes nearest."""
        record = evaluate_machine(self.space, self.space.nominal)
        nominal = values(self.claim.primary, SampleOutcomes.of(self.space, [self.space.nominal], [record]))[0]
        order = [i for i in range(len(nominal)) if math.isfinite(nominal[i])]
        if self.claim.aggregation != "highest":
            order = order[:1]  # the same on every workload
        order.sort(key=lambda i: (self.distance(float(nominal[i])), i))
        return [_Found(i, {}, float(nominal[i])) for i in order[:STARTS]]

    def run(self, start: _Found) -> _Found:
        """The nearest machine that changes of one value after another lead to."""
        here, factors = start, self.factors
        while self.distance(here.value) > NEAR and len(here.changes) < ROUNDS:
            tried = self._tried(here, factors)
            if factors is self.factors and len({t.value for t in tried}) > TRIED:
                factors = _nearest_factors(here, tried, self.factors)
            best = min(tried, key=lambda t: self.distance(t.value))
            between = self._between(here, tried)
            if between is not None and self.distance(between.value) < self.distance(best.value):
                best = between
            if self.distance(best.value) >= self.distance(here.value) * HELPS:
                break
            here = best
        return here

    def _tried(self, here: _Found, factors: Sequence[Factor]) -> list[_Found]:
        """Every change of one value, the nearest first."""
        changes = [
            {**here.changes, factor.name: level}
            for factor in factors
            for level in factor.levels()
            if level != here.changes.get(factor.name, factor.nominal)
        ]
        tried = [_Found(here.at, change, self.value(here.at, change)) for change in changes]
        return sorted(tried, key=lambda t: self.distance(t.value))

    def _between(self, here: _Found, tried: Sequence[_Found]) -> _Found | None:
        """The nearest between where the search is and the nearest end of a range across the paper's value."""
        paper = self.claim.value
        ranges = {factor.name: factor for factor in self.factors if not factor.values}
        for end in tried:
            name = _changed(here, end)
            if name in ranges and (here.value - paper) * (end.value - paper) < 0:
                claim = partial(self.value, here.at)
                moved, value = _bisected(here.changes, ranges[name], end.changes[name], paper, claim)
                return _Found(here.at, {**here.changes, name: moved}, value)
        return None


def _changed(here: _Found, tried: _Found) -> str:
    """The factor that a try has changed."""
    return next(n for n, v in tried.changes.items() if n not in here.changes or here.changes[n] != v)


def _nearest_factors(here: _Found, tried: Sequence[_Found], factors: Sequence[Factor]) -> list[Factor]:
    """The factors of the nearest tries, the nearest of them last."""
    by_name = {factor.name: factor for factor in factors}
    order = dict.fromkeys(_changed(here, t) for t in reversed(tried[: 3 * TRIED]))
    return [by_name[name] for name in order][-TRIED:]


def nearest(space: ParameterSpace, claim: Claim) -> dict[str, Any]:
    """A machine near the nominal one whose claim is nearest to the paper's: values changed one after another.

    From the nominal machine and the workload where it comes nearest, each round makes the one change within
    the declared ranges that brings the claim nearest, bisecting a range whose end lies across the paper's
    value; it ends within `NEAR` of that, after `ROUNDS` changes, or when none helps. Constants of software,
    cost and area stay nominal. After the first round only the `TRIED` factors that came nearest are tried
    again. Of the workloads that are tried the nearest result counts, of equally near ones that with fewest
    changes.

    Raises SailsimError where the claim has no value on any workload.
    """
    search = _Search(space, claim)
    best: tuple[tuple[float, int], _Found] | None = None
    for start in search.starts():
        end = search.run(start)
        distance = search.distance(end.value)
        rank = (0.0 if distance <= NEAR else distance, len(end.changes))
        if best is None or rank < best[0]:
            best = rank, end
        if best[0] == (0.0, 0):
            break
    if best is None:
        raise SailsimError(
            f"claim {claim.name} has no value on any workload, allowed is one that can be simulated"
        )
    end = best[1]
    return {"value": digits(end.value), "workload": end.at, "changes": dict(sorted(end.changes.items()))}


def _bisected(
    changes: Mapping[str, Value],
    factor: Factor,
    end: Value,
    paper: float,
    claim: Callable[[Mapping[str, Value]], float],
) -> tuple[Value, float]:
    """Between a factor's value and an end across the paper's: where the claim is nearest, and what it is."""
    low, high = float(changes.get(factor.name, factor.nominal)), float(end)
    best, value = end, claim({**changes, factor.name: end})
    above = value > paper
    for _ in range(BISECTIONS):
        middle: Value = round((low + high) / 2) if factor.whole else float(f"{(low + high) / 2:.4g}")
        if middle in (low, high):
            break
        there = claim({**changes, factor.name: middle})
        if abs(there - paper) < abs(value - paper):
            best, value = middle, there
        if abs(there / paper - 1) < NEAR / 4:
            break
        if (there > paper) == above:
            high = float(middle)
        else:
            low = float(middle)
    return best, value


# --- Its system file ---


def nearest_of_all(
    space: ParameterSpace,
    claims: Sequence[Claim],
    jobs: int | Workers,
    folder: Path,
    seed: int,
    progress: bool = False,
) -> dict[str, dict[str, Any]]:
    """`nearest` for every claim, in parallel, and its system file in the folder, which keeps the answers."""
    content = json.dumps([asdict(space), code_version()], sort_keys=True, default=str)
    within = hashlib.sha256(content.encode()).hexdigest()
    tasks = [Task(f"{within[:24]}-{claim.name}", claim.name, claim, claim.name) for claim in claims]
    store = run_study(
        tasks,
        partial(_answered, space),
        folder,
        kind=KIND,
        jobs=jobs,
        progress=progress,
        what="searches for the nearest machine",
        group="nearest",
    )
    rows = store.frame("nearest").set_index("claim")["answer"]
    answers = {claim.name: json.loads(rows[claim.name]) for claim in claims}
    return {
        claim.name: answers[claim.name] | _saved(space, claim, answers[claim.name], folder, seed)
        for claim in claims
    }


def _answered(space: ParameterSpace, claim: Claim) -> dict[str, Any]:
    return {"claim": claim.name, "answer": json.dumps(nearest(space, claim))}


def _saved(
    space: ParameterSpace, claim: Claim, answer: Mapping[str, Any], folder: Path, seed: int
) -> dict[str, Any]:
    """The system file of a nearest configuration, and the commands that run it."""
    workload = space.workloads[answer["workload"]]
    name = f"nearest-{claim.name.replace('_', '-')}"
    path = folder / f"{name}.toml"
    source = f"sailsim reproduce, nearest to the claim {claim.name}, seed {seed}"
    title = f"Nearest to the paper's {claim.name}, within the declared ranges"
    if claim.aggregation == "highest":
        group_size = space.nominal.with_values(answer["changes"]).group_size
        command = run_command(path.name, workload, group_size)
        commands = [command]
        if claim.primary.without is not None:
            commands.append(command.replace("--json", f"--no-{claim.primary.without} --json"))
    else:
        commands = [f"sailsim show system docs/systems/{path.name}"]
    comment = f"{source}.\n" + "\n".join(commands)
    changes = save_found(space, answer["changes"], path, title, source, comment)
    return {
        "file": path.name,
        "commands": commands,
        "find": claim.primary.find,
        "workload": workload.name,
        "draw": dict(answer["changes"]),
        "changes": changes,
    }
