"""LUT-GEMV and pattern counts by the C++ core: equal to :mod:`sailsim.lut_gemv.reference`, and quick.

`scaled_product` gives the same results for scaled tiles by plain multiplication, to the bit: a look-up gives
the exact integer product of a block, and so does a multiplication whose sums stay below 2**31.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim import _core
from sailsim._core import PackedWeights, PatternProfile
from sailsim._core import bit_profile as _bit_profile
from sailsim._core import lut_gemv as _lut_gemv
from sailsim._core import pattern_profile as _pattern_profile
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.checks import check_array
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.counts import DEFAULT_KEY, DEFAULT_PRT, PrtConfig, PrtKey
from sailsim.lut_gemv.operands import (
    ACCUMULATOR_BITS,
    block_slices,
    check_accumulator,
    check_equal_k,
    check_threads,
    check_tile_rows,
    checked_activations,
    checked_weights,
)
from sailsim.lut_gemv.tile import UNIT_ACCUMULATOR_BITS


@dataclass(frozen=True, eq=False)
class PreparedWeights:
    """Weights checked and laid out for any number of products; made by :func:`prepare_weights`."""

    packed: PackedWeights
    code: WeightCode


def prepare_weights(w: NDArray[Any], code: WeightCode) -> PreparedWeights:
    """Check weight codes ``(K, N)`` and lay them out once, which takes longer than a product of few rows."""
    w = checked_weights(w, code)
    return PreparedWeights(PackedWeights(w, code.wbits, code.values), code)


def lut_gemv(
    x: NDArray[Any],
    w: NDArray[Any] | PreparedWeights,
    *,
    abits: int,
    signed: bool = True,
    code: WeightCode | None = None,
    nbw: int = 4,
    group_size: int = 0,
    threads: int = 1,
) -> NDArray[np.int64]:
    """``y[b, n] = sum_k x[b, k] * W[k, n]``, what tables of subset sums give.

    Args:
        x: integers ``(B, K)`` within ``abits`` bits, two's complement if ``signed``.
        w: weight codes ``(K, N)``, ``W = code.decode(w)``; or prepared weights.
        abits: bits of an activation, 1..16.
        signed: whether activations are two's complement.
        code: how codes read as integers; may be left out with prepared weights.
        nbw: weights of a group, 1..6; the result does not depend on it.
        group_size: weights of a quantization block along K; 0 is one block. Nor does it on this.
        threads: over the outputs; the interpreter is free meanwhile.

    Returns:
        y int64 ``(B, N)``.

    Raises:
        SailsimError: on a wrong dtype or shape, a value outside its width, or a sum that could wrap.
    """
    check_threads(threads)
    x, packed = _operands(x, w, code, abits, signed, nbw, group_size)
    y: NDArray[np.int64] = _lut_gemv(x, packed, abits, signed, nbw, group_size, threads)
    return y


def lut_gemv_blocks(
    x: NDArray[Any],
    w: NDArray[Any] | PreparedWeights,
    *,
    abits: int,
    signed: bool = True,
    code: WeightCode | None = None,
    nbw: int = 4,
    group_size: int = 0,
    threads: int = 1,
) -> NDArray[np.int64]:
    """The accumulators of every block, int64 ``(blocks, B, N)``, as :func:`lut_gemv` sums them."""
    check_threads(threads)
    x, packed = _operands(x, w, code, abits, signed, nbw, group_size)
    acc: NDArray[np.int64] = _lut_gemv(x, packed, abits, signed, nbw, group_size, threads, blocks=True)
    return acc


def _operands(
    x: NDArray[Any],
    w: NDArray[Any] | PreparedWeights,
    code: WeightCode | None,
    abits: int,
    signed: bool,
    nbw: int,
    group_size: int,
) -> tuple[NDArray[Any], PackedWeights]:
    x = checked_activations(x, abits, signed, nbw, group_size)
    if not isinstance(w, PreparedWeights):
        if code is None:
            raise SailsimError("code is missing; it may be left out only with prepared weights.")
        w = prepare_weights(w, code)
    elif code is not None and code != w.code:
        raise SailsimError(f"code is {code}; allowed is that of the prepared weights, {w.code}.")
    check_equal_k(x.shape[1], w.packed.k)
    check_accumulator(w.code, abits, signed, x.shape[1], ACCUMULATOR_BITS)
    return x, w.packed


def pattern_profile(
    x: NDArray[Any],
    *,
    abits: int,
    signed: bool = True,
    nbw: int,
    group_size: int = 0,
    prt: PrtConfig = DEFAULT_PRT,
    threads: int = 1,
) -> PatternProfile:
    """What becomes of the patterns of ``x`` ``(B, K)``, group by group, in one pass: exact counts.

    The result has the int32 arrays ``zero``, ``hits`` and ``misses``, each ``(G,)``, G over all blocks.
    """
    check_threads(threads)
    x = checked_activations(x, abits, signed, nbw, group_size)
    return _pattern_profile(x, abits, signed, nbw, group_size, prt.effective_entries, prt.policy, threads)


def bit_profile(
    x: NDArray[Any],
    *,
    abits: int,
    signed: bool = True,
    nbw: int,
    group_size: int = 0,
    tile_rows: int = 0,
    prt: PrtConfig = DEFAULT_PRT,
    key: PrtKey = DEFAULT_KEY,
) -> NDArray[np.int64]:
    """What becomes of the patterns of ``x`` ``(rows, K)`` at each bit position, as the reference counts it.

    Returns:
        int64 ``(tiles, abits, 4)``: zero patterns, hits, misses, and the hits that are wrong; a tile has
        ``tile_rows`` rows (0: all).
    """
    x = checked_activations(x, abits, signed, nbw, group_size)
    check_tile_rows(tile_rows, len(x))
    entries = prt.effective_entries
    counts: NDArray[np.int64] = _bit_profile(
        x,
        abits,
        signed,
        nbw,
        group_size,
        tile_rows or len(x),
        entries,
        prt.policy,
        key.places(entries, nbw),
        key.tagged or entries == 0,
        key.flushed,
    )
    return counts


@dataclass(frozen=True, eq=False)
class ScaledWeights:
    """Weights with their blocks' scales, laid out for any number of products; by `prepare_scaled`."""

    packed: _core.ScaledWeights
    code: WeightCode
    group_size: int

    @property
    def block(self) -> int:
        """Weights of the longest block."""
        return min(self.group_size or self.packed.k, self.packed.k)


def prepare_scaled(
    codes: NDArray[Any],
    code: WeightCode,
    group_size: int,
    scale: NDArray[np.float16],
    minimum: NDArray[np.float16] | None = None,
) -> ScaledWeights:
    """Check weight codes ``(K, N)``, fp16 scales and minima ``(blocks, N)``, and lay them out once."""
    codes = checked_weights(codes, code)
    shape = (len(block_slices(len(codes), group_size)), codes.shape[1])
    check_array("scale", scale, np.float16, shape)
    if minimum is not None:
        check_array("minimum", minimum, np.float16, shape)
    packed = _core.ScaledWeights(codes, code.wbits, code.values, group_size, scale, minimum)
    return ScaledWeights(packed, code, group_size)


def scaled_product(
    x: NDArray[Any], act_scale: NDArray[np.float32], w: ScaledWeights, *, abits: int, threads: int = 1
) -> NDArray[np.float32]:
    """What a unit gives for a tile with scales (docs/contract.md, section 1), fp32 ``(B, N)``.

    Args:
        x: signed integers ``(B, K)`` within ``abits`` bits.
        act_scale: fp32 ``(B,)``.
        w: prepared weights.
        abits: bits of an activation, 1..16.
        threads: over the outputs; the interpreter is free meanwhile.

    Raises:
        SailsimError: on a wrong dtype or shape, a value outside its width, or a block whose sum could wrap
            the unit's 32 bits.
    """
    check_threads(threads)
    x = checked_activations(x, abits, signed=True, nbw=1, group_size=0)
    check_equal_k(x.shape[1], w.packed.k)
    check_array("act_scale", act_scale, np.float32, (len(x),))
    check_accumulator(w.code, abits, True, w.block, UNIT_ACCUMULATOR_BITS)
    y: NDArray[np.float32] = _core.scaled_product(x.astype(np.int16), act_scale, w.packed, threads)
    return y
