"""Type conversion inside the SRAM as an explicit program of row operations (docs/contract.md, section 5).

A program is a list of steps that every lane of the array performs at once. A step is one operation of the
substrate's cost table, from memory to memory: a program's cycles are the sum of its steps' costs, and its
result is what the steps compute. The C++ core tallies the same program.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sailsim.lut_gemv.operands import check_between, check_integers, check_range

Op = Literal["copy", "logic", "shift", "add"]
"""The rows of a substrate's cost table that conversion uses."""
Action = Literal["load", "broadcast", "broadcast_not", "and", "or", "xor", "left", "right", "add", "subtract"]
Operand = str | int | tuple[str, int]
"""A register by name, a constant row, or one bit ``(register, position)``."""

_OP_OF_ACTION: dict[Action, Op] = {
    "load": "copy",
    "broadcast": "copy",
    "broadcast_not": "copy",
    "and": "logic",
    "or": "logic",
    "xor": "logic",
    "left": "shift",
    "right": "shift",
    "add": "add",
    "subtract": "add",
}

INT_BITS = (2, 63)
"""Widths of the integer that :func:`int_to_fp32` takes, inclusive."""


@dataclass(frozen=True)
class Step:
    """``target = action(a, b)`` in every lane.

    Attributes:
        action: what is computed. ``broadcast`` copies the one bit ``a`` to all positions; ``add`` and
            ``subtract`` leave their carry in the register ``carry``.
        n: the argument of the operation's cost: the distance of a shift, else the bits worked on.
        target, a, b: registers and operands.
        carry_in: of ``add``, the bit added; of ``right``, the bit that enters above the ``keep`` bits.
        keep: the result's bits that are kept; of all but shifts this is ``n``.
    """

    action: Action
    n: int
    target: str
    a: Operand
    b: Operand
    carry_in: Operand
    keep: int

    @property
    def op(self) -> Op:
        """The row of the cost table that this step is charged."""
        return _OP_OF_ACTION[self.action]


class Program:
    """Steps from register ``x`` to register ``y``, written with :meth:`do`."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def do(
        self,
        target: str,
        action: Action,
        a: Operand,
        b: Operand = 0,
        *,
        n: int,
        carry_in: Operand = 0,
        keep: int | None = None,
    ) -> None:
        """Append a :class:`Step`."""
        self.steps.append(Step(action, n, target, a, b, carry_in, n if keep is None else keep))

    def select(self, target: str, mask: str, if_set: str, n: int) -> None:
        """Append ``target = mask ? if_set : target`` over ``n`` bits: three steps that spoil ``if_set``."""
        self.do(if_set, "xor", if_set, target, n=n)
        self.do(if_set, "and", if_set, mask, n=n)
        self.do(target, "xor", target, if_set, n=n)

    def tally(self) -> dict[tuple[Op, int], int]:
        """How often each operation occurs: ``(op, n) -> count``."""
        return dict(Counter((step.op, step.n) for step in self.steps))

    def run(self, x: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Interpret the steps on lanes: ``x`` and the result are bit patterns in uint64, any shape."""
        registers: dict[str, NDArray[np.uint64]] = {"x": x}
        for step in self.steps:
            _perform(step, registers)
        return registers["y"]


def _perform(step: Step, registers: dict[str, NDArray[np.uint64]]) -> None:
    def value(operand: Operand) -> Any:
        if isinstance(operand, tuple):
            register, position = operand
            return (registers[register] >> np.uint64(position)) & np.uint64(1)
        return registers[operand] if isinstance(operand, str) else np.uint64(operand)

    a, b, carry_in, n = value(step.a), value(step.b), value(step.carry_in), np.uint64(step.n)
    mask = np.uint64((1 << step.keep) - 1)
    if step.action in ("add", "subtract"):
        addend, carry = (b, carry_in) if step.action == "add" else (~b, np.uint64(1))
        result = (a & mask) + (addend & mask) + carry
        registers["carry"] = result >> n
    elif step.action == "right":
        result = ((a & mask) | (carry_in << np.uint64(step.keep))) >> n
    else:
        result = _SIMPLE[step.action](a, b, n)
    registers[step.target] = np.broadcast_to(result & mask, registers["x"].shape)


_ZERO, _ONES = np.uint64(0), ~np.uint64(0)
_SIMPLE: dict[Action, Callable[[Any, Any, Any], Any]] = {
    "load": lambda a, b, n: a,
    "broadcast": lambda a, b, n: np.where(a, _ONES, _ZERO),
    "broadcast_not": lambda a, b, n: np.where(a, _ZERO, _ONES),
    "and": lambda a, b, n: a & b,
    "or": lambda a, b, n: a | b,
    "xor": lambda a, b, n: a ^ b,
    "left": lambda a, b, n: a << n,
}
"""Actions without a carry, of whose result the bits that are kept count."""


def int_to_fp32_program(bits: int) -> Program:
    """The program from two's complement of ``bits`` bits, 2..63, to the bits of the nearest fp32."""
    check_between("bits of the integer", bits, *INT_BITS)
    p = Program()
    # Sign and magnitude.
    p.do("sign", "broadcast", ("x", bits - 1), n=bits)
    p.do("w", "xor", "x", "sign", n=bits)
    p.do("w", "add", "w", 0, n=bits, carry_in=("sign", 0))
    # The exponent of a leading one at the top bit, less one: step "pack" adds the leading one itself.
    p.do("e", "load", 125 + bits, n=8)
    # Leading-one search by halving: while the top `distance` bits are zero, shift them out.
    for distance in _descending_powers(bits):
        p.do("t", "add", "w", (1 << bits) - (1 << (bits - distance)), n=bits)
        p.do("m", "broadcast_not", ("carry", 0), n=bits)
        p.do("t", "left", "w", n=distance, keep=bits)
        p.select("w", "m", "t", bits)
        p.do("t", "and", "m", distance, n=8)
        p.do("e", "subtract", "e", "t", n=8)
    p.do("nonzero", "broadcast", ("w", bits - 1), n=32)
    # The significand: 24 bits, rounded to nearest even.
    if bits < 24:
        p.do("w", "left", "w", n=24 - bits, keep=24)
    elif bits > 24:
        excess = bits - 24
        p.do("t", "right", "w", n=excess, keep=bits)
        p.do("w", "add", "w", (1 << (excess - 1)) - 1, n=bits, carry_in=("t", 0))
        p.do("w", "right", "w", n=excess, keep=bits, carry_in="carry")
    # Pack. Adding lets the leading one, or the carry of rounding up, raise the exponent.
    p.do("t", "left", "e", n=23, keep=32)
    p.do("y", "add", "t", "w", n=32)
    p.do("y", "and", "y", "nonzero", n=32)
    p.do("t", "left", "sign", n=31, keep=32)
    p.do("y", "or", "y", "t", n=32)
    return p


def int_to_fp32(ints: NDArray[Any], bits: int) -> NDArray[np.float32]:
    """Run :func:`int_to_fp32_program` on integers of any shape that fit ``bits`` bits; fp32 of that shape.

    Equal to ``ints.astype(float32)`` bit for bit.
    """
    program = int_to_fp32_program(bits)
    ints = np.asarray(ints)
    check_integers("integers to convert", ints)
    check_range("integers to convert", ints, -(1 << (bits - 1)), (1 << (bits - 1)) - 1, f"bits = {bits}")
    lanes = ints.astype(np.int64).view(np.uint64) & np.uint64((1 << bits) - 1)
    return program.run(lanes).astype(np.uint32).view(np.float32)


def _descending_powers(bits: int) -> list[int]:
    """The powers of two below ``bits``, the largest first."""
    return [1 << power for power in reversed(range((bits - 1).bit_length()))]
