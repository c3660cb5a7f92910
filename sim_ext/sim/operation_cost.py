"""Cycles of an operation on n bits: a polynomial of n, in a file with its source, and in words.

The words are one notation: what a user gives for another cost (`row_dfm:add=8n-2`) and what commands print.
"""

import re
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from sailsim._core import LARGEST_COEFFICIENT as _LARGEST
from sailsim.base.quantity import Sourced

Polynomial = int | list[int]
"""Cycles of an n-bit operation: a number, or the coefficients of 1, n and n^2."""

_WIDTHS = range(1, 65)  # for which a cost is checked: no operation of the contract is wider
_TERM = re.compile(r"(?P<sign>[+-]?)(?P<number>[0-9]{0,7})(?P<power>(n(\^2)?)?)")


class Cost(Sourced):
    """Cycles of an n-bit operation, a polynomial of n, with its source. An assumed one carries its range."""

    value: Polynomial
    unit: Literal["cycles"]
    low: Polynomial | None = None
    """Least plausible cost."""
    high: Polynomial | None = None
    """Largest plausible cost."""

    @field_validator("value", "low", "high", mode="before")
    @classmethod
    def _of_words(cls, given: Any) -> Any:
        """A file may say a cost in words too; a coefficient that is no whole number is refused."""
        if isinstance(given, str):
            found = parse_cost(given)
            return found[:2] if isinstance(found, list) and not found[2] else found
        terms = given if isinstance(given, list) else [given]
        if given is not None and any(type(term) is not int for term in terms):
            raise ValueError(
                f"is {given!r}; allowed are whole cycles, whole coefficients of 1, n and n^2, or "
                "a polynomial in words, such as '8n-2'"
            )
        return given

    @property
    def coefficients(self) -> tuple[int, int, int]:
        """Of 1, n and n^2."""
        return _coefficients(self.value)

    @property
    def ends(self) -> tuple[str, str]:
        """The range in words; the cost itself where the file gives none."""
        low, high = (self.value if end is None else end for end in (self.low, self.high))
        return in_words(low), in_words(high)

    def __str__(self) -> str:
        return in_words(self.value)

    def __call__(self, n: int = 1) -> int:
        """Cycles of the operation on n bits."""
        return _cycles(self.value, n)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for name, polynomial in (("value", self.value), ("low", self.low), ("high", self.high)):
            if polynomial is not None:
                _check(polynomial, name)
        for n in _WIDTHS:
            ends = [self.value if end is None else end for end in (self.low, self.high)]
            low, value, high = (_cycles(x, n) for x in (ends[0], self.value, ends[1]))
            if not low <= value <= high:
                raise ValueError(f"needs low <= value <= high, not {low} <= {value} <= {high} at n = {n}")
        if self.kind == "assumed" and None in (self.low, self.high):
            raise ValueError("is assumed, so it needs its range `low` and `high`")
        return self


def in_words(polynomial: Polynomial) -> str:
    """The polynomial as `parse_cost` reads it: "3", "n", "8n-2"."""
    words = ""
    for coefficient, power in reversed(list(zip(_coefficients(polynomial), ("", "n", "n^2"), strict=True))):
        if coefficient:
            number = "" if power and abs(coefficient) == 1 else str(abs(coefficient))
            words += ("-" if coefficient < 0 else "+" if words else "") + number + power
    return words or "0"


def parse_cost(words: str) -> Polynomial:
    """The polynomial of words such as "3", "n" or "8n-2".

    Raises:
        ValueError: anything else, and what is no cost; the text goes on after "is", or is a sentence of its
            own about the cost.
    """
    found = [0, 0, 0]
    rest = words.replace(" ", "")
    if not rest:
        raise ValueError(_refused(words))
    while rest:
        term = _TERM.match(rest)
        length = 0 if term is None else term.end()
        first = len(rest) == len(words.replace(" ", ""))
        if term is None or not (term["number"] or term["power"]) or not (term["sign"] or first):
            raise ValueError(_refused(words))
        coefficient = int(term["number"] or 1) * (-1 if term["sign"] == "-" else 1)
        found[("", "n", "n^2").index(term["power"])] += coefficient
        rest = rest[length:]
    _check(found)
    return found[0] if not any(found[1:]) else found


def _refused(words: str) -> str:
    return (
        f"is {words!r}; allowed are whole cycles from 0 on, or a polynomial of n bits such as n, 2n+1 or n^2"
    )


def _coefficients(polynomial: Polynomial) -> tuple[int, int, int]:
    given = [polynomial] if isinstance(polynomial, int) else polynomial
    c0, c1, c2 = [*given, 0, 0][:3]
    return c0, c1, c2


def _cycles(polynomial: Polynomial, n: int) -> int:
    c0, c1, c2 = _coefficients(polynomial)
    return c0 + c1 * n + c2 * n * n


def _check(polynomial: Polynomial, name: str = "") -> None:
    """Raise a ValueError for a polynomial that is no cost; `name`: of the field of a `Cost`."""
    if isinstance(polynomial, list) and not 1 <= len(polynomial) <= 3:
        raise ValueError(
            f"has {len(polynomial)} coefficients as its {name}; allowed are 1 to 3, of 1, n and n^2"
        )
    for coefficient in _coefficients(polynomial):
        if abs(coefficient) > _LARGEST:
            raise ValueError(
                f"has the coefficient {coefficient}; allowed are whole numbers -{_LARGEST}..{_LARGEST}"
            )
    for n in _WIDTHS:
        if _cycles(polynomial, n) < 0:
            by = f" by its {name}" if name else ""
            raise ValueError(f"is {_cycles(polynomial, n)} cycles at n = {n}{by}; a cost is never negative")
