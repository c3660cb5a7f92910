"""Matrices that units take side by side, each with an input of its own: the heads of attention.

A slice has whole matrices as long as there are enough of them; fewer are cut over several slices each. A
tile is timed like any other (`tiles`), on so many slices, at its share of memory.
"""

from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sailsim.sim.backend import Job, Jobs


class Sharing(NamedTuple):
    """How some matrices are dealt to the slices of a machine."""

    matrices: int
    cut: int
    """Slices that share a matrix."""
    at_once: int
    """Matrices under way at a time."""

    @classmethod
    def of(cls, matrices: int, slices: int) -> "Sharing":
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
