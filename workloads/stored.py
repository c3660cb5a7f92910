"""The blocks of a GGUF tensor as a unit sees them: integer codes, and a scale and a minimum for each block.

Where the bits of a block lie is ggml's (``ggml-common.h``). Nothing is rounded: a code is what is stored,
and a scale or minimum is a product of an fp16 number and a whole number of at most 8 bits, which fp32 holds
exactly. A test compares with what the package gguf makes of the same bytes, bit for bit (docs/models.md).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.workloads.formats import TensorFormat

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

WEIGHTS_AT_ONCE = 1 << 15
"""What is made of so many weights stays in a cache while it is turned round."""


class StoredBlocks(NamedTuple):
    """Codes uint8 (K, N), scales fp32 (blocks, N) and, where the format has them, minima like the scales.

    A weight is ``value * scale + minimum`` of its block, ``value`` what the format's code says of its code.
    """

    codes: Bytes
    scales: Floats
    minima: Floats | None


_Parts = tuple[Bytes, Floats, Floats | None]
"""Of some blocks, all axes but the last those of the blocks: codes, scales, minima."""


def read_blocks(raw: Bytes, fmt: TensorFormat) -> StoredBlocks:
    """What the blocks of ``raw`` (N, bytes of K weights) hold, in the order of a tile's rows.

    Raises SailsimError for a format without codes.
    """
    if fmt.name not in STORED:
        raise SailsimError(f"format is {fmt.name!r}; allowed is one with codes: {', '.join(STORED)}.")
    n = len(raw)
    k = raw.shape[1] // fmt.block_bytes * fmt.block
    found = StoredBlocks(
        np.empty((k, n), np.uint8),
        np.empty((k // fmt.group_size, n), np.float32),
        np.empty((k // fmt.group_size, n), np.float32) if fmt.minimum else None,
    )
    step = max(1, WEIGHTS_AT_ONCE // k)
    for start in range(0, n, step):
        rows = raw[start : start + step]
        parts = _READERS[fmt.name](rows.reshape(len(rows), -1, fmt.block_bytes))
        for whole, part in zip(found, parts, strict=True):
            if whole is not None and part is not None:
                whole[:, start : start + step] = part.reshape(len(rows), -1).T
    return found


def _fp16(blocks: Bytes, at: int) -> Floats:
    """The fp16 number at a byte of every block, one in the last axis."""
    return np.ascontiguousarray(blocks[..., at : at + 2]).view("<f2").astype(np.float32)


def _planes(packed: Bytes, run: int, bits: int, count: int) -> Bytes:
    """Of every run of bytes `count` codes of `bits` bits a byte: all lowest ones first.

    Eight bytes are shifted at once where a run has as many: what a neighbour shifts in is masked away.
    """
    word = np.dtype("<u8" if run % 8 == 0 else np.uint8)
    runs = np.ascontiguousarray(packed).view(word).reshape(*packed.shape[:-1], -1, 1, run // word.itemsize)
    shifts = (bits * np.arange(count)).astype(word)[:, None]
    mask = np.full(word.itemsize, (1 << bits) - 1, np.uint8).view(word)
    codes = np.ascontiguousarray((runs >> shifts) & mask)
    return codes.view(np.uint8).reshape(*packed.shape[:-1], -1)


def _nibbles(packed: Bytes, run: int) -> Bytes:
    """Of every run of bytes the low halves, then the high ones."""
    return _planes(packed, run, 4, 2)


def _q4(blocks: Bytes) -> _Parts:
    return _nibbles(blocks[..., 2:], 16), _fp16(blocks, 0), None


def _q4_1(blocks: Bytes) -> _Parts:
    return _nibbles(blocks[..., 4:], 16), _fp16(blocks, 0), _fp16(blocks, 2)


def _fifth(blocks: Bytes, at: int) -> Bytes:
    """The fifth bits of 32 codes, which four bytes hold."""
    return np.unpackbits(blocks[..., at : at + 4], axis=-1, bitorder="little") << np.uint8(4)


def _q5_0(blocks: Bytes) -> _Parts:
    return _nibbles(blocks[..., 6:], 16) | _fifth(blocks, 2), _fp16(blocks, 0), None


def _q5_1(blocks: Bytes) -> _Parts:
    return _nibbles(blocks[..., 8:], 16) | _fifth(blocks, 4), _fp16(blocks, 0), _fp16(blocks, 2)


def _q8_0(blocks: Bytes) -> _Parts:
    return blocks[..., 2:], _fp16(blocks, 0), None


def _mxfp4(blocks: Bytes) -> _Parts:
    """The codes mean twice their value, so a byte e is 2**(e - 128)."""
    scales = np.ldexp(np.float32(1), blocks[..., :1].astype(np.int32) - 128)
    return _nibbles(blocks[..., 1:], 16), scales, None


def _q2_k(blocks: Bytes) -> _Parts:
    scales = _fp16(blocks, 80) * (blocks[..., :16] & 15)
    return _planes(blocks[..., 16:80], 32, 2, 4), scales, -_fp16(blocks, 82) * (blocks[..., :16] >> 4)


def _q3_k(blocks: Bytes) -> _Parts:
    third = _planes(blocks[..., :32], 32, 1, 8) << np.uint8(2)
    packed = blocks[..., 96:108]
    low = _nibbles(packed[..., :8], 8)
    scales = (low | (_planes(packed[..., 8:], 4, 2, 4) << np.uint8(4))).astype(np.float32) - 32
    return _planes(blocks[..., 32:96], 32, 2, 4) | third, _fp16(blocks, 108) * scales, None


def _six_bits(packed: Bytes) -> tuple[Bytes, Bytes]:
    """Eight scales and eight minima of 6 bits out of 12 bytes.

    Of each the first four fill the low bits of a byte. Of the others, the low halves lie together in a byte,
    and the two highest bits in what the first four leave.
    """
    first, second, third = packed[..., :4], packed[..., 4:8], packed[..., 8:]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6 << 4)], axis=-1)
    minima = np.concatenate([second & 63, (third >> 4) | (second >> 6 << 4)], axis=-1)
    return scales, minima


def _q4_k(blocks: Bytes) -> _Parts:
    scales, minima = _six_bits(blocks[..., 4:16])
    return _nibbles(blocks[..., 16:], 32), _fp16(blocks, 0) * scales, -_fp16(blocks, 2) * minima


def _q5_k(blocks: Bytes) -> _Parts:
    scales, minima = _six_bits(blocks[..., 4:16])
    fifth = _planes(blocks[..., 16:48], 32, 1, 8) << np.uint8(4)
    codes = _nibbles(blocks[..., 48:], 32) | fifth
    return codes, _fp16(blocks, 0) * scales, -_fp16(blocks, 2) * minima


def _q6_k(blocks: Bytes) -> _Parts:
    high = _planes(blocks[..., 128:192], 32, 2, 4) << np.uint8(4)
    scales = blocks[..., 192:208].view(np.int8)
    return _nibbles(blocks[..., :128], 64) | high, _fp16(blocks, 208) * scales, None


def _iq4_xs(blocks: Bytes) -> _Parts:
    low = _planes(blocks[..., 4:8, None], 1, 4, 2).reshape(*blocks.shape[:-1], 8)
    high = _planes(blocks[..., 2:4, None], 1, 2, 4).reshape(*blocks.shape[:-1], 8)
    scales = (low | (high << np.uint8(4))).astype(np.float32) - 32
    return _nibbles(blocks[..., 8:], 16), _fp16(blocks, 0) * scales, None


_THIRDS = np.array([1, 3, 9, 27, 81], np.uint8)


def _tq1_0(blocks: Bytes) -> _Parts:
    """Digits of base 3, five a byte, four in a block's last four bytes: of each run of bytes all first ones
    first.

    A byte is a fraction of 256: three times what is left of it has the next digit before the point, which is
    how many of a third and two thirds are no more than what is left.
    """
    left = np.ascontiguousarray(blocks[..., :52]) * _THIRDS.reshape(-1, *blocks.ndim * (1,))
    digits = np.moveaxis((left > 85).view(np.uint8) + (left > 170).view(np.uint8), 0, -2)
    codes = np.empty((*blocks.shape[:-1], 256), np.uint8)
    for first, run, at, count in ((0, 32, 0, 5), (32, 16, 160, 5), (48, 4, 240, 4)):
        part = codes[..., at : at + run * count].reshape(*blocks.shape[:-1], count, run)
        part[...] = digits[..., :count, first : first + run]
    return codes, _fp16(blocks, 52), None


def _tq2_0(blocks: Bytes) -> _Parts:
    return _planes(blocks[..., :64], 32, 2, 4), _fp16(blocks, 64), None


_READERS: dict[str, Callable[[Bytes], _Parts]] = {
    "q4_0": _q4,
    "q4_1": _q4_1,
    "q5_0": _q5_0,
    "q5_1": _q5_1,
    "q8_0": _q8_0,
    "q2_k": _q2_k,
    "q3_k": _q3_k,
    "q4_k": _q4_k,
    "q5_k": _q5_k,
    "q6_k": _q6_k,
    "iq4_nl": _q4,
    "iq4_xs": _iq4_xs,
    "mxfp4": _mxfp4,
    "tq1_0": _tq1_0,
    "tq2_0": _tq2_0,
}

STORED = tuple(_READERS)
"""Tensor types whose codes can be taken as they are stored: all that have scalar codes."""
