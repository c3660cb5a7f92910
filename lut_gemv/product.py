"""The plain integer product that every other way to compute a tile is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FP64_EXACT = 1 << 53


def int_product(x: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.int64]:
    """``x @ weights`` of integers ``(B, K)`` and ``(K, N)``, exact in int64, ``(B, N)``.

    The bound must fit int64. Where every partial sum is exact in float64 the product goes through BLAS.
    """
    bound = _magnitude(x) * _magnitude(weights) * x.shape[1]
    if bound < _FP64_EXACT:
        return (x.astype(np.float64) @ weights.astype(np.float64)).astype(np.int64)
    return x.astype(np.int64) @ weights.astype(np.int64)


def _magnitude(array: NDArray[Any]) -> int:
    return max(int(array.max()), -int(array.min()))
