"""Exceptions for bad input, and texts made safe for a terminal."""

import re

_LONG = re.compile(r"('[^']{120,}'|\S{120,})")
"""A quoted text or a word that hides the rest of its sentence."""


class SailsimError(ValueError):
    """Error in the input. The message is one sentence that names the field, the value and what is allowed.

    The commands print it and exit with status 2; library users may catch it as a ``ValueError``.
    """


class ImpossibleMachineError(SailsimError):
    """Combination of values, each of them allowed, that no system can have together.

    A study lists such points and continues with the others.
    """


class ArgumentTypeError(SailsimError, TypeError):
    """Argument of a wrong type; also Python's `TypeError`."""


def one_line(text: str) -> str:
    """Text of any origin as one line, with control and unprintable characters replaced by "?"."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def shortened(text: str) -> str:
    """Text with the middle of quoted texts and words of 120 and more characters left out."""
    return _LONG.sub(lambda found: f"{found[0][:60]} ... {found[0][-40:]}", text)


def escaped(text: str) -> str:
    """Text of several lines with control and unprintable characters as Python escapes."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
