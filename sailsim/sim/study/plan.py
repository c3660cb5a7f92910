"""Plans: the points of a study, as a grid of axes or a sample of them (docs/studies.md).

An axis is a field, or several that vary together, with values or a span of numbers. A field is named as in a
point (`wbits`), as in a system file (`llc.slices`), or as a substrate and one of its operations
(`row_dfm:add`). Paths in a plan file are relative to it. The shipped sweeps are such files.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from sailsim.base.arguments import short_text
from sailsim.base.errors import SailsimError
from sailsim.base.hints import nearest, require_extra
from sailsim.base.input_file import read_bytes
from sailsim.base.quantity import FrozenModel, QuantityRule, is_number
from sailsim.base.toml_file import MAX_BYTES, parse_toml
from sailsim.sim.machine.catalog import Catalog, Value, first_problem, format_value
from sailsim.sim.machine.ranges import MAX_VALUES, check_range, interpolate, spaced_range, step_range
from sailsim.sim.machine.substrate import OPERATIONS, parse_cost, parse_substrate
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import (
    extend_reference,
    leaves,
    lenient_reference,
    load_system,
    reference_to,
)
from sailsim.sim.point import OPERATION, SUBSTRATE, Point
from sailsim.workloads.models.model import model_names

LARGEST_PLAN = 100_000
"""Most points of a study."""
LONGEST_TEXT = 4096
"""Most characters of a value or of a field's name."""
POINT_FIELDS = tuple(f.name for f in fields(Point))
Method = Literal["lhs", "sobol"]
METHODS: tuple[Method, ...] = get_args(Method)
Combination = dict[str, Value]
Move = Callable[[str, str], str]
"""Function from a field and its value in a plan file to the value with paths relative to the current
folder."""


# --- The file ---


class RangeTable(FrozenModel):
    """Range of numbers in a plan file: a list with `step` or `points`, else a span of all numbers between the
    ends."""

    low: int | float = Field(alias="from", allow_inf_nan=False)
    high: int | float = Field(alias="to", allow_inf_nan=False)
    step: int | float | None = Field(default=None, allow_inf_nan=False)
    points: int | None = Field(default=None, ge=2, le=MAX_VALUES)
    scale: Literal["linear", "log"] = "linear"


class SampleTable(FrozenModel):
    """Random sample of the axes: SciPy's Latin hypercube or scrambled Sobol sequence."""

    method: Method
    points: int = Field(ge=1, le=LARGEST_PLAN)
    seed: int = Field(default=0, ge=0, lt=1 << 63)

    def rows(self, axes: int) -> NDArray[np.float64]:
        """Sample in the unit cube, (points, axes). Raises SailsimError if SciPy is not installed."""
        with require_extra("study", f"a sample by {self.method}"):
            from scipy.stats import qmc  # a third of a small command's start
        random = np.random.default_rng(self.seed)
        rows: Any
        if self.method == "lhs":
            rows = qmc.LatinHypercube(axes, seed=random).random(self.points)
        else:
            rows = qmc.Sobol(axes, seed=random).random_base2(math.ceil(math.log2(self.points)))[: self.points]
        return np.asarray(rows, np.float64)


class PlanTable(FrozenModel):
    """Plan file, or one `[[part]]` of it; the parts share the file's fixed values."""

    fixed: dict[str, Any] = Field(default={})
    axes: dict[str, Any] = Field(default={})
    zip: list[dict[str, Any]] = Field(default=[])
    sample: SampleTable | None = None
    title: str = ""
    against: list[str] = Field(default=[])
    part: list[PlanTable] | None = Field(default=None, min_length=1)


PLANS = Catalog("plan", "data/plans")


def read_plan(name_or_path: str | Path) -> tuple[Plan, str]:
    """Plan by shipped name or file, with its text. The file is read once, as it may change.

    Raises:
        SailsimError: one sentence that names the file, the key and the allowed values.
    """
    if str(name_or_path) in PLANS.names:
        text = (files("sailsim.sim") / "data" / "plans" / f"{name_or_path}.toml").read_text(encoding="utf-8")
        return parse_plan(text, str(name_or_path)), text
    path = Path(name_or_path)
    allowed = f"a TOML file, or one of {', '.join(PLANS.names)}"
    data = read_bytes(path, "plan file", MAX_BYTES, allowed)
    content = parse_toml(data, f"plan file {path}")
    if not content:
        raise SailsimError(f"plan file {path} is empty; allowed are {', '.join(PlanTable.model_fields)}.")
    return _plan_of(content, str(path), path.parent), data.decode()


def parse_plan(text: str, file: str, folder: Path | None = None) -> Plan:
    """Plan of a text, whose paths are relative to `folder`. Raises SailsimError as `read_plan`."""
    return _plan_of(parse_toml(text.encode(errors="surrogatepass"), f"plan {file}"), file, folder)


def _plan_of(content: Mapping[str, Any], file: str, folder: Path | None) -> Plan:
    move = partial(_moved, folder)
    try:
        table = PlanTable.model_validate(content)
        if table.part is not None and (table.axes or table.zip or table.sample):
            raise SailsimError("axes, zip or sample stand next to [[part]]; allowed there is fixed.")
        for at, part in enumerate(table.part or ()):
            for key in sorted(part.model_fields_set & {"title", "against", "part"}):
                raise SailsimError(f"part.{at}.{key} stands in [[part]]; allowed is outside of it.")
        parts = []
        for number, part in enumerate(table.part or [table], 1):
            try:
                parts.append(_part_of(part, table.fixed, move))
            except SailsimError as error:
                raise SailsimError(f"part {number}, {error}" if table.part else str(error)) from None
        return Plan(
            tuple(parts), tuple(move("against", _text("against", each)) for each in table.against), file
        )
    except ValidationError as error:
        unknown = (
            f"a key of a plan; allowed are {', '.join(PlanTable.model_fields)}, and fields in axes or fixed"
        )
        raise SailsimError(f"{file}: {first_problem(error, unknown)}.") from None
    except SailsimError as error:
        raise SailsimError(f"{file}: {error}") from None


def _part_of(table: PlanTable, fixed: Mapping[str, Any], move: Move) -> PlanPart:
    every = dict(_flat(fixed, move)) | dict(_flat(table.fixed, move))
    constants = {name: _value(name, value, move) for name, value in every.items()}
    axes = []
    for group in table.zip:
        columns = {name: _values(name, each, move) for name, each in _flat(group, move)}
        if len({len(values) for values in columns.values()}) != 1:
            lengths = ", ".join(f"{name} {len(values)}" for name, values in columns.items()) or "no field"
            raise SailsimError(f"zip has {lengths}; allowed are lists of one length.")
        axes.append(PlanAxis(tuple(columns), tuple(dict.fromkeys(zip(*columns.values(), strict=True)))))
    system = PlanPart(constants, tuple(axes)).systems[0]
    for name, each in _flat(table.axes, move):
        if isinstance(each, dict):
            axes.append(ranged(name, each, is_whole(name, system)))
        else:
            axes.append(axis_of(name, _values(name, each if isinstance(each, list) else [each], move)))
    return PlanPart(constants, tuple(axes), table.sample)


def _flat(table: Mapping[str, Any], move: Move, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Fields of a table by dotted name; TOML parses `llc.slices = 1` as nested tables."""
    for key, value in table.items():
        name = f"{prefix}{key}"
        if not name.isprintable() or len(name) > LONGEST_TEXT:
            raise SailsimError(f"{short_text(name)} is no field; allowed are names of fields.")
        if isinstance(value, dict) and value and not value.keys() & {"from", "to"}:
            yield from _flat(value, move, f"{name}.")
        else:
            substrate, colon, operation = name.rpartition(":")
            yield f"{move('substrate', substrate)}:{operation}" if colon else name, value


def _values(name: str, value: Any, move: Move) -> list[Value]:
    if not isinstance(value, list):
        raise SailsimError(f"{name} is {short_text(value)}; allowed is a list of values.")
    return [_value(name, each, move) for each in value]


def _value(name: str, value: Any, move: Move) -> Value:
    if isinstance(value, bool) or is_number(value):
        return value
    return move(name, _text(name, value))


def _text(name: str, value: Any) -> str:
    if isinstance(value, str) and len(value) <= LONGEST_TEXT and value.isprintable():
        return value
    raise SailsimError(
        f"{name} is {short_text(value)}; allowed are finite numbers, texts that are not empty, true and "
        "false."
    )


def _moved(folder: Path | None, name: str, text: str) -> str:
    """Text of a field in a plan file, with a path made relative to the current folder."""

    def from_here(text: str, is_path: bool) -> str:
        assert folder is not None
        if not is_path and not text.endswith(".toml") and "/" not in text:
            return text
        path = os.path.normpath(folder / text)
        return path if "/" in path or path.endswith(".toml") or is_path else f"./{path}"

    if folder is None or not text:
        return text
    if name in ("system", "against"):
        choice = lenient_reference(text)
        return str(choice._replace(file=from_here(choice.file, False)))
    if name in ("substrate", "pim.substrate"):
        try:
            reference = parse_substrate(text)
        except ValueError:
            return text  # the point refuses it with a reason
        return str(reference._replace(file=from_here(reference.file, False)))
    if name in ("model", "weights", "activations"):
        return from_here(text, name == "activations" or (name == "model" and text not in model_names()))
    return text


# --- Axes ---


@dataclass(frozen=True)
class PlanAxis:
    """Fields that vary together, with rows of one value each; or one field with a span, of whole numbers only
    if `whole`."""

    names: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...] = ()
    span: RangeTable | None = None
    whole: bool = False

    def at(self, share: float) -> tuple[Value, ...]:
        """Row at a position in [0, 1) of the axis, of which each row has an equal share."""
        if self.span is None:
            return self.rows[min(len(self.rows) - 1, math.floor(share * len(self.rows)))]
        low, high, log = self.span.low, self.span.high, self.span.scale == "log"
        if not self.whole:
            return (interpolate(low, high, share, log),)
        return (min(int(high), math.floor(interpolate(int(low), int(high) + 1, share, log))),)

    @cached_property
    def listed(self) -> tuple[tuple[Value, ...], ...]:
        """Rows of the axis; for a span of whole numbers, all of them.

        Raises:
            SailsimError: a span of real numbers or one that is too long; only a sample can have these.
        """
        if self.span is None:
            return self.rows
        name, span = self.names[0], self.span
        if not self.whole or span.scale == "log":
            raise SailsimError(
                f"{name} goes from {span.low} to {span.high} without a step or a number of points; allowed "
                "is one of the two, or a sample."
            )
        try:
            return axis_of(name, step_range(span.low, span.high, 1)).rows
        except ValueError as error:
            raise SailsimError(f"{name} {error}.") from None


def axis_of(name: str, values: Sequence[Value]) -> PlanAxis:
    """Axis of one field. Raises SailsimError for an empty list."""
    if not values:
        raise SailsimError(f"{name} is an empty list; allowed is at least one value.")
    return PlanAxis((name,), tuple((value,) for value in values))


def ranged(name: str, table: Mapping[str, Any], whole: bool) -> PlanAxis:
    """Axis of a range in a plan file. Raises SailsimError for a bad range, or a span that is not of whole
    numbers for a field that is."""
    try:
        span = RangeTable.model_validate(table)
        low, high, log = span.low, span.high, span.scale == "log"
        if span.step is not None:
            if span.points is not None or log:
                raise ValueError("is a range with a step and points or scale 'log'; allowed is one of them")
            return axis_of(name, step_range(low, high, span.step))
        if span.points is not None:
            return axis_of(name, spaced_range(low, high, span.points, log))
        check_range(low, high, log)
        if whole and (low != int(low) or high != int(high)):
            raise ValueError(f"goes from {low} to {high}; allowed are whole numbers")
    except ValidationError as error:
        unknown = "a key of a range; allowed are from, to, step, points, scale"
        raise SailsimError(f"{name}.{first_problem(error, unknown)}.") from None
    except ValueError as error:
        raise SailsimError(f"{name} {error}.") from None
    return PlanAxis((name,), span=span, whole=whole)


def is_whole(name: str, system: str) -> bool:
    """Whether a field takes whole numbers only. Raises SailsimError for a bad system."""
    if name in POINT_FIELDS:
        return name == "nbw" or get_type_hints(Point)[name] is int
    section: Any = load_system(system)
    *sections, field = name.split(".")
    for each in sections:
        section = getattr(section, each, None)
    if not isinstance(section, FrozenModel) or field not in type(section).model_fields:
        return False
    return any(
        isinstance(rule, QuantityRule) and rule.whole for rule in type(section).model_fields[field].metadata
    )


# --- Combinations as points ---


def point_of(values: Mapping[str, Value]) -> Point:
    """Point of a combination of fields and values.

    Raises:
        SailsimError: a value that a field of a point does not take. A system's fields are checked when the
            system is read.
    """
    own: dict[str, Any] = {name: value for name, value in values.items() if name in POINT_FIELDS}
    costs = {name: value for name, value in values.items() if ":" in name}
    changes = {name: value for name, value in values.items() if name not in own and name not in costs}
    if changes:
        system = own.get("system", Point.system)
        if not isinstance(system, str):
            raise SailsimError(f"system is {system!r}; allowed is a name or a path.")
        own["system"] = extend_reference(system, changes)
    for name, value in costs.items():
        substrate, _, operation = name.rpartition(":")
        own["substrate"] = f"{own.get('substrate', substrate)}:{operation}={format_value(value)}"
    return Point(**own)


def check_fields(names: Iterable[str], systems: Iterable[str]) -> None:
    """Raise SailsimError for a field that points on one of the systems lack, and for one that is set
    twice."""
    names = list(names)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SailsimError(f"{twice} is given twice; allowed is once.")
    substrates = {name.rpartition(":")[0] for name in names if ":" in name} | ({"substrate"} & set(names))
    if len(substrates) > 1:
        one, two, *_ = sorted(substrates)
        raise SailsimError(f"the plan has {one} and {two}; allowed is one substrate, or one list of them.")
    below = next((name for name in names if name == SUBSTRATE or name.startswith(OPERATION)), None)
    if substrates and below is not None:
        raise SailsimError(
            f"the plan has {below} and {min(substrates)}, which stands in its place; allowed is one of the "
            "two."
        )
    others = [name for name in names if name not in POINT_FIELDS and ":" not in name]
    for system in systems if others else ():
        known = leaves(load_system(system))
        for name in others:
            if name not in known and not (SUBSTRATE in known and _is_cost(name)):
                near = nearest(name, (*POINT_FIELDS, *known))
                raise SailsimError(
                    f"{name} is neither a field of a point nor a value of system {system}; the nearest are "
                    f"{', '.join(near)}."
                )


def check_value(name: str, value: Value) -> None:
    """Raise SailsimError for an empty text, a bad cost of an operation, or an unknown operation."""
    if value == "":
        raise SailsimError(f"{name} is ''; allowed is a text that is not empty.")
    try:
        if ":" in name:
            parse_substrate(f"{name}={format_value(value)}")
        elif _is_cost(name):
            parse_cost(format_value(value))
    except ValueError as error:
        raise SailsimError(f"{name} {'is no field: substrate is ' * (':' in name)}{error}.") from None


def _is_cost(name: str) -> bool:
    return name.startswith(OPERATION) and name.removeprefix(OPERATION) in OPERATIONS


# --- Plans ---


@dataclass(frozen=True)
class PlanPart:
    """Grid of axes, or a sample of it, with fixed values of other fields."""

    fixed: Mapping[str, Value]
    axes: tuple[PlanAxis, ...]
    sample: SampleTable | None = None

    def check(self) -> None:
        """Raise SailsimError for an unknown field, one that is given twice, and a bad cost."""
        check_fields([*self.fixed, *(name for axis in self.axes for name in axis.names)], self.systems)
        pairs = (zip(axis.names, row, strict=True) for axis in self.axes for row in axis.rows)
        for name, value in itertools.chain(self.fixed.items(), *pairs):
            check_value(name, value)

    @property
    def systems(self) -> tuple[str, ...]:
        """Systems of the points, without the changes of other axes."""
        for axis in self.axes:
            if "system" in axis.names:
                at = axis.names.index("system")
                return tuple(dict.fromkeys(str(row[at]) for row in axis.rows))
        return (str(self.fixed.get("system", Point.system)),)

    def combinations(self) -> Iterator[Combination]:
        """Combinations of the grid, the last axis varying fastest, or of the sample."""
        rows: Iterable[tuple[tuple[Value, ...], ...]]
        if self.sample is None:
            rows = itertools.product(*(axis.listed for axis in self.axes))
        else:
            sample = self.sample.rows(len(self.axes)).tolist()
            rows = (tuple(map(PlanAxis.at, self.axes, shares)) for shares in sample)
        for row in rows:
            values: Combination = dict(self.fixed)
            for axis, each in zip(self.axes, row, strict=True):
                values.update(zip(axis.names, each, strict=True))
            yield values

    @cached_property
    def size(self) -> int:
        """Number of combinations. Raises SailsimError as `PlanAxis.listed`."""
        return self.sample.points if self.sample else math.prod(len(axis.listed) for axis in self.axes)


@dataclass(frozen=True)
class Plan:
    """Points of a study, in parts; a point of several parts counts once."""

    parts: tuple[PlanPart, ...]
    against: tuple[str, ...] = ()
    """Further runners of the points: files and machines, as `--against` takes them."""
    file: str = ""
    """File or name of the plan, for errors; empty for the command line."""

    @cached_property
    def combinations(self) -> dict[Point, Combination]:
        """Points of the plan, each once and in order, with the field values that made them.

        Raises:
            SailsimError: an unknown field, a bad value, or more than 100,000 combinations.
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
        """Points of the plan. Raises SailsimError as `combinations`."""
        return list(self.combinations)

    def fixing(self, values: Mapping[str, Value]) -> Plan:
        """Plan with some fields fixed to other values."""
        parts = tuple(replace(part, fixed={**part.fixed, **values}) for part in self.parts)
        return replace(self, parts=parts)


def plan_of(*grids: Mapping[str, Any]) -> Plan:
    """Plan with a part for each grid.

    A grid maps fields to one or more values, and means every combination of them, the last field varying
    fastest. Raises SailsimError for a field without a value.
    """
    parts = []
    for grid in grids:
        axes = []
        for name, each in grid.items():
            single = isinstance(each, str | System) or not isinstance(each, Iterable)
            values = [each] if single else list(each)
            axes.append(axis_of(name, [reference_to(v) if isinstance(v, System) else v for v in values]))
        parts.append(PlanPart({}, tuple(axes)))
    return Plan(tuple(parts))


def expand(grids: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Points of some grids (`plan_of`), each once, in order.

    Raises:
        SailsimError: an unknown field, an empty list, a bad value, or more than 100,000 combinations.
    """
    return plan_of(*grids).points
