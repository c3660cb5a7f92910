"""Quantization of floats to the simulated machine's integers: activations by row, weights by block."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.descriptor import ABITS_MAX
from sailsim.lut_gemv.operands import activation_dtype, block_slices, check_matrix


def quantize_rows(x: NDArray[Any], abits: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Quantize every row of ``x`` symmetrically to signed integers of ``abits`` bits, 2..16.

    Args:
        x: floats ``(B, K)``, finite; rounded in fp32.
        abits: bits of an activation. The range is ``-m..m`` with ``m = 2**(abits - 1) - 1``.

    Returns:
        integers ``(B, K)``, int8 up to 8 bits and int16 above, and the scales fp32 ``(B,)``:
        ``x`` is about ``integer * scale``. A row of zeros has scale 0.
    """
    if not 2 <= abits <= ABITS_MAX:
        raise SailsimError(
            f"abits is {abits}; allowed is 2..{ABITS_MAX}: one signed bit has no positive value."
        )
    limit = (1 << (abits - 1)) - 1
    x = _checked_floats("activations", x, "B, K", np.float32).astype(np.float64)
    scale = (np.abs(x).max(axis=1) / limit).astype(np.float32)
    step = scale[:, None].astype(np.float64)
    exact = np.divide(x, step, out=np.zeros_like(x), where=step > 0)
    ints = np.clip(np.rint(exact), -limit, limit)
    return ints.astype(activation_dtype(abits, signed=True)), scale


SIGNS = WeightCode.book([-1, 1])
"""Weight code of one bit: -1 or 1."""


def quantization_levels(code: WeightCode) -> NDArray[np.int64]:
    """Levels that weights are quantized to, ascending: a code's values without two's complement's lowest."""
    levels = np.unique(code.values[: code.legal_codes]).astype(np.int64)
    return levels[1:] if code.kind == "twos" and code.wbits > 1 else levels


def quantize_weights(
    w: NDArray[Any], code: WeightCode, group_size: int, *, minimum: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.float16], NDArray[np.float16] | None]:
    """Quantize weights to a code: ``w`` is about ``value * scale + minimum`` of its block and output.

    Args:
        w: floats ``(K, N)``, finite.
        code: weight code. The largest weight of a block becomes exactly the level of largest magnitude. If
            only a negative level has it (an ``offset`` code has one more below 0), the scale takes its sign,
            as in llama.cpp's reference quantizers. The scale of ``SIGNS`` is the mean magnitude.
        group_size: weights of a block along K; 0 is one block.
        minimum: whether blocks have minima: the code is unsigned then, and 0 means the smallest weight.

    Returns:
        codes uint8 ``(K, N)``, scales fp16 ``(blocks, N)``, and minima like the scales, or None.
    """
    w = _checked_floats("weights", w, "K, N")
    levels = quantization_levels(code)
    between = (levels[:-1] + levels[1:]) / 2
    top = levels[-1] if levels[-1] >= -levels[0] else levels[0]
    one_sided = -top not in levels
    blocks = block_slices(len(w), group_size)
    ints = np.empty(w.shape, np.int16)
    scales = np.empty((len(blocks), w.shape[1]), np.float16)
    minima = np.empty_like(scales) if minimum else None
    for row, block in enumerate(blocks):
        part = w[block]
        if minima is not None:
            least = part.min(axis=0)
            minima[row] = _fp16("minimum", least)
            reach = (part.max(axis=0) - least) / top
            part = part - minima[row].astype(np.float64)
        elif code == SIGNS:
            reach = np.abs(part).mean(axis=0)
        else:
            size = np.abs(part)
            largest = part[size.argmax(axis=0), np.arange(part.shape[1])] if one_sided else size.max(axis=0)
            reach = largest / top
        scales[row] = _fp16("scale", reach)
        step = scales[row].astype(np.float64)
        exact = np.divide(part, step, out=np.zeros_like(part), where=step != 0)
        if code == SIGNS:
            ints[block] = np.where(part < 0, -1, 1)
        elif minimum or code.kind == "twos":
            ints[block] = np.clip(np.rint(exact), levels[0], levels[-1])
        else:
            ints[block] = levels[np.searchsorted(between, exact)]
    codes = (
        ints.astype(np.uint8) if minimum else code.encode(ints)
    )  # encoding would take longer than all else
    return codes, scales, minima


def _checked_floats(what: str, array: NDArray[Any], axes: str, dtype: type = np.float64) -> NDArray[Any]:
    """Convert a matrix of floats to C-contiguous ``dtype``; refuse values that are not finite in it."""
    array = np.asarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise SailsimError(f"{what} have dtype {array.dtype}; allowed is a floating dtype.")
    check_matrix(what, array, axes)
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype)
    if not np.isfinite(array).all():
        raise SailsimError(f"{what} hold {array[~np.isfinite(array)].flat[0]}; allowed are finite values.")
    return array


def _fp16(field: str, values: NDArray[np.float64]) -> NDArray[np.float16]:
    greatest = float(np.finfo(np.float16).max)
    if np.abs(values).max() > greatest:
        raise SailsimError(
            f"{field} reaches {np.abs(values).max():g}; allowed is at most {greatest:g}, as fp16."
        )
    return values.astype(np.float16)
