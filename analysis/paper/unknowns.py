"""What is not published, one by one: factors with a range or choices and the reason, and what is held equal.

`space` puts the space of a paper's unknowns together: the ranges of the system file, of the fits, of costs
and area, and a file of `data/unknowns`, which adds levels, other ranges, workloads, other designs, what is
held equal, and which machines and servers all of it is about. A row of numbers u in [0, 1], one a factor, is
a `SampledMachine`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import exp, log
from typing import Literal, Self, cast

import numpy as np
from pydantic import Field, model_validator

from sailsim.analysis.costs.area import AreaConstants
from sailsim.analysis.costs.constants import Constants
from sailsim.analysis.costs.dollars import CostConstants, Price, prices
from sailsim.analysis.paper.claims import SHIPPED, Listed, Numbers, Paper, load_paper
from sailsim.analysis.paper.machine import (
    ATTENTION,
    FEW_BITS,
    FEW_BITS_RATE,
    GROUP_SIZE,
    OPERATION,
    SAMPLED,
    TABLE_RATE,
    SampledMachine,
    Value,
)
from sailsim.analysis.results.runs import Runner
from sailsim.base.errors import ImpossibleMachineError, SailsimError
from sailsim.base.quantity import Frozen, Quantity
from sailsim.sim.backends.cores import Software, format_key
from sailsim.sim.files import card_names, leaves, load_system
from sailsim.sim.fitted import CORES, core_of, fitted_constants
from sailsim.sim.pim import AUTO
from sailsim.sim.point import Point
from sailsim.sim.study.origin import code_version
from sailsim.sim.system import System
from sailsim.sim.tables import Shelf, validated
from sailsim.workloads.formats import uniform_format

UNKNOWNS = Shelf("unknowns", "data/unknowns", package="sailsim.analysis")
Group = Literal["machine", "software", "card", "weights", "cost", "area"]

TAIL = 0.01
"""Share of a normal distribution's ends that is not drawn."""
DECADE = 4.0
"""From this ratio of its ends on, a range is drawn evenly in its logarithm."""
_FOLLOW_SOFTWARE = ("host.attention_rate", "host.barrier", "host.product_overhead", "memory.core_share")
_OF_OTHER_WEIGHTS = ("host.float_rate", "host.grid_rate")
"""What only weights without scalar codes ask for, which no claim has."""


@dataclass(frozen=True)
class Factor:
    """One unknown: a map from a number u in [0, 1] to a value.

    Discrete ones have `values`; others a range `low` .. `high`, drawn evenly or, if `log`, evenly in the
    logarithm; `centred` ones as often below `nominal` as above, each side evenly in the logarithm; `normal`
    ones are standard normal numbers that a group's covariance turns into values.
    """

    name: str
    group: Group
    reason: str
    unit: str = ""
    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 1.0
    whole: bool = False
    log: bool = False
    normal: bool = False
    centred: bool = False
    nominal: Value = 0.0

    def at(self, u: float) -> Value:
        """The value at u in [0, 1]."""
        if self.values:
            return self.values[min(int(u * len(self.values)), len(self.values) - 1)]
        if self.normal:
            from scipy.special import ndtri  # of the extra `study`

            return float(ndtri(min(max(u, TAIL), 1 - TAIL)))
        if self.whole:
            if self.log:
                value = exp(log(self.low - 0.5) + u * (log(self.high + 0.5) - log(self.low - 0.5)))
                return int(min(max(round(value), self.low), self.high))
            return int(min(self.low + int(u * (self.high - self.low + 1)), self.high))
        low, high = self.low, self.high
        if self.centred:
            middle = float(self.nominal)
            low, high, u = (low, middle, 2 * u) if u < 0.5 else (middle, high, 2 * u - 1)
        if self.log or self.centred:
            return float(exp(log(low) + u * (log(high) - log(low))))
        return float(low + u * (high - low))

    @property
    def span(self) -> str:
        """Range or choices in words."""
        if self.values:
            return ", ".join(str(v) for v in self.values)
        if self.normal:
            return f"{self.low:.3g} .. {self.high:.3g} (normal)"
        how = " (half of all below the nominal value)" if self.centred else " (log)" if self.log else ""
        return f"{self.low:g} .. {self.high:g}{how}"

    def levels(self) -> tuple[Value, ...]:
        """What a search tries: every choice, or the ends and the quarters between them."""
        return self.values or tuple(dict.fromkeys(self.at(u) for u in (0.0, 0.25, 0.5, 0.75, 1.0)))


# --- The file ---


class Workload(Frozen):
    """One point of the declared set: a `[[workload]]` table."""

    name: str
    model: str
    wbits: int
    batch: int
    threads: int
    context: int
    reason: str
    fixed: bool = False
    decides: bool = False
    """Whether sensitivity is of the highest over these alone, which is where claims are highest."""
    prt: bool = False
    """Whether a step without the PRT is simulated beside it."""

    @model_validator(mode="after")
    def _is_a_point(self) -> Self:
        try:
            self.point(Point.system, 0)
        except SailsimError as error:
            raise ValueError(str(error).rstrip(".")) from None
        return self

    def point(self, system: str, group_size: int, prt: bool = True) -> Point:
        """The engine's question."""
        names = ("model", "wbits", "batch", "threads", "context")
        own = {name: getattr(self, name) for name in names}
        return Point(system=system, group_size=group_size, prt=prt, **own)


class Levels(Frozen):
    """What a value may be that does not come in every size: a `[levels."..."]` table."""

    values: Listed[Value]
    nominal: Value | None = None
    """Where no system file has the value."""
    reason: str


class Span(Frozen):
    """A range that takes the place of the system file's: a `[ranges."..."]` table."""

    low: int | float
    high: int | float
    reason: str


class Held(Frozen):
    """What is held equal: a `[held."..."]` table."""

    value: Value
    reason: str


class Alternative(Frozen):
    """Another design, an `[[alternative]]` table: values of the system file that replace a machine's."""

    name: str
    values: dict[str, Value]
    drawn: Listed[str] = ()
    """Values that only this design depends on: they are drawn for it alone, and are no factors."""
    reason: str


class Rented(Frozen):
    """Which servers may be rented: the `[rented]` table."""

    machines: Listed[str]
    """As the price list names them; the first prices the nominal machine."""
    reason: str

    def servers(self, threads: int) -> tuple[Price, ...]:
        """Every instance of theirs that has the threads; first what prices the nominal machine."""
        first = prices().of(self.machines[0])
        named = [row for row in prices().rows if row.kind == "cpu" and set(self.machines) & set(row.machines)]
        return (first, *(row for row in named if row.units >= threads and row != first))


class Unknowns(Frozen):
    """A file of unknowns: a prior over what is not published."""

    extends: tuple[str, ...] = ()
    hosts: dict[Software, str]
    """The system whose cores run a software; the first is the nominal machine, whose values are drawn."""
    rented: Rented
    levels: dict[str, Levels] = Field(default={})
    ranges: dict[str, Span] = Field(default={})
    alternative: Listed[Alternative] = ()
    workload: Listed[Workload]
    held: dict[str, Held] = Field(default={})
    drawn: Listed[str] = ()
    """What the file that this one extends holds, and this one does not."""

    @model_validator(mode="after")
    def _has_one_fixed_workload(self) -> Self:
        unheld = next((name for name in self.drawn if name not in self.held), None)
        if unheld is not None:
            raise ValueError(f"drawn has {unheld!r}; allowed is what the file that it extends holds")
        if not self.hosts:
            raise ValueError("hosts is empty; allowed is at least one software with its system")
        fixed = [w.name for w in self.workload if w.fixed]
        if len(fixed) != 1:
            raise ValueError(f"workload has {len(fixed)} entries with fixed = true; allowed is one")
        return self


def load_unknowns(name_or_path: str = SHIPPED) -> Unknowns:
    """A file of unknowns by name or path. Raises SailsimError that names the file and the field."""
    content = UNKNOWNS.read(name_or_path)
    return validated(Unknowns, content, f"unknowns {name_or_path}", "a field of such a file")


# --- The space ---


@dataclass(frozen=True)
class ParameterSpace:
    """All factors, the workloads, what is held, other designs, and the claims that all of it is about."""

    factors: tuple[Factor, ...]
    workloads: tuple[Workload, ...]
    held: Mapping[str, Held]
    alternatives: tuple[Alternative, ...]
    apart: tuple[Factor, ...]
    """What is drawn for an alternative alone (`Alternative.drawn`): nothing else depends on it."""
    hosts: Mapping[Software, str]
    """The system whose cores run a software; the first is the nominal one."""
    servers: tuple[Price, ...]
    """Instances of which one is rented; first the nominal one."""
    paper: Paper

    @cached_property
    def digest(self) -> str:
        """What results rest on: a hash of the space and of the code."""
        content = json.dumps([asdict(self), code_version()], sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the factors in order."""
        return tuple(factor.name for factor in self.factors)

    @property
    def deciding(self) -> tuple[int, ...]:
        """Indices of the workloads that sensitivity is of."""
        return tuple(i for i, w in enumerate(self.workloads) if w.decides)

    @property
    def fixed(self) -> int:
        """Index of the fixed workload."""
        return next(i for i, w in enumerate(self.workloads) if w.fixed)

    def only(self, names: Collection[str]) -> ParameterSpace:
        """The space of some factors; the others are held at their nominal values."""
        return replace(self, factors=tuple(f for f in self.factors if f.name in names))

    def draw(self, row: Sequence[float] | Numbers) -> SampledMachine:
        """The machine of a row of u's, one a factor.

        Raises SailsimError for a row of another length or outside [0, 1].
        """
        if len(row) != len(self.factors) or not all(0 <= u <= 1 for u in row):
            raise SailsimError(
                f"row has {len(row)} numbers, allowed are {len(self.factors)} between 0 and 1, one a factor"
            )
        return self.nominal.with_values(
            {f.name: f.at(float(u)) for f, u in zip(self.factors, row, strict=True)}
        )

    def design(
        self, alternative: Alternative, machine: SampledMachine, seed: Sequence[int]
    ) -> SampledMachine:
        """A machine with another design, and with what only that depends on drawn from a seed."""
        rng = np.random.default_rng(seed)
        drawn = {f.name: f.at(float(rng.random())) for f in self.apart if f.name in alternative.drawn}
        return machine.with_values(alternative.values | drawn)

    @property
    def software(self) -> Software:
        """What the nominal machine's cores run."""
        return next(iter(self.hosts))

    @cached_property
    def nominal(self) -> SampledMachine:
        """The machine with every factor at its nominal value."""
        return SampledMachine({}, self.hosts)

    def host_of(self, runner: Runner) -> Software:
        """The software of SAIL's cores beside a runner: its own on cores, the nominal one beside a card."""
        return next((s for s in self.hosts if runner.kind == "cores" and s == runner.software), self.software)


def space(paper: str = SHIPPED, prior: str | None = None) -> ParameterSpace:
    """Every unknown of a paper's machine, software, cards, cost and area.

    ``prior`` is a file of unknowns by name or path; None: the paper's own. Raises SailsimError for a bad file
    of claims or unknowns, and for a paper without unknowns.
    """
    claims = load_paper(paper)
    named = prior if prior is not None else claims.unknowns
    if named is None:
        raise SailsimError(f"claims {paper}: unknowns is missing, allowed is a file of what is not published")
    file = load_unknowns(named)
    held = {name: each for name, each in file.held.items() if name not in file.drawn}
    servers = file.rented.servers(max(w.threads for w in file.workload))
    instances = tuple(price.instance for price in servers)
    sizes = [each for name, each in file.levels.items() if name == GROUP_SIZE]
    other_cores = set(CORES) - {core_of(load_system(name)) for name in file.hosts.values()}
    factors = [
        *machine_factors(load_system(next(iter(file.hosts.values()))), file.levels, file.ranges),
        *_fitted_factors("cpu", lambda name: not other_cores & set(name.split(".")), "software"),
        *_rate_factors([w.wbits for w in file.workload]),
        *_opponent_factors(claims.opponents.values()),
        *(_levelled(GROUP_SIZE, each, each.nominal, "weights", "weights") for each in sizes),
        *_constant_factors("cost", CostConstants),
        Factor("cost.instance", "cost", file.rented.reason, values=instances, nominal=instances[0]),
        *_constant_factors("area", AreaConstants),
    ]
    drawn = {name: other.name for other in file.alternative for name in other.drawn}
    apart = tuple(factor for factor in factors if factor.name in drawn and factor.group == "machine")
    for name, design in drawn.items():
        if name in held or name not in {factor.name for factor in apart}:
            raise SailsimError(
                f"alternative {design!r} draws {name!r}, allowed is a value of the machine that has a range "
                "or levels and is not held"
            )
    whole = ParameterSpace(
        factors=tuple(f for f in factors if f.name not in held and f.name not in drawn),
        apart=apart,
        workloads=file.workload,
        held=held,
        alternatives=file.alternative,
        hosts=file.hosts,
        servers=servers,
        paper=claims,
    )
    _check_asked(whole, file, named)
    return whole


def _check_asked(whole: ParameterSpace, file: Unknowns, named: str) -> None:
    """Raise SailsimError where a range or a level of a file is one that no machine can have, whatever else it
    has; which values go together is seen when a machine is drawn."""
    asked: list[tuple[str, str, Value]] = [
        ("ranges", path, end) for path, span in file.ranges.items() for end in (span.low, span.high)
    ]
    asked += [("levels", path, level) for path, each in file.levels.items() for level in each.values]
    for what, path, value in asked:
        try:
            whole.nominal.with_values({path: value}).system()
            if path == GROUP_SIZE:
                Point(group_size=cast(int, value))
        except ImpossibleMachineError:
            continue
        except SailsimError as error:
            words = str(error).removeprefix(f"{SAMPLED}: ")
            raise SailsimError(f"unknowns {named}: {what} of {path} has {value!r}: {words}") from None


# --- Where factors come from ---


def machine_factors(system: System, levels: Mapping[str, Levels], ranges: Mapping[str, Span]) -> list[Factor]:
    """Values of a system file that are not published or not known exactly: those with a range or levels.

    Levels may also be of an operation of the arrays (`pim.substrate.read`) and of `machine.ATTENTION`. Raises
    SailsimError for levels outside a value's range, for a range without its value, and for either of what is
    no value.
    """
    known = leaves(system)
    beside = {path: each for path, each in levels.items() if path == ATTENTION or path.startswith(OPERATION)}
    for what, named, allowed in (
        ("levels", levels, {*known, *beside, GROUP_SIZE}),
        ("ranges", ranges, {*known}),
    ):
        unknown = next((path for path in named if path not in allowed), None)
        if unknown is not None:
            raise SailsimError(
                f"{what} has {unknown!r}, allowed is {GROUP_SIZE} or a field of system {system.name}"
            )
    factors = []
    for path, leaf in known.items():
        if path in _FOLLOW_SOFTWARE or path in _OF_OTHER_WEIGHTS:
            continue
        if path in levels:
            listed = levels[path]
            if isinstance(leaf, Quantity):
                _check_levels(path, leaf, listed)
            unit = leaf.unit if isinstance(leaf, Quantity) else ""
            factors.append(_levelled(path, listed, leaf.value, "machine", unit))
        elif path in ranges:
            span = ranges[path]
            if not isinstance(leaf, Quantity) or not span.low <= float(leaf.value) <= span.high:
                raise SailsimError(
                    f"ranges of {path} is {span.low:g} .. {span.high:g}, allowed is a range of a number that "
                    f"has its value, {leaf.value!r}"
                )
            factors.append(_ranged(path, "machine", leaf, span.low, span.high, span.reason))
        elif isinstance(leaf, Quantity) and (ends := _ends(leaf)):
            reason = leaf.note or system.citation(leaf.source)
            factors.append(_ranged(path, "machine", leaf, *ends, reason))
    return factors + [
        _levelled(path, listed, listed.nominal, "machine", "cycles") for path, listed in beside.items()
    ]


def _ends(q: Quantity) -> tuple[float | int, float | int] | None:
    """The ends of what has a range."""
    return None if q.low is None or q.high is None or q.low == q.high else (q.low, q.high)


def _ranged(name: str, group: Group, q: Quantity, low: float | int, high: float | int, reason: str) -> Factor:
    """A factor of a range; of a machine's field a whole number where the field and both ends are."""
    of_machine = group == "machine"
    whole = of_machine and all(isinstance(x, int) for x in (low, q.value, high))
    return Factor(
        name, group, reason, q.unit, low=float(low), high=float(high), whole=whole,
        log=low > 0 and high / low >= DECADE, nominal=q.value if of_machine else float(q.value),
    )  # fmt: skip


def _check_levels(path: str, leaf: Quantity, listed: Levels) -> None:
    """Raise SailsimError for a level outside the range of a system's number."""
    low, high = (float(leaf.value if x is None else x) for x in (leaf.low, leaf.high))
    for value in listed.values:
        number = isinstance(value, int | float) and low <= value <= high
        if not number and (path, value) != ("pim.nbw", AUTO):
            raise SailsimError(
                f"levels of {path} include {value!r}, allowed is its range {low:g} .. {high:g}"
            )


def _levelled(path: str, listed: Levels, nominal: Value | None, group: Group, unit: str) -> Factor:
    """A factor of levels."""
    if nominal is None or nominal not in listed.values:
        raise SailsimError(f"levels of {path}: nominal is {nominal!r}, allowed is one of {listed.values}")
    return Factor(path, group, listed.reason, unit, values=listed.values, nominal=nominal)


def _fitted_factors(
    group: Literal["cpu", "gpu"], is_kept: Callable[[str], bool], whose: Group
) -> list[Factor]:
    """Constants that were fitted together, as standard normal numbers; assumed ones by their range."""
    names, matrix = fitted_constants().covariances[group]
    known, factors = fitted_constants().quantities(), []
    for name, q in known.items():
        if not (name.startswith(f"{group}.") and is_kept(name)):
            continue
        reason = f"{q.note}; {q.source}"
        low, high = (float(q.value if x is None else x) for x in (q.low, q.high))
        if name in names and matrix[names.index(name), names.index(name)] > 0:
            factors.append(Factor(name, whose, reason, q.unit, low=low, high=high, normal=True, nominal=0.0))
        elif q.kind == "assumed" and low < high:
            factors.append(Factor(name, whose, reason, q.unit, low=low, high=high, nominal=float(q.value)))
    return factors


def _ratio(name: str, group: Group, reason: str, low: float, high: float) -> Factor:
    """A factor on what is known, nominally 1."""
    return Factor(name, group, reason, "ratio", low=low, high=high, centred=True, nominal=1.0)


def _rate_factors(widths: Iterable[int]) -> list[Factor]:
    """Kernels of uniform codes: of two and three bits together, since the same unpacking slows both down."""
    rates = {
        w: fitted_constants().kernel_rates[format_key(uniform_format(w, 128).base)]
        for w in sorted(set(widths))
    }
    few = {wbits: rate for wbits, rate in rates.items() if wbits in FEW_BITS}
    factors = []
    if few:
        low = max(rate.low / rate.relative for rate in few.values())
        high = min(rate.high / rate.relative for rate in few.values())
        notes = "; ".join(f"{wbits} bits: {rate.note}" for wbits, rate in few.items())
        reason = f"llama.cpp's kernels for few bits, over what they are taken to be: {notes}"
        factors.append(_ratio(FEW_BITS_RATE, "software", reason, low, high))
    for wbits, rate in rates.items():
        if wbits not in few and rate.low < rate.high:
            reason = f"llama.cpp's kernel for {wbits}-bit weights: {rate.note}"
            name, (low, high), nominal = f"rate.w{wbits}", (rate.low, rate.high), rate.relative
            factors.append(Factor(name, "software", reason, "of q4_k", low=low, high=high, nominal=nominal))
    return factors


def _opponent_factors(opponents: Collection[Runner]) -> list[Factor]:
    """How far tables on the cores carry over from the machine that they were measured on; the cards'
    constants, but those of cards that no claim is about; and scatter: nine of ten measurements lie inside a
    fit's band, and one measured baseline may be anywhere in it."""
    factors = []
    if any(runner.software == "t-mac" for runner in opponents):
        rate = fitted_constants().software("t-mac").constants["lut_rate"]
        low, high = (float(rate.value if x is None else x) / float(rate.value) for x in (rate.low, rate.high))
        reason = f"T-MAC's rate on this chip, with many threads and a batch, over the fitted one: {rate.note}"
        factors.append(_ratio(TABLE_RATE, "software", reason, low, high))
    others = set(card_names()) - {runner.hardware for runner in opponents}

    def is_kept(name: str) -> bool:
        # Those of 16 bits are of prompts alone, which no claim is about.
        return name.rpartition("_")[2] not in others and not re.search("_f16(_|$)", name)

    factors += _fitted_factors("gpu", is_kept, "card")
    scatters: dict[str, Factor] = {}
    for runner in opponents:
        group: Group = "software" if runner.kind == "cores" else "card"
        if runner.kind == "cores":
            band = fitted_constants().software(runner.software).band("decode")
            title = f"CPU decoding, {runner.software}"
        else:
            band, title = fitted_constants().gpu.band("decode"), f"{runner.hardware.upper()} decoding"
        name, reason = scatter_of(runner), f"{title}: measured over predicted, cross-validated band"
        scatters[name] = _ratio(name, group, reason, band.low, band.high)
    return factors + list(scatters.values())


def scatter_of(runner: Runner) -> str:
    """The factor that a runner's measurements scatter by: of its software on cores, else of its card."""
    return f"scatter.{runner.software if runner.kind == 'cores' else runner.hardware}"


def _constant_factors(group: Literal["cost", "area"], constants: type[Constants]) -> list[Factor]:
    """The constants of a model that have a range."""
    return [
        _ranged(f"{group}.{name}", group, q, *ends, q.note or q.source)
        for name, q in constants.quantities().items()
        if (ends := _ends(q)) is not None
    ]
