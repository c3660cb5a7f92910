"""Weight codes in memory: rows of N codes, least significant bit first (docs/contract.md, section 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.checks import check_integers, check_matrix, check_range
from sailsim.lut_gemv.descriptor import WBITS_MAX


def row_bytes(n: int, wbits: int) -> int:
    """Bytes of a row of ``n`` codes: a whole number of bytes."""
    return (n * wbits + 7) // 8


def pack_codes(codes: NDArray[Any], wbits: int) -> NDArray[np.uint8]:
    """Pack codes ``(K, N)`` into rows of bytes ``(K, row_bytes(N, wbits))``; padding bits are zero."""
    codes = np.asarray(codes)
    if not 1 <= wbits <= WBITS_MAX:
        raise SailsimError(f"wbits is {wbits}; allowed is 1..{WBITS_MAX}.")
    check_integers("weight codes", codes)
    check_matrix("weight codes", codes, "K, N")
    check_range("weight codes", codes, 0, (1 << wbits) - 1, f"wbits = {wbits}")
    bits = np.unpackbits(codes.astype(np.uint8)[:, :, None], axis=2, count=wbits, bitorder="little")
    return np.packbits(bits.reshape(len(codes), -1), axis=1, bitorder="little")


def unpack_codes(rows: NDArray[np.uint8], n: int, wbits: int) -> NDArray[np.uint8]:
    """The codes ``(K, n)`` in packed ``rows`` ``(K, row_bytes(n, wbits))``."""
    if rows.ndim != 2 or rows.shape[1] != row_bytes(n, wbits):
        raise SailsimError(
            f"packed weights have shape {rows.shape}; allowed is (K, {row_bytes(n, wbits)}) "
            f"for {n} codes of {wbits} bits."
        )
    bits = np.unpackbits(rows, axis=1, count=n * wbits, bitorder="little")
    return np.packbits(bits.reshape(len(rows), n, wbits), axis=2, bitorder="little")[:, :, 0]
