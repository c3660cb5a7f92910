"""The search that an architect asks for: the machine that is the fastest over a mix of workloads.

A file of `data/searches` says what may be built, the mix, and the limits. A machine's *score* is the
geometric mean over the mix of its tokens/s over the opponent's: software tuned alike on the same cores, at
equal quality. Proposals come from a seed: single changes of the best machines, and children of the front. A
machine is given up as soon as the memory's roofline on the workloads that are left cannot bring it past one
of the front that is no larger, so that none of the front is missed. What is told of the front is what
`sailsim run` says of its files.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from math import exp, inf, isnan, log, nan
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pandas as pd
from pydantic import Field, model_validator

from sailsim.analysis.costs.area import Area, area
from sailsim.analysis.costs.dollars import CostConstants, prices
from sailsim.analysis.paper.claim_study import check_seed
from sailsim.analysis.runs.compare import comparisons
from sailsim.analysis.runs.equal_quality import cache_widths
from sailsim.analysis.runs.ratios import INTERVAL_COLUMNS
from sailsim.analysis.runs.runs import Runner, runner_names, runners_by_name, runs
from sailsim.analysis.uncertainty.interval import Interval, drawn_machines, kept, placed
from sailsim.analysis.uncertainty.prior import PRIOR, Listed, Value, machine_changes
from sailsim.base.atomic import write_whole
from sailsim.base.errors import ImpossibleMachineError, SailsimError
from sailsim.base.quantity import FrozenModel
from sailsim.sim.backend import check_context
from sailsim.sim.machine.catalog import Catalog, validate
from sailsim.sim.machine.catalog import format_value as word
from sailsim.sim.machine.system import System, host_memory_system
from sailsim.sim.machine.system_files import leaves, load_system, save_system, value_of, vary
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import decode_demand, with_host_software
from sailsim.sim.step.engine import time_step
from sailsim.sim.study.keys import ResultKeys
from sailsim.sim.study.open_study import OpenStudy, Task, opened
from sailsim.sim.study.store import Record, Store
from sailsim.sim.study.workers import Workers
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.model import ModelSpec

SEARCHES = Catalog("search", "data/searches", package="sailsim.analysis")
COUNTED, BASE = "all of the unit", "LLC and cores"
"""Of an area, what is meant by its share (`costs.area`)."""
SOFTWARE = ("attention", "overlap")
"""Choices of a run, beside those of the machine's file."""
CLOCK = "pim.clock"
GENERATION = 64
"""Machines that are proposed together, for any number of jobs, so that jobs change no result."""
MOST_TRIALS = 1_000_000
FRESH = 0.1
"""Share of proposals that have no parents."""
TRIES = 1000
"""How often a proposal that was tried before is drawn again; then the space has no more to offer."""
IDLE = 0.005
"""Of the score, what a change has to bring, or it is left out of the best machine."""
LAYERS = 1
"""Of a model that have activations of their own on drawn machines, as in an interval."""
WIDER = (0.5, 1.0, 2.0)
"""The areas that a best machine is looked for within, in limits; no larger one is tried."""
FRONT = "front"
"""The folder of machines' files, in that of the search; nothing else belongs there."""
_WRITTEN = "# Found by sailsim explore"
"""How these files begin."""

Values = Mapping[str, Value]


class WeightedWorkload(FrozenModel):
    """A workload of the mix: a `[[workload]]` table."""

    name: str
    model: str
    weights: str
    batch: int
    context: int
    threads: int = 16
    share: Annotated[float, Field(gt=0)]
    """Of the mix, in any unit: a weight of the geometric mean."""
    reason: str

    @model_validator(mode="after")
    def _is_a_point(self) -> WeightedWorkload:
        try:
            model = load_model(self.model)
            point = self.point(0)
            check_context(model, point)
            point.formats(model).census(model)
        except SailsimError as error:
            raise ValueError(f"{self.name!r} has a {str(error).rstrip('.')}") from None
        return self

    def point(self, kv_bits: int, **choices: Any) -> Point:
        """A run of it."""
        own = {name: getattr(self, name) for name in ("model", "weights", "batch", "context", "threads")}
        return Point(kv_bits=kv_bits, **own, **choices)


class SearchAxis(FrozenModel):
    """What a designer may choose: a `[choices]` table."""

    values: Annotated[Listed[Value], Field(min_length=1)]
    late: Listed[Value] = ()
    """Values that are tried on the best machine alone, since they take long."""
    reason: str


class SearchLimit(FrozenModel):
    """What nothing may pass."""

    value: Annotated[float, Field(gt=0, lt=inf)]
    reason: str


class SearchLimits(FrozenModel):
    """The `[limits]` table."""

    area: SearchLimit
    """Per cent of LLC and cores that the units add, sized for those of the mix's codes that take most."""
    power: SearchLimit
    """W of the server, in any workload."""
    loss: SearchLimit
    """Nats a token that a narrower cache may lose against fp16."""


class SearchFile(FrozenModel):
    """A file of `data/searches`."""

    extends: tuple[str, ...] = ()
    system: str
    runner: str
    opponent: str
    limits: SearchLimits
    workload: Annotated[Listed[WeightedWorkload], Field(min_length=1)]
    choices: Annotated[dict[str, SearchAxis], Field(min_length=1)]


class FrontPoint(NamedTuple):
    """A machine of the front."""

    area: float
    score: float
    values: Values


@dataclass(frozen=True)
class DesignSearch:
    """A search's file by name or path, limits that take the place of the file's, and a seed.

    Raises SailsimError for a bad file, a limit that is not above 0, a choice that no machine has.
    """

    file: str = "next"
    area: float | None = None
    power: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name, least in (("area", self.area), ("power", self.power)):
            if least is not None and not 0 < least < inf:
                raise SailsimError(f"{name} is {least!r}; allowed is a number above 0.")
        self.base.require_pim()
        known = {*leaves(self.base), *SOFTWARE}
        for name, choice in self.content.choices.items():
            if name not in known:
                raise SailsimError(f"choices has {name!r}; allowed is a field of system {self.base.name}.")
            for value in (*choice.values, *choice.late):
                with suppress(ImpossibleMachineError):  # beside other values it may go
                    self.machine({name: value})
                own: dict[str, Any] = {name: value} if name in SOFTWARE else {}
                Point(batch=2, kv_bits=8, **own)
        for runner in (self.content.runner, self.content.opponent):
            if runner not in runner_names():
                raise SailsimError(f"runner is {runner!r}; allowed are {', '.join(runner_names())}.")

    @cached_property
    def content(self) -> SearchFile:
        """The file."""
        what = "a field of such a file"
        return validate(SearchFile, SEARCHES.read(self.file), f"search {self.file}", what)

    @cached_property
    def models(self) -> Mapping[str, ModelSpec]:
        """Of the workloads, by the names that these give them."""
        return {load.model: load_model(load.model) for load in self.content.workload}

    @cached_property
    def base(self) -> System:
        """The machine that is varied."""
        return load_system(self.content.system)

    @property
    def runner(self) -> Runner:
        """Whose record is a machine's."""
        return runners_by_name(self.content.runner)[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the choices."""
        return tuple(self.content.choices)

    @property
    def most_area(self) -> float:
        """The limit, % of LLC and cores."""
        return self.content.limits.area.value if self.area is None else self.area

    @property
    def most_power(self) -> float:
        """The limit, W."""
        return self.content.limits.power.value if self.power is None else self.power

    @cached_property
    def start(self) -> Values:
        """What the base has of the choices."""
        own: dict[str, Value] = {path: value_of(leaf) for path, leaf in leaves(self.base).items()}
        own |= {"attention": "cores", "overlap": False}
        return {name: own[name] for name in self.names}

    def changes(self, values: Values) -> dict[str, Value]:
        """Those of some values that the base has not."""
        return {name: value for name, value in values.items() if value != self.start[name]}

    def machine(self, values: Values, name: str = "trial", whole: bool = False) -> System:
        """The machine of some values. Raises SailsimError where there is none.

        ``whole``: values that the base has too are decided, but for the clock, which arrays may not reach.
        """
        decided = [name for name in values if name != CLOCK] if whole else []
        own = {n: v for n, v in values.items() if n not in SOFTWARE and (n in decided or v != self.start[n])}
        if not own:
            return self.base
        return vary(
            self.base,
            machine_changes(self.base, own),
            name=name,
            title=f"{self.base.title}, {name} of a search",
            source=f"sailsim explore {self.file}, seed {self.seed}",
        )

    def area_of(self, machine: System) -> tuple[float, Area]:
        """Per cent of LLC and cores, and all of it, sized for those of the mix's codes that take most."""
        every = [area(machine, wbits=wbits) for wbits in self.widths]
        whole = max(every, key=lambda each: each.share(COUNTED, BASE))
        return 100 * whole.share(COUNTED, BASE), whole

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Bits of the mix's codes."""
        found: set[int] = set()
        for load in self.content.workload:
            model = self.models[load.model]
            formats = [fmt for fmt, _, _ in load.point(0).formats(model).census(model)]
            found.update(fmt.wbits for fmt in formats if fmt.wbits is not None)
        return tuple(sorted(found))

    def caches(self, attention: str) -> tuple[int, ...]:
        """Widths of the cache that lose little enough, by who attends."""
        return cache_widths(attention, self.content.limits.loss.value)

    @cached_property
    def opponents(self) -> tuple[tuple[float, int], ...]:
        """Of each workload the opponent's tokens/s with the width of the cache that it is the fastest with.

        Raises SailsimError where it cannot run one.
        """
        who, found = runners_by_name(self.content.opponent), []
        for load in self.content.workload:
            every = [(runs(load.point(kv), self.base, who, prior=None)[0], kv) for kv in self.caches("cores")]
            for run, _ in every:
                if run.reason:
                    raise SailsimError(f"{load.name}: {self.content.opponent} cannot run it: {run.reason}")
            found.append(max((float(run.tokens_per_s or 0), kv) for run, kv in every))
        return tuple(found)

    def roofline(self, load: WeightedWorkload, kv_bits: int) -> float:
        """Tokens/s of whoever reads the weights and the cache once, as fast as memory streams."""
        model = self.models[load.model].with_kv_bits(kv_bits)
        work = decode_demand(model, load.point(kv_bits).formats(model), load.batch, load.context)
        memory = host_memory_system(self.base, load.threads)
        return load.batch * memory.peak * memory.read_share / float(work.weight_bytes + work.kv_bytes)

    @cached_property
    def ceilings(self) -> Mapping[str, tuple[float, ...]]:
        """By who attends, of each workload the roofline over the opponent."""
        return {
            who: tuple(
                max(self.roofline(load, kv) for kv in self.caches(who)) / rate
                for load, (rate, _) in zip(self.content.workload, self.opponents, strict=True)
            )
            for who in ("cores", "units")
        }

    def mean(self, ratios: Sequence[float]) -> float:
        """The geometric mean over the mix, by its shares."""
        shares = [load.share for load in self.content.workload]
        return exp(sum(s * log(r) for s, r in zip(shares, ratios, strict=True)) / sum(shares))

    def ways(self, load: WeightedWorkload, values: Values) -> list[Point]:
        """The runs of a workload of which a machine takes the fastest."""
        attention = values.get("attention", "cores")
        halves = (False, True) if values.get("overlap") and load.batch > 1 else (False,)
        widths = self.caches(str(attention))
        return [load.point(kv, attention=attention, overlap=half) for kv in widths for half in halves]

    def around(self, machine: System) -> System:
        """The machine as its runner runs it: with its software on the cores."""
        return (
            with_host_software(machine, self.runner.host_software) if self.runner.host_software else machine
        )

    def fastest(self, load: WeightedWorkload, machine: System, values: Values) -> tuple[float, Point]:
        """Tokens/s of `around` a machine, and the run. Raises SailsimError where it cannot."""
        model = self.models[load.model]
        rates = [(time_step(machine, model, way).tokens_per_s, way) for way in self.ways(load, values)]
        return max(rates, key=itemgetter(0))

    def task(self, evaluate: str, number: int, asked: tuple[Values, Any]) -> Task:
        """The question of a machine. Rivals are no part of it: the seed and the trials before decide them."""
        values, more = asked
        asks = more if isinstance(more, int) else more is None
        question = json.dumps([self._digest, evaluate, asks, values])
        return Task(hashlib.sha256(question.encode()).hexdigest(), question, asked, number)

    @cached_property
    def _digest(self) -> str:
        """All that a trial rests on beside its values."""
        keys = ResultKeys("explore")
        of_each = [keys.result(load.point(0, system=self.content.system)) for load in self.content.workload]
        own = [of_each, self.content.model_dump(mode="json"), self.area, self.power, self.seed]
        return hashlib.sha256(json.dumps(own).encode()).hexdigest()[:16]


# ---- One machine ------------------------------------------------------------------------------------------
FOUND = {**dict.fromkeys(("score", "at_most", "area_percent", "power_w"), nan), "reason": ""}
"""What a trial finds, and what a machine has of it that was not reckoned to its end."""
Rivals = Sequence[tuple[float, float]]
"""Areas and scores of the front."""


def tried(search: DesignSearch, asked: tuple[Values, Rivals | None]) -> Record:
    """A machine's record: its values and `FOUND`.

    Without a `score` it has `at_most`, which it cannot pass, or the `reason` why it is none or beyond a
    limit.
    """
    values, rivals = asked
    record: dict[str, Any] = dict(values) | FOUND
    try:
        machine = search.machine(values)
        record["area_percent"], _ = search.area_of(machine)
        beyond = WIDER[-1] * search.most_area
        if rivals is not None and record["area_percent"] > beyond:
            raise SailsimError(f"its area is more than {beyond:g} %")
        bar = max((score for size, score in rivals or () if size <= record["area_percent"]), default=0.0)
        ratios, around = list(search.ceilings[str(values.get("attention", "cores"))]), search.around(machine)
        points = []
        for at, (load, (rate, _)) in enumerate(zip(search.content.workload, search.opponents, strict=True)):
            own, point = search.fastest(load, around, values)
            ratios[at] = own / rate
            points.append(point)
            if search.mean(ratios) <= bar:
                return record | {"at_most": search.mean(ratios)}
        record["power_w"] = max(map(_watts, _records(search, machine, points)))
        if record["power_w"] > search.most_power:
            raise SailsimError(f"its power is more than {search.most_power:g} W")
        return record | {"score": search.mean(ratios)}
    except SailsimError as error:
        return record | {"reason": str(error)}


def _records(search: DesignSearch, machine: System, points: Iterable[Point]) -> list[dict[str, Any]]:
    """Of a machine's runs."""
    return [runs(point, machine, [search.runner], prior=None)[0].as_record() for point in points]


def _watts(record: Record) -> float:
    return float(record["energy_j"] / record["step_s"])


def drawn_ratios(search: DesignSearch, asked: tuple[Values, int]) -> Record:
    """Of a workload by its place, a machine's rates over the opponent's on the machines of the prior around
    it, nan where one cannot run it. Those of a found machine have its choices. The opponent is the nominal
    one."""
    values, at = asked
    load, (rate, _) = search.content.workload[at], search.opponents[at]
    machine = search.machine(values, whole=values != search.start)
    nominal, model = search.around(machine), search.models[load.model]
    own, point = search.fastest(load, nominal, values)
    over, ratios = own / time_step(nominal, model, point, (), LAYERS).tokens_per_s / rate, []
    for machine in drawn_machines(*kept(nominal, point, PRIOR)).systems:
        try:
            ratios.append(over * time_step(machine, model, point, (), LAYERS).tokens_per_s)
        except SailsimError:
            ratios.append(nan)
    return {"workload": load.name, "speedups": ratios}


# ---- The search -------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class SearchResult:
    """What a search has found."""

    trials: pd.DataFrame
    front: pd.DataFrame
    """By area; the files of its machines are in the folder `FRONT`."""
    waterfall: pd.DataFrame
    """From the first machine to the best within the limits, the change first that brings most."""
    workloads: pd.DataFrame
    """Of each workload, and at last of the mix: the opponent, the first machine, the best one, the bound."""


def explore(
    search: DesignSearch, out: str | Path, samples: int = 2000, jobs: int | Workers = 1, progress: bool = True
) -> SearchResult:
    """Run a search until it has so many trials (``samples``), with what the folder holds of them; then write
    its results: `trials.csv`, `front.csv`, `waterfall.csv`, `workloads.csv`, and in `front/` a system file a
    machine, with the best one within the limits as `best.toml`.

    Every search starts from the beginning and finds the answers of an earlier one in the folder, so that one
    that goes on after a stop is an undisturbed one.

    Raises SailsimError for samples or jobs out of range, for limits that no machine meets, a folder of
    another command, or one that cannot be written.
    """
    if not 1 <= samples <= MOST_TRIALS:
        raise SailsimError(f"samples is {samples}, allowed is 1..{MOST_TRIALS}")
    folder, keys = Path(out), ResultKeys("explore")
    for load in search.content.workload:  # every file that a trial reads
        keys.result(load.point(0, system=search.content.system))
    assert search.ceilings
    how: dict[str, Any] = {"kind": "explore", "jobs": jobs, "progress": progress, "changed": keys.changed}
    with opened(folder, samples, noun="trials", **how) as study:
        asking = _SearchTrials(
            search, Store(folder), study, (lambda f: f) if isinstance(jobs, int) else keys.guard
        )
        rows, front = asking.trials(samples)
        steps = asking.late(asking.waterfall(asking.plain(_best(search, rows, front))))
        intervals = [asking.interval(values) for values in (search.start, steps[-1].values)]
    study.complain()
    found = _told(search, rows, front, steps, intervals)
    _write(search, found, front, steps[-1].values, folder)
    return found


@dataclass(frozen=True)
class _SearchTrials:
    """What is asked of machines in a study."""

    search: DesignSearch
    store: Store
    study: OpenStudy
    guard: Callable[[Any], Any]

    def ask(self, asked: Sequence[tuple[Values, Any]], evaluate: Any = tried) -> list[Record]:
        """The record of each."""
        tasks = [self.search.task(evaluate.__name__, at, each) for at, each in enumerate(asked)]
        report = self.study.report
        report.total = max(report.total, report.resumed + report.done + len(tasks))
        self.study.run(tasks, self.guard(partial(evaluate, self.search)))
        failed = FOUND | {"reason": "its evaluation failed"}
        found = self.store.records_of([task.key for task in tasks])
        return [dict(*each or [failed]) for each in found]

    def trials(self, samples: int) -> tuple[list[Record], list[FrontPoint]]:
        """So many machines, and the front of those."""
        draw, seen, rows = random.Random(self.search.seed), set[str](), list[Record]()
        front: list[FrontPoint] = []
        while len(rows) < samples:
            together = min(GENERATION, samples - len(rows))
            proposed = list(islice(_proposed(self.search, draw, front, seen), together))
            if not proposed:
                break
            rivals = [(each.area, each.score) for each in front]
            for values, found in zip(proposed, self.ask([(each, rivals) for each in proposed]), strict=True):
                rows.append({"trial": len(rows), **values} | {name: found[name] for name in FOUND})
                if found["score"] > 0:
                    front = _with(front, FrontPoint(found["area_percent"], found["score"], values))
        return rows, front

    def exact(self, every: Sequence[Values]) -> list[FrontPoint]:
        """Machines to their end; those that cannot be have the score 0."""
        found = self.ask([(values, None) for values in every])
        scores = [0.0 if isnan(each["score"]) else each["score"] for each in found]
        return [FrontPoint(f["area_percent"], s, v) for f, s, v in zip(found, scores, every, strict=True)]

    def plain(self, best: FrontPoint) -> FrontPoint:
        """The machine without changes that bring less than `IDLE` together and save no area."""
        here, least = best, best.score * (1 - IDLE)
        while True:
            fewer = [
                {**here.values, name: self.search.start[name]} for name in self.search.changes(here.values)
            ]
            able = [each for each in self.exact(fewer) if each.score >= least and each.area <= here.area]
            if not able:
                return here
            here = max(able, key=lambda each: each.score)

    def waterfall(self, best: FrontPoint) -> list[FrontPoint]:
        """From the first machine to a found one: each time the change that brings most."""
        steps = self.exact([self.search.start])
        while left := {n: v for n, v in best.values.items() if v != steps[-1].values[n]}:
            every = self.exact([{**steps[-1].values, name: value} for name, value in left.items()])
            steps.append(max(every, key=lambda each: each.score))
        return steps

    def late(self, steps: list[FrontPoint]) -> list[FrontPoint]:
        """A waterfall, and behind it what is tried last: each value that brings `IDLE` within the limit."""
        for name, choice in self.search.content.choices.items():
            every = self.exact([{**steps[-1].values, name: value} for value in choice.late])
            able = [each for each in every if each.area <= self.search.most_area]
            best = max(able, key=lambda each: each.score, default=steps[-1])
            if best.score > (1 + IDLE) * steps[-1].score:
                steps = [*steps, best]
        return steps

    def interval(self, values: Values) -> dict[str, Interval]:
        """Of a machine's speedups over the prior, by workload and of the mix (""), nine of ten."""
        loads = self.search.content.workload
        found = self.ask([(values, at) for at in range(len(loads))], drawn_ratios)
        every = [each["speedups"] for each in found]
        means = [
            self.search.mean(ratios) for ratios in zip(*every, strict=True) if not any(map(isnan, ratios))
        ]
        rows = [*zip((load.name for load in loads), every, strict=True), ("", means)]
        return {name: placed(nan, [each for each in ratios if not isnan(each)]) for name, ratios in rows}


def _with(front: Sequence[FrontPoint], new: FrontPoint) -> list[FrontPoint]:
    """The front with another machine, if none is as small and as fast; without those that it beats."""
    if any(each.area <= new.area and each.score >= new.score for each in front):
        return list(front)
    left = [each for each in front if each.area < new.area or each.score > new.score]
    return sorted([*left, new], key=lambda each: each.area)


def _proposed(
    search: DesignSearch, draw: random.Random, front: Sequence[FrontPoint], seen: set[str]
) -> Iterator[dict[str, Value]]:
    """Machines that nobody has tried: the first one, neighbours of the best within each limit, then children
    of the front, until none is left that is easily found."""

    def is_new(values: Values) -> bool:
        key = json.dumps(values, sort_keys=True)
        new = key not in seen
        seen.add(key)
        return new

    if not seen:
        seen.add(json.dumps(search.start, sort_keys=True))
        yield dict(search.start)
    bests = [_within(front, search.most_area * wider) for wider in WIDER]
    near = [
        {**best.values, name: value}
        for best in filter(None, bests)
        for name, choice in search.content.choices.items()
        for value in choice.values
        if value != best.values[name]
    ]
    draw.shuffle(near)
    yield from islice(filter(is_new, near), GENERATION // 2)
    tries = 0
    while tries < TRIES:
        values = _child(search, draw, front)
        tries = 0 if is_new(values) else tries + 1
        if not tries:
            yield values


def _child(search: DesignSearch, draw: random.Random, front: Sequence[FrontPoint]) -> dict[str, Value]:
    """One of two of the front's machines, a few of its choices drawn again; now and then all of them."""
    choices = search.content.choices
    if not front or draw.random() < FRESH:
        return {name: draw.choice(choice.values) for name, choice in choices.items()}
    one, other = draw.choice(front).values, draw.choice(front).values
    values = {name: (other if draw.random() < 0.25 else one)[name] for name in choices}
    for name in draw.sample(list(choices), draw.randint(1, 3)):
        values[name] = draw.choice(choices[name].values)
    return values


def _within(front: Sequence[FrontPoint], limit: float) -> FrontPoint | None:
    """The best of the front that is no larger."""
    return max((each for each in front if each.area <= limit), key=lambda each: each.score, default=None)


def _best(search: DesignSearch, rows: Sequence[Record], front: Sequence[FrontPoint]) -> FrontPoint:
    """The best within the limits. Raises SailsimError that says which limit nothing meets, by how much."""
    best = _within(front, search.most_area)
    if best is not None:
        return best
    smallest = min((row["area_percent"] for row in rows if not isnan(row["area_percent"])), default=nan)
    if smallest > search.most_area:
        raise SailsimError(
            f"area is {search.most_area:g} %, which none of {len(rows)} machines meets: the smallest takes "
            f"{smallest:.3g} %, {smallest - search.most_area:.3g} more; allowed is that."
        )
    able = [row for row in rows if row["area_percent"] <= search.most_area]
    watts = min((row["power_w"] for row in able if not isnan(row["power_w"])), default=nan)
    if watts > search.most_power:
        raise SailsimError(
            f"power is {search.most_power:g} W, which none of {len(able)} machines meets: the thriftiest "
            f"draws {watts:.3g} W, {watts - search.most_power:.3g} more; allowed is that."
        )
    reason = next((row["reason"] for row in able if row["reason"]), "all were given up")
    raise SailsimError(f"none of {len(rows)} machines runs the mix: {reason.rstrip('.')}.")


# ---- What is told -----------------------------------------------------------------------------------------
def _costed(search: DesignSearch, values: Values) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """A machine over the mix, and the records of its runs."""
    machine, ends = search.machine(values), CostConstants.ends()
    around = search.around(machine)
    points = [search.fastest(load, around, values)[1] for load in search.content.workload]
    rows = [row | comparisons([row], prices(), ends)[0] for row in _records(search, machine, points)]
    share, whole = search.area_of(machine)
    pairs = zip(rows, search.opponents, strict=True)
    means = {
        "score": search.mean([row["tokens_per_s"] / rate for row, (rate, _) in pairs]),
        "area_percent": share,
        "area_mm2": whole.added_mm2(COUNTED),
        "joules_per_token": 1 / search.mean([row["tokens_per_j"] for row in rows]),
        "tokens_per_usd": search.mean([row["tokens_per_usd"] for row in rows]),
        "power_w": max(map(_watts, rows)),
    }
    return means, rows


def _told(
    search: DesignSearch,
    rows: Sequence[Record],
    front: Sequence[FrontPoint],
    steps: Sequence[FrontPoint],
    intervals: Sequence[Mapping[str, Interval]],
) -> SearchResult:
    """The tables."""
    table = [
        {"machine": f"point-{at:02d}"}
        | _costed(search, values)[0]
        | {"changes": in_words(search.changes(values))}
        for at, (_, _, values) in enumerate(front, 1)
    ]
    falls, costs = [], [_costed(search, step.values) for step in steps]
    for before, step, (means, _) in zip([steps[0], *steps], steps, costs, strict=False):
        new = {name: value for name, value in step.values.items() if value != before.values[name]}
        falls.append(
            {"change": in_words(new) or search.base.name, "gain": step.score / before.score, **means}
        )
    loads: list[dict[str, Any]] = []
    sides = list(zip(("first", "best"), (costs[0], costs[-1]), intervals, strict=True))
    for at, (load, (rate, kv)) in enumerate(zip(search.content.workload, search.opponents, strict=True)):
        row: dict[str, Any] = {"workload": load.name, "share": load.share}
        row |= {"opponent_tokens_per_s": rate, "opponent_kv": kv}
        for who, costed, interval in sides:
            own = costed[1][at]
            told = {"tokens_per_s": own["tokens_per_s"], "speedup": own["tokens_per_s"] / rate}
            told |= {name: getattr(interval[load.name], name) for name in INTERVAL_COLUMNS} | {
                "kv": own["kv_bits"]
            }
            told |= {"overlap": own["overlap"], "joules_per_token": 1 / own["tokens_per_j"]}
            row |= {f"{who}_{name}": value for name, value in told.items()}
        loads.append(row | {"bound": search.roofline(load, row["best_kv"]) / rate})
    mix: dict[str, Any] = {"workload": "the mix", "bound": search.mean([row["bound"] for row in loads])}
    for who, costed, interval in sides:
        mix[f"{who}_speedup"] = costed[0]["score"]
        mix |= {f"{who}_{name}": getattr(interval[""], name) for name in INTERVAL_COLUMNS}
    return SearchResult(*map(pd.DataFrame, (rows, table, falls, [*loads, mix])))


def in_words(changes: Values) -> str:
    """Values of fields as --set takes them."""
    return ", ".join(f"{name}={word(value)}" for name, value in changes.items())


def _write(
    search: DesignSearch, found: SearchResult, front: Sequence[FrontPoint], best: Values, folder: Path
) -> None:
    """The tables, and the machines as files."""
    points = folder / FRONT
    points.mkdir(exist_ok=True)
    for old in points.glob("point-*.toml"):
        # Of an earlier search in this folder.
        if old.is_file() and old.read_bytes().startswith(_WRITTEN.encode()):
            old.unlink()
    of_front = ((f"point-{at:02d}", each.values) for at, each in enumerate(front, 1))
    for name, values in (("best", best), *of_front):
        machine = search.machine(values, name)
        if machine is not search.base:
            chosen = in_words({each: values[each] for each in SOFTWARE if each in values})
            comment = f"{_WRITTEN.lstrip('# ')} {search.file}, seed {search.seed}: {chosen}"
            save_system(machine, points / f"{name}.toml", search.content.system, comment)
    for name in ("trials", "front", "waterfall", "workloads"):
        write_whole(folder / f"{name}.csv", getattr(found, name).to_csv(index=False).encode())
