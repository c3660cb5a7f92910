"""Priors over the unpublished values of a system, each with its range or choices and the reason.

A file of `data/unknowns` has levels, ranges, fixed values, workloads, alternative designs, and the systems
and cloud servers that all of it is about. `machine_parameters` adds the ranges of the system file. A
parameter turns a number u in [0, 1] into a value; `machine_changes` and `that_fits` make a system of values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from statistics import NormalDist
from typing import Annotated, Literal, Self, TypeVar

import numpy as np
from pydantic import Field, model_validator

from sailsim.analysis.costs.dollars import Price, prices
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import FrozenModel, Quantity
from sailsim.sim.machine.catalog import Catalog, validate
from sailsim.sim.machine.pim import AUTO
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import leaves, vary
from sailsim.sim.point import Point
from sailsim.sim.software.fitted import fitted_constants

UNKNOWNS = Catalog("unknowns", "data/unknowns", package="sailsim.analysis")
PRIOR = "sail"
"""Default file of unknowns of intervals."""
Group = Literal["machine", "software", "gpu", "weights", "cost", "area"]
T = TypeVar("T")
Listed = Annotated[tuple[T, ...], Field(strict=False)]
"""List of a file, as a tuple in a frozen model."""
Value = int | float | str | bool
FittedGroup = Literal["cpu", "gpu"]

TAIL = 0.01
"""Probability of each tail of a normal distribution that is not drawn."""
DECADE = 4.0
"""Smallest ratio of its ends at which a range is drawn evenly in its logarithm."""
FOLLOW_SOFTWARE = ("host.attention_rate", "host.barrier", "host.product_overhead", "memory.core_share")
"""Values of a system that are constants of the software on its cores."""
_OTHER_WEIGHTS = ("host.float_rate", "host.grid_rate")
"""Rates of weights without scalar codes, which no claim is about."""
DRAWN = "drawn from its range"
"""Note of a drawn value, which then has no range of its own."""
OPERATION = "pim.substrate."
"""Prefix of parameters for the cycles of an operation of the arrays."""
ATTENTION = "host.attention_software"
"""Parameter for the attention software of SAIL's cores: `OWN`, or a software by its name."""
GROUP_SIZE = "weights.group_size"
"""Parameter for the weights that share a scale, the only one of the weights."""
SAMPLED = "sampled"
"""Default name of a drawn system."""


@dataclass(frozen=True)
class Parameter:
    """One unknown: a map from a number u in [0, 1] to a value.

    Discrete ones have `values`. Others have a range `low` .. `high`, drawn evenly or, if `log`, evenly in the
    logarithm. `centred` ones lie as often below `nominal` as above, each side evenly in the logarithm.
    `normal` ones are standard normal numbers that a group's covariance turns into values.
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
            return NormalDist().inv_cdf(min(max(u, TAIL), 1 - TAIL))
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
        """Values that a search tries: every choice, or the ends of the range and its quarters."""
        return self.values or tuple(dict.fromkeys(self.at(u) for u in (0.0, 0.25, 0.5, 0.75, 1.0)))


# --- The file ---


class Workload(FrozenModel):
    """One point that claims are evaluated at: a `[[workload]]` table."""

    name: str
    model: str
    wbits: int
    batch: int
    threads: int
    context: int
    reason: str
    fixed: bool = False
    decides: bool = False
    """Whether sensitivity considers it: claims are highest on these workloads."""
    prt: bool = False
    """Whether a step without the PRT is simulated too."""

    @model_validator(mode="after")
    def _is_a_point(self) -> Self:
        try:
            self.point(Point.system, 0)
        except SailsimError as error:
            raise ValueError(str(error).rstrip(".")) from None
        return self

    def point(self, system: str, group_size: int, prt: bool = True) -> Point:
        """The point to be simulated; ``system`` may be a name without a file."""
        own = {name: getattr(self, name) for name in ("model", "wbits", "batch", "threads", "context")}
        return Point(group_size=group_size, prt=prt, **own).having(system=system)


class AllowedValues(FrozenModel):
    """Discrete values of a parameter: a `[levels."..."]` table."""

    values: Listed[Value]
    nominal: Value | None = None
    """Nominal value, where no system file has one."""
    reason: str


class RangeOverride(FrozenModel):
    """Range that replaces the system file's: a `[ranges."..."]` table."""

    low: int | float
    high: int | float
    reason: str


class FixedValue(FrozenModel):
    """Parameter that is not drawn: a `[held."..."]` table."""

    value: Value
    reason: str


class AlternativeDesign(FrozenModel):
    """Another design: an `[[alternative]]` table with values that replace a system's."""

    name: str
    values: dict[str, Value]
    drawn: Listed[str] = ()
    """Values that only this design depends on; they are drawn for it alone and are no parameters."""
    reason: str


class CloudServers(FrozenModel):
    """Cloud servers that a system's price is taken from: the `[rented]` table."""

    machines: Listed[str]
    """Names in the price list; the first one prices the nominal system."""
    reason: str

    def servers(self, threads: int) -> tuple[Price, ...]:
        """Their instances with enough threads; first the one that prices the nominal system."""
        first = prices().of(self.machines[0])
        named = [row for row in prices().rows if row.kind == "cpu" and set(self.machines) & set(row.machines)]
        return (first, *(row for row in named if row.units >= threads and row != first))


class Prior(FrozenModel):
    """A file of unknowns: a prior over unpublished values."""

    extends: tuple[str, ...] = ()
    hosts: dict[str, str]
    """Systems by the software of their cores; the first is the nominal one, whose values are drawn."""
    rented: CloudServers
    levels: dict[str, AllowedValues] = Field(default={})
    ranges: dict[str, RangeOverride] = Field(default={})
    alternative: Listed[AlternativeDesign] = ()
    workload: Listed[Workload]
    held: dict[str, FixedValue] = Field(default={})
    drawn: Listed[str] = ()
    """Parameters that this file draws although the file that it extends holds them."""
    synthesised: bool = False
    """Whether a value with a synthesised reading is drawn from the range of that one."""

    @model_validator(mode="after")
    def _has_one_fixed_workload(self) -> Self:
        unheld = next((name for name in self.drawn if name not in self.held), None)
        if unheld is not None:
            raise ValueError(f"drawn has {unheld!r}; allowed is what the file that it extends holds")
        for name, listed in (("hosts", self.hosts), ("rented.machines", self.rented.machines)):
            if not listed:
                raise ValueError(f"{name} is empty; allowed is at least one entry")
        fixed = [w.name for w in self.workload if w.fixed]
        if len(fixed) != 1:
            raise ValueError(f"workload has {len(fixed)} entries with fixed = true; allowed is one")
        return self

    @property
    def fixed(self) -> dict[str, FixedValue]:
        """Parameters that are not drawn, by name."""
        return {name: each for name, each in self.held.items() if name not in self.drawn}


def load_unknowns(name_or_path: str = PRIOR) -> Prior:
    """A file of unknowns by name or path. Raises SailsimError that names the file and the field."""
    content = UNKNOWNS.read(name_or_path)
    return validate(Prior, content, f"unknowns {name_or_path}", "a field of such a file")


# --- Parameters of a system ---


def machine_parameters(system: System, prior: Prior) -> list[Parameter]:
    """Values of a system file that are not published or not known exactly: those with a range or levels.

    Levels may also be given for an operation of the arrays (`pim.substrate.read`) and for `ATTENTION`. Raises
    SailsimError for levels outside a value's range, for a range without its value, and for a name that is no
    value.
    """
    known, levels, ranges = leaves(system), prior.levels, prior.ranges
    no_fields = {p: each for p, each in levels.items() if p == ATTENTION or p.startswith(OPERATION)}
    allowed = {"levels": {*known, *no_fields, GROUP_SIZE}, "ranges": {*known}}
    for what, named in (("levels", levels), ("ranges", ranges)):
        unknown = next((path for path in named if path not in allowed[what]), None)
        if unknown is not None:
            raise SailsimError(
                f"{what} has {unknown!r}, allowed is {GROUP_SIZE} or a field of system {system.name}"
            )
    parameters = []
    for path, leaf in known.items():
        if path in FOLLOW_SOFTWARE or path in _OTHER_WEIGHTS:
            continue
        if path in levels:
            listed = levels[path]
            if isinstance(leaf, Quantity):
                _check_levels(path, leaf, listed)
            unit = leaf.unit if isinstance(leaf, Quantity) else ""
            parameters.append(levelled(path, listed, leaf.value, "machine", unit))
        elif path in ranges:
            span = ranges[path]
            if not isinstance(leaf, Quantity) or not span.low <= float(leaf.value) <= span.high:
                raise SailsimError(
                    f"ranges of {path} is {span.low:g} .. {span.high:g}, allowed is a range of a number that "
                    f"has its value, {leaf.value!r}"
                )
            parameters.append(ranged(path, "machine", leaf, span.low, span.high, span.reason))
        elif isinstance(leaf, Quantity) and (ends := ends_of(read := reading(leaf, prior.synthesised))):
            reason = read.note or system.citation(read.source)
            parameters.append(ranged(path, "machine", leaf, *ends, reason))
    for path, listed in no_fields.items():
        parameters.append(levelled(path, listed, listed.nominal, "machine", "cycles"))
    return parameters


def reading(q: Quantity, synthesised: bool) -> Quantity:
    """The synthesised reading of a quantity, if it is wanted and known; else the quantity."""
    return q.synthesised if synthesised and q.synthesised is not None else q


def ends_of(q: Quantity) -> tuple[float | int, float | int] | None:
    """Both ends of a quantity's range; None without a range."""
    return None if q.low is None or q.high is None or q.low == q.high else (q.low, q.high)


def ranged(
    name: str, group: Group, q: Quantity, low: float | int, high: float | int, reason: str
) -> Parameter:
    """Parameter with a range; a whole number where a system's field and both ends are whole."""
    of_machine = group == "machine"
    whole = of_machine and all(isinstance(x, int) for x in (low, q.value, high))
    return Parameter(
        name, group, reason, q.unit, low=float(low), high=float(high), whole=whole,
        log=low > 0 and high / low >= DECADE, nominal=q.value if of_machine else float(q.value),
    )  # fmt: skip


def _check_levels(path: str, leaf: Quantity, listed: AllowedValues) -> None:
    """Raise SailsimError for a level outside the range of a system's number."""
    low, high = (float(leaf.value if x is None else x) for x in (leaf.low, leaf.high))
    for value in listed.values:
        number = isinstance(value, int | float) and low <= value <= high
        if not number and (path, value) != ("pim.nbw", AUTO):
            raise SailsimError(
                f"levels of {path} include {value!r}, allowed is its range {low:g} .. {high:g}"
            )


def levelled(path: str, listed: AllowedValues, nominal: Value | None, group: Group, unit: str) -> Parameter:
    """Parameter with levels."""
    if nominal is None or nominal not in listed.values:
        raise SailsimError(f"levels of {path}: nominal is {nominal!r}, allowed is one of {listed.values}")
    return Parameter(path, group, listed.reason, unit, values=listed.values, nominal=nominal)


# --- From values to a system ---


def fitted_at(group: FittedGroup, draws: Mapping[str, float]) -> dict[str, float]:
    """A group's constants at standard normal numbers, moved along the covariance of their fit.

    ``draws`` of assumed constants, which no fit has, are their values.
    """
    known, (fitted, _) = fitted_constants().quantities(), fitted_constants().covariances[group]
    normal = tuple(name for name in fitted if name in draws)
    changes = {name: value for name, value in draws.items() if name not in fitted}
    if normal:
        shifts = fitted_constants().root(group, normal) @ np.array([draws[name] for name in normal])
        for name, shift in zip(normal, shifts, strict=True):
            q = known[name]
            least = 0.0 if name.endswith("overlap") else 0.05 * float(q.value)
            most = 1.0 if q.unit == "ratio" else float("inf")
            changes[name] = min(max(float(q.value) + float(shift), least), most)
    # Softwares that were fitted with one barrier share it.
    barrier = changes.get("cpu.llama.cpp.barrier")
    if barrier is not None and "cpu.ampere.barrier" not in fitted:
        changes["cpu.ampere.barrier"] = barrier
    # T-MAC's kernels run in llama.cpp.
    for name in known:
        moved_with = name.replace("cpu.t-mac.", "cpu.llama.cpp.")
        if name != moved_with and moved_with in changes:
            changes[name] = changes[moved_with]
    return changes


def that_fits(base: System, changes: dict[str, Value], name: str, source: str) -> System:
    """The system with other values; a table that does not fit the arrays takes the largest NBW that does.

    Raises SailsimError for an impossible system.
    """
    while True:
        try:
            return vary(base, changes, name=name, source=source, note=DRAWN)
        except SailsimError as error:
            nbw = changes.get("pim.nbw", base.pim and base.pim.default_nbw)
            if "does not fit" not in str(error) or not isinstance(nbw, int) or nbw <= 1:
                raise
            changes["pim.nbw"] = nbw - 1


def machine_changes(base: System, values: Mapping[str, Value]) -> dict[str, Value]:
    """The values that are fields of a system, made consistent with each other.

    The LLC keeps its size when its slices change. The number of DFMs is the largest up to the given one that
    shares the arrays evenly. A floating-point unit takes a sum at the latest when the one before has left it.
    """
    fields = leaves(base)
    changes = {n: value for n, value in values.items() if n in fields or n.startswith(OPERATION)}
    if "llc.slices" in changes:
        changes["llc.slice_size"] = base.llc.slice_size_in(float(changes["llc.slices"]))
    if "pim.dfms" in changes:
        arrays = int(changes.get("pim.arrays", base.require_pim().arrays.value))
        most = int(changes["pim.dfms"])
        changes["pim.dfms"] = max(n for n in range(1, most + 1) if arrays % n == 0)
    if "pim.convert_interval" in changes:
        latency = changes.get("pim.convert_latency", base.require_pim().convert_latency.value)
        changes["pim.convert_interval"] = min(changes["pim.convert_interval"], latency)
    return changes
