"""Weight codes: the integers that the bits of stored weights mean (docs/contract.md, section 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.descriptor import WBITS_MAX
from sailsim.lut_gemv.operands import (
    activation_range,
    check_between,
    check_integers,
    check_matrix,
    check_range,
)

CodeKind = Literal["twos", "offset", "ternary", "book"]

# NormalFloat-4: quantiles of a standard normal, scaled to [-1, 1] (Dettmers et al., QLoRA, 2023,
# arXiv 2305.14314, appendix E), times 127 and rounded. tests/lut_gemv derives them from the definition.
_NF4 = (-127, -88, -67, -50, -36, -23, -12, 0, 10, 20, 31, 43, 56, 71, 92, 127)
# The non-linear 4-bit levels of llama.cpp's IQ4_NL type (kvalues_iq4nl; also gguf.quants.IQ4_NL).
_IQ4_NL = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
# FP4 E2M1, the element of MXFP4 (OCP Microscaling Formats v1.0, 2023, table 6), doubled to be integers.
_E2M1_TIMES_2 = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)


@dataclass(frozen=True, eq=False)
class WeightCode:
    """Map from codes of ``wbits`` bits to integers. Make one with the class methods.

    Attributes:
        kind: one of the four codes of the contract.
        wbits: bits of a stored code, 1..8.
        values: int16 ``(2**wbits,)``, read-only: the integer that each code means.
        zero_point: of an ``offset`` code; 0 for the others.
    """

    kind: CodeKind
    wbits: int
    values: NDArray[np.int16]
    zero_point: int = 0

    def __post_init__(self) -> None:
        self.values.setflags(write=False)

    @classmethod
    def of(
        cls, kind: CodeKind, wbits: int, zero_point: int = 0, book: Sequence[int] | NDArray[Any] = ()
    ) -> WeightCode:
        """Make a code of any kind; an ``offset`` code takes the zero point, a ``book`` the values."""
        if kind == "book":
            return cls.book(book)
        if kind == "offset":
            return cls.offset(wbits, zero_point)
        return cls.ternary() if kind == "ternary" else cls.twos(wbits)

    @classmethod
    def twos(cls, wbits: int) -> WeightCode:
        """Two's complement of ``wbits`` bits; one bit means {0, -1}."""
        check_between("wbits", wbits, 1, WBITS_MAX)
        codes = np.arange(1 << wbits)
        return cls("twos", wbits, np.where(codes >> (wbits - 1), codes - len(codes), codes).astype(np.int16))

    @classmethod
    def offset(cls, wbits: int, zero_point: int) -> WeightCode:
        """Unsigned minus ``zero_point``, which lies in ``0..2**wbits - 1``."""
        check_between("wbits", wbits, 1, WBITS_MAX)
        size = 1 << wbits
        if not 0 <= zero_point < size:
            raise SailsimError(
                f"zero_point {zero_point} is not a code of {wbits} bits; allowed is 0..{size - 1}."
            )
        return cls("offset", wbits, (np.arange(size) - zero_point).astype(np.int16), zero_point)

    @classmethod
    def ternary(cls) -> WeightCode:
        """Two bits: codes 0, 1, 2 mean -1, 0, +1. Code 3 has no meaning and is refused wherever it occurs."""
        return cls("ternary", 2, np.array([-1, 0, 1, 0], np.int16))

    @classmethod
    def book(cls, values: Sequence[int] | NDArray[Any]) -> WeightCode:
        """Arbitrary codebook of 2, 4, ... or 256 integers, each within int16."""
        book = np.asarray(values)
        sizes = [1 << wbits for wbits in range(1, WBITS_MAX + 1)]
        if book.ndim != 1 or len(book) not in sizes:
            raise SailsimError(
                f"codebook has shape {book.shape}; allowed is one axis of {_listed(sizes)} values."
            )
        check_integers("codebook entries", book)
        check_range("codebook entries", book, -(1 << 15), (1 << 15) - 1)
        return cls("book", len(book).bit_length() - 1, book.astype(np.int16))

    @classmethod
    def nf4(cls) -> WeightCode:
        """NormalFloat-4 levels as integers in units of 1/127 (QLoRA, arXiv 2305.14314).

        The levels are real numbers, so this is an approximation: off by at most 0.5/127 of the block's
        largest weight.
        """
        return cls.book(_NF4)

    @classmethod
    def iq4_nl(cls) -> WeightCode:
        """Levels of llama.cpp's IQ4_NL type, which are integers: exact."""
        return cls.book(_IQ4_NL)

    @classmethod
    def mxfp4(cls) -> WeightCode:
        """FP4 E2M1 values in units of 1/2 (OCP Microscaling Formats v1.0): exact, both zeros included."""
        return cls.book(_E2M1_TIMES_2)

    @property
    def legal_codes(self) -> int:
        """Number of codes with a meaning, from 0 on: all, but only three of ternary."""
        return 3 if self.kind == "ternary" else 1 << self.wbits

    @cached_property
    def value_bits(self) -> int:
        """Bits of the narrowest two's complement integer that holds every value."""
        ends = int(self.values.min()), int(self.values.max())
        return 1 + max((value if value >= 0 else ~value).bit_length() for value in ends)

    @property
    def magnitude(self) -> int:
        """Largest absolute value, which bounds the accumulator."""
        return int(np.abs(self.values.astype(np.int32)).max())

    def decode(self, codes: NDArray[Any]) -> NDArray[np.int16]:
        """Decode ``codes`` (any shape) to integers, int16 of the same shape."""
        return self.values[self.checked(codes)]

    def encode(self, ints: NDArray[Any]) -> NDArray[np.uint8]:
        """Encode ``ints`` (any shape) as codes, uint8 of the same shape.

        A value that occurs more than once in a codebook takes the lowest of its codes. A value that
        the code cannot express is an error, never rounded.
        """
        ints = np.asarray(ints)
        check_integers("weights", ints)
        levels, first_codes = np.unique(self.values[: self.legal_codes], return_index=True)
        place = np.minimum(np.searchsorted(levels, ints), len(levels) - 1)
        inexact = levels[place] != ints
        if inexact.any():
            shown = _listed(levels) if len(levels) <= 16 else f"{levels[0]}..{levels[-1]}"
            raise SailsimError(
                f"weights hold {ints[inexact].flat[0]}, which {self} cannot express; allowed are {shown}."
            )
        return first_codes.astype(np.uint8)[place]

    def checked(self, codes: NDArray[Any]) -> NDArray[np.uint8]:
        """Convert ``codes`` to uint8. Raises SailsimError for one without a meaning."""
        codes = np.asarray(codes)
        check_integers("weight codes", codes)
        check_range("weight codes", codes, 0, self.legal_codes - 1, str(self))
        return codes.astype(np.uint8, copy=False)

    def __str__(self) -> str:
        zero_point = f", zero point {self.zero_point}" if self.kind == "offset" else ""
        return f"{self.kind} code of {self.wbits} bit{'s' if self.wbits > 1 else ''}{zero_point}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WeightCode) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[CodeKind, int, bytes]:
        return self.kind, self.zero_point, self.values.tobytes()


def _listed(values: Sequence[int] | NDArray[Any]) -> str:
    return ", ".join(str(int(value)) for value in values)


def row_bytes(n: int, wbits: int) -> int:
    """Bytes of a row of ``n`` codes, rounded up."""
    return (n * wbits + 7) // 8


def pack_codes(codes: NDArray[Any], wbits: int) -> NDArray[np.uint8]:
    """Pack codes ``(K, N)`` into rows of bytes ``(K, row_bytes(N, wbits))``; padding bits are zero."""
    codes = np.asarray(codes)
    check_between("wbits", wbits, 1, WBITS_MAX)
    check_integers("weight codes", codes)
    check_matrix("weight codes", codes, "K, N")
    check_range("weight codes", codes, 0, (1 << wbits) - 1, f"wbits = {wbits}")
    bits = np.unpackbits(codes.astype(np.uint8)[:, :, None], axis=2, count=wbits, bitorder="little")
    return np.packbits(bits.reshape(len(codes), -1), axis=1, bitorder="little")


def unpack_codes(rows: NDArray[np.uint8], n: int, wbits: int) -> NDArray[np.uint8]:
    """Unpack codes ``(K, n)`` of ``rows`` ``(K, row_bytes(n, wbits))``."""
    if rows.ndim != 2 or rows.shape[1] != row_bytes(n, wbits):
        raise SailsimError(
            f"packed weights have shape {rows.shape}; allowed is (K, {row_bytes(n, wbits)}) "
            f"for {n} codes of {wbits} bits."
        )
    bits = np.unpackbits(rows, axis=1, count=n * wbits, bitorder="little")
    return np.packbits(bits.reshape(len(rows), n, wbits), axis=2, bitorder="little")[:, :, 0]


def accumulator_bound(code: WeightCode, abits: int, signed: bool, length: int) -> int:
    """Largest magnitude of a sum of ``length`` products of these widths."""
    low, high = activation_range(abits, signed)
    return code.magnitude * max(-low, high) * length


def check_accumulator(code: WeightCode, abits: int, signed: bool, length: int, bits: int) -> None:
    """Refuse a sum over ``length`` weights that could wrap an accumulator of ``bits`` bits."""
    bound = accumulator_bound(code, abits, signed, length)
    if bound >= 1 << (bits - 1):
        raise SailsimError(
            f"a sum of {length} products may reach {bound}, which wraps the {bits}-bit accumulator; "
            f"allowed is at most {(1 << (bits - 1)) - 1}."
        )


def checked_weights(w: NDArray[Any], code: WeightCode) -> NDArray[np.uint8]:
    """Convert ``w`` to a C-contiguous uint8 array of legal codes ``(K, N)``."""
    w = np.asarray(w)
    check_matrix("weights", w, "K, N")
    return np.ascontiguousarray(code.checked(w))
