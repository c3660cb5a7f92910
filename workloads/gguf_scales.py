"""Scales of a GGUF tensor that are no numbers: found without making the values of the tensor.

Where they lie in a block is ggml's (`ggml-common.h`); a test compares with what the package gguf makes of
blocks whose scales are and are not finite.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

FP16_AT: dict[str, tuple[int, ...]] = {
    "f16": (0,),
    "q4_0": (0,),
    "q4_1": (0, 2),
    "q5_0": (0,),
    "q5_1": (0, 2),
    "q8_0": (0,),
    "q2_k": (80, 82),
    "q3_k": (108,),
    "q4_k": (0, 2),
    "q5_k": (0, 2),
    "q6_k": (208,),
    "iq4_nl": (0,),
    "iq4_xs": (0,),
    "tq1_0": (52,),
    "tq2_0": (64,),
    "iq1_s": (0,),
    "iq2_xxs": (0,),
    "iq2_xs": (0,),
    "iq2_s": (0,),
    "iq3_xxs": (0,),
    "iq3_s": (0,),
}
"""Byte of a block at which its fp16 scale lies, and its minimum."""

_IQ1_M_SCALES = 48
"""Byte of an IQ1_M block where four words begin whose highest four bits are its scale, the lowest first."""

_EXPONENT = {"fp16": 0x7C00, "bf16": 0x7F80, "f32": 0x7F800000}
"""All ones: a NaN or an infinity."""

_BLOCKS = 1 << 20
"""Blocks at a time."""


def first_bad_block(kind: str, blocks: npt.NDArray[np.uint8]) -> int | None:
    """Which block of a tensor, bytes (blocks, bytes of one), is the first with a scale that is a NaN or an
    infinity, or of floats a value; None if none is, and for a type whose scales are not known here."""
    for start in range(0, len(blocks), _BLOCKS):
        bad = _bad(kind, blocks[start : start + _BLOCKS])
        if bad is not None and bad.any():
            return start + int(bad.argmax())
    return None


def _bad(kind: str, blocks: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_] | None:
    if kind == "f32":
        return _no_number(_words(blocks, 0, 4), _EXPONENT["f32"])
    if kind == "bf16":
        return _no_number(_words(blocks, 0), _EXPONENT["bf16"])
    if kind == "mxfp4":  # a power of two; all ones mean NaN
        return np.asarray(blocks[:, 0] == 255)
    if kind == "iq1_m":
        scale = np.zeros(len(blocks), np.uint16)
        for i in range(4):
            scale |= _words(blocks, _IQ1_M_SCALES + 2 * i) >> 12 << (4 * i)
        return _no_number(scale, _EXPONENT["fp16"])
    found = [_no_number(_words(blocks, at), _EXPONENT["fp16"]) for at in FP16_AT.get(kind, ())]
    return np.asarray(np.logical_or.reduce(found)) if found else None


def _words(blocks: npt.NDArray[np.uint8], at: int, size: int = 2) -> npt.NDArray[Any]:
    """A little-endian word of so many bytes of every block; ``at`` and a block are whole words.

    A view: copying two bytes out of each block takes NumPy longer than all else that is done with them.
    """
    return np.ascontiguousarray(blocks).view(f"<u{size}")[:, at // size]


def _no_number(words: npt.NDArray[Any], exponent: int) -> npt.NDArray[np.bool_]:
    return np.asarray((words & exponent) == exponent)
