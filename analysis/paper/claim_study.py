"""What the studies of claims share: machines judged block by block, and the nearest one to what is asked.

A study asks its folder (`AnswerFolder`), which evaluates what it does not hold yet. `judge` gives the claims
of drawn machines. `NearestSearch` goes from a machine to a near one: it makes one change after another within
the declared ranges, each the one that comes nearest. Only values of the machine and the weights change, which
a system file and a command can say; constants of software, cost and area stay nominal.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sailsim.analysis.paper.claim import Metric, Numbers
from sailsim.analysis.paper.evaluator import Memo, Values, judged
from sailsim.analysis.paper.parameter_space import ParameterSpace
from sailsim.analysis.uncertainty.prior import GROUP_SIZE, Parameter, Value, Workload
from sailsim.base.errors import SailsimError
from sailsim.base.memory import gc_paused, trim_heap
from sailsim.sim.machine.system_files import leaves_and_auto, load_system, save_system, value_of
from sailsim.sim.study.open_study import Task, run_study
from sailsim.sim.study.store import Record
from sailsim.sim.study.workers import Workers

Changes = Mapping[str, Value]
OWN_GROUPS = ("machine", "weights")
"""Groups of factors that a search changes."""
QUANTILES = (0.05, 0.5, 0.95)
BISECTIONS = 8
NARROWINGS = 3
"""How often the neighbourhood of the best value of a range is searched again, four times as finely."""


def check_seed(seed: int) -> None:
    """Raise SailsimError for a seed that NumPy and SALib do not take."""
    if not 0 <= seed < 1 << 32:
        raise SailsimError(f"seed is {seed}, allowed is 0..{(1 << 32) - 1}")


def digits(value: float, count: int = 5) -> float | None:
    """A number as the results' file has it; None for what is no number."""
    return None if not math.isfinite(value) else float(f"{value:.{count}g}")


def finite(values: Numbers) -> Numbers:
    """Those that are numbers."""
    return values[np.isfinite(values)]


def quantiles(values: Numbers) -> list[float | None] | None:
    """Those of `QUANTILES` of what is finite; None of no numbers."""
    known = finite(values)
    return [digits(float(q)) for q in np.quantile(known, QUANTILES)] if len(known) else None


# --- Answers in a folder ---


@dataclass(frozen=True)
class AnswerFolder:
    """The folder of a study, by the command (`kind`) and what it was given (`config`), and who evaluates.

    Raises SailsimError for fewer than one job, a folder that another run holds, a full disk, or questions
    that failed; what was finished is stored and the same call goes on.
    """

    path: Path
    kind: str
    config: Mapping[str, Any]
    jobs: int | Workers = 1
    progress: bool = True

    def records(
        self, asked: Mapping[str, Any], evaluate: Callable[[Any], Any], group: str, within: str, what: str
    ) -> list[Record]:
        """The records of some questions, in their order.

        ``asked`` has what ``evaluate`` is given by a name that says all that it rests on beside ``within``,
        the digest of what all questions share.
        """
        tasks = [
            Task(hashlib.sha256(f"{within}/{name}".encode()).hexdigest()[:32], f"{group}: {name}", each, at)
            for at, (name, each) in enumerate(asked.items())
        ]
        store = run_study(
            tasks, evaluate, self.path, kind=self.kind, jobs=self.jobs, progress=self.progress,
            config=self.config, noun=what, group=group,
        )  # fmt: skip
        return store.records(group)

    def of_each(
        self, asked: Mapping[str, Any], answer: Callable[[Any], Any], group: str, within: str, what: str
    ) -> dict[str, Any]:
        """Of every question by its name the one answer, of what JSON has."""
        records = self.records(asked, partial(_one_answer, answer), group, within, what)
        return {name: record["answer"] for name, record in zip(asked, records, strict=True)}


def _one_answer(answer: Callable[[Any], Any], what: Any) -> Record:
    return {"answer": answer(what)}


# --- Drawn machines ---


def judge(
    space: ParameterSpace,
    blocks: Sequence[Numbers],
    answers: AnswerFolder,
    name: str,
    what: str,
    group: str,
    designs_seed: int | None = None,
) -> list[Record]:
    """The claims of machines: a record each, in the order of the rows of all blocks.

    Every machine is evaluated on all workloads by every metric. With a ``designs_seed`` blocks are Saltelli's
    (`reproduce.sample`): only the first and the last machine are, the first with every other design too,
    whose own unknowns are drawn from the seed; those between are on the workloads that decide, by the primary
    metrics. ``name`` says what else the rows rest on.
    """
    firsts = np.cumsum([0, *map(len, blocks)]).tolist()
    return answers.records(
        {f"{name}/{firsts[at]}": (at, firsts[at], rows) for at, rows in enumerate(blocks)},
        partial(judge_block, space, designs_seed),
        group, space.digest, what,
    )  # fmt: skip


def judge_block(
    space: ParameterSpace, designs_seed: int | None, what: tuple[int, int, Numbers]
) -> list[Record]:
    """The records of a block of machines, within which equal steps are simulated once: its place, the place
    of its first machine, and rows."""
    (at, first, rows), memo, records = what, Memo(), []
    primary = list(space.paper.primary.values())
    with gc_paused():
        for i, row in enumerate(rows):
            machine = space.draw(row)
            whole = designs_seed is None or i in (0, len(rows) - 1)
            chosen, on = (None, None) if whole else (primary, space.deciding)
            record = {"machine": first + i} | _columns(judged(space, machine, chosen, on, memo))
            if designs_seed is not None and i == 0:
                for place, each in enumerate(space.alternatives):
                    varied = space.design(each, machine, (designs_seed, at, place))
                    values = judged(space, varied, primary, space.deciding, memo)
                    record |= _columns(values, each.name)
            records.append(record)
    if len(rows) > 2:  # many machines, not two alone
        trim_heap()
    return records


def _columns(values: Values, design: str = "") -> dict[str, Any]:
    return {column(metric, design): each.tolist() for metric, each in values.items()}


def column(metric: Metric, design: str = "") -> str:
    """The name of a metric in a record, which has a list over the workloads of it; of another design too."""
    return f"{design}: {metric[0]}/{metric[1]}" if design else f"{metric[0]}/{metric[1]}"


def of_records(
    records: Sequence[Record], metrics: Iterable[Metric], design: str = ""
) -> dict[Metric, Numbers]:
    """Metrics of records, (machines, workloads)."""
    return {
        metric: np.array([record[column(metric, design)] for record in records], dtype=np.float64)
        for metric in metrics
    }


# --- The nearest machine ---


@dataclass(frozen=True)
class NearestSearch:
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

    def _refined(self, here: Changes, tried: Sequence[tuple[Parameter, Value]]) -> list[dict[str, Value]]:
        """The nearest try, and the best between: of a range whose end lies across what is looked for, or near
        the best level."""
        factor, level = tried[0]
        ends = [{**here, factor.name: level}]
        for each, end in tried:
            if not each.values and self.signed(here) * self.signed({**here, each.name: end}) < 0:
                return [*ends, self._bisected(here, each, end)]
        return [*ends, self._narrowed(here, factor, level)]

    def _bisected(self, here: Changes, factor: Parameter, end: Value) -> dict[str, Value]:
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

    def _narrowed(self, here: Changes, factor: Parameter, level: Value) -> dict[str, Value]:
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
    was, now = (
        {path: value_of(said) for path, said in leaves_and_auto(each).items()}
        for each in (load_system(base), system)
    )
    changed = {path: {"value": value, "was": was[path]} for path, value in now.items() if value != was[path]}
    if GROUP_SIZE in changes:
        changed[GROUP_SIZE] = {"value": machine.group_size, "was": space.nominal.group_size}
    return changed
