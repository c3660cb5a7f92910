"""Weights rounded one row after the other, each row's error taken up by those that follow.

What a layer gives changes least if the error of a weight is made good by the weights that its inputs move
together with. Which those are is in the second moments of the inputs (Frantar et al., GPTQ, 2023, arXiv
2210.17323). Scales and minima of a block are chosen, as without, when its first row is at hand.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sailsim.lut_gemv import WeightCode, block_slices
from sailsim.workloads.decoder import Floats
from sailsim.workloads.formats import TensorFormat
from sailsim.workloads.weights import Weights, quantized_block

DAMPING = 0.01
"""Of the mean second moment, what is added to each: directions that the inputs hardly have count as well."""

AT_ONCE = 16
"""Rows whose errors the later ones take up together."""

Doubles = npt.NDArray[np.float64]


def compensated(values: Floats, x: Floats, fmt: TensorFormat, origin: str) -> Weights:
    """Codes of ``values`` (K, N) in a format with codes, made for inputs such as ``x`` (rows, K)."""
    assert fmt.code is not None
    upper = _upper_inverse(x)
    left = np.array(values, dtype=np.float32)
    levels = _Levels.of(fmt.code)
    codes = np.empty(left.shape, np.uint8)
    scales, minima = [], []
    for block in block_slices(len(left), fmt.group_size):
        _, scale, minimum = quantized_block(left[block], fmt)
        scales.append(scale)
        minima.append(minimum)
        step = scale[0].astype(np.float32)
        least = None if minimum is None else minimum[0].astype(np.float32)
        for start in range(block.start, block.stop, AT_ONCE):
            run = slice(start, min(start + AT_ONCE, block.stop))
            rows, factor = left[run], upper[run, run]
            errors = np.empty_like(rows)
            for i, row in enumerate(rows):
                codes[start + i], meant = levels.nearest(row, step, least)
                errors[i] = (row - meant) / factor[i, i]
                rows[i + 1 :] -= factor[i, i + 1 :, None] * errors[i]
            left[run.stop :] -= upper[run, run.stop :].T @ errors
    return Weights(
        codes,
        fmt.code,
        fmt.group_size,
        np.concatenate(scales),
        np.concatenate(minima) if fmt.minimum else None,
        origin,
    )


@dataclass(frozen=True)
class _Levels:
    """What codes may mean, in ascending order, and the code of each."""

    values: Floats
    codes: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, code: WeightCode) -> "_Levels":
        """All of a code's, but the lowest of two's complement, which other quantizers here leave out."""
        levels = np.unique(code.values[: code.legal_codes])
        if code.kind == "twos" and code.wbits > 1:
            levels = levels[1:]
        return cls(levels.astype(np.float32), code.encode(levels))

    def nearest(
        self, values: Floats, scale: Floats, minimum: Floats | None
    ) -> tuple[npt.NDArray[np.uint8], Floats]:
        """Of values (N,), the codes that come nearest with a scale and a minimum each, and what they mean."""
        above = values if minimum is None else values - minimum
        steps = np.divide(above, scale, out=np.zeros_like(values), where=scale != 0)
        place = np.searchsorted((self.values[:-1] + self.values[1:]) / 2, steps)
        meant = self.values[place] * scale
        return self.codes[place], meant if minimum is None else meant + minimum


def _upper_inverse(x: Floats) -> npt.NDArray[np.float32]:
    """The upper factor U of the inverse of the inputs' second moments, U' U."""
    moments: Doubles = (x.T @ x).astype(np.float64)
    each: Any = np.einsum("ii->i", moments)
    each += DAMPING * each.mean() or 1.0
    return np.ascontiguousarray(np.linalg.cholesky(np.linalg.inv(moments)).T, dtype=np.float32)
