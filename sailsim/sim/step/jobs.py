"""What an accelerator is to a step: jobs, and nothing of how they come about.

`Units` are those of one machine under the choices of a point; for a step they give `StepGemvs`, which turn
each matrix product into a `GemvTime`, those that differ in their inputs alone side by side (`GemvTimes`). A
block's experts and heads that attend side by side are one of several (`jobs_of`). `engine` plays jobs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, cached_property
from math import ceil, inf
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.sim.machine.dram import MemorySystem
from sailsim.sim.machine.system import System, server_memory
from sailsim.sim.point import Point
from sailsim.sim.step.parts import PartLayout, StepParts
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.models.experts import expected_rounds, touched_experts
from sailsim.workloads.models.graph import Op
from sailsim.workloads.models.model import ModelSpec

KEPT_UNITS = 208
"""How many units are kept, with all that they have timed: those of the three intervals of 64 machines that
every point of a sweep asks for in turn, and of some others."""


class Gemm(NamedTuple):
    """A matrix product for a backend's formula: (batch, k) activations times a (k, n) weight matrix."""

    k: int
    n: int
    batch: int
    wbits: int = 0
    abits: int = 0
    group: int = 0
    """Weights along k that share a scale, and so have a sum of their own; 0: all of them."""
    stored: float = 0.0
    """Bytes of the weights, which come from DRAM."""
    copies: int = 1
    """Copies of the weights in the banks, for different rows of the batch."""


class GemvTime(NamedTuple):
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


class GemvTimes(ABC):
    """Products of one shape and format on different inputs, side by side: columns of `GemvTime`, an element
    or a row each. A column that `__init__` has not set is made by `column` when it is asked for."""

    slices: int
    """The same for all."""
    blocks: int
    """The same for all."""
    rounds: float = 1.0
    """How often the slices are handed descriptors: for so many tiles of their share, and of experts for so
    many groups one after the other."""
    bytes: NDArray[np.float64]
    """(jobs,)."""
    seconds: NDArray[np.float64]
    """(jobs,)."""

    @cached_property
    def cycles(self) -> NDArray[np.int64]:
        """(jobs,)."""
        return self.column("cycles")

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(jobs, `Units.counts`)."""
        return self.column("counts")

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        """(jobs, phases and events)."""
        return self.column("numbers")

    @abstractmethod
    def column(self, name: str) -> NDArray[Any]:
        """`cycles`, `counts` or `numbers`, made when it is first asked for."""

    @property
    def crowded(self) -> bool:
        """Whether any takes chunks of rows, or fewer outputs at a time, for want of room for their sums."""
        return False

    @abstractmethod
    def throttled(self, rate: float) -> NDArray[np.float64]:
        """(jobs,): each by itself at that rate."""

    def nbw(self, at: int) -> int | None:
        """What one of them has of `Accelerator.alternatives`; None where there is nothing to choose."""
        return None


class EqualGemvTimes(GemvTimes):
    """Jobs that are all one, whatever their inputs are."""

    def __init__(self, job: GemvTime, count: int) -> None:
        if job.cycles >= 1 << 63:
            raise SailsimError(
                f"a product takes {job.cycles:.3g} cycles of the accelerator; allowed is a machine on which "
                "it takes less than 2^63."
            )
        self._job = job
        self.slices, self.blocks = job.slices, job.blocks
        self.bytes, self.seconds = np.full(count, float(job.bytes)), np.full(count, float(job.seconds))

    def column(self, name: str) -> NDArray[Any]:
        """Of each the same."""
        kind = np.float64 if name == "numbers" else np.int64
        return np.repeat(np.array([getattr(self._job, name)], kind), len(self.bytes), axis=0)

    def throttled(self, rate: float) -> NDArray[np.float64]:
        """Of each."""
        return np.full(len(self.bytes), self._job.throttled(rate))


class StepGemvs(NamedTuple):
    """The jobs of one step."""

    keys: Sequence[Hashable]
    """Of each input of the step: equal where jobs that differ in their input alone are equal."""
    jobs: Callable[[Op, Sequence[int]], GemvTimes]
    """Of an operation on some inputs, by their numbers in the step."""
    side_by_side: Callable[[Op, Sequence[int]], GemvTimes] | None = None
    """Of matrices with an input of their own each, on some inputs that stand for those; None on units that
    attention cannot be put on (`Accelerator.check_choices`)."""


class Units(ABC):
    """The units of a machine under the choices of a point."""

    phases: tuple[str, ...]
    """Where a job's seconds go."""
    counts: tuple[str, ...]
    """What a unit counts."""
    events: ClassVar[tuple[str, ...]] = ()
    """What all units do together, which energy is reckoned from."""
    cores_convert: bool
    """Whether the cores convert and scale the integer sums of blocks."""
    shares_slices: ClassVar[bool] = False
    """Whether parts of the slices can work on products of different inputs at the same time, which experts
    are; a product of one input n times as wide then takes as long as n of different ones."""

    @abstractmethod
    def step(self, point: Point, parts: StepParts, activations: Activations) -> StepGemvs:
        """The jobs of a step. `point` has everything filled (`Point.resolved`)."""

    @abstractmethod
    def memory(self, threads: int) -> MemorySystem:
        """What the schedule has to know of the machine's memory beside `threads` working cores."""

    @abstractmethod
    def notes(self, model: ModelSpec, activations: Activations) -> list[str]:
        """What the numbers of a step rest on, in sentences."""


class ClosedFormUnits(Units):
    """Units with a formula for the time of a product, whatever its inputs are."""

    def __init__(
        self,
        system: System,
        columns: tuple[tuple[str, ...], tuple[str, ...]],
        time: Callable[[Gemm], GemvTime],
        gemm_of: Callable[[Point, StepParts, Op], Gemm],
        notes: Sequence[str],
        cores_convert: bool = True,
        stream_limit: float = inf,
    ) -> None:
        """Build units from a backend's formula.

        Args:
            system: the machine.
            columns: names of phases and of counts.
            time: the formula, evaluated once for equal products.
            gemm_of: the product of a step's operation, as the formula takes it.
            notes: what the numbers rest on, in sentences.
            cores_convert: as `Units.cores_convert`.
            stream_limit: most bytes/s of weights from the server's DRAM.
        """
        self.phases, self.counts = columns
        self.job, self.cores_convert = cache(time), cores_convert
        self._system, self._gemm_of, self._notes, self._stream_limit = system, gemm_of, notes, stream_limit

    def step(self, point: Point, parts: StepParts, activations: Activations) -> StepGemvs:
        """Times of the products of a step."""

        def times(op: Op, some: Sequence[int]) -> EqualGemvTimes:
            return EqualGemvTimes(self.job(self._gemm_of(point, parts, op)), len(some))

        return StepGemvs([""] * len(parts.inputs(point.seed)), times)

    def memory(self, threads: int) -> MemorySystem:
        """The server's DRAM with the cores and the stream of weights, which is empty where they lie on the
        device."""
        return server_memory(self._system, threads, self._stream_limit)

    def notes(self, model: ModelSpec, activations: Activations) -> list[str]:
        """What the numbers of a step rest on, in sentences."""
        return [*self._notes]


class SliceSharing(NamedTuple):
    """How some matrices are dealt to the slices of a machine."""

    matrices: int
    cut: int
    """Slices that share a matrix."""
    at_once: int
    """Matrices under way at a time."""

    @classmethod
    def of(cls, matrices: int, slices: int) -> SliceSharing:
        """Of so many matrices on so many slices."""
        cut = max(1, slices // matrices)
        return cls(matrices, cut, min(matrices, slices // cut))

    @property
    def rounds(self) -> int:
        """Matrices that the busiest slice takes one after the other."""
        return ceil(self.matrices / self.at_once)


class SummedGemvTimes(GemvTimes):
    """Jobs that consist of others, each so many times, on average: a number that need not be whole.

    Sums are those of all of them, but that busy units may wait for each other. Cycles and counts, which are
    whole, are rounded to the nearest.
    """

    def __init__(
        self, parts: Sequence[tuple[GemvTimes, float]], rounds: float, busy: float, phases: int
    ) -> None:
        """`parts`: jobs of equal length, and how often each occurs; `busy`: how many times as long as their
        sum all take; `phases`: how many of a job's numbers are seconds."""
        self.parts, self._busy, self._phases = parts, busy, phases
        self._common = common = max(parts, key=lambda part: part[1])[0]
        self.rounds = rounds * common.rounds
        self.slices, self.blocks = common.slices, common.blocks
        self.bytes = np.sum([times * jobs.bytes for jobs, times in parts], axis=0)
        self.seconds = busy * np.sum([times * jobs.seconds for jobs, times in parts], axis=0)

    def column(self, name: str) -> NDArray[Any]:
        """Of each, the sum over its parts."""
        busy = self._busy if name == "cycles" else 1.0
        each = [busy * times * getattr(jobs, name) for jobs, times in self.parts]
        whole: NDArray[np.float64] = np.asarray(np.sum(each, axis=0))
        if name == "numbers":
            whole[:, : self._phases] *= self._busy
            return whole
        return np.asarray(np.rint(whole), dtype=np.int64)

    def nbw(self, at: int) -> int | None:
        """Of the most common part."""
        return self._common.nbw(at)

    @property
    def crowded(self) -> bool:
        """Of any part."""
        return any(jobs.crowded for jobs, _ in self.parts)

    def throttled(self, rate: float) -> NDArray[np.float64]:
        """Of each: all of them at that rate, or the time that they need anyway."""
        slowed = np.sum([times * jobs.throttled(rate) for jobs, times in self.parts], axis=0)
        return np.asarray(np.maximum(slowed, self.seconds))


class HeadGemvTimes(GemvTimes):
    """Jobs of matrices side by side, of which `one` has the tiles of a single one on its slices."""

    def __init__(self, one: GemvTimes, sharing: SliceSharing, phases: int) -> None:
        """`phases`: how many of a job's numbers are seconds."""
        self._one, self._sharing, self._phases = one, sharing, phases
        matrices, rounds = sharing.matrices, sharing.rounds
        self.slices, self.blocks, self.rounds = matrices * one.slices, one.blocks, one.rounds
        self.bytes, self.seconds = matrices * one.bytes, rounds * one.seconds

    def column(self, name: str) -> NDArray[Any]:
        """Cycles, counts and seconds of all rounds, events of all matrices."""
        column, rounds = getattr(self._one, name), self._sharing.rounds
        if name != "numbers":
            return np.asarray(rounds * column)
        times = [float(rounds), float(self._sharing.matrices)]
        return np.asarray(column * np.repeat(times, [self._phases, column.shape[1] - self._phases]))

    def nbw(self, at: int) -> int | None:
        """Of a single matrix."""
        return self._one.nbw(at)

    @property
    def crowded(self) -> bool:
        """Of a single matrix."""
        return self._one.crowded

    def throttled(self, rate: float) -> NDArray[np.float64]:
        """Of all, when all slices together get `rate` bytes/s: full rounds, then what is left."""
        sharing = self._sharing
        full, left = divmod(sharing.matrices, sharing.at_once)
        seconds = full * self._one.throttled(rate / sharing.at_once)
        return seconds + self._one.throttled(rate / left) if left else seconds


def jobs_of(units: Units, jobs: StepGemvs, op: Op, inputs: Sequence[int]) -> GemvTimes:
    """The jobs of an operation on some inputs; those of experts as one, in the fastest of their ways, and
    those of heads side by side."""
    if op.side_by_side:
        assert jobs.side_by_side is not None
        return jobs.side_by_side(op, inputs)
    if not op.spread:
        return jobs.jobs(op, inputs)
    return min(_ways(units, jobs, op, inputs), key=lambda way: float(way.seconds.sum()))


def _ways(units: Units, jobs: StepGemvs, op: Op, inputs: Sequence[int]) -> Iterator[GemvTimes]:
    """One expert at a time on all slices, then where units can do that 2, 4, ... side by side.

    Each has an equal part of the slices, which sees its own tokens and has no more to do than with a matrix
    as wide as all of theirs. The last group need not be full.
    """

    def way(together: int) -> SummedGemvTimes:
        """So many at a time: jobs for every number of tokens, and how often each occurs."""
        parts = []
        for behind, (one, times) in enumerate(op.products):
            wide = replace(one, n=together * one.n, weight_bytes=together * one.weight_bytes)
            parts.append((jobs.jobs(wide, [at + behind for at in inputs]), times / together))
        rounds = expected_rounds(experts, op.deviation, together, op.used, min(op.matrices, op.batch))
        return SummedGemvTimes(parts, rounds, rounds * together / experts, len(units.phases))

    experts = touched_experts(op.spread)
    alone, together = way(1), 2
    yield alone
    slices = alone.parts[0][0].slices
    while units.shares_slices and together < 2 * experts and slices % together == 0:
        with suppress(SailsimError):  # what does not fit the arrays
            several = way(together)
            if all(part.slices == slices for part, _ in several.parts):
                yield several
        together *= 2


class ProductTimes:
    """The matrix products on the accelerator of parts that are alike: a row a part, a column a product."""

    def __init__(self, ops: Sequence[int], jobs: Sequence[GemvTimes], rows: int) -> None:
        self.ops, self.jobs = ops, jobs
        """Of each product: its place among the part's operations, and its jobs."""
        shape = (rows, len(jobs))
        self.bytes, self.seconds = np.empty(shape), np.empty(shape)
        for column, of_one in enumerate(jobs):
            self.bytes[:, column], self.seconds[:, column] = of_one.bytes, of_one.seconds

    def throttled(self, column: int, rate: float) -> NDArray[np.float64]:
        """As `Segments.throttled`."""
        return self.jobs[column].throttled(rate)


class AcceleratorStep:
    """What the accelerator does in a step, however many threads work beside it, on whatever cores."""

    def __init__(self, layout: PartLayout, products: Sequence[ProductTimes | None]) -> None:
        self.layout, self.products = layout, products
        """Of each kind of the layout; None where the cores alone work."""
        kinds = zip(layout.kinds, products, strict=True)
        self.jobs = [(jobs, kind.times) for kind, own in kinds if own for jobs in own.jobs]
        """Every job, with how many tensors it is."""

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

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """By `Units.counts`, of one unit."""
        return np.asarray(sum(times @ jobs.counts for jobs, times in self.jobs))

    @cached_property
    def numbers(self) -> list[NDArray[np.float64]]:
        """Of each of `jobs`, all its tensors together."""
        return [times @ jobs.numbers for jobs, times in self.jobs]


def step_work(
    takes: Callable[[Op], bool], units: Units, point: Point, parts: StepParts, captured: Activations
) -> AcceleratorStep:
    """The jobs of a step, one for products that are alike and meet equal patterns.

    `takes` says which operations are the units'; `point` has one thread, as they are the same for any number.
    """
    jobs = units.step(point, parts, captured)
    layout = parts.layout(tuple(jobs.keys))
    products: list[ProductTimes | None] = []
    for kind in layout.kinds:
        if kind.ops[0].kind != "gemv":
            products.append(None)
            continue
        taken = [i for i, op in enumerate(kind.ops) if takes(op)]
        of_each = [jobs_of(units, jobs, kind.ops[i], kind.inputs) for i in taken]
        products.append(ProductTimes(taken, of_each, len(kind.places)))
    return AcceleratorStep(layout, products)
