"""What a plan will take before it is run: points that are there, time, room, and what does not matter.

Nothing is stored. A few points are run, each axis at its ends beside the plan's middle point: they time a
point where the folder knows no time, and show which axes change no number there.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sailsim.analysis.baselines.runners import Runner
from sailsim.analysis.results.nearest_time import Known
from sailsim.analysis.results.runs import MAPS, problems
from sailsim.analysis.results.sweep import Asked
from sailsim.base.errors import ImpossibleMachineError, SailsimError
from sailsim.sim import Plan, Point, Store, sweep_keys
from sailsim.sim.keys import Keys
from sailsim.sim.plan.axis import Axis, ends
from sailsim.sim.plan.combination import point_of
from sailsim.sim.plan.plan import Combination
from sailsim.sim.study.tables import parquet_bytes, table_of

NUMBERS = ("tokens_per_s", "low", "high", "step_s", "dram_bytes", "memory_bytes", "energy_j", "energy_low_j",
           "energy_high_j", *MAPS)  # fmt: skip
"""Columns of a record that an axis has to change to matter."""
MOST_RUN = 24
"""Points that are run, at most."""
Evaluate = Callable[[Point], list[dict[str, Any]]]


@dataclass
class Reasons:
    """How many points something is said of, and what of the first."""

    points: int = 0
    first: str = ""

    def add(self, reason: str) -> None:
        """One point more."""
        self.points += 1
        self.first = self.first or reason


@dataclass(frozen=True)
class Tried:
    """The points that were run: seconds of each, their size on disk, axes without an effect."""

    seconds: tuple[float, ...] = ()
    bytes_a_point: float = 0.0
    idle: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlanCheck:
    """What `sailsim plan check` says; seconds, bytes."""

    points: int
    held: int
    """That the folder has already."""
    impossible: Reasons
    """Whose machine, model or weights cannot be read: a sweep of them does not begin."""
    refused: Reasons
    """That a sweep lists as refused: their machine cannot be, or does not run the runners' software."""
    nowhere: Reasons
    """That no runner holds."""
    unfit: Mapping[str, Reasons]
    """By runner, those that it does not hold, if there are any."""
    single: tuple[str, ...]
    """Axes with one value."""
    tried: Tried
    known: int
    """Stored points whose times the prediction rests on; 0: the points that were run."""
    seconds_a_point: float | None
    seconds: float | None
    """Of all that is to be run, by so many processes; None: nothing is known of it."""
    bytes_to_store: float
    memory_bytes: int
    """Of the processes together, as this one has taken it."""
    to_run: int
    """Points that the folder lacks and that can be asked for."""


@dataclass
class _Room:
    """Which points can be asked for, and who holds them."""

    runners: Sequence[Runner]
    impossible: Reasons = field(default_factory=Reasons)
    refused: Reasons = field(default_factory=Reasons)
    nowhere: Reasons = field(default_factory=Reasons)
    unfit: dict[str, Reasons] = field(default_factory=dict)

    def possible(self, points: Iterable[Point], keys: Keys) -> dict[Point, str]:
        """Those whose machine there is, with their keys; counts the others, and who holds what."""
        seen: dict[tuple[Any, ...], dict[str, str] | str] = {}
        found = {}
        for point in points:
            try:
                found[point] = keys.result(point)
            except SailsimError as error:
                among = self.refused if isinstance(error, ImpossibleMachineError) else self.impossible
                among.add(str(error))
                continue
            kind = (point.system, point.model, point.weights, point.wbits, point.group_size, point.batch,
                    point.context)  # fmt: skip
            if kind not in seen:
                seen[kind] = self._problems(point)
            self._count(seen[kind])
        return found

    def _problems(self, point: Point) -> dict[str, str] | str:
        """By runner why it does not begin, or why the point is refused."""
        try:
            return problems(point, self.runners)
        except SailsimError as error:
            return str(error)

    def _count(self, found: dict[str, str] | str) -> None:
        if isinstance(found, str):
            self.refused.add(found)
            return
        for runner, reason in found.items():
            if reason:
                self.unfit.setdefault(runner, Reasons()).add(reason)
        if all(found.values()):
            self.nowhere.add(next(iter(found.values())))


def check_plan(
    plan: Plan,
    points: Sequence[Point],
    runners: Sequence[Runner],
    out: str | Path | None = None,
    jobs: int = 1,
) -> PlanCheck:
    """What a plan's points will take by some runners, in a folder and by so many processes.

    ``points``: those of the plan, which a caller may have changed all alike. Raises SailsimError for a plan
    that is wrong, and a folder that cannot be read.
    """
    room = _Room(runners)
    asked = Asked.of(points, runners)
    possible = room.possible(points, sweep_keys(asked.evaluate, asked.inputs))
    store = None if out is None else Store(out)
    stored = set() if store is None else store.keys()
    missing = [point for point, key in possible.items() if key not in stored]
    typical = missing or list(possible)
    tried = _try(plan, asked.evaluate, typical)
    known = Known.of(store)
    took = tried.seconds[1:] or tried.seconds
    each = known.seconds(typical) if known.points else sum(took) / len(took) if took else None
    first = 0.0 if known.points or not tried.seconds else max(0.0, tried.seconds[0] - (each or 0.0))
    stored_bytes = known.bytes_a_point or tried.bytes_a_point
    at_once = max(1, min(jobs, len(missing)))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return PlanCheck(
        points=len(points),
        held=len(possible) - len(missing),
        impossible=room.impossible,
        refused=room.refused,
        nowhere=room.nowhere,
        unfit=room.unfit,
        single=tuple(axis.name for axis in plan.axes if len(ends(axis)) == 1),
        tried=tried,
        known=known.points,
        seconds_a_point=each,
        seconds=None if each is None else (first if missing else 0.0) + each * len(missing) / at_once,
        bytes_to_store=stored_bytes * len(missing),
        memory_bytes=memory * at_once,
        to_run=len(missing),
    )


def _try(plan: Plan, evaluate: Evaluate, points: Sequence[Point]) -> Tried:
    """Run the middle one of some points, and beside it each axis of its part at its ends."""
    if not points:
        return Tried()
    middle = points[len(points) // 2]
    combination = plan.drawn.combinations.get(middle)
    records: list[list[dict[str, Any]]] = []
    seconds: list[float] = []

    def run(point: Point) -> list[Any] | None:
        began = time.perf_counter()
        try:
            found = evaluate(point)
        except SailsimError:
            return None  # the sweep will list it
        seconds.append(time.perf_counter() - began)
        records.append(found)
        return [[record[name] for name in NUMBERS] for record in found]

    at_middle = run(middle)
    idle = []
    different_axes = {axis.names: axis for axis in reversed(plan.axes)}
    for axis in reversed(different_axes.values()):
        others = [_other(combination, axis, row) for row in ends(axis)]
        different = [point for point in others if point is not None and point != middle]
        if different and len(records) + len(different) <= MOST_RUN and at_middle is not None:
            answers = [answer for answer in map(run, different) if answer is not None]
            if answers and all(answer == at_middle for answer in answers):
                idle.append(axis.name)
    size = len(parquet_bytes(table_of([each for found in records for each in found]))) if records else 0
    return Tried(tuple(seconds), size / max(1, len(records)), tuple(idle))


def _other(combination: Combination | None, axis: Axis, row: tuple[Any, ...]) -> Point | None:
    """The point of a combination with another row of an axis; None where there cannot be one."""
    if combination is None or any(name not in combination for name in axis.names):
        return None
    try:
        return point_of({**combination, **dict(zip(axis.names, row, strict=True))})
    except SailsimError:
        return None
