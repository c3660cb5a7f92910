"""What an accelerator is to a step: jobs, and nothing of how they come about.

`Units` are those of one machine under the choices of a point; for a step they give `StepJobs`, which turn
each matrix product into a `Job`, those that differ in their inputs alone side by side (`Jobs`). A block's
experts and heads that attend side by side are one of several (`jobs_of`). `engine` plays jobs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, lru_cache
from math import ceil
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.sim.point import Point
from sailsim.sim.schedule import MemorySystem
from sailsim.sim.step_parts import Layout, StepParts
from sailsim.workloads.activations import Activations
from sailsim.workloads.experts import expected_rounds, touched
from sailsim.workloads.graph import Op
from sailsim.workloads.model import ModelSpec


class Job(NamedTuple):
    """One matrix product on an accelerator."""

    bytes: float
    """Of weights that come from the server's DRAM; 0 where they lie in the accelerator's own memory."""
    seconds: float
    """With all weights where the accelerator needs them, or on chip on the way there."""
    throttled: Callable[[float], float]
    """Seconds when its weights come from DRAM at so many bytes/s, just in time."""
    slices: int
    """Units that have a part of it: each is handed a descriptor, and writes a record when it is done."""
    blocks: int
    """Sums of an output that the cores convert and scale, if that is theirs (`Units.cores_convert`)."""
    cycles: int
    """Of the accelerator's clock, of `seconds`' part on it."""
    counts: Sequence[int]
    """By `Units.counts`, of one unit."""
    numbers: Sequence[float]
    """Seconds by `Units.phases`, which add up to `seconds`, then events by `Units.events`."""


class Jobs(Protocol):
    """Products of one shape and format on different inputs, side by side: columns of `Job`, an element or a
    row each."""

    @property
    def slices(self) -> int:
        """The same for all."""

    @property
    def shares(self) -> float:
        """How many times a unit's `counts` all units have together; of tiles on all slices `slices`."""

    @property
    def blocks(self) -> int:
        """The same for all."""

    @property
    def crowded(self) -> bool:
        """Whether any takes chunks of rows, or fewer outputs at a time, for want of room for their sums."""

    @property
    def bytes(self) -> NDArray[np.float64]:
        """(jobs,)."""

    @property
    def seconds(self) -> NDArray[np.float64]:
        """(jobs,)."""

    @property
    def cycles(self) -> NDArray[np.int64]:
        """(jobs,)."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """(jobs, `Units.counts`)."""

    @property
    def numbers(self) -> NDArray[np.float64]:
        """(jobs, phases and events)."""

    def throttled(self, rate: float) -> NDArray[np.float64]:
        """(jobs,): each by itself at that rate."""

    def __getitem__(self, at: int) -> Any:
        """One of them, as `Units.chosen` takes it."""


class EqualJobs:
    """`Jobs` that are all one, whatever their inputs are."""

    crowded = False

    def __init__(self, job: Job, count: int) -> None:
        if job.cycles >= 1 << 63:
            raise SailsimError(
                f"a product takes {job.cycles:.3g} cycles of the accelerator; allowed is a machine on which "
                "it takes less than 2^63."
            )
        self._job, self._count = job, count
        self.slices, self.shares, self.blocks = job.slices, job.slices, job.blocks
        self.bytes, self.seconds = np.full(count, float(job.bytes)), np.full(count, float(job.seconds))
        self.cycles = np.full(count, job.cycles, dtype=np.int64)
        self.counts = np.tile(np.array(job.counts, dtype=np.int64), (count, 1))
        self.numbers = np.tile(np.array(job.numbers, dtype=np.float64), (count, 1))

    def throttled(self, rate: float) -> NDArray[np.float64]:
        """Of each."""
        return np.full(self._count, self._job.throttled(rate))

    def __getitem__(self, at: int) -> Job:
        return self._job


class Product(NamedTuple):
    """A (batch, k) times (k, n) product of whole numbers, by itself."""

    k: int
    n: int
    batch: int
    wbits: int
    abits: int
    group_size: int
    """Weights along k that share a scale; 0: all."""


@runtime_checkable
class TimesProducts(Protocol):
    """Units that time a product without a model around it, which is how machines are validated."""

    def product(self, product: Product) -> Job:
        """Its job. Raises SailsimError for a product that they cannot do."""


class StepJobs(ABC):
    """The jobs of one step."""

    keys: Sequence[Hashable]
    """Of each input of the step: equal where jobs that differ in their input alone are equal."""

    @abstractmethod
    def jobs(self, op: Op, inputs: Sequence[int]) -> Jobs:
        """The jobs of an operation on some inputs, by their numbers in the step."""


class JobsOfHeads(StepJobs):
    """Those of units that attention may be put on (`Accelerator.check_choices` refuses it on others)."""

    @abstractmethod
    def side_by_side(self, op: Op, inputs: Sequence[int]) -> Jobs:
        """Of matrices with an input of their own each, on some inputs that stand for those."""


class AlikeJobs(StepJobs):
    """Those that do not depend on what the inputs are."""

    def __init__(self, job: Callable[[Op], Job], inputs: int) -> None:
        self._job, self.keys = job, [""] * inputs

    def jobs(self, op: Op, inputs: Sequence[int]) -> EqualJobs:
        """The same one for every input."""
        return EqualJobs(self._job(op), len(inputs))


class Units(ABC):
    """The units of a machine under the choices of a point."""

    phases: ClassVar[tuple[str, ...]]
    """Where a job's seconds go."""
    counts: ClassVar[tuple[str, ...]]
    """What a unit counts."""
    events: ClassVar[tuple[str, ...]] = ()
    """What all units do together, which energy is reckoned from."""
    cores_convert: bool
    """Whether the cores convert and scale the integer sums of blocks."""
    shares_slices: ClassVar[bool] = False
    """Whether parts of the slices can work on products of different inputs at the same time, which experts
    are; a product of one input n times as wide then takes as long as n of different ones."""

    @abstractmethod
    def step(self, point: Point, parts: StepParts, activations: Activations) -> StepJobs:
        """The jobs of a step. `point` has everything filled (`Point.resolved`)."""

    def chosen(self, job: Any) -> int | None:
        """What was chosen for a product where the point leaves it to each (`Accelerator.alternatives`)."""
        return None

    @abstractmethod
    def memory(self, threads: int) -> MemorySystem:
        """What the schedule has to know of the machine's memory beside `threads` working cores."""

    @abstractmethod
    def notes(self, model: ModelSpec, activations: Activations) -> list[str]:
        """What the numbers of a step rest on, in sentences."""


class Sharing(NamedTuple):
    """How some matrices are dealt to the slices of a machine."""

    matrices: int
    cut: int
    """Slices that share a matrix."""
    at_once: int
    """Matrices under way at a time."""

    @classmethod
    def of(cls, matrices: int, slices: int) -> Sharing:
        """Of so many matrices on so many slices."""
        cut = max(1, slices // matrices)
        return cls(matrices, cut, min(matrices, slices // cut))

    @property
    def rounds(self) -> int:
        """Matrices that the busiest slice takes one after the other."""
        return ceil(self.matrices / self.at_once)


class HeadJobs:
    """`Jobs` of matrices side by side, of which `one` has the tiles of a single one on its slices."""

    def __init__(self, one: Jobs, sharing: Sharing, phases: int) -> None:
        """`phases`: how many of a job's numbers are seconds."""
        self._one, self._sharing, self._phases = one, sharing, phases
        self.blocks = one.blocks
        self.slices = sharing.matrices * one.slices
        self.shares = self.slices / sharing.rounds
        self.bytes = sharing.matrices * one.bytes
        self.seconds = sharing.rounds * one.seconds

    def __getitem__(self, at: int) -> Any:
        """Of a single matrix."""
        return self._one[at]

    @property
    def crowded(self) -> bool:
        """Of a single matrix."""
        return self._one.crowded

    @property
    def cycles(self) -> NDArray[np.int64]:
        """Of the busiest slice."""
        return np.asarray(self._sharing.rounds * self._one.cycles, dtype=np.int64)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Of the busiest slice."""
        return np.asarray(self._sharing.rounds * self._one.counts, dtype=np.int64)

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Seconds of the busiest slice by phase, then the events of all matrices."""
        numbers = np.array(self._one.numbers, dtype=np.float64)
        numbers[:, : self._phases] *= self._sharing.rounds
        numbers[:, self._phases :] *= self._sharing.matrices
        return numbers

    def throttled(self, rate: float) -> NDArray[np.float64]:
        """Of all, when all slices together get `rate` bytes/s: full rounds, then what is left."""
        sharing = self._sharing
        full, left = divmod(sharing.matrices, sharing.at_once)
        seconds = full * self._one.throttled(rate / sharing.at_once)
        if left:
            seconds = seconds + self._one.throttled(rate / left)
        return np.asarray(seconds, dtype=np.float64)


def jobs_of(units: Units, jobs: StepJobs, op: Op, inputs: Sequence[int]) -> Jobs:
    """The jobs of an operation on some inputs; those of experts as one, in the fastest of their ways, and
    those of heads side by side."""
    if op.side_by_side:
        assert isinstance(jobs, JobsOfHeads)
        return jobs.side_by_side(op, inputs)
    if not op.spread:
        return jobs.jobs(op, inputs)
    ways = _ways(jobs, op, inputs, len(units.phases), units.shares_slices)
    return min(ways, key=lambda way: float(way.seconds.sum()))


def _ways(
    jobs: StepJobs, op: Op, inputs: Sequence[int], phases: int, shares_slices: bool
) -> Iterator[ExpertJobs]:
    """One expert at a time on all slices, then where units can do that 2, 4, ... side by side.

    Each has an equal part of the slices, which sees its own tokens and has no more to do than with a matrix
    as wide as all of theirs.
    """
    alone = _side_by_side(jobs, op, inputs, 1)
    yield ExpertJobs(alone, op, 1, phases)
    slices, together = alone[0][0].slices, 2
    while shares_slices and together < 2 * touched(op.spread) and slices % together == 0:
        with suppress(SailsimError):  # what does not fit the arrays
            groups = _side_by_side(jobs, op, inputs, together)
            if all(job.slices == slices for job, _ in groups):
                yield ExpertJobs(groups, op, together, phases)
        together *= 2


def _side_by_side(jobs: StepJobs, op: Op, inputs: Sequence[int], together: int) -> list[tuple[Jobs, float]]:
    """The jobs of so many experts at a time for every number of tokens, and how often each occurs."""
    groups = []
    for behind, (one, times) in enumerate(op.products):
        wide = replace(one, n=together * one.n, weight_bytes=together * one.weight_bytes)
        groups.append((jobs.jobs(wide, [at + behind for at in inputs]), times / together))
    return groups


class ExpertJobs:
    """`Jobs` that consist of others, each so many times, on average: a number that need not be whole.

    Sums are those of all of them, but that seconds and cycles have a last group that is not full. Cycles and
    counts, which are whole, are rounded to the nearest.
    """

    def __init__(self, parts: Sequence[tuple[Jobs, float]], op: Op, together: int, phases: int) -> None:
        """`parts`: jobs of equal length, of so many experts of `op` together, and how often each occurs;
        `phases`: how many of a job's numbers are seconds."""
        self._parts, self._phases = parts, phases
        self._common, _ = max(parts, key=lambda part: part[1])
        self.slices, self.blocks = self._common.slices, self._common.blocks
        self.shares = self._common.shares
        experts = touched(op.spread)
        most = min(op.matrices, op.batch)
        self.rounds = expected_rounds(experts, op.deviation, together, op.used, most)
        """How often all slices are handed a descriptor."""
        self._idle = self.rounds * together / experts
        self.bytes = _sum([times * jobs.bytes for jobs, times in parts])
        self.seconds = self._idle * _sum([times * jobs.seconds for jobs, times in parts])

    def __getitem__(self, at: int) -> Any:
        """Of the number of tokens that most experts see."""
        return self._common[at]

    @property
    def crowded(self) -> bool:
        """Of any number of tokens."""
        return any(jobs.crowded for jobs, _ in self._parts)

    @property
    def cycles(self) -> NDArray[np.int64]:
        """Of each."""
        return _whole([self._idle * times * jobs.cycles for jobs, times in self._parts])

    @property
    def counts(self) -> NDArray[np.int64]:
        """Of each."""
        return _whole([times * jobs.counts for jobs, times in self._parts])

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Of each."""
        numbers = _sum([times * jobs.numbers for jobs, times in self._parts])
        numbers[:, : self._phases] *= self._idle
        return numbers

    def throttled(self, rate: float) -> NDArray[np.float64]:
        """Of each: all of them at that rate, or the time that they need anyway."""
        slowed = _sum([times * jobs.throttled(rate) for jobs, times in self._parts])
        return np.maximum(slowed, self.seconds)


def _sum(parts: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def _whole(parts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    return np.asarray(np.rint(np.sum(parts, axis=0)), dtype=np.int64)


class Products:
    """The matrix products on the accelerator of parts that are alike: a row a part, a column a product."""

    def __init__(self, ops: Sequence[int], jobs: Sequence[Jobs], rows: int) -> None:
        self.ops, self.jobs = ops, jobs
        """Of each product: its place among the part's operations, and its jobs."""
        shape = (rows, len(jobs))
        self.bytes, self.seconds = np.empty(shape), np.empty(shape)
        for column, of_one in enumerate(jobs):
            self.bytes[:, column], self.seconds[:, column] = of_one.bytes, of_one.seconds

    def throttled(self, column: int, rate: float) -> NDArray[np.float64]:
        """As `Segments.throttled`."""
        return self.jobs[column].throttled(rate)


class StepWork:
    """What the accelerator does in a step, however many threads work beside it, on whatever cores."""

    def __init__(self, layout: Layout, products: Sequence[Products | None]) -> None:
        self.layout, self.products = layout, products
        """Of each kind of the layout; None where the cores alone work."""
        kinds = zip(layout.kinds, products, strict=True)
        self.jobs = [(jobs, kind.times) for kind, own in kinds if own for jobs in own.jobs]
        """Every job, with how many tensors it is."""
        self._counted: dict[int, int] = {}

    @cached_property
    def cache_bytes(self) -> float:
        """Of keys and values that units read, in the place of weights."""
        kinds = zip(self.layout.kinds, self.products, strict=True)
        heads = ((kind, own) for kind, own in kinds if own is not None and kind.ops[0].side_by_side)
        return float(sum(kind.times @ jobs.bytes for kind, own in heads for jobs in own.jobs))

    @cached_property
    def seconds(self) -> float:
        """Of all jobs one behind the other, with all weights where the accelerator needs them."""
        return sum(float(times @ jobs.seconds) for jobs, times in self.jobs)

    @cached_property
    def cycles(self) -> int:
        """Of the accelerator."""
        return sum(int(times @ jobs.cycles) for jobs, times in self.jobs)

    def counted(self, at: int) -> int:
        """Of one unit: a count by its place in `Units.counts`."""
        if at not in self._counted:
            self._counted[at] = sum(int(times @ jobs.counts[:, at]) for jobs, times in self.jobs)
        return self._counted[at]


@lru_cache(maxsize=16)  # a step that is known takes half as long again without it
def step_work(
    takes: Callable[[Op], bool], units: Units, point: Point, parts: StepParts, captured: Activations
) -> StepWork:
    """The jobs of a step, one for products that are alike and meet equal patterns.

    `takes` says which operations are the units'; `point` has one thread, as they are the same for any number.
    """
    jobs = units.step(point, parts, captured)
    layout = parts.layout(jobs.keys)
    products: list[Products | None] = []
    for kind in layout.kinds:
        if kind.ops[0].kind != "gemv":
            products.append(None)
            continue
        taken = [i for i, op in enumerate(kind.ops) if takes(op)]
        of_each = [jobs_of(units, jobs, kind.ops[i], kind.inputs) for i in taken]
        products.append(Products(taken, of_each, len(kind.places)))
    return StepWork(layout, products)
