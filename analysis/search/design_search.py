"""Design searches: systems that may be built, a mix of workloads, limits, and the score of one system.

A file of `data/searches` has the choices, the mix and the limits. The *score* of a system is the geometric
mean over the mix of its tokens/s over the opponent's: equally tuned software on the same cores, at equal
quality. `exploration` searches for the best systems.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import exp, inf, log, nan
from operator import itemgetter
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sailsim.analysis.costs.area import Area, area
from sailsim.analysis.paper.claim_study import check_seed
from sailsim.analysis.runs.equal_quality import cache_widths
from sailsim.analysis.runs.runs import Runner, runner_names, runners_by_name, runs
from sailsim.analysis.uncertainty.interval import drawn_systems
from sailsim.analysis.uncertainty.prior import PRIOR, Listed, Value, machine_changes
from sailsim.base.errors import ImpossibleMachineError, SailsimError
from sailsim.base.quantity import FrozenModel
from sailsim.sim.backend import check_context
from sailsim.sim.machine.catalog import Catalog, validate
from sailsim.sim.machine.system import System, host_memory_system
from sailsim.sim.machine.system_files import leaves, load_system, value_of, vary
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import decode_demand, with_host_software
from sailsim.sim.step.engine import time_step
from sailsim.sim.study.keys import ResultKeys
from sailsim.sim.study.open_study import Task
from sailsim.sim.study.store import Record
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.model import ModelSpec

SEARCHES = Catalog("search", "data/searches", package="sailsim.analysis")
COUNTED, BASE = "all of the unit", "LLC and cores"
"""Added area and its base (`costs.area`) for the share that is limited."""
SOFTWARE = ("attention", "overlap")
"""Choices of a run; all others are fields of a system file."""
CLOCK = "pim.clock"
LAYERS = 1
"""Layers of a model that have their own activations on drawn systems, as in an interval."""
WIDER = (0.5, 1.0, 2.0)
"""Areas, over the limit, within which the best systems are looked for; larger ones are not evaluated."""

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
    """Share of the mix, in any unit: its weight in the geometric mean."""
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
        """The point of a run with some choices."""
        own = {name: getattr(self, name) for name in ("model", "weights", "batch", "context", "threads")}
        return Point(kv_bits=kv_bits, **own, **choices)


class SearchAxis(FrozenModel):
    """Values that a designer may choose among: a `[choices]` table."""

    values: Annotated[Listed[Value], Field(min_length=1)]
    late: Listed[Value] = ()
    """Values that only the best system is evaluated with, as they take long."""
    reason: str


class SearchLimit(FrozenModel):
    """Upper limit of a quantity."""

    value: Annotated[float, Field(gt=0, lt=inf)]
    reason: str


class SearchFile(FrozenModel):
    """A file of `data/searches`."""

    extends: tuple[str, ...] = ()
    system: str
    runner: str
    opponent: str
    limits: Annotated[dict[Literal["area", "power", "loss"], SearchLimit], Field(min_length=3)]
    """Area of the units in percent of LLC and cores, sized for the largest of the mix's codes; power of the
    server in W, in any workload; loss of a narrower KV cache against fp16, nats a token."""
    workload: Annotated[Listed[WeightedWorkload], Field(min_length=1)]
    choices: Annotated[dict[str, SearchAxis], Field(min_length=1)]


@dataclass(frozen=True)
class DesignSearch:
    """A search file by name or path, limits that replace those of the file, and a seed.

    Raises SailsimError for a bad file, a limit that is not above 0, a choice that no system has.
    """

    file: str = "next"
    area: float | None = None
    power: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name, limit in (("area", self.area), ("power", self.power)):
            if limit is not None and not 0 < limit < inf:
                raise SailsimError(f"{name} is {limit!r}; allowed is a number above 0.")
        self.base.require_pim()
        known = {*leaves(self.base), *SOFTWARE}
        for name, choice in self.content.choices.items():
            if name not in known:
                raise SailsimError(f"choices has {name!r}; allowed is a field of system {self.base.name}.")
            for value in (*choice.values, *choice.late):
                with suppress(ImpossibleMachineError):  # with other values it may be possible
                    self.machine({name: value})
                own: dict[str, Any] = {name: value} if name in SOFTWARE else {}
                Point(batch=2, kv_bits=8, **own)
        for runner in (self.content.runner, self.content.opponent):
            if runner not in runner_names():
                raise SailsimError(f"runner is {runner!r}; allowed are {', '.join(runner_names())}.")

    @cached_property
    def content(self) -> SearchFile:
        """Content of the file."""
        what = "a field of such a file"
        return validate(SearchFile, SEARCHES.read(self.file), f"search {self.file}", what)

    @cached_property
    def models(self) -> Mapping[str, ModelSpec]:
        """Models of the workloads, by name."""
        return {load.model: load_model(load.model) for load in self.content.workload}

    @cached_property
    def base(self) -> System:
        """System that is varied."""
        return load_system(self.content.system)

    @property
    def runner(self) -> Runner:
        """Runner whose record scores a system."""
        return runners_by_name(self.content.runner)[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the choices."""
        return tuple(self.content.choices)

    @property
    def most_area(self) -> float:
        """Limit of the area, % of LLC and cores."""
        return self.content.limits["area"].value if self.area is None else self.area

    @property
    def most_power(self) -> float:
        """Limit of the power, W."""
        return self.content.limits["power"].value if self.power is None else self.power

    @cached_property
    def start(self) -> Values:
        """Values of the choices in the base system."""
        own: dict[str, Value] = {path: value_of(leaf) for path, leaf in leaves(self.base).items()}
        own |= {"attention": "cores", "overlap": False}
        return {name: own[name] for name in self.names}

    def changes(self, values: Values) -> dict[str, Value]:
        """The values that differ from the base system's."""
        return {name: value for name, value in values.items() if value != self.start[name]}

    def machine(self, values: Values, name: str = "trial", whole: bool = False) -> System:
        """The system of some values. Raises SailsimError where it is impossible.

        ``whole``: values equal to the base's count as decided too, so that an interval does not draw them,
        except the clock, which arrays may not reach.
        """
        changed = {n for n, v in values.items() if v != self.start[n] or (whole and n != CLOCK)}
        own = {n: v for n, v in values.items() if n in changed and n not in SOFTWARE}
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
        """Area in percent of LLC and cores, and in full, sized for the largest of the mix's codes."""
        every = (area(machine, wbits=wbits) for wbits in self.widths)
        largest = max(every, key=lambda each: each.share(COUNTED, BASE))
        return 100 * largest.share(COUNTED, BASE), largest

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Widths in bits of the mix's weight codes."""
        found: set[int] = set()
        for load in self.content.workload:
            model = self.models[load.model]
            formats = [fmt for fmt, _, _ in load.point(0).formats(model).census(model)]
            found.update(fmt.wbits for fmt in formats if fmt.wbits is not None)
        return tuple(sorted(found))

    def caches(self, attention: str) -> tuple[int, ...]:
        """Widths of the KV cache within the limit of loss, for attention on the cores or the units."""
        return cache_widths(attention, self.content.limits["loss"].value)

    @cached_property
    def opponents(self) -> tuple[tuple[float, int], ...]:
        """Tokens/s of the opponent on each workload, and the KV cache width of its fastest run.

        Raises SailsimError for a workload that it cannot run.
        """
        opponent, fastest = runners_by_name(self.content.opponent), []
        for load in self.content.workload:
            rates = []
            for kv in self.caches("cores"):
                run = runs(load.point(kv), self.base, opponent, prior=None)[0]
                if run.reason:
                    raise SailsimError(f"{load.name}: {self.content.opponent} cannot run it: {run.reason}")
                rates.append((float(run.tokens_per_s or 0), kv))
            fastest.append(max(rates))
        return tuple(fastest)

    def roofline(self, load: WeightedWorkload, kv_bits: int) -> float:
        """Tokens/s of reading the weights and the KV cache once at the bandwidth of the memory."""
        model = self.models[load.model].with_kv_bits(kv_bits)
        work = decode_demand(model, load.point(kv_bits).formats(model), load.batch, load.context)
        memory = host_memory_system(self.base, load.threads)
        return load.batch * memory.peak * memory.read_share / float(work.weight_bytes + work.kv_bytes)

    @cached_property
    def ceilings(self) -> Mapping[str, tuple[float, ...]]:
        """Roofline of each workload over the opponent's rate, for attention on the cores or the units."""
        return {
            attention: tuple(
                max(self.roofline(load, kv) for kv in self.caches(attention)) / rate
                for load, (rate, _) in zip(self.content.workload, self.opponents, strict=True)
            )
            for attention in ("cores", "units")
        }

    def mean(self, ratios: Sequence[float]) -> float:
        """Geometric mean over the mix, weighted by its shares."""
        shares = [load.share for load in self.content.workload]
        return exp(sum(s * log(r) for s, r in zip(shares, ratios, strict=True)) / sum(shares))

    def points(self, load: WeightedWorkload, values: Values) -> list[Point]:
        """Points of a workload that a system may run; it takes the fastest."""
        attention = values.get("attention", "cores")
        halves = (False, True) if values.get("overlap") and load.batch > 1 else (False,)
        widths = self.caches(str(attention))
        return [load.point(kv, attention=attention, overlap=half) for kv in widths for half in halves]

    def with_host_software(self, machine: System) -> System:
        """The system with the runner's software on its cores."""
        software = self.runner.host_software
        return with_host_software(machine, software) if software else machine

    def fastest(self, load: WeightedWorkload, machine: System, values: Values) -> tuple[float, Point]:
        """Tokens/s and point of the fastest run of a system. Raises SailsimError where it cannot run one.

        ``machine`` is a result of `with_host_software`.
        """
        model = self.models[load.model]
        rates = [(time_step(machine, model, each).tokens_per_s, each) for each in self.points(load, values)]
        return max(rates, key=itemgetter(0))

    def task(self, evaluate: str, number: int, trial: tuple[Values, Any]) -> Task:
        """Task of a trial: values, and a workload's index, the front or None for `evaluate`.

        The front is no part of its key: the seed and the earlier trials decide it.
        """
        values, option = trial
        variant = option if isinstance(option, int) else option is None
        question = json.dumps([self._digest, evaluate, variant, values])
        return Task(hashlib.sha256(question.encode()).hexdigest(), question, trial, number)

    @cached_property
    def _digest(self) -> str:
        """Hash of everything except its values that a trial depends on."""
        keys = ResultKeys("explore")
        results = [keys.result(load.point(0, system=self.content.system)) for load in self.content.workload]
        own = [results, self.content.model_dump(mode="json"), self.area, self.power, self.seed]
        return hashlib.sha256(json.dumps(own).encode()).hexdigest()[:16]


# ---- One system -------------------------------------------------------------------------------------------
OUTCOME = {**dict.fromkeys(("score", "at_most", "area_percent", "power_w"), nan), "reason": ""}
"""Fields of a trial's outcome, with their values before the evaluation."""


def trial_record(search: DesignSearch, trial: tuple[Values, Sequence[tuple[float, float]] | None]) -> Record:
    """Record of a system: its values and `OUTCOME`.

    The trial has its values, and areas and scores of the front (None: evaluate to the end). A record without
    a `score` has `at_most`, a bound below the front, or the `reason` why the system is impossible or beyond a
    limit.
    """
    values, front = trial
    record: dict[str, Any] = dict(values) | OUTCOME
    try:
        machine = search.machine(values)
        record["area_percent"], _ = search.area_of(machine)
        beyond = WIDER[-1] * search.most_area
        if front is not None and record["area_percent"] > beyond:
            raise SailsimError(f"its area is more than {beyond:g} %")
        best = max((score for size, score in front or () if size <= record["area_percent"]), default=0.0)
        ratios = list(search.ceilings[str(values.get("attention", "cores"))])
        hosted = search.with_host_software(machine)
        points = []
        for at, (load, (rate, _)) in enumerate(zip(search.content.workload, search.opponents, strict=True)):
            own, point = search.fastest(load, hosted, values)
            ratios[at] = own / rate
            points.append(point)
            if search.mean(ratios) <= best:
                return record | {"at_most": search.mean(ratios)}
        record["power_w"] = max(map(watts, records_of(search, machine, points)))
        if record["power_w"] > search.most_power:
            raise SailsimError(f"its power is more than {search.most_power:g} W")
        return record | {"score": search.mean(ratios)}
    except SailsimError as error:
        return record | {"reason": str(error)}


def records_of(search: DesignSearch, machine: System, points: Iterable[Point]) -> list[dict[str, Any]]:
    """Records of a system's runs."""
    return [runs(point, machine, [search.runner], prior=None)[0].as_record() for point in points]


def watts(record: Record) -> float:
    """Mean power of a run."""
    return float(record["energy_j"] / record["step_s"])


def sampled_speedups(search: DesignSearch, trial: tuple[Values, int]) -> Record:
    """Speedups over the nominal opponent of systems drawn from the prior around one, on one workload.

    The trial has the system's values and the workload's index. Drawn systems keep the choices of a found one.
    A speedup is nan where a system cannot run the workload.
    """
    values, at = trial
    load, (rate, _) = search.content.workload[at], search.opponents[at]
    machine = search.machine(values, whole=values != search.start)
    nominal, model = search.with_host_software(machine), search.models[load.model]
    own, point = search.fastest(load, nominal, values)
    scale, ratios = own / time_step(nominal, model, point, (), LAYERS).tokens_per_s / rate, []
    for each in drawn_systems(nominal, point, PRIOR)[0]:
        try:
            ratios.append(scale * time_step(each, model, point, (), LAYERS).tokens_per_s)
        except SailsimError:
            ratios.append(nan)
    return {"workload": load.name, "speedups": ratios}
