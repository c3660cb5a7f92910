"""A plan: what is fixed, axes, constraints, a sample of them, and the points that all this makes."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from sailsim.base.errors import SailsimError
from sailsim.sim.plan.axis import Axis, axis_of, listed
from sailsim.sim.plan.combination import check_fields, check_value, point_of, way_out
from sailsim.sim.plan.constraint import Constraint
from sailsim.sim.plan.sample import Sample
from sailsim.sim.point import Point
from sailsim.sim.vary import Value

LARGEST_PLAN = 100_000
"""Points of a study, at most."""
MOST_TRIED = 1_000_000
"""Combinations of a grid that constraints choose from, at most."""

Combination = dict[str, Value]


@dataclass(frozen=True)
class Part:
    """A grid of axes, or a sample of it, beside what is fixed."""

    fixed: Mapping[str, Value]
    axes: tuple[Axis, ...]
    constraints: tuple[Constraint, ...] = ()
    sample: Sample | None = None

    def check(self) -> None:
        """Raise SailsimError for a field that there is not or that is given twice, a cost that is none,
        and a constraint on what the plan does not have."""
        names = [*self.fixed, *(name for axis in self.axes for name in axis.names)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise SailsimError(f"{twice} is given twice; allowed is once.")
        check_fields(names, self.systems)
        for constraint in self.constraints:
            constraint.check_names(names)
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
        """Every combination of a grid, the last axis varying fastest, or the rows of a sample without end."""
        for rows in self._rows():
            found: Combination = dict(self.fixed)
            for axis, row in zip(self.axes, rows, strict=True):
                found.update(zip(axis.names, row, strict=True))
            yield found

    @cached_property
    def size(self) -> int:
        """Combinations of the grid, or rows that a sample draws at most. Raises SailsimError as `listed`."""
        if self.sample is not None:
            return self.sample.most_rows
        return math.prod(len(listed(axis)) for axis in self.axes)

    def _rows(self) -> Iterator[tuple[tuple[Value, ...], ...]]:
        if self.sample is None:
            yield from itertools.product(*(listed(axis).rows for axis in self.axes))
            return
        free = [at for at, axis in enumerate(self.axes) if axis.span is not None or len(axis) > 1]
        if not free:
            yield tuple(axis.rows[0] for axis in self.axes)
            return
        for batch in self.sample.rows(len(free)):
            for shares in batch.tolist():
                share = dict(zip(free, shares, strict=True))
                yield tuple(axis.at(share.get(at, 0.0)) for at, axis in enumerate(self.axes))


@dataclass
class Drawn:
    """What a plan's parts came to."""

    combinations: dict[Point, Combination] = field(default_factory=dict)
    """The points, each once and in order, with the values that were asked for."""
    tried: int = 0
    """Combinations."""
    repeated: int = 0
    """Of them those that give a point that is there already."""
    left_out: dict[str, int] = field(default_factory=dict)
    """By each constraint: those that did not keep to it, though to the constraints before it."""
    short: int = 0
    """Points that samples were asked for and did not find."""

    @property
    def points(self) -> list[Point]:
        """In the plan's order."""
        return list(self.combinations)

    def take(self, part: Part, in_file: bool) -> None:
        """Add a part's points; ``in_file``: where constraints stand, for who reads of a combination that no
        point can have. Raises SailsimError for such a one."""
        for constraint in part.constraints:
            self.left_out.setdefault(constraint.text, 0)
        before, tried = len(self.combinations), 0
        for combination in itertools.islice(part.combinations(), part.size):
            tried += 1
            broken = next((each for each in part.constraints if not each.holds(combination)), None)
            if broken is not None:
                self.left_out[broken.text] += 1
                continue
            try:
                point = point_of(combination)
            except SailsimError as error:
                raise SailsimError(f"{error}{way_out(part.axes, combination, in_file)}") from None
            self._add(point, combination)
            if part.sample is not None and len(self.combinations) - before == part.sample.points:
                break
        self.tried += tried
        if part.sample is not None:
            self.short += part.sample.points - (len(self.combinations) - before)

    def _add(self, point: Point, combination: Combination) -> None:
        self.repeated += point in self.combinations
        self.combinations.setdefault(point, combination)
        if len(self.combinations) > LARGEST_PLAN:
            raise SailsimError(
                f"the sweep has more than {LARGEST_PLAN} points; allowed are {LARGEST_PLAN} at most in one "
                "folder."
            )


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
    def drawn(self) -> Drawn:
        """Its points.

        Raises:
            SailsimError: a field that there is not, a value that a point refuses, a constraint that cannot be
                decided, more than 100,000 points or 1,000,000 combinations, or no point at all.
        """
        found = Drawn()
        try:
            for part in self.parts:
                part.check()
            tried = sum(part.size for part in self.parts if part.sample is None)
            self._check_size(tried)
            for part in self.parts:
                found.take(part, bool(self.file))
            if not found.combinations:
                raise SailsimError(
                    f"none of {found.tried} combinations keeps to the constraints; allowed is at least one."
                )
        except SailsimError as error:
            raise SailsimError(f"{self.file}: {error}" if self.file else str(error)) from None
        return found

    def _check_size(self, combinations: int) -> None:
        """Raise SailsimError before too many combinations are made."""
        most = MOST_TRIED if any(part.constraints for part in self.parts) else LARGEST_PLAN
        if combinations > most:
            raise SailsimError(
                f"the sweep has {combinations} combinations; allowed are {most} at most, and {LARGEST_PLAN} "
                "points in one folder."
            )

    def fixing(self, values: Mapping[str, Value]) -> "Plan":
        """The plan with other fixed values of some fields."""
        parts = tuple(replace(part, fixed={**part.fixed, **values}) for part in self.parts)
        return replace(self, parts=parts)

    @property
    def points(self) -> list[Point]:
        """As `drawn`."""
        return self.drawn.points

    @property
    def axes(self) -> list[Axis]:
        """Of all parts."""
        return [axis for part in self.parts for axis in part.axes]


def plan_of(
    values: Mapping[str, Iterable[Value]], beside: Iterable[str] = (), constraints: Iterable[str] = ()
) -> Plan:
    """The grid of some fields' values, as a plan, without what does not keep to the constraints.

    Raises:
        SailsimError: a field without a value, or a constraint that is no condition.
    """
    axes = tuple(axis_of(name, list(each)) for name, each in values.items())
    return Plan((Part({}, axes, tuple(map(Constraint.parse, constraints))),), tuple(beside))
