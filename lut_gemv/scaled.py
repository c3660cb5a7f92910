"""Scaled tiles of many rows at once: the results of LUT-GEMV by plain multiplication, to the bit.

A look-up gives the exact integer product of a block, and so does a multiplication whose sums stay below
2**31; what follows is rounded in the same order. So for a model's numbers it does not matter which of them is
computed, and multiplying is quicker for many rows. What look-ups cost depends on the activations alone
(`pattern_profile`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim import _core
from sailsim.lut_gemv.checks import check_array
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.operands import (
    block_slices,
    check_accumulator,
    check_equal_k,
    check_threads,
    checked_activations,
    checked_weights,
)
from sailsim.lut_gemv.tile import UNIT_ACCUMULATOR_BITS


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
