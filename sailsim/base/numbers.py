"""Which numbers of anybody's can be reckoned with."""

from typing import TypeGuard


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a finite number, of 64 bits with a sign if it is whole; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return within_64_bits(value) if isinstance(value, int) else abs(value) < float("inf")


def within_64_bits(number: int) -> bool:
    """Whether a whole number is one of 64 bits with a sign."""
    return -(1 << 63) <= number < 1 << 63
