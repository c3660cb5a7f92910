"""The descriptor, the completion record and the status codes of the ABI as NumPy types.

``sim_ext/abi/lutmm.h`` defines them; tests/lut_gemv/test_descriptor.py compiles that header and compares.
All fields are little endian.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np

ABI_VERSION = 1

WBITS_MAX = 8
ABITS_MAX = 16
NBW_MAX = 6
BUFFER_ALIGN = 64
COMPLETION_ALIGN = 32
UNITS_MAX = 64
INSN_BASE = 0x06540000

DESCRIPTOR = np.dtype(
    [
        ("weights", "<u8"),
        ("activations", "<u8"),
        ("output", "<u8"),
        ("scales", "<u8"),
        ("completion", "<u8"),
        ("k", "<u4"),
        ("n", "<u4"),
        ("batch", "<u2"),
        ("wbits", "u1"),
        ("abits", "u1"),
        ("nbw", "u1"),
        ("flags", "u1"),
        ("group_size", "<u2"),
        ("codebook", "<u8"),
    ]
)
"""``struct lutmm_descriptor``, 64 bytes."""

COMPLETION = np.dtype(
    [("status", "<u4"), ("detail", "<u4"), ("cycles", "<u8"), ("lookups", "<u8"), ("prt_hits", "<u8")]
)
"""``struct lutmm_completion``, 32 bytes."""


class Flag(IntFlag):
    """The bits of a descriptor's ``flags``."""

    ACT_UNSIGNED = 0x01
    CODE_OFFSET = 0x02
    CODE_TERNARY = 0x04
    CODE_BOOK = 0x06
    PRT = 0x08
    CONVERT = 0x10
    MINIMUM = 0x20


CODE_TWOS = 0x00
CODE_MASK = 0x06
RESERVED = 0xC0


class Status(IntEnum):
    """The status of a completion record."""

    PENDING = 0
    OK = 1
    ERR_WBITS = 2
    ERR_ABITS = 3
    ERR_NBW = 4
    ERR_SHAPE = 5
    ERR_FLAGS = 6
    ERR_ALIGN = 7
    ERR_CODEBOOK = 8
    ERR_CODE = 9
    ERR_VALUE = 10
    ERR_OVERFLOW = 11
    ERR_CAPACITY = 12
    ERR_FAULT = 13
    ERR_OVERLAP = 14
    ERR_UNIT = 15
