"""An axis of a plan: a field, or some that move together, with values or a span of numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import is_number
from sailsim.sim.ranges import LONGEST, between, check_span, spread, stepped
from sailsim.sim.vary import Value

RANGE = ("from", "to", "step", "points", "scale")
"""Keys of a table that is a range of numbers."""
SCALES = ("linear", "log")
Row = tuple[Value, ...]


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
        return min(int(self.high), floor(between(int(self.low), end, share, self.log)))


@dataclass(frozen=True)
class Axis:
    """Fields, and the values that they take together: rows of one each, or of one field a span."""

    names: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    span: Span | None = None

    def __len__(self) -> int:
        """Of a grid: how many rows; 0 for a span."""
        return len(self.rows)

    @property
    def name(self) -> str:
        """Its fields in words."""
        return " with ".join(self.names)

    @property
    def values(self) -> tuple[Value, ...]:
        """All that its fields take."""
        ends = () if self.span is None else (self.span.low, self.span.high)
        return (*ends, *(value for row in self.rows for value in row))

    def at(self, share: float) -> Row:
        """The row at a share, 0 to below 1, of the axis: each has an equal part of it."""
        if self.span is not None:
            return (self.span.at(share),)
        return self.rows[min(len(self.rows) - 1, floor(share * len(self.rows)))]


def axis_of(name: str, values: Sequence[Value]) -> Axis:
    """An axis of one field. Raises SailsimError where there is no value."""
    if not values:
        raise SailsimError(f"{name} is an empty list; allowed is at least one value.")
    return Axis((name,), tuple((value,) for value in distinct(values)))


def distinct(values: Sequence[Value]) -> list[Value]:
    """Each value once, in order; true is not 1."""
    return list({(isinstance(value, bool), value): value for value in values}.values())


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
    span = axis.span
    if span is None:
        return axis
    if not span.whole or span.log:
        raise SailsimError(
            f"{axis.name} goes from {span.low} to {span.high} without a step or a number of points; allowed "
            "is one of the two, or a sample."
        )
    try:
        return axis_of(axis.name, stepped(span.low, span.high, 1))
    except ValueError as error:
        raise SailsimError(f"{axis.name} {error}.") from None


def ends(axis: Axis) -> list[Row]:
    """The first and the last row of an axis; one where they are the same."""
    if axis.span is not None:
        return [(axis.span.low,), (axis.span.high,)]
    return list(dict.fromkeys((axis.rows[0], axis.rows[-1])))


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
