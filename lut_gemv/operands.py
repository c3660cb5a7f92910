"""Checks of a tile's operands, shared by the reference and the fast path, and the tile's cut along K."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.checks import check_integers, check_matrix, check_range
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.descriptor import ABITS_MAX, NBW_MAX

GROUP_SIZE_MAX = 1 << 32
"""The library's limit; the descriptor's field has 16 bits."""
THREADS_MAX = 1024
ACCUMULATOR_BITS = 64
"""The library's accumulator; the unit's and the ABI's has 32 bits."""


def activation_range(abits: int, signed: bool) -> tuple[int, int]:
    """The least and the greatest activation of ``abits`` bits."""
    return (-(1 << (abits - 1)), (1 << (abits - 1)) - 1) if signed else (0, (1 << abits) - 1)


def accumulator_bound(code: WeightCode, abits: int, signed: bool, length: int) -> int:
    """The largest magnitude that a sum of ``length`` products of these widths can reach."""
    low, high = activation_range(abits, signed)
    return code.magnitude * max(-low, high) * length


def check_accumulator(code: WeightCode, abits: int, signed: bool, length: int, bits: int) -> None:
    """Refuse a sum over ``length`` weights that could wrap an accumulator of ``bits`` bits."""
    bound = accumulator_bound(code, abits, signed, length)
    if bound >= 1 << (bits - 1):
        raise SailsimError(
            f"a sum of {length} products may reach {bound}, which wraps the {bits}-bit accumulator; "
            f"allowed is at most {(1 << (bits - 1)) - 1}."
        )


def check_widths(abits: int, nbw: int, group_size: int) -> None:
    """Refuse widths outside the contract."""
    if not 1 <= abits <= ABITS_MAX:
        raise SailsimError(f"abits is {abits}; allowed is 1..{ABITS_MAX}.")
    if not 1 <= nbw <= NBW_MAX:
        raise SailsimError(f"nbw is {nbw}; allowed is 1..{NBW_MAX}.")
    check_group_size(group_size)


def check_threads(threads: int) -> None:
    """Refuse a number of threads that the core would."""
    if not 1 <= threads <= THREADS_MAX:
        raise SailsimError(f"threads is {threads}; allowed is 1..{THREADS_MAX}.")


def check_group_size(group_size: int) -> None:
    """Refuse a negative or absurd block length."""
    if not 0 <= group_size <= GROUP_SIZE_MAX:
        raise SailsimError(f"group_size is {group_size}; allowed is 0..{GROUP_SIZE_MAX}.")


def check_tile_rows(tile_rows: int, rows: int) -> None:
    """Refuse tiles that do not cut ``rows`` evenly; 0 is one tile."""
    if tile_rows < 0 or rows % (tile_rows or rows) != 0:
        raise SailsimError(f"tile_rows is {tile_rows}; allowed is 0 or a divisor of the {rows} rows.")


def checked_activations(x: NDArray[Any], abits: int, signed: bool, nbw: int, group_size: int) -> NDArray[Any]:
    """``x`` as a C-contiguous array ``(B, K)`` of one of the integer types that the core reads.

    Refuses widths outside the contract first, then an activation outside its width.
    """
    check_widths(abits, nbw, group_size)
    x = np.asarray(x)
    check_integers("activations", x)
    check_matrix("activations", x, "B, K")
    low, high = activation_range(abits, signed)
    check_range("activations", x, low, high, f"{'signed' if signed else 'unsigned'} abits = {abits}")
    return np.ascontiguousarray(x, activation_dtype(abits, signed))


def activation_dtype(abits: int, signed: bool) -> type[np.integer[Any]]:
    """The type that activations of this width have in memory."""
    if signed:
        return np.int8 if abits <= 8 else np.int16
    return np.uint8 if abits <= 8 else np.uint16


def checked_weights(w: NDArray[Any], code: WeightCode) -> NDArray[np.uint8]:
    """``w`` as a C-contiguous uint8 array of legal codes ``(K, N)``."""
    w = np.asarray(w)
    check_matrix("weights", w, "K, N")
    return np.ascontiguousarray(code.checked(w))


def check_equal_k(of_activations: int, of_weights: int) -> None:
    """Refuse operands that do not share K."""
    if of_activations != of_weights:
        raise SailsimError(
            f"weights have K = {of_weights}, but the activations have K = {of_activations}; "
            "they must be equal."
        )


def block_slices(k: int, group_size: int) -> list[slice]:
    """The quantization blocks of K weights: runs of ``group_size``, the last may be short; 0 is one block."""
    check_group_size(group_size)
    step = group_size or k
    return [slice(start, min(start + step, k)) for start in range(0, k, step)]


def group_slices(block: slice, nbw: int) -> list[slice]:
    """The groups of ``nbw`` weights in a block; the last may be short, none leaves the block."""
    return [slice(start, min(start + nbw, block.stop)) for start in range(block.start, block.stop, nbw)]
