"""The products of a block's experts as one job: some of them side by side, one group behind the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.sim.backend import Job, Jobs, SideBySide, StepJobs, Units
from sailsim.workloads.experts import expected_rounds, touched
from sailsim.workloads.graph import Op


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

    def __getitem__(self, at: int) -> Job:
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
        found = np.array(self._one.numbers, dtype=np.float64)
        found[:, : self._phases] *= self._sharing.rounds
        found[:, self._phases :] *= self._sharing.matrices
        return found

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
        assert isinstance(jobs, SideBySide)  # who does not know them is never asked (`Backend.check_choices`)
        return jobs.side_by_side(op, inputs)
    if not op.spread:
        return jobs.jobs(jobs.request(op), inputs)
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
            found = _side_by_side(jobs, op, inputs, together)
            if all(job.slices == slices for job, _ in found):
                yield ExpertJobs(found, op, together, phases)
        together *= 2


def _side_by_side(jobs: StepJobs, op: Op, inputs: Sequence[int], together: int) -> list[tuple[Jobs, float]]:
    """The jobs of so many experts at a time for every number of tokens, and how often each occurs."""
    found = []
    for behind, (one, times) in enumerate(op.products):
        wide = replace(one, n=together * one.n, weight_bytes=together * one.weight_bytes)
        found.append((jobs.jobs(jobs.request(wide), [at + behind for at in inputs]), times / together))
    return found


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

    def __getitem__(self, at: int) -> Job:
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
        found = _sum([times * jobs.numbers for jobs, times in self._parts])
        found[:, : self._phases] *= self._idle
        return found

    def throttled(self, rate: float) -> NDArray[np.float64]:
        """Of each: all of them at that rate, or the time that they need anyway."""
        slowed = _sum([times * jobs.throttled(rate) for jobs, times in self._parts])
        return np.maximum(slowed, self.seconds)


def _sum(parts: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def _whole(parts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    return np.asarray(np.rint(np.sum(parts, axis=0)), dtype=np.int64)
