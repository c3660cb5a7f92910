"""Times of a step's GEMVs on an accelerator.

`Units` are the accelerator of one machine under the choices of a point. They time GEMVs that differ only in
their inputs together (`GemvTimes`); the engine schedules the times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import ceil, inf
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.sim.machine.dram import MemorySystem
from sailsim.sim.machine.system import System, host_memory_system
from sailsim.sim.point import Point
from sailsim.sim.step.parts import PartGroup, StepParts
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.models.experts import expected_rounds, touched_experts
from sailsim.workloads.models.graph import Op
from sailsim.workloads.models.model import ModelSpec

MAX_UNITS = 208
"""Cached units, with all that they have timed: those of the three intervals of 64 machines that every point
of a sweep needs in turn, and some others."""


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
    """Time of one matrix product on an accelerator."""

    bytes: float
    """Weight bytes from the server's DRAM; 0 where they lie in the accelerator's own memory."""
    seconds: float
    """Seconds with all weights where the accelerator needs them, or on chip on the way there."""
    throttled: Callable[[float], float]
    """Seconds when its weights come from DRAM at this rate (bytes/s), just in time."""
    slices: int
    """Units that share it: each is handed a descriptor, and writes a record when it is done."""
    blocks: int
    """Sums of an output that the cores convert and scale, where they do so (`Units.cores_convert`)."""
    cycles: int
    """Cycles of the accelerator's clock, for the part of `seconds` that it works."""
    counts: Sequence[int]
    """Counts of one unit, by `Units.counts`."""
    numbers: Sequence[float]
    """Seconds by `Units.phases`, which add up to `seconds`, then events by `Units.events`."""


@dataclass(eq=False, kw_only=True)
class GemvTimes:
    """Times of GEMVs of one shape and format on different inputs.

    Its columns have an element or a row for each GEMV. `column` computes a column by its name; costly ones
    are computed when they are first read.
    """

    slices: int
    """Slices that share a GEMV, the same for all."""
    blocks: int
    """Sums of an output that the cores convert and scale, the same for all."""
    rounds: float = 1.0
    """Descriptors that each slice is handed one after the other: tiles of its share, or groups of experts."""
    bytes: NDArray[np.float64]
    """Weight bytes from DRAM, (gemvs,)."""
    seconds: NDArray[np.float64]
    """Seconds with all weights at hand, (gemvs,)."""
    column: Callable[[str], NDArray[Any]]
    throttled: Callable[..., NDArray[np.float64]]
    """Seconds of each by itself with weights at a rate (bytes/s), (gemvs,)."""
    crowded: Callable[[], bool] = lambda: False
    """Whether any needs chunks of rows, or fewer outputs at a time, because its sums do not fit."""

    @cached_property
    def cycles(self) -> NDArray[np.int64]:
        """Cycles of the accelerator, (gemvs,)."""
        return self.column("cycles")

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Counts of one unit, (gemvs, `Units.counts`)."""
        return self.column("counts")

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        """Seconds by `Units.phases`, which add up to `seconds`, then events by `Units.events`, a row each."""
        return self.column("numbers")

    @cached_property
    def nbw(self) -> NDArray[np.int64]:
        """NBW of each, on units that have one, (gemvs,)."""
        return self.column("nbw")


GemvTimer = Callable[[Op, Sequence[int]], GemvTimes]
"""Function from an operation, and the numbers of its inputs in the step, to its times."""


def equal_times(time: GemvTime, count: int) -> GemvTimes:
    """Times of GEMVs that all take the same time, whatever their inputs are."""
    if time.cycles >= 1 << 63:
        raise SailsimError(
            f"a product takes {time.cycles:.3g} cycles of the accelerator; allowed is a machine on which "
            "it takes less than 2^63."
        )

    def column(name: str) -> NDArray[Any]:
        kind = np.float64 if name == "numbers" else np.int64
        return np.repeat(np.array([getattr(time, name)], kind), count, axis=0)

    return GemvTimes(
        slices=time.slices,
        blocks=time.blocks,
        bytes=np.full(count, float(time.bytes)),
        seconds=np.full(count, float(time.seconds)),
        column=column,
        throttled=lambda rate: np.full(count, time.throttled(rate)),
    )


def summed_times(
    parts: Sequence[tuple[GemvTimes, float]], rounds: float, busy: float, phases: int
) -> GemvTimes:
    """Times of GEMVs that consist of others, one after the other.

    Cycles and counts, which are whole, are rounded to the nearest.

    Args:
        parts: times of equal length, and how often each occurs on average.
        rounds: groups that each slice works through.
        busy: total time over the sum of all parts, as busy units may wait for each other.
        phases: leading columns of `numbers` that are seconds.
    """
    common = max(parts, key=lambda part: part[1])[0]
    seconds = busy * np.sum([count * times.seconds for times, count in parts], axis=0)

    def column(name: str) -> NDArray[Any]:
        if name == "nbw":
            return common.nbw
        factor = busy if name == "cycles" else 1.0
        whole = np.sum([factor * count * getattr(times, name) for times, count in parts], axis=0)
        if name != "numbers":
            return np.asarray(np.rint(whole), dtype=np.int64)
        whole[:, :phases] *= busy
        return np.asarray(whole)

    def throttled(rate: float) -> NDArray[np.float64]:
        slowed = np.sum([count * times.throttled(rate) for times, count in parts], axis=0)
        return np.asarray(np.maximum(slowed, seconds))

    return GemvTimes(
        slices=common.slices,
        blocks=common.blocks,
        rounds=rounds * common.rounds,
        bytes=np.sum([count * times.bytes for times, count in parts], axis=0),
        seconds=seconds,
        column=column,
        throttled=throttled,
        crowded=lambda: any(times.crowded() for times, _ in parts),
    )


def share_slices(matrices: int, slices: int) -> tuple[int, int]:
    """Slices that share each of several matrices, and matrices that are multiplied at a time."""
    cut = max(1, slices // matrices)
    return cut, min(matrices, slices // cut)


def parallel_times(one: GemvTimes, matrices: int, at_once: int, phases: int) -> GemvTimes:
    """Times of several equal matrices, `at_once` at a time on different slices (`share_slices`).

    `one` has the times of a single one on its slices; `phases`: leading columns of `numbers` that are
    seconds.
    """
    rounds = ceil(matrices / at_once)

    def column(name: str) -> NDArray[Any]:
        """Cycles, counts and seconds of all rounds, events of all matrices."""
        values = getattr(one, name)
        if name == "nbw":
            return np.asarray(values)
        if name != "numbers":
            return np.asarray(rounds * values)
        factors = np.repeat([float(rounds), float(matrices)], [phases, values.shape[1] - phases])
        return np.asarray(values * factors)

    def throttled(rate: float) -> NDArray[np.float64]:
        """All slices together get `rate` bytes/s: full rounds, then the rest."""
        full, left = divmod(matrices, at_once)
        seconds = full * one.throttled(rate / at_once)
        return seconds + one.throttled(rate / left) if left else seconds

    return GemvTimes(
        slices=matrices * one.slices,
        blocks=one.blocks,
        rounds=one.rounds,
        bytes=matrices * one.bytes,
        seconds=rounds * one.seconds,
        column=column,
        throttled=throttled,
        crowded=one.crowded,
    )


class Units(ABC):
    """The accelerator of a machine under the choices of a point."""

    phases: tuple[str, ...]
    """Names of the phases of a GEMV."""
    counts: tuple[str, ...]
    """Names of the counts of one unit."""
    events: ClassVar[tuple[str, ...]] = ()
    """Names of the events of all units together, from which energy is computed."""
    cores_convert: bool
    """Whether the cores convert and scale the integer sums of blocks."""
    shares_slices: ClassVar[bool] = False
    """Whether parts of the slices can multiply matrices of different inputs at the same time, such as
    experts; one product of n times as many outputs then takes as long as n of them."""

    @abstractmethod
    def step(
        self, point: Point, parts: StepParts, activations: Activations
    ) -> tuple[Sequence[Hashable], GemvTimer]:
        """Key of each input of a step, equal where GEMVs take equal times; and the timer of its GEMVs.

        `point` has everything filled (`Point.resolved`).
        """

    @abstractmethod
    def memory(self, threads: int) -> MemorySystem:
        """Memory of the machine as the schedule sees it, with `threads` working cores."""

    @abstractmethod
    def notes(self, model: ModelSpec, activations: Activations) -> list[str]:
        """Assumptions of a step's numbers, a sentence each."""


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
            gemm_of: function from a step's operation to its product, as the formula takes it.
            notes: assumptions of the numbers, a sentence each.
            cores_convert: as `Units.cores_convert`.
            stream_limit: most bytes/s of weights from the server's DRAM.
        """
        self.phases, self.counts = columns
        self.time, self.cores_convert = cache(time), cores_convert
        self._system, self._gemm_of, self._notes, self._stream_limit = system, gemm_of, notes, stream_limit

    def step(
        self, point: Point, parts: StepParts, activations: Activations
    ) -> tuple[Sequence[Hashable], GemvTimer]:
        """Equal keys, and the formula for all inputs."""

        def timer(op: Op, inputs: Sequence[int]) -> GemvTimes:
            return equal_times(self.time(self._gemm_of(point, parts, op)), len(inputs))

        return [""] * len(parts.inputs(point.seed)), timer

    def memory(self, threads: int) -> MemorySystem:
        """The server's DRAM with the cores and the stream of weights, which is empty where they lie on the
        device."""
        return host_memory_system(self._system, threads, self._stream_limit)

    def notes(self, model: ModelSpec, activations: Activations) -> list[str]:
        """Assumptions of a step's numbers, a sentence each."""
        return [*self._notes]


def gemv_times(units: Units, timer: GemvTimer, op: Op, inputs: Sequence[int]) -> GemvTimes:
    """Times of an operation on some inputs; experts together, in the fastest grouping."""
    if op.side_by_side or not op.spread:
        return timer(op, inputs)
    return min(_groupings(units, timer, op, inputs), key=lambda times: float(times.seconds.sum()))


def _groupings(units: Units, timer: GemvTimer, op: Op, inputs: Sequence[int]) -> Iterator[GemvTimes]:
    """One expert at a time on all slices, then where units can do that groups of 2, 4, ... experts.

    Each has an equal part of the slices, which sees its own tokens and has no more to do than with a matrix
    as wide as the group. The last group need not be full.
    """

    def grouped(experts_of_group: int) -> tuple[list[tuple[GemvTimes, float]], GemvTimes]:
        """Times for every number of tokens with how often each occurs, and their sum."""
        size, parts = experts_of_group, []
        for offset, (one, count) in enumerate(op.products):
            wide = replace(one, n=size * one.n, weight_bytes=size * one.weight_bytes)
            parts.append((timer(wide, [at + offset for at in inputs]), count / size))
        rounds = expected_rounds(experts, op.deviation, size, op.used, min(op.matrices, op.batch))
        return parts, summed_times(parts, rounds, rounds * size / experts, len(units.phases))

    experts = touched_experts(op.spread)
    parts, times = grouped(1)
    yield times
    slices, size = parts[0][0].slices, 2
    while units.shares_slices and size < 2 * experts and slices % size == 0:
        with suppress(SailsimError):  # what does not fit the arrays
            parts, times = grouped(size)
            if all(part.slices == slices for part, _ in parts):
                yield times
        size *= 2


class AcceleratorStep:
    """GEMVs of a step on the accelerator, the same for any cores and number of threads."""

    def __init__(
        self, groups: Sequence[PartGroup], order: Sequence[int], products: Sequence[dict[int, GemvTimes]]
    ) -> None:
        """`groups` and `order` as `StepParts.layout`; `products`: times by the place of the operation in its
        group, none where only the cores work."""
        self.order = order
        self.groups = list(zip(groups, products, strict=True))
        self.times = [(times, group.times) for group, own in self.groups for times in own.values()]
        """Times of every GEMV, with the number of tensors that each row stands for."""

    @cached_property
    def columns(self) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Bytes and seconds of each group, (parts, products)."""

        def stacked(own: dict[int, GemvTimes], rows: int, name: str) -> NDArray[np.float64]:
            columns = np.array([getattr(times, name) for times in own.values()], dtype=float)
            return columns.reshape(len(own), rows).T.copy()

        return [
            (stacked(own, len(group.places), "bytes"), stacked(own, len(group.places), "seconds"))
            for group, own in self.groups
        ]

    @cached_property
    def cache_bytes(self) -> float:
        """Bytes of keys and values that the units read as weights."""
        heads = (each for each in self.groups if each[0].ops[0].side_by_side)
        return float(sum(group.times @ times.bytes for group, own in heads for times in own.values()))

    @cached_property
    def seconds(self) -> float:
        """Seconds of all GEMVs one after the other, with all weights where the accelerator needs them."""
        return sum(float(count @ times.seconds) for times, count in self.times)

    @cached_property
    def cycles(self) -> int:
        """Cycles of the accelerator."""
        return sum(int(count @ times.cycles) for times, count in self.times)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Counts of one unit, by `Units.counts`."""
        return np.asarray(sum(count @ times.counts for times, count in self.times))

    @cached_property
    def numbers(self) -> list[NDArray[np.float64]]:
        """Seconds by phase and events of each of `times`, summed over its tensors."""
        return [count @ times.numbers for times, count in self.times]


def accelerator_step(
    takes: Callable[[Op], bool], units: Units, point: Point, parts: StepParts, captured: Activations
) -> AcceleratorStep:
    """Time the GEMVs of a step, once for products that are alike and meet equal patterns.

    `takes` is `Accelerator.takes`; `point` has one thread, as times are the same for any number.
    """
    keys, timer = units.step(point, parts, captured)
    groups, order = parts.layout(tuple(keys))
    products = [
        {
            i: gemv_times(units, timer, op, group.inputs)
            for i, op in enumerate(group.ops)
            if group.ops[0].kind == "gemv" and takes(op)
        }
        for group in groups
    ]
    return AcceleratorStep(groups, order, products)
