"""Lists of values as short texts: numbers, ranges and names.

    1,8,32          single numbers
    2:8             2 to 8 in steps of 1, both included
    0.5:2:0.5       0.5 to 2 in steps of 0.5
    1..2/5          5 numbers, evenly spaced from 1 to 2
    1..64/7log      7 numbers from 1 to 64, evenly spaced in their logarithm
    a\\,b            a comma in a name; \\\\ is a backslash

Decimal arithmetic makes 0.1:0.3:0.1 contain 0.3 and gives the same numbers on every computer. Inexact numbers
are rounded to 9 digits.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from decimal import Context, Decimal, localcontext

from sailsim.base.errors import SailsimError
from sailsim.sim.machine.catalog import Value

Number = Decimal | int | float
MAX_VALUES = 10_000
"""Most numbers of a range."""
_LARGEST = 10**9
DIGITS = 9
"""Significant digits of the interior numbers of an evenly spaced range."""

_NUMBER = r"[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,2})?"
_STEPS = re.compile(rf"({_NUMBER})\s*:\s*({_NUMBER})(?:\s*:\s*({_NUMBER}))?")
_SPACED = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})\s*/\s*(\d{{1,6}})\s*(log)?")
_RANGE_LIKE = re.compile(r"[\d.+\-eE\s]*\d[\d.+\-eE\s]*(?::|\.\.)[\d.+\-eE\s:/]*(?:log)?")
_PRECISE = Context(prec=40)


def split_list(text: str) -> list[str]:
    """Parts of a text between commas, stripped of blanks; ``\\,`` is a comma and ``\\\\`` a backslash."""
    parts = [""]
    for mark, other in re.findall(r"\\([,\\])|(.)", text, re.DOTALL):
        if other == ",":
            parts.append("")
        else:
            parts[-1] += mark or other
    return [part.strip() for part in parts]


def parse_numbers(field: str, text: str, words: Mapping[str, int] | None = None) -> list[int]:
    """List of distinct whole numbers from 0 on, in the order of the text; ``words`` map to numbers.

    Raises:
        SailsimError: another text; the message names ``field``.
    """
    with suppress(SailsimError):
        values = parse_values(field, text, words)
        whole = [value for value in values if type(value) is int and 0 <= value < _LARGEST]
        if len(whole) == len(values):
            return whole
    raise SailsimError(
        f"{field} is {text!r}; allowed are whole numbers and ranges, such as 4 or 1,8,32 or 2:8 or "
        f"2:8:2{''.join(f', and {word}' for word in words or ())}."
    )


def parse_values(field: str, text: str, words: Mapping[str, Value] | None = None) -> list[Value]:
    """List of distinct numbers, booleans and names, in the order of the text; ``words`` map to values.

    Raises:
        SailsimError: an empty value or a malformed range; the message names ``field``.
    """
    values: list[Value] = []
    for part in split_list(text):
        numbers = _numbers(part)
        if words and part in words:
            values.append(words[part])
        elif numbers:
            values += numbers
        elif not part or _RANGE_LIKE.fullmatch(part):
            raise SailsimError(
                f"{field} is {text!r}; allowed are values and ranges of at most {MAX_VALUES} numbers, "
                "such as 1,8,32 or 2:8 or 0.5:2:0.5 or 1..2/5 or 1..64/7log."
            )
        else:
            values.append({"true": True, "false": False}.get(part, part))
    return list({(type(value), value): value for value in values}.values())


def step_range(first: Number, last: Number, step: Number) -> list[int | float]:
    """Numbers from ``first`` in equal steps, with ``last`` if a step meets it.

    Raises:
        ValueError: there is no such range; the message continues after the range's name.
    """
    low, high, by = (_decimal(each) for each in (first, last, step))
    if by <= 0 or low > high:
        raise ValueError(f"goes from {first} to {last} by {step}; allowed is upwards, by a step above 0")
    count = (high - low) / by
    if count >= MAX_VALUES:
        raise ValueError(f"has {int(count) + 1} numbers; allowed are at most {MAX_VALUES}")
    with localcontext(_PRECISE):
        return [_plain(low + i * by) for i in range(int(count) + 1)]


def spaced_range(first: Number, last: Number, points: int, log: bool = False) -> list[int | float]:
    """``points`` numbers from ``first`` to ``last``, both included, evenly spaced or so in their logarithm.

    Raises:
        ValueError: there is no such range; the message continues after the range's name.
    """
    low, high = _decimal(first), _decimal(last)
    if not 2 <= points <= MAX_VALUES:
        raise ValueError(f"has {points} points; allowed are 2..{MAX_VALUES}")
    check_range(first, last, log)
    inner = (Decimal(i) / (points - 1) for i in range(1, points - 1))
    numbers = [_plain(low), *(interpolate(low, high, share, log) for share in inner), _plain(high)]
    return list(dict.fromkeys(numbers))


def check_range(first: Number, last: Number, log: bool) -> None:
    """Raise a ValueError for a range that does not go upwards, or that has no logarithm if ``log``."""
    if _decimal(first) >= _decimal(last):
        raise ValueError(f"goes from {first} to {last}; allowed is upwards")
    if log and _decimal(first) <= 0:
        raise ValueError(f"goes from {first} by its logarithm; allowed is from above 0 on")


def interpolate(low: Number, high: Number, share: Number, log: bool) -> int | float:
    """Number at ``share`` of the way from ``low`` to ``high``, or from logarithm to logarithm."""
    with localcontext(_PRECISE):
        first, last, part = (_decimal(each) for each in (low, high, share))
        value = first * (last / first) ** part if log else first + (last - first) * part
        return _plain(Context(prec=DIGITS).plus(value))


def _numbers(part: str) -> list[int | float]:
    """Numbers of one part of a list; empty if it is neither a number nor a range."""
    if re.fullmatch(_NUMBER, part):
        return [_plain(Decimal(part))]
    try:
        if found := _STEPS.fullmatch(part):
            return step_range(*(Decimal(each or 1) for each in found.groups()))
        if found := _SPACED.fullmatch(part):
            return spaced_range(Decimal(found[1]), Decimal(found[2]), int(found[3]), bool(found[4]))
    except ValueError:
        return []
    return []


def _decimal(value: Number) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _plain(value: Decimal) -> int | float:
    """Number as an integer where it is whole, else as a float."""
    whole = value == value.to_integral_value() and abs(value) < 1 << 53
    return int(value) if whole else float(value)
