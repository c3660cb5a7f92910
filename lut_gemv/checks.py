"""Checks of arrays that come from outside, each with the one sentence that says what is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError


def check_integers(what: str, array: NDArray[Any]) -> None:
    """Refuse an array whose dtype is not an integer."""
    if not np.issubdtype(array.dtype, np.integer):
        raise SailsimError(f"{what} have dtype {array.dtype}; allowed is an integer dtype.")


def check_range(what: str, array: NDArray[Any], low: int, high: int, why: str = "") -> None:
    """Refuse an integer array with a value outside ``low..high``; ``why`` may say where those come from."""
    if not array.size:
        return
    least, greatest = int(array.min()), int(array.max())
    if least < low or greatest > high:
        outlier = least if least < low else greatest
        raise SailsimError(f"{what} hold {outlier}; allowed is {low}..{high}{', ' if why else ''}{why}.")


def check_matrix(what: str, array: NDArray[Any], axes: str) -> None:
    """Refuse an array that does not have two axes of length 1 or more, named for example ``B, K``."""
    if array.ndim != 2 or 0 in array.shape:
        raise SailsimError(f"{what} have shape {array.shape}; allowed is ({axes}), each at least 1.")


def check_array(what: str, array: NDArray[Any], dtype: type, shape: tuple[int, ...]) -> None:
    """Refuse an array of another dtype or shape than those given."""
    if array.dtype != dtype or array.shape != shape:
        raise SailsimError(f"{what} is {array.dtype} {array.shape}; allowed is {np.dtype(dtype)} {shape}.")
