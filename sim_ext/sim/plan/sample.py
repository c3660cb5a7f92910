"""How a plan draws some of its combinations: rows of shares, 0 to below 1, of every axis."""

from dataclasses import dataclass
from math import ceil, log2
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sailsim.base.hints import needing

Method = Literal["lhs", "sobol"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Sample:
    """So many rows, drawn by a method with a seed: SciPy's Latin hypercube, or its sequence of Sobol's,
    scrambled."""

    method: Method
    points: int
    seed: int = 0

    def rows(self, axes: int) -> NDArray[np.float64]:
        """Rows (points, axes)."""
        with needing("study", f"a sample by {self.method}"):
            from scipy.stats import qmc  # a third of a small command's start
        random = np.random.default_rng(self.seed)
        rows: Any
        if self.method == "lhs":
            rows = qmc.LatinHypercube(axes, seed=random).random(self.points)
        else:
            rows = qmc.Sobol(axes, seed=random).random_base2(ceil(log2(self.points)))[: self.points]
        return np.asarray(rows, np.float64)
