"""Type conversion inside the SRAM as explicit row operations (docs/contract.md, section 5).

All lanes of the array perform a step at once. A step is one operation of the substrate's cost table, and a
conversion's cycles are the sum of its steps' costs. The C++ core has the same tally.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sailsim.lut_gemv.operands import check_between, check_integers, check_range

Op = Literal["copy", "logic", "shift", "add"]
"""Rows of a substrate's cost table that conversion uses."""
Lanes = NDArray[Any]
"""Bits of a register in every lane, uint64."""


def int_to_fp32(ints: NDArray[Any], bits: int) -> tuple[NDArray[np.float32], dict[tuple[Op, int], int]]:
    """Convert integers of any shape to the nearest fp32, and count the operations ``(op, n)``.

    Integers fit two's complement of ``bits`` bits, 2..63. The result equals ``ints.astype(float32)`` bit for
    bit.
    """
    check_between("bits of the integer", bits, 2, 63)
    ints = np.asarray(ints)
    check_integers("integers to convert", ints)
    check_range("integers to convert", ints, -(1 << (bits - 1)), (1 << (bits - 1)) - 1, f"bits = {bits}")
    x = ints.astype(np.int64).view(np.uint64) & ((1 << bits) - 1)
    tally: Counter[tuple[Op, int]] = Counter()

    def step(op: Op, n: int, result: Lanes, keep: int | None = None) -> Lanes:
        """Count one step as an operation of n, and cut its result to n or ``keep`` bits."""
        tally[op, n] += 1
        return result & ((1 << (n if keep is None else keep)) - 1)

    def select(mask: Lanes, if_set: Lanes, other: Lanes) -> Lanes:
        """Select one of two registers by a mask, in three steps."""
        changed = step("logic", bits, if_set ^ other)
        changed = step("logic", bits, changed & mask)
        return step("logic", bits, other ^ changed)

    # Sign and magnitude. The negative of a bit is that bit in every position.
    sign = step("copy", bits, -(x >> (bits - 1)))
    w = step("logic", bits, x ^ sign)
    w = step("add", bits, w + (sign & 1))
    # Exponent of a leading one at the top bit, minus one: packing adds the leading one itself.
    e = step("copy", 8, np.full_like(x, 125 + bits))
    # Leading-one search by halving: while the top `distance` bits are zero, shift them out.
    for distance in (1 << power for power in reversed(range((bits - 1).bit_length()))):
        compared = w + ((1 << bits) - (1 << (bits - distance)))
        step("add", bits, compared)
        is_small = step("copy", bits, (compared >> bits) - 1)  # the carry that the sum leaves, inverted
        shifted = step("shift", distance, w << distance, keep=bits)
        w = select(is_small, shifted, w)
        e = step("add", 8, e - step("logic", 8, is_small & distance))
    nonzero = step("copy", 32, -(w >> (bits - 1)))
    # The significand: 24 bits, rounded to nearest even.
    if bits < 24:
        w = step("shift", 24 - bits, w << (24 - bits), keep=24)
    elif bits > 24:
        excess = bits - 24
        last = step("shift", excess, w >> excess, keep=bits)
        rounded = w + ((1 << (excess - 1)) - 1) + (last & 1)
        step("add", bits, rounded)
        w = step("shift", excess, rounded >> excess, keep=bits)  # the carry enters above
    # Pack. Adding lets the leading one, or the carry of rounding up, raise the exponent.
    y = step("add", 32, step("shift", 23, e << 23, keep=32) + w)
    y = step("logic", 32, y & nonzero)
    y = step("logic", 32, y | step("shift", 31, sign << 31, keep=32))
    return y.astype(np.uint32).view(np.float32), dict(tally)
