"""The nearest plausible machine, to one claim or to all at once: the nominal one with few values changed.

One search serves both: from a machine it makes one change after another within the declared ranges, each the
one that comes nearest. Only values of the machine and the weights change, which a system file and a command
can say; constants of software, cost and area stay nominal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sailsim.analysis.paper.claims import Claim
from sailsim.analysis.paper.evaluator import Memo, answers, judged
from sailsim.analysis.paper.machine import GROUP_SIZE, Value
from sailsim.analysis.paper.unknowns import Factor, ParameterSpace, Workload
from sailsim.base.errors import SailsimError
from sailsim.sim.files import changed_values, leaves_and_words, load_system, save_system, value_of
from sailsim.sim.study.workers import Workers

Changes = Mapping[str, Value]
OWN_GROUPS = ("machine", "weights")
"""Groups of factors that a search changes."""
NEAR = 0.02
"""A configuration is at the paper's value when it is this near."""
STARTS = 2
"""Workloads that are tried for a claim."""
BISECTIONS = 8
NARROWINGS = 3
"""How often the neighbourhood of the best value of a range is searched again, four times as finely."""


@dataclass(frozen=True)
class Search:
    """How far a machine of some changes is off, and how long better ones are looked for.

    ``off`` has a sign where a machine may be off either way, and 0 is what is looked for.
    """

    space: ParameterSpace
    off: Callable[[Changes], float]
    enough: float
    """A machine so near ends the search."""
    rounds: int
    """Values that are changed at most."""
    helps: float
    """A round ends the search unless it brings the distance down to less than this part of it."""
    kept: int
    """Factors that the search goes on with after its first round: those that came nearest."""

    _known: dict[str, float] = field(default_factory=dict)

    def signed(self, changes: Changes) -> float:
        """`off`, reckoned once."""
        key = json.dumps(sorted(changes.items()))
        if key not in self._known:
            self._known[key] = self.off(changes)
        return self._known[key]

    def distance(self, changes: Changes) -> float:
        """From what is looked for; infinite where there is no number."""
        off = abs(self.signed(changes))
        return math.inf if math.isnan(off) else off

    def run(self, start: Changes) -> dict[str, Value]:
        """The nearest machine that changes of one value after another lead to, without those it does not
        need."""
        here = self.without_idle({name: _short(value) for name, value in start.items()})
        factors = [f for f in self.space.factors if f.group in OWN_GROUPS]
        for _ in range(self.rounds):
            if self.distance(here) <= self.enough:
                break
            tried = [
                (self.distance({**here, factor.name: level}), i, level)
                for i, factor in enumerate(factors)
                for level in map(_short, factor.levels())
                if level != here.get(factor.name, factor.nominal)
            ]
            tried.sort(key=lambda each: each[:2])
            named = [(factors[i], level) for _, i, level in tried]
            best = min(self._refined(here, named), key=self.distance)
            if not self.distance(best) < self.helps * self.distance(here):
                break
            here = best
            if len(factors) > self.kept and len({distance for distance, *_ in tried}) > self.kept:
                factors = [factors[i] for i in list(dict.fromkeys(i for _, i, _ in tried))[: self.kept]]
        return self.without_idle(here)

    def without_idle(self, changes: Changes) -> dict[str, Value]:
        """The changes without those that it loses little by, all together at most what `helps` says."""
        here, most = dict(changes), max(self.distance(changes) / self.helps, self.enough)
        for name in list(here):
            fewer = {n: value for n, value in here.items() if n != name}
            if self.distance(fewer) <= most:
                here = fewer
        return here

    def _refined(self, here: Changes, tried: Sequence[tuple[Factor, Value]]) -> list[dict[str, Value]]:
        """The nearest try, and the best between: of a range whose end lies across what is looked for, or near
        the best level."""
        factor, level = tried[0]
        ends = [{**here, factor.name: level}]
        for each, end in tried:
            if not each.values and self.signed(here) * self.signed({**here, each.name: end}) < 0:
                return [*ends, self._bisected(here, each, end)]
        return [*ends, self._narrowed(here, factor, level)]

    def _bisected(self, here: Changes, factor: Factor, end: Value) -> dict[str, Value]:
        """Between a factor's value and an end across what is looked for: where the machine is nearest."""
        low, high = float(here.get(factor.name, factor.nominal)), float(end)
        best: dict[str, Value] = {**here, factor.name: end}
        above = self.signed(best) > 0
        for _ in range(BISECTIONS):
            middle: Value = round((low + high) / 2) if factor.whole else float(f"{(low + high) / 2:.4g}")
            if middle in (low, high):
                break
            there = {**here, factor.name: middle}
            best = min(best, there, key=self.distance)
            if self.distance(there) < self.enough / 4:
                break
            if (self.signed(there) > 0) == above:
                high = float(middle)
            else:
                low = float(middle)
        return best

    def _narrowed(self, here: Changes, factor: Factor, level: Value) -> dict[str, Value]:
        """The best value near one of a factor's levels."""
        best: dict[str, Value] = {**here, factor.name: level}
        if factor.values:
            return best
        middle = min(np.linspace(0, 1, 5), key=lambda u: abs(float(factor.at(u)) - float(level)))
        step = 0.25
        for _ in range(NARROWINGS):
            step /= 4
            around = [u for u in (middle + step * i for i in range(-4, 5)) if 0 <= u <= 1]
            tried = [(u, {**here, factor.name: _short(factor.at(u))}) for u in around]
            middle, there = min(tried, key=lambda each: self.distance(each[1]))
            best = min(best, there, key=self.distance)
        return best


def _short(value: Value) -> Value:
    """A value that a file can be read with."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


# --- To one claim ---


def nearest(space: ParameterSpace, claim: Claim) -> dict[str, Any]:
    """A machine near the nominal one whose claim is nearest to the paper's: its changes, value and workload.

    Starts are the workloads where the nominal machine comes nearest. Of what they lead to the nearest result
    counts, of equally near ones that with fewest changes. Raises SailsimError where the claim has no value on
    any workload.
    """
    metric, memo = space.paper.primary[claim.name], Memo()

    def off(at: int, changes: Changes) -> float:
        machine = space.nominal.with_values(changes)
        return float(judged(space, machine, [metric], [at], memo)[metric][at]) / claim.value - 1

    nominal = judged(space, space.nominal, [metric])[metric]
    order = [i for i in range(len(nominal)) if math.isfinite(nominal[i])]
    if claim.aggregation != "highest":
        order = order[:1]  # the same on every workload
    order.sort(key=lambda i: (abs(float(nominal[i]) / claim.value - 1), i))
    ends = []
    for at in order[:STARTS]:
        search = Search(space, partial(off, at), enough=NEAR, rounds=6, helps=0.98, kept=12)
        changes = search.run({})
        distance = search.distance(changes)
        ends.append((0.0 if distance <= NEAR else distance, len(changes), at, changes))
        if ends[-1][:2] == (0.0, 0):
            break
    if not ends:
        raise SailsimError(
            f"claim {claim.name} has no value on any workload, allowed is one that can be simulated"
        )
    _, _, at, changes = min(ends, key=lambda end: end[:2])
    machine = space.nominal.with_values(changes)
    value = float(judged(space, machine, [metric], [at], memo)[metric][at])
    return {"value": float(f"{value:.5g}"), "workload": at, "changes": dict(sorted(changes.items()))}


def nearest_of_all(
    space: ParameterSpace,
    claims: Sequence[Claim],
    folder: Path,
    jobs: int | Workers,
    seed: int,
    progress: bool,
) -> dict[str, dict[str, Any]]:
    """`nearest` for every claim, in parallel, and its system file in the folder, which keeps the answers."""
    frame = answers(
        folder, {claim.name: claim for claim in claims}, partial(_nearest, space), kind="claims reproduce",
        group="nearest", within=space.digest, jobs=jobs, progress=progress,
        what="searches for the nearest machine",
    )  # fmt: skip
    rows = frame.set_index("claim")["answer"]
    return {claim.name: _saved(space, claim, json.loads(rows[claim.name]), folder, seed) for claim in claims}


def _nearest(space: ParameterSpace, claim: Claim) -> dict[str, Any]:
    return {"claim": claim.name, "answer": json.dumps(nearest(space, claim))}


def _saved(
    space: ParameterSpace, claim: Claim, answer: Mapping[str, Any], folder: Path, seed: int
) -> dict[str, Any]:
    """The answer with the system file of its machine, and the commands that run it."""
    workload, draw = space.workloads[answer["workload"]], dict(answer["changes"])
    path = folder / f"nearest-{claim.name.replace('_', '-')}.toml"
    if claim.aggregation == "highest":
        command = run_command(path.name, workload, space.nominal.with_values(draw).group_size)
        commands = [command]
        if claim.primary.without is not None:
            commands.append(command.replace("--json", f"--no-{claim.primary.without} --json"))
    else:
        commands = [f"sailsim show system docs/systems/{path.name}"]
    source = f"sailsim claims reproduce, nearest to the claim {claim.name}, seed {seed}"
    title = f"Nearest to the paper's {claim.name}, within the declared ranges"
    return {
        "value": answer["value"],
        "workload": workload.name,
        "changes": save_machine(space, draw, path, title, source, commands),
        "file": path.name,
        "commands": commands,
        "find": claim.primary.find,
        "draw": draw,
    }


# --- Its file ---


def run_command(file: str, workload: Workload, group_size: int) -> str:
    """The command that runs a saved machine on a workload, where docs/ has its file."""
    return (
        f"sailsim run --system docs/systems/{file} --model {workload.model} "
        f"--wbits {workload.wbits} --batch {workload.batch} --threads {workload.threads} "
        f"--context {workload.context} --group-size {group_size} --json"
    )


def save_machine(
    space: ParameterSpace, changes: Changes, path: Path, title: str, source: str, commands: Sequence[str] = ()
) -> dict[str, dict[str, Value]]:
    """Write the nominal machine with some changes as a file of its name; returns what it changes by field,
    `value` and what it `was`, with the weights of a scale, which no system file says.

    Raises SailsimError for a machine that cannot be, and OSError.
    """
    machine, base = space.nominal.with_values(changes), space.hosts[space.software]
    system = machine.system(source=source, name=path.stem).model_copy(update={"title": title})
    save_system(system, path, base, "\n".join([f"{source}.", *commands]))
    nominal = load_system(base)
    was = {field: value_of(leaf) for field, leaf in leaves_and_words(nominal).items()}
    now = {field: value_of(leaf) for field, leaf in changed_values(system, nominal).items()}
    changed = {
        field: {"value": value, "was": was[field]} for field, value in now.items() if value != was[field]
    }
    if GROUP_SIZE in changes:
        changed[GROUP_SIZE] = {"value": machine.group_size, "was": space.nominal.group_size}
    return changed
