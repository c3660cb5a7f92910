"""Every format with codes, read from bytes, beside the package gguf."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from sailsim.workloads.formats import BLOCKS, TENSOR_FORMATS, TensorFormat
from sailsim.workloads.weights import STORED, read_blocks

COLUMNS, K = 64, 2048
"""Weights of a format that the table is made from; K is whole blocks of every type."""
SEED = 12


@dataclass(frozen=True)
class Checked:
    """What came of holding a format's blocks against the package.

    Attributes:
        format: the format.
        weights: how many were compared.
        different: those whose value, made from code, fp32 scale and minimum, is not the package's to the bit.
        scale_error: the largest relative error of a scale, or minimum, as fp16.
        weight_error: the largest error of a weight that this makes, of the largest weight of its block.
    """

    format: TensorFormat
    weights: int
    different: int
    scale_error: float
    weight_error: float


def coded_formats() -> list[TensorFormat]:
    """The formats whose tensors have codes."""
    return [TENSOR_FORMATS[name] for name in STORED]


def random_blocks(fmt: TensorFormat, seed: int) -> npt.NDArray[np.uint8]:
    """Stored blocks (64, bytes of 2048 weights): any bytes, but for numbers where a block has its scale.

    Every code that has a meaning occurs.
    """
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (COLUMNS, K // fmt.block, fmt.block_bytes), dtype=np.uint8)
    for at in BLOCKS[fmt.name].fp16:
        numbers = rng.normal(0, 0.01, (*blocks.shape[:-1], 1)).astype(np.float16)
        blocks[..., at : at + 2] = numbers.view(np.uint8)
    if fmt.name == "mxfp4":  # powers of two that fp16 holds
        blocks[..., 0] = rng.integers(104, 140, blocks.shape[:-1])
    if fmt.name == "tq2_0":  # the fourth code of two bits means nothing
        digits = rng.integers(0, 3, (*blocks.shape[:-1], 64, 4)).astype(np.uint8)
        blocks[..., :64] = (digits << np.array([0, 2, 4, 6], np.uint8)).sum(axis=-1, dtype=np.uint8)
    return blocks.reshape(COLUMNS, -1)


def checked(fmt: TensorFormat, raw: npt.NDArray[np.uint8]) -> Checked:
    """Stored blocks (N, bytes) held against what the package gguf makes of them."""
    assert fmt.code is not None
    truth = dequantize(raw, GGMLQuantizationType[fmt.name.upper()]).astype(np.float32).T
    exact = read_blocks(raw, fmt)
    rounded = replace(exact, scales=_as_fp16(exact.scales), minima=_optional_fp16(exact.minima))
    values = exact.values()
    largest = np.abs(values).reshape(len(exact.scales), fmt.group_size, -1).max(axis=1)
    largest = np.repeat(np.where(largest > 0, largest, 1), fmt.group_size, axis=0)
    off = np.abs(rounded.values() - values) / largest
    return Checked(
        fmt,
        truth.size,
        int((values.view(np.uint32) != truth.view(np.uint32)).sum()),
        max(_relative(rounded.scales, exact.scales), _relative(rounded.minima, exact.minima)),
        float(off.max()),
    )


def _as_fp16(exact: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return exact.astype(np.float16).astype(np.float32)


def _optional_fp16(exact: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32] | None:
    return None if exact is None else _as_fp16(exact)


def _relative(rounded: npt.NDArray[np.float32] | None, exact: npt.NDArray[np.float32] | None) -> float:
    if rounded is None or exact is None:
        return 0.0
    size = np.abs(exact)
    return float((np.abs(rounded - exact) / np.where(size > 0, size, 1)).max())
