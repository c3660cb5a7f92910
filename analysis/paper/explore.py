"""Search for good machines: tokens/s, tokens per dollar and area, over what a designer of SAIL may choose.

A trial is a variant of a machine on one workload. Optuna's NSGA-II proposes generations of trials, which are
evaluated in parallel as `sailsim run` evaluates a point, and kept as those of a sweep are. A machine on which
a tile does not fit is an infeasible trial with the reason. What no other trial beats in all three is the
Pareto front; each of its points is a system file, and `sailsim run` of it gives its numbers.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from sailsim.analysis.costs.area import area
from sailsim.analysis.costs.dollars import CostConstants, is_missing, prices
from sailsim.analysis.paper.study import check_seed
from sailsim.analysis.paper.unknowns import space
from sailsim.analysis.results.compare import compared
from sailsim.analysis.results.prior import Factor, Value, machine_changes
from sailsim.analysis.results.runs import named, runs
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system, on_substrate, save_system, vary
from sailsim.sim.keys import Keys
from sailsim.sim.point import Point
from sailsim.sim.study.folder import Store
from sailsim.sim.study.run import Task, opened
from sailsim.sim.study.workers import Workers
from sailsim.sim.system import System
from sailsim.workloads.load import load_model

CHOSEN = ("pim.nbw", "pim.arrays", "pim.rows", "pim.cols", "llc.slices", "pim.port", "pim.clock")
"""What is searched unless told otherwise, in the ranges of `unknowns.space`; `threads` beside it."""
OBJECTIVES = ("tokens_per_s", "tokens_per_usd", "area_mm2")
FAILED = dict.fromkeys((*OBJECTIVES, "speedup_cpu"), math.nan) | {"reason": "its evaluation failed"}
"""A trial without an answer; every trial has these columns."""
GENERATION = 16
"""Trials that are proposed together; the same for every number of jobs, so that jobs change no result."""
MOST_TRIALS = 100_000
_WRITTEN = "# Trial"
"""How a file of the front begins."""
MOST_POINTS = 30
"""Points of the front that become system files."""
FRONT = "front"
"""The folder of these files, in that of the search; nothing else belongs there."""


@dataclass(frozen=True)
class Search:
    """What is searched: a machine's fields and threads, on a workload, from a seed."""

    point: Point
    fields: tuple[str, ...] = CHOSEN
    threads: tuple[int, ...] = (8, 16, 32, 64)
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        self.base.require_pim()
        area(self.base)  # raises where it is not modelled: no machine could be compared with another
        assert self.factors
        cores = self.base.cores.count.whole
        if not self.threads or not all(1 <= n <= cores for n in self.threads):
            raise SailsimError(f"threads is {self.threads}, allowed are numbers from 1 to {cores}")

    @cached_property
    def base(self) -> System:
        """The machine that is varied, on the point's substrate."""
        system, substrate = load_system(self.point.system), self.point.substrate
        if substrate is None or not system.has_pim:
            return system
        return on_substrate(system, substrate, "sailsim claims explore")

    @cached_property
    def factors(self) -> list[Factor]:
        """The searched fields with their ranges. Raises SailsimError for one that no machine may choose."""
        known = {f.name: f for f in space().factors if f.group == "machine"}
        for name in self.fields:
            if name not in known:
                raise SailsimError(f"field is {name!r}, allowed are {', '.join(known)}")
        return [known[name] for name in self.fields]

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The space as Optuna wants it."""
        of_each: dict[str, BaseDistribution] = {"threads": CategoricalDistribution(list(self.threads))}
        return {f.name: _distribution(f) for f in self.factors} | of_each

    def task(self, number: int, values: Mapping[str, Value]) -> Task:
        """The question of a trial; trials of two runs count together where all else is equal too."""
        own = json.dumps([Keys("explore").result(self.point), self.fields, self.threads, self.seed])
        question = json.dumps([own, values], sort_keys=True)
        return Task(hashlib.sha256(question.encode()).hexdigest(), question, dict(values), number)

    @cached_property
    def widest(self) -> int:
        """Bits of the widest code among the point's formats, which the units are sized for."""
        model = load_model(self.point.model)
        widths = [fmt.wbits for fmt, _, _ in self.point.formats(model).census(model) if fmt.wbits is not None]
        if not widths:
            raise SailsimError(
                f"weights is {self.point.weights!r}, none of whose types has scalar codes; allowed is one "
                "with codes."
            )
        return max(widths)

    def system(self, values: Mapping[str, Value], name: str) -> System:
        """The machine of a trial. Raises SailsimError where a tile does not fit or a value is refused."""
        return vary(
            self.base,
            machine_changes(self.base, {k: v for k, v in values.items() if k != "threads"}),
            name=name,
            title=f"{self.base.title}, found by a search",
            source=f"sailsim claims explore, seed {self.seed}",
            note="chosen by the search from the declared range",
        )


def _distribution(factor: Factor) -> BaseDistribution:
    if factor.values:
        return CategoricalDistribution(list(factor.values))
    if factor.whole:
        return IntDistribution(int(factor.low), int(factor.high), log=factor.log)
    return FloatDistribution(factor.low, factor.high, log=factor.log)


def try_machine(search: Search, values: Mapping[str, Value]) -> dict[str, Any]:
    """The objectives of a trial, or `reason`: why there is no such machine."""
    try:
        machine = search.system(values, "trial")
        point = replace(search.point, threads=int(values["threads"]), nbw=None)
        rows = [run.as_record() for run in runs(point, machine, named("sail", "cores"), prior=None)]
        costs = compared(rows, prices(), CostConstants.ends())
        sail, cores = (row | cost for row, cost in zip(rows, costs, strict=True))
        if sail["reason"]:
            raise SailsimError(sail["reason"])
        if is_missing(sail["tokens_per_usd_used"]):
            raise SailsimError(f"no price of {search.point.system}, which tokens per dollar need")
        return {
            "tokens_per_s": sail["tokens_per_s"],
            "tokens_per_usd": sail["tokens_per_usd_used"],
            "area_mm2": area(machine, wbits=search.widest).added_mm2(),
            "speedup_cpu": cores["speedup"],
            "reason": "",
        }
    except SailsimError as error:
        return {"reason": str(error)}


def explore(
    search: Search, out: str | Path, samples: int = 200, jobs: int | Workers = 1, progress: bool = True
) -> pd.DataFrame:
    """Run a search until it has so many trials (``samples``), with what the folder holds of them; then write
    its results.

    Every search starts from the beginning: what it proposes follows from its seed and the trials before, so
    one that goes on after a stop proposes what an undisturbed one would, and finds the answers in the folder.
    The folder gets `trials.csv`, `pareto.csv` and a system file a point of the front, in `front/`. Returns
    the trials.

    Raises SailsimError for samples or jobs out of range, a folder of another command, or one that cannot be
    written.
    """
    if not 1 <= samples <= MOST_TRIALS:
        raise SailsimError(f"samples is {samples}, allowed is 1..{MOST_TRIALS}")
    folder, rows = Path(out), []
    store, study = Store(folder), _new(search)
    keys = Keys("explore")
    keys.result(search.point)  # reads every file that a trial will read
    assert search.widest  # weights that no unit takes are refused before the first trial
    tried = partial(_tried, search)
    evaluate = tried if isinstance(jobs, int) else keys.guard(tried)
    with opened(
        folder,
        samples,
        kind="claims explore",
        jobs=jobs,
        progress=progress,
        what="trials",
        changed=keys.changed,
    ) as kept:
        for first in range(0, samples, GENERATION):
            proposed = []
            for number in range(first, min(first + GENERATION, samples)):
                # Who proposes a trial is always the same for the same trials before it.
                seed = (search.seed * 1_000_003 + number) % (1 << 32)
                study.sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=2 * GENERATION)
                proposed.append(study.ask(search.distributions))
            tasks = [search.task(trial.number, trial.params) for trial in proposed]
            kept.run(tasks, evaluate)
            for trial, task in zip(proposed, tasks, strict=True):
                result = (store.of_key(task.key) or [FAILED])[0]
                if result["reason"]:
                    study.tell(trial, state=TrialState.FAIL)
                else:
                    study.tell(trial, [result[name] for name in OBJECTIVES])
                rows.append({"trial": trial.number, **trial.params} | {name: result[name] for name in FAILED})
    kept.complain()
    frame, best = pd.DataFrame(rows), [trial.number for trial in study.best_trials]
    # Of equal trials the first is on the front.
    frame["pareto"] = frame["trial"].isin(best) & ~frame.duplicated(list(OBJECTIVES))
    _write(search, frame, [trial.params for trial in study.trials], folder)
    return frame


def _new(search: Search) -> optuna.Study:
    """A search before its first trial, which is the machine itself."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "maximize", "minimize"])
    nominal = {f.name: f.nominal for f in search.factors}
    threads = search.point.threads if search.point.threads in search.threads else search.threads[0]
    study.enqueue_trial(nominal | {"threads": threads})
    return study


def _tried(search: Search, values: Mapping[str, Value]) -> dict[str, Any]:
    """`try_machine` as a record: what was tried, and what came of it."""
    return dict(values) | FAILED | try_machine(search, values)


def _write(search: Search, frame: pd.DataFrame, params: Sequence[Mapping[str, Value]], folder: Path) -> None:
    """Tables, and system files of the front; ``params`` are the values of every trial."""
    front = frame[frame["pareto"]].sort_values("tokens_per_s", ascending=False).reset_index(drop=True)
    front.insert(0, "point", [f"point-{i + 1:02d}" for i in range(len(front))])
    points = folder / FRONT
    points.mkdir(exist_ok=True)
    for old in points.glob("point-*.toml"):
        # Of an earlier search in this folder.
        if old.is_file() and old.read_bytes().startswith(_WRITTEN.encode()):
            old.unlink()
    for row in front.head(MOST_POINTS).to_dict("records"):
        machine = search.system(params[row["trial"]], str(row["point"]))
        comment = (
            f"{_WRITTEN.lstrip('# ')} {row['trial']} of sailsim claims explore: "
            f"{row['tokens_per_s']:.6g} tokens/s, {row['tokens_per_usd']:.6g} tokens/USD, "
            f"{row['area_mm2']:.6g} mm2.\n"
            f"sailsim run --system {row['point']}.toml {options(search.point, int(row['threads']))}"
        )
        save_system(machine, points / f"{row['point']}.toml", search.point.system, comment)
    for name, table in (("trials", frame), ("pareto", front)):
        write_whole(folder / f"{name}.csv", table.to_csv(index=False).encode())


def options(point: Point, threads: int) -> str:
    """The options of `sailsim run` for a point beside its system."""
    weights = point.weights or f"{point.wbits}g{point.group_size}"
    return (
        f"--model {point.model} --weights {weights} --abits {point.abits} --batch {point.batch} "
        f"--threads {threads} --context {point.context} --seed {point.seed}"
    )
