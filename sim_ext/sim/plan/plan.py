"""A plan: what is fixed, axes, a sample of them, and the points that all this makes.

An axis is a field, or some that move together, with values or a span of numbers. A field is named as in a
point (`wbits`), as in a system file (`llc.slices`), or as a substrate and one of its operations
(`row_dfm:add`).
"""

import difflib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, get_type_hints

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Frozen, Is, is_number
from sailsim.sim.files import Value, in_words, leaves, load_system, system_with
from sailsim.sim.plan.sample import Sample
from sailsim.sim.point import OPERATION, SUBSTRATE, Point
from sailsim.sim.ranges import LONGEST, between, check_span, spread, stepped
from sailsim.sim.substrate import OPERATIONS, SUBSTRATES, parse_cost

LARGEST_PLAN = 100_000
"""Points of a study, at most."""
RANGE = ("from", "to", "step", "points", "scale")
"""Keys of a table that is a range of numbers."""
SCALES = ("linear", "log")
POINT_FIELDS = tuple(f.name for f in fields(Point))
Row = tuple[Value, ...]
Combination = dict[str, Value]


# --- Axes ---


@dataclass(frozen=True)
class Span:
    """All numbers between two, both in; `whole`: the whole ones. `log`: evenly by their logarithms."""

    low: int | float
    high: int | float
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> int | float:
        """The number that lies a share, 0 to below 1, of the way; whole ones have equal parts of it."""
        if not self.whole:
            return between(self.low, self.high, share, self.log)
        end = int(self.high) + 1
        return min(int(self.high), math.floor(between(int(self.low), end, share, self.log)))


@dataclass(frozen=True)
class Axis:
    """Fields, and the values that they take together: rows of one each, or of one field a span."""

    names: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    span: Span | None = None

    def at(self, share: float) -> Row:
        """The row at a share, 0 to below 1, of the axis: each has an equal part of it."""
        if self.span is not None:
            return (self.span.at(share),)
        return self.rows[min(len(self.rows) - 1, math.floor(share * len(self.rows)))]


def axis_of(name: str, values: Sequence[Value]) -> Axis:
    """An axis of one field. Raises SailsimError where there is no value."""
    if not values:
        raise SailsimError(f"{name} is an empty list; allowed is at least one value.")
    return Axis((name,), tuple((value,) for value in values))


def ranged(name: str, table: Mapping[str, Any], whole: bool) -> Axis:
    """The axis of a range: with `step` or `points` its numbers, else a span of whole or of all numbers.

    Raises:
        SailsimError: a key that a range does not have or lacks, or a value that is none.
    """
    unknown = next((key for key in table if key not in RANGE), None)
    if unknown is not None:
        raise SailsimError(f"{name} has the key {unknown!r}; allowed in a range are {', '.join(RANGE)}.")
    for key in ("from", "to", "step"):
        if key in ("from", "to") and key not in table:
            raise SailsimError(f"{name} is a range without {key!r}; allowed is one with from and to.")
        if key in table and not is_number(table[key]):
            raise SailsimError(f"{name}.{key} is {shown(table[key])}; allowed is a finite number.")
    points, scale = table.get("points", 2), table.get("scale", "linear")
    if not isinstance(points, int) or isinstance(points, bool) or not 2 <= points <= LONGEST:
        raise SailsimError(f"{name}.points is {shown(points)}; allowed is a whole number 2..{LONGEST}.")
    if scale not in SCALES:
        raise SailsimError(f"{name}.scale is {shown(scale)}; allowed are {', '.join(SCALES)}.")
    if "step" in table and ("points" in table or scale == "log"):
        other = "points" if "points" in table else "scale 'log'"
        raise SailsimError(f"{name} is a range with a step and {other}; allowed is one of the two.")
    low, high, log = table["from"], table["to"], scale == "log"
    try:
        if "step" in table:
            return axis_of(name, stepped(low, high, table["step"]))
        if "points" in table:
            return axis_of(name, spread(low, high, points, log))
        check_span(low, high, log)
    except ValueError as error:
        raise SailsimError(f"{name} {error}.") from None
    if whole and (low != int(low) or high != int(high)):
        raise SailsimError(f"{name} goes from {low} to {high}; allowed are whole numbers.")
    return Axis((name,), span=Span(low, high, log, whole))


def listed(axis: Axis) -> Axis:
    """An axis with rows: those of a span of whole numbers are all of them.

    Raises:
        SailsimError: a span of all numbers, or one that is too long, which only a sample can have.
    """
    name, span = axis.names[0], axis.span
    if span is None:
        return axis
    if not span.whole or span.log:
        raise SailsimError(
            f"{name} goes from {span.low} to {span.high} without a step or a number of points; allowed is "
            "one of the two, or a sample."
        )
    try:
        return axis_of(name, stepped(span.low, span.high, 1))
    except ValueError as error:
        raise SailsimError(f"{name} {error}.") from None


def shown(value: Any) -> str:
    """A value of a file in an error, however large it is."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and not -(1 << 63) < value < 1 << 63:
        return "a number beyond 64 bits"
    text = repr(value) if isinstance(value, str | int | float | bool) else str(value)
    return text if len(text) <= 60 else f"{text[:56]}...{text[-1]}"


# --- Combinations as points ---


def point_of(values: Mapping[str, Value]) -> Point:
    """The point of a combination, field -> value.

    Raises:
        SailsimError: a value that a field does not take; whether a machine takes its own is seen when it is
            read.
    """
    own: dict[str, Any] = {name: value for name, value in values.items() if name in POINT_FIELDS}
    costs = {name: value for name, value in values.items() if ":" in name}
    changes = {name: value for name, value in values.items() if name not in own and name not in costs}
    if changes:
        system = own.get("system", Point.system)
        if not isinstance(system, str):
            raise SailsimError(f"system is {system!r}; allowed is a name or a path.")
        own["system"] = system_with(system, changes)
    for name, value in costs.items():
        substrate, _, operation = name.rpartition(":")
        own["substrate"] = f"{own.get('substrate', substrate)}:{operation}={in_words(value)}"
    return Point(**own)


def check_fields(names: Iterable[str], systems: Iterable[str]) -> None:
    """Raise SailsimError for a field that a point on one of the systems does not have, or has in two ways."""
    names = list(names)
    others = [name for name in names if name not in POINT_FIELDS]
    costs = [name for name in others if ":" in name]
    for name in costs:
        _check_cost(name)
    substrates = {name.rpartition(":")[0] for name in costs} | ({"substrate"} & set(names))
    if len(substrates) > 1:
        one, two, *_ = sorted(substrates)
        raise SailsimError(f"the plan has {one} and {two}; allowed is one substrate, or one list of them.")
    below = next((name for name in others if name == SUBSTRATE or name.startswith(OPERATION)), None)
    if substrates and below is not None:
        raise SailsimError(
            f"the plan has {below} and {min(substrates)}, which stands in its place; allowed is one of the "
            "two."
        )
    for system in systems if len(others) > len(costs) else ():
        known = leaves(load_system(system))
        for name in others:
            if name not in (*costs, *known) and not (SUBSTRATE in known and _is_cost(name)):
                near = nearest(name, (*POINT_FIELDS, *known))
                raise SailsimError(
                    f"{name} is neither a field of a point nor a value of system {system}; the nearest are "
                    f"{', '.join(near)}."
                )


def check_value(name: str, value: Value) -> None:
    """Raise SailsimError for an empty text, and for a cost of an operation that is none."""
    if value == "":
        raise SailsimError(f"{name} is ''; allowed is a text that is not empty.")
    if ":" not in name and not _is_cost(name):
        return
    try:
        parse_cost(in_words(value))
    except ValueError as error:
        raise SailsimError(f"{name} {error}.") from None


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three names that are like another: those with its last part, then those spelt like it."""
    known = list(known)
    last = name.rpartition(".")[2]
    found = [each for each in known if last in (each, each.rpartition(".")[2])]
    found += difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return list(dict.fromkeys(found))[:3] or known[:3]


def is_whole(name: str, system: str) -> bool:
    """Whether a field takes whole numbers alone."""
    if name in POINT_FIELDS:
        return name == "nbw" or get_type_hints(Point)[name] is int
    section: Any = load_system(system)
    *sections, field = name.split(".")
    for each in sections:
        section = getattr(section, each, None)
    if not isinstance(section, Frozen) or field not in type(section).model_fields:
        return False
    return any(isinstance(rule, Is) and rule.whole for rule in type(section).model_fields[field].metadata)


def _is_cost(name: str) -> bool:
    return name.startswith(OPERATION) and name.removeprefix(OPERATION) in OPERATIONS


def _check_cost(name: str) -> None:
    """Raise SailsimError for what is no operation of a substrate."""
    substrate, _, operation = name.rpartition(":")
    problem = SUBSTRATES.problem(substrate)
    if problem is not None:
        raise SailsimError(f"{name} is no field: its substrate is {problem}.")
    if operation not in OPERATIONS:
        near = nearest(operation, OPERATIONS)
        raise SailsimError(
            f"{name} is no field: a substrate has no operation {operation!r}; the nearest are "
            f"{', '.join(near)}."
        )


# --- Plans ---


@dataclass(frozen=True)
class Part:
    """A grid of axes, or a sample of it, beside what is fixed."""

    fixed: Mapping[str, Value]
    axes: tuple[Axis, ...]
    sample: Sample | None = None

    def check(self) -> None:
        """Raise SailsimError for a field that there is not or that is given twice, and a cost that is
        none."""
        names = [*self.fixed, *(name for axis in self.axes for name in axis.names)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise SailsimError(f"{twice} is given twice; allowed is once.")
        check_fields(names, self.systems)
        for name, value in self.fixed.items():
            check_value(name, value)
        for axis in self.axes:
            for name, row in itertools.product(axis.names, axis.rows):
                check_value(name, row[axis.names.index(name)])

    @property
    def systems(self) -> tuple[str, ...]:
        """The machines that its points are on, without what other axes set."""
        for axis in self.axes:
            if "system" in axis.names:
                at = axis.names.index("system")
                return tuple(dict.fromkeys(str(row[at]) for row in axis.rows))
        return (str(self.fixed.get("system", Point.system)),)

    def combinations(self) -> Iterator[Combination]:
        """Every combination of a grid, the last axis varying fastest, or the rows of a sample."""
        for rows in self._rows():
            values: Combination = dict(self.fixed)
            for axis, row in zip(self.axes, rows, strict=True):
                values.update(zip(axis.names, row, strict=True))
            yield values

    @cached_property
    def size(self) -> int:
        """How many combinations. Raises SailsimError as `listed`."""
        return self.sample.points if self.sample else math.prod(len(listed(axis).rows) for axis in self.axes)

    def _rows(self) -> Iterator[tuple[Row, ...]]:
        if self.sample is None:
            yield from itertools.product(*(listed(axis).rows for axis in self.axes))
            return
        for shares in self.sample.rows(len(self.axes)).tolist():
            yield tuple(axis.at(share) for axis, share in zip(self.axes, shares, strict=True))


@dataclass(frozen=True)
class Plan:
    """Parts whose points are one study; what several have is one point."""

    parts: tuple[Part, ...]
    beside: tuple[str, ...] = ()
    """What else runs the points: files and machines, as `--beside` takes them."""
    title: str = ""
    file: str = ""
    """Where it was read, for errors; empty: the command line."""

    @cached_property
    def combinations(self) -> dict[Point, Combination]:
        """Its points, each once and in order, with the values that were asked for.

        Raises:
            SailsimError: a field that there is not, a value that a point refuses, or more than 100,000
                combinations.
        """
        points: dict[Point, Combination] = {}
        try:
            for part in self.parts:
                part.check()
            size = sum(part.size for part in self.parts)
            if size > LARGEST_PLAN:
                raise SailsimError(
                    f"the sweep has {size} combinations; allowed are {LARGEST_PLAN} at most in one folder."
                )
            for part in self.parts:
                for combination in part.combinations():
                    points.setdefault(point_of(combination), combination)
        except SailsimError as error:
            raise SailsimError(f"{self.file}: {error}" if self.file else str(error)) from None
        return points

    @property
    def points(self) -> list[Point]:
        """As `combinations`."""
        return list(self.combinations)

    def fixing(self, values: Mapping[str, Value]) -> "Plan":
        """The plan with other fixed values of some fields."""
        parts = tuple(replace(part, fixed={**part.fixed, **values}) for part in self.parts)
        return replace(self, parts=parts)


def plan_of(values: Mapping[str, Iterable[Value]], beside: Iterable[str] = ()) -> Plan:
    """The grid of some fields' values, as a plan. Raises SailsimError for a field without a value."""
    return Plan((Part({}, tuple(axis_of(name, list(each)) for name, each in values.items())),), tuple(beside))
