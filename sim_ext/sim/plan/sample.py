"""How a plan draws some of its combinations: rows of shares, 0 to below 1, of every axis."""

from dataclasses import dataclass
from math import ceil, log2
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sailsim.base.hints import needing

Method = Literal["lhs", "sobol"]
METHODS: tuple[Method, ...] = get_args(Method)
_BITS = 30


@dataclass(frozen=True)
class Sample:
    """So many rows, drawn by a method with a seed: SciPy's Latin hypercube, or its sequence of Sobol's."""

    method: Method
    points: int
    seed: int = 0

    def rows(self, axes: int) -> NDArray[np.float64]:
        """Rows (points, axes)."""
        with needing("study", f"a sample by {self.method}"):
            from scipy.stats import qmc  # a third of a small command's start
        words, n = np.random.PCG64(self.seed), self.points
        if self.method == "lhs":
            cube: NDArray[np.float64] = qmc.LatinHypercube(axes, seed=np.random.Generator(words)).random(n)
            return cube
        # The sequence is the same for every seed. XORed bits, a word an axis, shift it and keep it as even;
        # PCG64's raw words are promised to stay, so that a seed gives the same rows everywhere.
        shifts = words.random_raw(axes) >> np.uint64(64 - _BITS)
        sequence = qmc.Sobol(axes, scramble=False, bits=_BITS).random_base2(max(0, ceil(log2(n))))
        whole = (sequence[:n] * (1 << _BITS)).astype(np.uint64) ^ shifts
        rows: NDArray[np.float64] = whole.astype(np.float64)
        return rows / (1 << _BITS)
