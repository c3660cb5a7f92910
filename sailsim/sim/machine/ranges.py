"""Lists of values in few words: numbers, ranges and, where they may stand, names.

    1,8,32          these
    2:8             every whole step from 2 to 8, both in
    0.5:2:0.5       every step of 0.5
    1..2/5          5 numbers, evenly from 1 to 2
    1..64/7log      7 numbers, each as many times the one before
    a\\,b            a comma that is part of a name; \\\\ is a backslash

Everything is reckoned in decimals, so that 0.1:0.3:0.1 has 0.3 in it and that a range is the same numbers on
every machine; what is not exact is rounded to 9 digits.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from decimal import Context, Decimal, localcontext

from sailsim.base.errors import SailsimError
from sailsim.sim.machine.system_files import Value

Number = Decimal | int | float
LONGEST = 10_000
"""Values of a range, at most."""
_LARGEST = 10**9
DIGITS = 9
"""To which a number is rounded that a range makes and that is not whole."""

_NUMBER = r"[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,2})?"
_STEPS = re.compile(rf"({_NUMBER})\s*:\s*({_NUMBER})(?:\s*:\s*({_NUMBER}))?")
_SPREAD = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})\s*/\s*(\d{{1,6}})\s*(log)?")
_RANGE_LIKE = re.compile(r"[\d.+\-eE\s]*\d[\d.+\-eE\s]*(?::|\.\.)[\d.+\-eE\s:/]*(?:log)?")
_PRECISE = Context(prec=40)


def parts_of_list(text: str) -> list[str]:
    """What commas separate, without blanks around it; ``\\,`` is a comma and ``\\\\`` a backslash."""
    parts = [""]
    for mark, other in re.findall(r"\\([,\\])|(.)", text, re.DOTALL):
        if other == ",":
            parts.append("")
        else:
            parts[-1] += mark or other
    return [part.strip() for part in parts]


def parse_numbers(field: str, text: str, words: Mapping[str, int] | None = None) -> list[int]:
    """A list of whole numbers from 0 on, each once, in that order; `words` stand for those they map to.

    Raises:
        SailsimError: anything else; it names `field`.
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
    """A list of numbers, of true and false, and of names, each once, in that order.

    `words` stand for the values that they map to.

    Raises:
        SailsimError: an empty value, and a range that is none; it names `field`.
    """
    found: list[Value] = []
    for part in parts_of_list(text):
        numbers = _numbers(part)
        if words and part in words:
            found.append(words[part])
        elif numbers:
            found += numbers
        elif not part or _RANGE_LIKE.fullmatch(part):
            raise SailsimError(
                f"{field} is {text!r}; allowed are values and ranges of at most {LONGEST} numbers, such as "
                "1,8,32 or 2:8 or 0.5:2:0.5 or 1..2/5 or 1..64/7log."
            )
        else:
            found.append({"true": True, "false": False}.get(part, part))
    return list({(type(value), value): value for value in found}.values())


def stepped(first: Number, last: Number, step: Number) -> list[int | float]:
    """Numbers from first to last, both in if the steps meet it.

    Raises:
        ValueError: no such range; the text goes on after what names it.
    """
    low, high, by = (_decimal(each) for each in (first, last, step))
    if by <= 0 or low > high:
        raise ValueError(f"goes from {first} to {last} by {step}; allowed is upwards, by a step above 0")
    count = (high - low) / by
    if count >= LONGEST:
        raise ValueError(f"has {int(count) + 1} numbers; allowed are at most {LONGEST}")
    with localcontext(_PRECISE):
        return [_plain(low + i * by) for i in range(int(count) + 1)]


def spread(first: Number, last: Number, points: int, log: bool = False) -> list[int | float]:
    """So many numbers from first to last, both in: evenly, or each as many times the one before.

    Raises:
        ValueError: no such range; the text goes on after what names it.
    """
    low, high = _decimal(first), _decimal(last)
    if not 2 <= points <= LONGEST:
        raise ValueError(f"has {points} points; allowed are 2..{LONGEST}")
    check_span(first, last, log)
    inner = (Decimal(i) / (points - 1) for i in range(1, points - 1))
    found = [_plain(low), *(between(low, high, share, log) for share in inner), _plain(high)]
    return list(dict.fromkeys(found))


def check_span(first: Number, last: Number, log: bool) -> None:
    """Raise a ValueError where a range does not go upwards, or has no logarithm."""
    if _decimal(first) >= _decimal(last):
        raise ValueError(f"goes from {first} to {last}; allowed is upwards")
    if log and _decimal(first) <= 0:
        raise ValueError(f"goes from {first} by its logarithm; allowed is from above 0 on")


def between(low: Number, high: Number, share: Number, log: bool) -> int | float:
    """The number that lies a share of the way from low to high, or of the way of their logarithms."""
    with localcontext(_PRECISE):
        first, last, part = (_decimal(each) for each in (low, high, share))
        found = first * (last / first) ** part if log else first + (last - first) * part
        return _plain(Context(prec=DIGITS).plus(found))


def _numbers(part: str) -> list[int | float]:
    """The numbers of one part of a list; empty where it is none and no range."""
    if re.fullmatch(_NUMBER, part):
        return [_plain(Decimal(part))]
    try:
        if found := _STEPS.fullmatch(part):
            return stepped(*(Decimal(each or 1) for each in found.groups()))
        if found := _SPREAD.fullmatch(part):
            return spread(Decimal(found[1]), Decimal(found[2]), int(found[3]), bool(found[4]))
    except ValueError:
        return []
    return []


def _decimal(value: Number) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _plain(value: Decimal) -> int | float:
    """A whole number where it is one."""
    whole = value == value.to_integral_value() and abs(value) < 1 << 53
    return int(value) if whole else float(value)
