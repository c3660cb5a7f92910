"""From floats to the integers that the machine works on: activations by row, weights by block."""

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
    ints = np.clip(_steps(x, scale[:, None].astype(np.float64)), -limit, limit)
    return ints.astype(activation_dtype(abits, signed=True)), scale


def quantize_weights(
    w: NDArray[Any], wbits: int, group_size: int
) -> tuple[NDArray[np.uint8], NDArray[np.float16], WeightCode]:
    """Quantize weights symmetrically: ``w`` is about ``value * scale`` of its block and output.

    Args:
        w: floats ``(K, N)``, finite.
        wbits: bits of a code, 1..8. Two and more are two's complement over ``-m..m`` with
            ``m = 2**(wbits - 1) - 1``; one bit is the sign, -1 or +1, with the mean magnitude as scale.
        group_size: weights of a block along K; 0 is one block.

    Returns:
        codes uint8 ``(K, N)``, scales fp16 ``(blocks, N)`` and the code.
    """
    w = _checked_floats("weights", w, "K, N")
    code = WeightCode.book([-1, 1]) if wbits == 1 else WeightCode.twos(wbits)
    blocks = block_slices(len(w), group_size)
    ints = np.empty(w.shape, np.int16)
    scale = np.empty((len(blocks), w.shape[1]), np.float16)
    for row, block in enumerate(blocks):
        magnitude = np.abs(w[block])
        if wbits == 1:
            scale[row] = _fp16("scale", magnitude.mean(axis=0))
            ints[block] = np.where(w[block] < 0, -1, 1)
        else:
            limit = (1 << (wbits - 1)) - 1
            scale[row] = _fp16("scale", magnitude.max(axis=0) / limit)
            ints[block] = np.clip(_steps(w[block], scale[row].astype(np.float64)), -limit, limit)
    return code.encode(ints), scale, code


def quantize_weights_minimum(
    w: NDArray[Any], wbits: int, group_size: int
) -> tuple[NDArray[np.uint8], NDArray[np.float16], NDArray[np.float16], WeightCode]:
    """Quantize weights between the least and the greatest of their block: ``code * scale + minimum``.

    Args:
        w: floats ``(K, N)``, finite.
        wbits: bits of a code, 1..8.
        group_size: weights of a block along K; 0 is one block.

    Returns:
        codes uint8 ``(K, N)``, scales and minima fp16 ``(blocks, N)``, and the code: unsigned.
    """
    w = _checked_floats("weights", w, "K, N")
    code = WeightCode.offset(wbits, zero_point=0)
    blocks = block_slices(len(w), group_size)
    codes = np.empty(w.shape, np.uint8)
    scale = np.empty((len(blocks), w.shape[1]), np.float16)
    minimum = np.empty_like(scale)
    limit = (1 << wbits) - 1
    for row, block in enumerate(blocks):
        least = w[block].min(axis=0)
        minimum[row] = _fp16("minimum", least)
        scale[row] = _fp16("scale", (w[block].max(axis=0) - least) / limit)
        above = w[block] - minimum[row].astype(np.float64)
        codes[block] = np.clip(_steps(above, scale[row].astype(np.float64)), 0, limit)
    return codes, scale, minimum, code


def quantize_weights_code(
    w: NDArray[Any], code: WeightCode, group_size: int
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Quantize weights to any code, each to the nearest level: ``w`` is about ``value * scale``.

    The largest weight of a block is that level of the code which has the largest magnitude, exactly. Where
    only a negative level has it (an ``offset`` code has one level more below 0), the scale takes the sign
    that this needs, as llama.cpp's reference quantizers do.

    Args:
        w: floats ``(K, N)``, finite.
        code: what the codes may mean.
        group_size: weights of a block along K; 0 is one block.

    Returns:
        codes uint8 ``(K, N)`` and scales fp16 ``(blocks, N)``.
    """
    w = _checked_floats("weights", w, "K, N")
    levels = np.unique(code.values[: code.legal_codes]).astype(np.int64)
    between = (levels[:-1] + levels[1:]) / 2
    top = levels[-1] if levels[-1] >= -levels[0] else levels[0]
    blocks = block_slices(len(w), group_size)
    ints = np.empty(w.shape, np.int64)
    scale = np.empty((len(blocks), w.shape[1]), np.float16)
    for row, block in enumerate(blocks):
        part = w[block]
        largest = part[np.abs(part).argmax(axis=0), np.arange(part.shape[1])]
        extreme = np.abs(largest) if -top in levels else largest
        scale[row] = _fp16("scale", extreme / top)
        step = np.broadcast_to(scale[row].astype(np.float64), part.shape)
        exact = np.divide(part, step, out=np.zeros_like(part), where=step != 0)
        ints[block] = levels[np.searchsorted(between, exact)]
    return code.encode(ints), scale


def _checked_floats(what: str, array: NDArray[Any], axes: str, dtype: type = np.float64) -> NDArray[Any]:
    """A matrix of floats as C-contiguous ``dtype``, all of them finite there."""
    array = np.asarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise SailsimError(f"{what} have dtype {array.dtype}; allowed is a floating dtype.")
    check_matrix(what, array, axes)
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype)
    if not np.isfinite(array).all():
        raise SailsimError(f"{what} hold {array[~np.isfinite(array)].flat[0]}; allowed are finite values.")
    return array


def _steps(values: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    """``values / step`` rounded to nearest even; 0 where a step is 0, that is, too small to be stored."""
    return np.rint(np.divide(values, step, out=np.zeros_like(values), where=step > 0))


def _fp16(field: str, values: NDArray[np.float64]) -> NDArray[np.float16]:
    greatest = float(np.finfo(np.float16).max)
    if np.abs(values).max() > greatest:
        raise SailsimError(
            f"{field} reaches {np.abs(values).max():g}; allowed is at most {greatest:g}, as fp16."
        )
    return values.astype(np.float16)
