"""The products of a block's experts as one job: one behind the other, each on all units."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.sim.backend import Job, Jobs, SideBySide, StepJobs
from sailsim.workloads import Op


def jobs_of(jobs: StepJobs, op: Op, inputs: Sequence[int]) -> Jobs:
    """The jobs of an operation on some inputs; those of experts one behind the other, as one, and those of
    heads side by side."""
    if op.side_by_side:
        assert isinstance(jobs, SideBySide)  # who does not know them is never asked (`Backend.check_choices`)
        return jobs.side_by_side(op, inputs)
    if not op.spread:
        return jobs.jobs(jobs.request(op), inputs)
    return ExpertJobs(
        [
            (jobs.jobs(jobs.request(one), [at + behind for at in inputs]), times)
            for behind, (one, times) in enumerate(op.products)
        ]
    )


class ExpertJobs:
    """`Jobs` that consist of others, each so many times, on average: a number that need not be whole.

    Sums are those of all of them. Cycles and counts, which are whole, are rounded to the nearest.
    """

    def __init__(self, parts: Sequence[tuple[Jobs, float]]) -> None:
        """`parts`: jobs of equal length, and how often each occurs."""
        self._parts = parts
        most, _ = max(parts, key=lambda part: part[1])
        self._common = most
        self.slices, self.blocks = most.slices, most.blocks
        self.shares = most.shares
        self.bytes = _sum([times * jobs.bytes for jobs, times in parts])
        self.seconds = _sum([times * jobs.seconds for jobs, times in parts])

    def __getitem__(self, at: int) -> Job:
        """Of the number of tokens that most experts see."""
        return self._common[at]

    @property
    def cycles(self) -> NDArray[np.int64]:
        """Of each."""
        return _whole([times * jobs.cycles for jobs, times in self._parts])

    @property
    def counts(self) -> NDArray[np.int64]:
        """Of each."""
        return _whole([times * jobs.counts for jobs, times in self._parts])

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Of each."""
        return _sum([times * jobs.numbers for jobs, times in self._parts])

    def throttled(self, rate: float) -> NDArray[np.float64]:
        """Of each: all of them at that rate."""
        return _sum([times * jobs.throttled(rate) for jobs, times in self._parts])


def _sum(parts: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def _whole(parts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    return np.asarray(np.rint(np.sum(parts, axis=0)), dtype=np.int64)
