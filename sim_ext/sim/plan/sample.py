"""How a plan draws some of its combinations: rows of shares, 0 to below 1, of every axis.

The random bits are the raw 64-bit words of NumPy's PCG64, seeded by its SeedSequence: streams that NumPy
promises to keep, so that a seed gives the same points on every platform and with every version. Nothing else
of NumPy's or SciPy's random numbers is used.

- `lhs`, a Latin hypercube of n rows: for each axis in turn n words, whose order is a permutation p, and n
  more, whose upper 32 bits are a fraction f; row i has (p[i] + f[i]) / n there. So each n-th of each axis has
  one row.
- `sobol`: Sobol's sequence with the direction numbers of Joe and Kuo (SciPy's, of 30 bits, not scrambled).
  For each axis in turn one word, whose upper 30 bits are XORed to those of every row: a digital shift, which
  keeps the sequence's evenness.

Who needs more rows goes on with the next hypercube, or with the sequence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log2
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sailsim.base.hints import needing

Method = Literal["lhs", "sobol"]
METHODS: tuple[Method, ...] = get_args(Method)
TRIES = 100
"""Rows that are tried for each point that is asked for, at most."""
_BITS = 30
_LARGEST_SEQUENCE = 20


@dataclass(frozen=True)
class Sample:
    """So many points, drawn by a method with a seed."""

    method: Method
    points: int
    seed: int = 0

    @property
    def most_rows(self) -> int:
        """After so many rows drawing ends, whether or not there are as many points as asked for."""
        return TRIES * self.points

    def rows(self, axes: int) -> Iterator[NDArray[np.float64]]:
        """Batches of rows (rows, axes), without end; the first has at least as many as there are points."""
        words = np.random.PCG64(self.seed)
        return _hypercubes(words, self.points, axes) if self.method == "lhs" else self._sequence(words, axes)

    def _sequence(self, words: np.random.PCG64, axes: int) -> Iterator[NDArray[np.float64]]:
        with needing("study", "a sample by sobol"):
            from scipy.stats import qmc  # a third of a small command's start

        shifts = words.random_raw(axes) >> np.uint64(64 - _BITS)
        engine = qmc.Sobol(axes, scramble=False, bits=_BITS)
        doublings = max(0, ceil(log2(self.points)))
        batch = engine.random_base2(doublings)
        while True:
            whole = (batch * 2**_BITS).astype(np.uint64) ^ shifts
            yield whole.astype(np.float64) / 2**_BITS
            batch = engine.random_base2(min(doublings, _LARGEST_SEQUENCE))
            doublings += 1


def _hypercubes(words: np.random.PCG64, points: int, axes: int) -> Iterator[NDArray[np.float64]]:
    while True:
        columns = []
        for _ in range(axes):
            order = np.argsort(words.random_raw(points), kind="stable").astype(np.float64)
            fraction = (words.random_raw(points) >> np.uint64(32)).astype(np.float64) / 2**32
            columns.append((order + fraction) / points)
        yield np.stack(columns, axis=1)
