"""Search for good machines: tokens/s, tokens per dollar and area, over what a designer of SAIL may choose.

A trial is a variant of a machine on one workload. Optuna proposes generations of trials, which are evaluated
in parallel as `sailsim run` evaluates a point, and kept as those of a sweep are. A
machine on which a tile does not fit is an infeasible trial with the reason. What no other trial beats in all
three is the Pareto front; each of its points is a system file, and `sailsim run` of it gives its numbers.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from sailsim.analysis.costs.area import area
from sailsim.analysis.costs.dollars import is_missing, prices
from sailsim.analysis.paper.machine import machine_changes
from sailsim.analysis.paper.parameters import Factor, Value
from sailsim.analysis.paper.unknowns import space
from sailsim.analysis.results.joins import as_frame, joined
from sailsim.analysis.results.runs import named, runs
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.keys import Keys, result_key
from sailsim.sim.point import Point
from sailsim.sim.saved import save_system
from sailsim.sim.study.folder import Store
from sailsim.sim.study.run import opened
from sailsim.sim.study.tasks import Task
from sailsim.sim.study.workers import Workers
from sailsim.sim.system import System
from sailsim.sim.vary import on_substrate, vary
from sailsim.workloads.load import load_model

Sampler = Literal["nsga2", "tpe"]
SAMPLERS: tuple[Sampler, ...] = ("nsga2", "tpe")
CHOSEN = ("pim.nbw", "pim.arrays", "pim.rows", "pim.cols", "llc.slices", "pim.port", "pim.clock")
"""What is searched unless told otherwise, in the ranges of `unknowns.space`; `threads` beside it."""
OBJECTIVES = ("tokens_per_s", "tokens_per_usd", "area_mm2")
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
    sampler: Sampler = "nsga2"
    seed: int = 0

    def __post_init__(self) -> None:
        known = {f.name: f for f in space().factors if f.group == "machine"}
        for name in self.fields:
            if name not in known:
                raise SailsimError(f"field is {name!r}, allowed are {', '.join(known)}")
        if not self.fields:
            raise SailsimError("fields is empty, allowed is at least one")
        if self.sampler not in SAMPLERS:
            raise SailsimError(f"sampler is {self.sampler!r}, allowed is one of {', '.join(SAMPLERS)}")
        if not 0 <= self.seed < 1 << 32:
            raise SailsimError(f"seed is {self.seed}, allowed is 0..{(1 << 32) - 1}")
        base = self.base
        base.require_pim()
        area(base)  # raises where it is not modelled: no machine could be compared with another
        cores = base.cores.count.whole
        if not self.threads or not all(1 <= n <= cores for n in self.threads):
            raise SailsimError(f"threads is {self.threads}, allowed are numbers from 1 to {cores}")

    @property
    def base(self) -> System:
        """The machine that is varied, on the point's substrate."""
        system, substrate = load_system(self.point.system), self.point.substrate
        if substrate is None or not system.has_pim:
            return system
        return on_substrate(system, substrate, "sailsim explore")

    @property
    def factors(self) -> list[Factor]:
        """The searched fields with their ranges."""
        return [space().factor(name) for name in self.fields]

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The space as Optuna wants it."""
        found: dict[str, BaseDistribution] = {f.name: _distribution(f) for f in self.factors}
        return found | {"threads": CategoricalDistribution(list(self.threads))}

    @property
    def id(self) -> str:
        """What must be equal for trials of two runs to count together."""
        return json.dumps(
            [result_key(self.point, "explore"), self.fields, self.threads, self.sampler, self.seed]
        )

    def system(self, values: Mapping[str, Value], name: str) -> System:
        """The machine of a trial. Raises SailsimError where a tile does not fit or a value is refused."""
        base = self.base
        changes = machine_changes(base, {k: v for k, v in values.items() if k != "threads"})
        return vary(
            base,
            changes,
            name=name,
            title=f"{base.title}, found by a search",
            source=f"sailsim explore, {self.sampler}, seed {self.seed}",
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
        found = as_frame(runs(point, machine, named("sail", "cores")))
        sail, cores = joined(found, prices()).to_dict("records")
        if sail["reason"]:
            raise SailsimError(sail["reason"])
        if is_missing(sail["tokens_per_usd_used"]):
            raise SailsimError(f"no price of {search.point.system}, which tokens per dollar need")
        return {
            "tokens_per_s": sail["tokens_per_s"],
            "tokens_per_usd": sail["tokens_per_usd_used"],
            "area_mm2": area(machine, wbits=_widest(point)).added_mm2,
            "speedup_cpu": cores["speedup"],
            "reason": "",
        }
    except SailsimError as error:
        return {"reason": str(error)}


def explore(
    search: Search, out: str | Path, trials: int = 200, jobs: int | Workers = 1, progress: bool = True
) -> pd.DataFrame:
    """Run a search until it has so many trials, with what the folder holds of them; then write its results.

    Every search starts from the beginning: what it proposes follows from its seed and the trials before, so
    one that goes on after a stop proposes what an undisturbed one would, and finds the answers in the folder.
    The folder gets `trials.csv`, `.parquet`, `pareto.csv` and a system file a point of the front, in
    `front/`; the figure is `render.explore_page`'s. Returns the trials.

    Raises SailsimError for trials or jobs out of range, a folder of another command, or one that cannot be
    written.
    """
    if not 1 <= trials <= MOST_TRIALS:
        raise SailsimError(f"trials is {trials}, allowed is 1..{MOST_TRIALS}")
    folder = Path(out)
    known = _known(folder)
    study = _new(search)
    keys = Keys("explore")
    keys.result(search.point)  # reads every file that a trial will read
    tried = partial(_tried, search)
    evaluate = tried if isinstance(jobs, int) else keys.guard(tried)
    with opened(
        folder,
        trials,
        kind="explore",
        jobs=jobs,
        progress=progress,
        what="trials",
        changed=keys.changed,
    ) as kept:
        for first in range(0, trials, GENERATION):
            proposed = []
            for number in range(first, min(first + GENERATION, trials)):
                study.sampler = _sampler(search, number)
                proposed.append(study.ask(search.distributions))
            tasks = [_task(search, trial) for trial in proposed]
            known |= {key: rows[0] for key, rows in kept.run(tasks, evaluate, keep=True).items()}
            for trial, task in zip(proposed, tasks, strict=True):
                _tell(study, trial, known.get(task.key))
        frame = _frame(search, study.trials)
    kept.complain()
    _write(search, frame, folder)
    return frame


def _known(folder: Path) -> dict[str, dict[str, Any]]:
    """Trials that a folder holds, by their keys."""
    store = Store(folder)
    return {row["key"]: row for row in store.everything().to_pylist()} if store.keys() else {}


def _new(search: Search) -> optuna.Study:
    """A search before its first trial, which is the machine itself."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "maximize", "minimize"])
    nominal = {f.name: f.nominal for f in search.factors}
    threads = search.point.threads if search.point.threads in search.threads else search.threads[0]
    study.enqueue_trial(nominal | {"threads": threads})
    return study


def _sampler(search: Search, trial: int) -> optuna.samplers.BaseSampler:
    """Who proposes a trial: always the same for the same trials before it."""
    seed = (search.seed * 1_000_003 + trial) % (1 << 32)
    if search.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=2 * GENERATION, multivariate=False)
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=2 * GENERATION)


def _task(search: Search, trial: optuna.Trial) -> Task:
    content = json.dumps([search.id, trial.params], sort_keys=True)
    return Task(hashlib.sha256(content.encode()).hexdigest(), content, dict(trial.params), trial.number)


def _tried(search: Search, values: Mapping[str, Value]) -> dict[str, Any]:
    """`try_machine` as a record: what was tried, and what came of it."""
    return dict(values) | dict.fromkeys((*OBJECTIVES, "speedup_cpu"), math.nan) | try_machine(search, values)


def _tell(study: optuna.Study, trial: optuna.Trial, result: Mapping[str, Any] | None) -> None:
    """Say what came of a trial; None: its evaluation failed."""
    for name in (*OBJECTIVES, "speedup_cpu", "reason"):
        if result is not None:
            trial.set_user_attr(name, result[name])
    if result is None or result["reason"]:
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, [result[name] for name in OBJECTIVES])


def _frame(search: Search, trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """One row a trial: number, values, objectives, whether it is on the front, and why it is infeasible."""
    rows = []
    for trial in trials:
        row: dict[str, Any] = {"trial": trial.number, **trial.params}
        row |= {name: trial.user_attrs.get(name, math.nan) for name in (*OBJECTIVES, "speedup_cpu")}
        row["reason"] = trial.user_attrs.get("reason", "its evaluation failed")
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame["pareto"] = on_front(frame[list(OBJECTIVES)].to_numpy(dtype=float))
    return frame


def on_front(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows of (n, 3) objectives no other beats: as good in all, better in one. Rows with NaN never are.

    The first two are better when higher, the last when lower.
    """
    good = values * np.array([1.0, 1.0, -1.0])
    found = np.zeros(len(good), dtype=bool)
    for i, row in enumerate(good):
        if np.isnan(row).any():
            continue
        with np.errstate(invalid="ignore"):
            beaten = (good >= row).all(axis=1) & (good > row).any(axis=1)
        same = [j for j in range(i) if np.array_equal(good[j], row)]
        found[i] = not beaten.any() and not same
    return found


def _write(search: Search, frame: pd.DataFrame, folder: Path) -> None:
    """Tables, and system files of the front."""
    front = frame[frame["pareto"]].sort_values("tokens_per_s", ascending=False).reset_index(drop=True)
    front.insert(0, "point", [f"point-{i + 1:02d}" for i in range(len(front))])
    points = folder / FRONT
    points.mkdir(exist_ok=True)
    for old in points.glob("point-*.toml"):
        # Of an earlier search in this folder.
        if old.is_file() and old.read_bytes().startswith(_WRITTEN.encode()):
            old.unlink()
    for row in front.head(MOST_POINTS).to_dict("records"):
        values = {f.name: _typed(f, row[f.name]) for f in search.factors}
        machine = search.system(values, str(row["point"]))
        comment = (
            f"{_WRITTEN.lstrip('# ')} {row['trial']} of sailsim explore: {row['tokens_per_s']:.6g} tokens/s, "
            f"{row['tokens_per_usd']:.6g} tokens/USD, {row['area_mm2']:.6g} mm2.\n"
            f"sailsim run --system {row['point']}.toml {options(search.point, int(row['threads']))}"
        )
        save_system(machine, points / f"{row['point']}.toml", search.point.system, comment)
    for name, table in (("trials", frame), ("pareto", front)):
        write_whole(folder / f"{name}.csv", table.to_csv(index=False).encode())
    sink = BytesIO()
    frame.to_parquet(sink)
    write_whole(folder / "trials.parquet", sink.getvalue())


def _typed(factor: Factor, value: Any) -> Value:
    """A value of a table as the field takes it."""
    if factor.values:
        return next(v for v in factor.values if v == value)
    return int(value) if factor.whole else float(value)


@lru_cache(maxsize=16)
def _widest(point: Point) -> int:
    """Bits of the widest code among a point's formats, which the units are sized for."""
    model = load_model(point.model)
    widths = [fmt.wbits for fmt, _, _ in point.formats(model).census(model) if fmt.wbits is not None]
    if not widths:
        raise SailsimError(
            f"weights is {point.weights!r}, none of whose types has scalar codes; allowed is one with codes."
        )
    return max(widths)


def options(point: Point, threads: int) -> str:
    """The options of `sailsim run` for a point beside its system."""
    weights = point.weights or f"{point.wbits}g{point.group_size}"
    return (
        f"--model {point.model} --weights {weights} --abits {point.abits} --batch {point.batch} "
        f"--threads {threads} --context {point.context} --seed {point.seed}"
    )
