"""Type checks of public functions' arguments, and short representations of values."""

from collections.abc import Iterable
from os import PathLike
from reprlib import Repr
from textwrap import shorten
from typing import Any, TypeVar

from sailsim.base.errors import ArgumentTypeError

MAX_VALUE_LENGTH = 60
"""Longest representation of a value in an error message, in characters."""
MAX_REPR_LENGTH = 790
"""Longest representation of an object in an interactive session, in characters: ten terminal lines."""
PATH_TYPES = (str, PathLike)
"""Types of an argument that is a name or a path."""

_T = TypeVar("_T")


def check_type(name: str, value: object, kinds: type[Any] | tuple[type[Any], ...], allowed: str) -> None:
    """Raise ArgumentTypeError unless ``value`` has one of the types ``kinds``.

    ``allowed`` names the types in words; the message continues with it after "allowed".
    """
    if not isinstance(value, kinds):
        raise ArgumentTypeError(f"{name} is {short_text(value)}; allowed {allowed}.")


def items_of_type(name: str, values: Iterable[_T], kind: type[_T], allowed: str) -> tuple[_T, ...]:
    """Items of an iterable argument. Raises ArgumentTypeError for a wrong type of the whole or an item."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ArgumentTypeError(f"{name} is {short_text(values)}; allowed {allowed}.")
    found = tuple(values)
    for item in found:
        if not isinstance(item, kind):
            raise ArgumentTypeError(f"{name} has {short_text(item)}; allowed {allowed}.")
    return found


def short_text(value: object) -> str:
    """Representation of a value, or its type where that is long or not printable."""
    text = repr(value)
    short = len(text) <= MAX_VALUE_LENGTH and text.isprintable()
    return text if short else f"of the type {type(value).__name__}"


class ShortRepr:
    """Base of classes whose repr has at most ten lines, with each field cut short."""

    def __repr__(self) -> str:
        own = ", ".join(f"{name}={_brief(value)}" for name, value in vars(self).items())
        return shorten(f"{type(self).__name__}({own})", MAX_REPR_LENGTH, placeholder=" ...")

    def in_brief(self) -> str:
        """Representation inside the repr of another object."""
        return f"{type(self).__name__}(...)"


_BRIEF = Repr()
_BRIEF.maxstring = MAX_VALUE_LENGTH


def _brief(value: object) -> str:
    return value.in_brief() if isinstance(value, ShortRepr) else _BRIEF.repr(value)
