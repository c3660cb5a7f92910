"""LUT-GEMV and pattern counts in the C++ core: fast, and equal to :mod:`sailsim.lut_gemv.reference`.

`scaled_product` gives the same results for scaled tiles by plain multiplication, to the bit: both give the
exact integer product of a block, as its sums stay below 2**31.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim import _core
from sailsim.lut_gemv import operands
from sailsim.lut_gemv.codes import WeightCode, check_accumulator, checked_weights
from sailsim.lut_gemv.counts import DEFAULT_PRT, PrtConfig


def lut_gemv(
    x: NDArray[Any],
    w: NDArray[Any],
    *,
    abits: int,
    signed: bool = True,
    code: WeightCode,
    nbw: int = 4,
    group_size: int = 0,
    threads: int = 1,
) -> NDArray[np.int64]:
    """Compute ``y[b, n] = sum_k x[b, k] * W[k, n]``, equal to the result of tables of subset sums.

    Args:
        x: integers ``(B, K)`` within ``abits`` bits, two's complement if ``signed``.
        w: weight codes ``(K, N)``, ``W = code.decode(w)``.
        abits: bits of an activation, 1..16.
        signed: whether activations are two's complement.
        code: how codes read as integers.
        nbw: weights of a group, 1..6; the result does not depend on it.
        group_size: weights of a quantization block along K, 0 for one block; nor on this.
        threads: over the outputs; they run without the interpreter's lock.

    Returns:
        y int64 ``(B, N)``.

    Raises:
        SailsimError: on a wrong dtype or shape, a value outside its width, or a sum that could wrap.
    """
    blocks = lut_gemv_blocks(
        x, w, abits=abits, signed=signed, code=code, nbw=nbw, group_size=group_size, threads=threads
    )
    sums: NDArray[np.int64] = blocks.sum(axis=0)
    return sums


def lut_gemv_blocks(
    x: NDArray[Any],
    w: NDArray[Any],
    *,
    abits: int,
    signed: bool = True,
    code: WeightCode,
    nbw: int = 4,
    group_size: int = 0,
    threads: int = 1,
) -> NDArray[np.int64]:
    """Accumulators of every block, int64 ``(blocks, B, N)``, as :func:`lut_gemv` sums them."""
    operands.check_between("threads", threads, 1, operands.THREADS_MAX)
    x = operands.checked_activations(x, abits, signed, nbw, group_size)
    w = checked_weights(w, code)
    operands.check_equal_k(x.shape[1], len(w))
    check_accumulator(code, abits, signed, x.shape[1], operands.ACCUMULATOR_BITS)
    packed = _core.PackedWeights(w, code.wbits, code.values)
    return _core.lut_gemv(x, packed, abits, signed, nbw, group_size, threads)


def pattern_profile(
    x: NDArray[Any],
    *,
    abits: int,
    signed: bool = True,
    nbw: int,
    group_size: int = 0,
    prt: PrtConfig = DEFAULT_PRT,
    threads: int = 1,
) -> _core.PatternProfile:
    """Count the patterns of ``x`` ``(B, K)`` that are zero, PRT hits and PRT misses, for each group.

    The result has the int32 arrays ``zero``, ``hits`` and ``misses``, each ``(G,)``, G over all blocks.
    """
    operands.check_between("threads", threads, 1, operands.THREADS_MAX)
    x = operands.checked_activations(x, abits, signed, nbw, group_size)
    return _core.pattern_profile(x, abits, nbw, group_size, prt.effective_entries, prt.policy, threads)


def scaled_product(
    x: NDArray[Any],
    act_scale: NDArray[np.float32],
    codes: NDArray[Any],
    *,
    abits: int,
    code: WeightCode,
    group_size: int,
    scale: NDArray[np.float16],
    minimum: NDArray[np.float16] | None = None,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Output of a unit for a tile with scales (docs/contract.md, section 1), fp32 ``(B, N)``.

    Args:
        x: signed integers ``(B, K)`` within ``abits`` bits.
        act_scale: fp32 ``(B,)``.
        codes: weight codes ``(K, N)``.
        abits: bits of an activation, 1..16.
        code: how codes read as integers.
        group_size: weights of a quantization block along K; 0 is one block.
        scale, minimum: fp16 ``(blocks, N)``.
        threads: over the outputs; they run without the interpreter's lock.

    Raises:
        SailsimError: on a wrong dtype or shape, a value outside its width, or a block whose sum could wrap
            the unit's 32 bits.
    """
    operands.check_between("threads", threads, 1, operands.THREADS_MAX)
    x = operands.checked_activations(x, abits, signed=True, nbw=1, group_size=group_size)
    codes = checked_weights(codes, code)
    k, n = codes.shape
    operands.check_equal_k(x.shape[1], k)
    shape = (len(operands.block_slices(k, group_size)), n)
    operands.check_array("scale", scale, np.float16, shape)
    if minimum is not None:
        operands.check_array("minimum", minimum, np.float16, shape)
    operands.check_array("act_scale", act_scale, np.float32, (len(x),))
    check_accumulator(code, abits, True, min(group_size or k, k), operands.UNIT_ACCUMULATOR_BITS)
    scale_bits = np.ascontiguousarray(scale).view(np.uint16)
    minimum_bits = None if minimum is None else np.ascontiguousarray(minimum).view(np.uint16)
    weights = codes, code.wbits, code.values, group_size, scale_bits, minimum_bits
    return _core.scaled_product(x.astype(np.int16), act_scale, *weights, threads)
