"""Checks of arrays and of a tile's operands, and a tile's blocks and groups along K."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.descriptor import ABITS_MAX, NBW_MAX

GROUP_SIZE_MAX = 1 << 32
"""Limit of the library; the descriptor's field has 16 bits."""
THREADS_MAX = 1024
ACCUMULATOR_BITS = 64
"""Bits of the library's accumulator."""
UNIT_ACCUMULATOR_BITS = 32
"""Bits of the accumulator of the unit and the ABI."""


def check_between(what: str, value: int, low: int, high: int) -> None:
    """Refuse a number outside ``low..high``."""
    if not low <= value <= high:
        raise SailsimError(f"{what} is {value}; allowed is {low}..{high}.")


def check_integers(what: str, array: NDArray[Any]) -> None:
    """Refuse an array whose dtype is not an integer."""
    if not np.issubdtype(array.dtype, np.integer):
        raise SailsimError(f"{what} have dtype {array.dtype}; allowed is an integer dtype.")


def check_range(what: str, array: NDArray[Any], low: int, high: int, why: str = "") -> None:
    """Refuse an integer array with a value outside ``low..high``; ``why`` may explain the range."""
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


def activation_range(abits: int, signed: bool) -> tuple[int, int]:
    """Smallest and largest activation of ``abits`` bits."""
    return (-(1 << (abits - 1)), (1 << (abits - 1)) - 1) if signed else (0, (1 << abits) - 1)


def activation_dtype(abits: int, signed: bool) -> type[np.integer[Any]]:
    """Type of activations of this width in memory."""
    if signed:
        return np.int8 if abits <= 8 else np.int16
    return np.uint8 if abits <= 8 else np.uint16


def checked_activations(x: NDArray[Any], abits: int, signed: bool, nbw: int, group_size: int) -> NDArray[Any]:
    """Convert ``x`` to a C-contiguous array ``(B, K)`` of one of the core's integer types.

    Refuses widths outside the contract first, then an activation outside its width.
    """
    check_between("abits", abits, 1, ABITS_MAX)
    check_between("nbw", nbw, 1, NBW_MAX)
    check_between("group_size", group_size, 0, GROUP_SIZE_MAX)
    x = np.asarray(x)
    check_integers("activations", x)
    check_matrix("activations", x, "B, K")
    low, high = activation_range(abits, signed)
    check_range("activations", x, low, high, f"{'signed' if signed else 'unsigned'} abits = {abits}")
    return np.ascontiguousarray(x, activation_dtype(abits, signed))


def check_equal_k(of_activations: int, of_weights: int) -> None:
    """Refuse operands that do not share K."""
    if of_activations != of_weights:
        raise SailsimError(
            f"weights have K = {of_weights}, but the activations have K = {of_activations}; "
            "they must be equal."
        )


def block_slices(k: int, group_size: int) -> list[slice]:
    """Cut K weights into quantization blocks of ``group_size``; the last may be short, and 0 is one block."""
    check_between("group_size", group_size, 0, GROUP_SIZE_MAX)
    step = group_size or k
    return [slice(start, min(start + step, k)) for start in range(0, k, step)]


def group_slices(block: slice, nbw: int) -> list[slice]:
    """Cut a block into groups of ``nbw`` weights, the last of which may be short."""
    return [slice(start, min(start + nbw, block.stop)) for start in range(block.start, block.stop, nbw)]
