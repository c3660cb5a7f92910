"""Tiles: the operands and widths of one descriptor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.base.arguments import ShortRepr
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode, check_accumulator, checked_weights
from sailsim.lut_gemv.operands import (
    UNIT_ACCUMULATOR_BITS,
    block_slices,
    check_array,
    check_equal_k,
    checked_activations,
)
from sailsim.lut_gemv.reference import block_sums, scale_blocks

_FP64_EXACT = 1 << 53


@dataclass(frozen=True, eq=False)
class Scales:
    """Scales of a tile (docs/contract.md, section 1).

    Attributes:
        scale: fp16 ``(blocks, N)``.
        act_scale: fp32 ``(B,)``.
        minimum: fp16 ``(blocks, N)``, or None.
    """

    scale: NDArray[np.float16]
    act_scale: NDArray[np.float32]
    minimum: NDArray[np.float16] | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Tile(ShortRepr):
    """Operands and widths of one descriptor, checked against the limits of the ABI.

    Attributes:
        x: activations ``(B, K)``, in the type that they have in memory.
        codes: weight codes ``(K, N)``, uint8.
        code: meaning of the codes.
        abits, signed: width and signedness of the activations.
        nbw: weights of a group.
        group_size: weights of a block along K, 0..65535; 0 is one block.
        prt: whether the unit uses its pattern reuse table.
        scales: None for int32 results, else fp32 results.
        name: for people; not part of the descriptor.
    """

    x: NDArray[Any]
    codes: NDArray[np.uint8]
    code: WeightCode
    abits: int
    signed: bool = True
    nbw: int = 4
    group_size: int = 0
    prt: bool = True
    scales: Scales | None = None
    name: str = ""

    def __post_init__(self) -> None:
        x = checked_activations(self.x, self.abits, self.signed, self.nbw, self.group_size)
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "codes", checked_weights(self.codes, self.code))
        check_equal_k(self.k, len(self.codes))
        for field, value, limit in (
            ("group_size", self.group_size, 1 << 16),
            ("batch", self.batch, 1 << 16),
            ("k", self.k, 1 << 32),
            ("n", self.n, 1 << 32),
        ):
            if value >= limit:
                raise SailsimError(f"{field} is {value}; a descriptor allows at most {limit - 1}.")
        summed = min(self.group_size or self.k, self.k) if self.scales is not None else self.k
        check_accumulator(self.code, self.abits, self.signed, summed, UNIT_ACCUMULATOR_BITS)
        if self.scales is not None:
            check_array("scale", self.scales.scale, np.float16, (self.blocks, self.n))
            check_array("act_scale", self.scales.act_scale, np.float32, (self.batch,))
            if self.scales.minimum is not None:
                check_array("minimum", self.scales.minimum, np.float16, (self.blocks, self.n))

    @property
    def batch(self) -> int:
        """Number of rows of activations."""
        return len(self.x)

    @property
    def k(self) -> int:
        """Number of weights of an output."""
        return int(self.x.shape[1])

    @property
    def n(self) -> int:
        """Number of outputs."""
        return int(self.codes.shape[1])

    @property
    def blocks(self) -> int:
        """Number of quantization blocks along K."""
        return len(block_slices(self.k, self.group_size))

    @property
    def shape(self) -> tuple[int, int, int, int, int, int, int, int]:
        """Arguments of the core's timing: ``k, n, batch, wbits, value_bits, abits, nbw, group_size``."""
        code = self.code
        sizes = (self.k, self.n, self.batch)
        return (*sizes, code.wbits, code.value_bits, self.abits, self.nbw, self.group_size)

    @property
    def widths(self) -> dict[str, Any]:
        """Arguments of products and profiles: ``abits, signed, nbw, group_size``."""
        return {name: getattr(self, name) for name in ("abits", "signed", "nbw", "group_size")}

    @property
    def has_minimum(self) -> bool:
        """Whether every block's weights have a minimum with their scale."""
        return self.scales is not None and self.scales.minimum is not None

    def code_bytes(self) -> int:
        """Bytes of the weights' codes as they lie in memory."""
        return self.k * ceil(self.n * self.code.wbits / 8)

    def stored_bytes(self) -> int:
        """Bytes of the weights in memory: codes, scales and minima."""
        per_block = 0 if self.scales is None else 4 if self.has_minimum else 2
        return self.code_bytes() + per_block * self.blocks * self.n

    def outputs(self, start: int, stop: int) -> Tile:
        """Tile of the outputs ``start`` to ``stop - 1``; ``stop`` may be beyond the last."""
        scales = self.scales
        if scales is not None:
            minimum = None if scales.minimum is None else scales.minimum[:, start:stop]
            scales = Scales(scales.scale[:, start:stop], scales.act_scale, minimum)
        return replace(self, codes=self.codes[:, start:stop], scales=scales)

    def expected(self) -> NDArray[Any]:
        """Expected output of the unit, by plain products: int32 ``(B, N)``, or fp32 with scales."""
        weights = self.code.decode(self.codes)
        if self.scales is None:
            return int_product(self.x, weights).astype(np.int32)
        acc = np.stack([int_product(self.x[:, b], weights[b]) for b in block_slices(self.k, self.group_size)])
        return self.finish(acc)

    def finish(self, acc: NDArray[Any]) -> NDArray[Any]:
        """Convert the accumulators of all blocks, ``(blocks, B, N)``, to the unit's output."""
        if self.scales is None:
            total: NDArray[np.int32] = acc.sum(axis=0).astype(np.int32)
            return total
        x_sums = None if self.scales.minimum is None else block_sums(self.x, self.group_size)
        return scale_blocks(
            acc, self.scales.scale, self.scales.act_scale, minimum=self.scales.minimum, x_sums=x_sums
        )


def same_results(output: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Whether two outputs of one type are equal to the bit; all NaNs are equal."""
    equal = output.view(np.uint32) == expected.view(np.uint32)
    if output.dtype == np.float32:
        equal |= np.isnan(output) & np.isnan(expected)
    return bool(equal.all())


def int_product(x: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.int64]:
    """Multiply integers ``(B, K)`` and ``(K, N)`` exactly in int64, ``(B, N)``.

    The bound must fit int64. Where every partial sum is exact in float64 the product goes through BLAS.
    """
    bound = _magnitude(x) * _magnitude(weights) * x.shape[1]
    if bound < _FP64_EXACT:
        return (x.astype(np.float64) @ weights.astype(np.float64)).astype(np.int64)
    return x.astype(np.int64) @ weights.astype(np.int64)


def _magnitude(array: NDArray[Any]) -> int:
    return max(int(array.max()), -int(array.min()))
