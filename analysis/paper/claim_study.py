"""Common parts of the studies of claims: machines judged block by block, and the nearest to a goal.

A study has a folder, and evaluates the questions that it does not hold yet (`records_of`). `judge` computes
the claims of drawn machines. `NearestSearch` makes one change after another within the declared ranges, each
the one that comes nearest. Only values of the machine and the weights change, which a system file and a
command can state; constants of software, cost and area stay nominal.
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
from sailsim.sim.study.store import Record, Store
from sailsim.sim.study.workers import Workers

Changes = Mapping[str, Value]
OWN_GROUPS = ("machine", "weights")
"""Groups of parameters that a search changes."""
QUANTILES = (0.05, 0.5, 0.95)
BISECTIONS = 8
NARROWINGS = 3
"""Number of times that the neighbourhood of the best value is searched again, four times as finely."""


def check_seed(seed: int) -> None:
    """Raise SailsimError for a seed that NumPy and SALib do not take."""
    if not 0 <= seed < 1 << 32:
        raise SailsimError(f"seed is {seed}, allowed is 0..{(1 << 32) - 1}")


def digits(value: float, count: int = 5) -> float | None:
    """A number rounded for the results' file; None for NaN and infinity."""
    return None if not math.isfinite(value) else float(f"{value:.{count}g}")


def finite(values: Numbers) -> Numbers:
    """The finite values."""
    return values[np.isfinite(values)]


def quantiles(values: Numbers) -> list[float | None] | None:
    """`QUANTILES` of the finite values; None without one."""
    known = finite(values)
    return [digits(float(q)) for q in np.quantile(known, QUANTILES)] if len(known) else None


# --- Answers in a folder ---

Study = Callable[..., Store]
"""`run_study` in a folder, as `study_in` gives it."""


def study_in(
    folder: Path, kind: str, config: Mapping[str, Any], jobs: int | Workers = 1, progress: bool = True
) -> Study:
    """Study of a command (``kind``) and its options (``config``) in a folder."""
    return partial(run_study, out_dir=folder, kind=kind, config=config, jobs=jobs, progress=progress)


def records_of(
    study: Study,
    questions: Mapping[str, Any],
    evaluate: Callable[[Any], Any],
    group: str,
    scope: str,
    what: str,
) -> list[Record]:
    """Records of some questions in their order; the study evaluates those that its folder does not hold.

    ``questions`` are arguments of ``evaluate`` by a name. The name and ``scope``, a digest that all questions
    share, say everything that an answer depends on. Raises SailsimError for fewer than one job, a folder that
    another run holds, a full disk, or questions that failed; finished ones are stored, and the same call goes
    on from there.
    """
    tasks = [
        Task(hashlib.sha256(f"{scope}/{name}".encode()).hexdigest()[:32], f"{group}: {name}", each, at)
        for at, (name, each) in enumerate(questions.items())
    ]
    return study(tasks, evaluate, noun=what, group=group).records(group)


def answers_of(
    study: Study, questions: Mapping[str, Any], answer: Callable[[Any], Any], *words: str
) -> dict[str, Any]:
    """The answer to each question, as JSON, by its name; ``words`` and all else are those of `records_of`."""
    records = records_of(study, questions, partial(_one_answer, answer), *words)
    return {name: record["answer"] for name, record in zip(questions, records, strict=True)}


def _one_answer(answer: Callable[[Any], Any], question: Any) -> Record:
    return {"answer": answer(question)}


# --- Drawn machines ---

Block = tuple[int, int, Numbers]
"""Index of a block of machines, index of its first machine, and its rows."""


def judge(
    space: ParameterSpace,
    blocks: Sequence[Numbers],
    study: Study,
    name: str,
    what: str,
    group: str,
    designs_seed: int | None = None,
) -> list[Record]:
    """Claims of machines: a record for each, in the order of the rows of all blocks.

    Every machine is evaluated on all workloads by every metric. With a ``designs_seed`` blocks are Saltelli's
    (`reproduce.sample`), and only their first and last machines are. The first is evaluated with every
    alternative design too, whose own unknowns are drawn from the seed. Machines in between are evaluated on
    the deciding workloads by the primary metrics. ``name`` states what else the rows depend on.
    """
    firsts = np.cumsum([0, *map(len, blocks)]).tolist()
    questions = {f"{name}/{firsts[at]}": (at, firsts[at], rows) for at, rows in enumerate(blocks)}
    evaluate = partial(judge_block, space, designs_seed)
    return records_of(study, questions, evaluate, group, space.digest, what)


def judge_block(space: ParameterSpace, designs_seed: int | None, block: Block) -> list[Record]:
    """Records of a block of machines; equal steps of a block are simulated once."""
    (at, first, rows), memo, records = block, Memo(), []
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
    """Key in a record of a metric's values over the workloads, also for an alternative design."""
    return f"{design}: {metric[0]}/{metric[1]}" if design else f"{metric[0]}/{metric[1]}"


def of_records(records: Sequence[Record], metrics: Iterable[Metric], design: str = "") -> Values:
    """Values of the metrics in records, each (machines, workloads)."""
    names = {metric: column(metric, design) for metric in metrics}
    return {metric: np.array([r[name] for r in records], np.float64) for metric, name in names.items()}


# --- The nearest machine ---


@dataclass(frozen=True)
class NearestSearch:
    """Search for the machine nearest to a goal, by its error, and limits of the search.

    ``error`` of a machine's changes is 0 at the goal; it has a sign where it may lie on both sides.
    """

    space: ParameterSpace
    error: Callable[[Changes], float]
    tolerance: float
    """Distance that ends the search."""
    rounds: int
    """Largest number of changed values."""
    improvement: float
    """Factor that a round must reduce the distance by, or it is the last."""
    shortlist: int
    """Number of factors after the first round: those that came nearest."""

    _known: dict[str, float] = field(default_factory=dict)

    def signed(self, changes: Changes) -> float:
        """`error`, computed once for each set of changes."""
        key = json.dumps(sorted(changes.items()))
        if key not in self._known:
            self._known[key] = self.error(changes)
        return self._known[key]

    def distance(self, changes: Changes) -> float:
        """Size of the error; infinite where there is none."""
        size = abs(self.signed(changes))
        return math.inf if math.isnan(size) else size

    def run(self, start: Changes) -> dict[str, Value]:
        """The nearest machine that changes of one value after another lead to, without idle changes."""
        here = self.without_idle({name: _short(value) for name, value in start.items()})
        factors = [f for f in self.space.factors if f.group in OWN_GROUPS]
        for _ in range(self.rounds):
            if self.distance(here) <= self.tolerance:
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
            if not self.distance(best) < self.improvement * self.distance(here):
                break
            here = best
            if min(len(factors), len({distance for distance, *_ in tried})) > self.shortlist:
                factors = [factors[i] for i in list(dict.fromkeys(i for _, i, _ in tried))[: self.shortlist]]
        return self.without_idle(here)

    def without_idle(self, changes: Changes) -> dict[str, Value]:
        """The changes without those that bring little, all together at most the `improvement` of a round."""
        here, most = dict(changes), max(self.distance(changes) / self.improvement, self.tolerance)
        for name in list(here):
            fewer = {n: value for n, value in here.items() if n != name}
            if self.distance(fewer) <= most:
                here = fewer
        return here

    def _refined(self, here: Changes, tried: Sequence[tuple[Parameter, Value]]) -> list[dict[str, Value]]:
        """The nearest try and a refined one: bisected if its range spans the goal, or near the best level."""
        factor, level = tried[0]
        ends = [{**here, factor.name: level}]
        for each, end in tried:
            if not each.values and self.signed(here) * self.signed({**here, each.name: end}) < 0:
                return [*ends, self._bisected(here, each, end)]
        return [*ends, self._narrowed(here, factor, level)]

    def _bisected(self, here: Changes, factor: Parameter, end: Value) -> dict[str, Value]:
        """The nearest machine between a factor's value and an end of its range on the goal's other side."""
        low, high = float(here.get(factor.name, factor.nominal)), float(end)
        best: dict[str, Value] = {**here, factor.name: end}
        above = self.signed(best) > 0
        for _ in range(BISECTIONS):
            middle: Value = round((low + high) / 2) if factor.whole else float(f"{(low + high) / 2:.4g}")
            if middle in (low, high):
                break
            there = {**here, factor.name: middle}
            best = min(best, there, key=self.distance)
            if self.distance(there) < self.tolerance / 4:
                break
            if (self.signed(there) > 0) == above:
                high = float(middle)
            else:
                low = float(middle)
        return best

    def _narrowed(self, here: Changes, factor: Parameter, level: Value) -> dict[str, Value]:
        best: dict[str, Value] = {**here, factor.name: level}
        if factor.values:
            return best
        middle = min(np.linspace(0, 1, 5), key=lambda u: abs(float(factor.at(u)) - float(level)))
        step = 0.25
        for _ in range(NARROWINGS):
            step /= 4
            grid = [u for u in (middle + step * i for i in range(-4, 5)) if 0 <= u <= 1]
            tried = [(u, {**here, factor.name: _short(factor.at(u))}) for u in grid]
            middle, there = min(tried, key=lambda each: self.distance(each[1]))
            best = min(best, there, key=self.distance)
        return best


def _short(value: Value) -> Value:
    return float(f"{value:.4g}") if isinstance(value, float) else value


# --- The system file of a machine ---


def run_command(file: str, workload: Workload, group_size: int) -> str:
    """Command that runs a saved machine, whose file is in docs/systems, on a workload."""
    return (
        f"sailsim run --system docs/systems/{file} --model {workload.model} "
        f"--wbits {workload.wbits} --batch {workload.batch} --threads {workload.threads} "
        f"--context {workload.context} --group-size {group_size} --json"
    )


def save_machine(
    space: ParameterSpace, changes: Changes, path: Path, title: str, source: str, commands: Sequence[str] = ()
) -> dict[str, dict[str, Value]]:
    """Write the nominal machine with some changes as a system file, and return its changes by field.

    Each change has a `value` and the value that it `was`. Weights that share a scale are among them, although
    no system file has them. Raises SailsimError for an impossible machine, and OSError.
    """
    machine, base = space.nominal.with_values(changes), space.hosts[space.software]
    system = machine.system(source=source, name=path.stem).model_copy(update={"title": title})
    save_system(system, path, base, "\n".join([f"{source}.", *commands]))
    fields = (leaves_and_auto(each).items() for each in (load_system(base), system))
    was, now = ({path: value_of(leaf) for path, leaf in each} for each in fields)
    changed = {path: {"value": value, "was": was[path]} for path, value in now.items() if value != was[path]}
    if GROUP_SIZE in changes:
        changed[GROUP_SIZE] = {"value": machine.group_size, "was": space.nominal.group_size}
    return changed
