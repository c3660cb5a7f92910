"""What a function of the front door was given in the place of what it takes; values shown shortly."""

from collections.abc import Iterable
from os import PathLike
from reprlib import Repr
from textwrap import shorten
from typing import Any, TypeVar

from sailsim.base.errors import ArgumentTypeError

LONGEST = 60
"""Letters of a value that a sentence has room for."""
LONGEST_REPR = 790
"""Letters of what an interactive session shows of an object: ten lines of a terminal."""
A_PATH = (str, PathLike)
"""What is the name or the path of something."""

_T = TypeVar("_T")


def check_type(name: str, value: object, kinds: type[Any] | tuple[type[Any], ...], allowed: str) -> None:
    """Raise ArgumentTypeError unless an argument is of one of some types; ``allowed`` says which in words,
    after "allowed"."""
    if not isinstance(value, kinds):
        raise ArgumentTypeError(f"{name} is {shown(value)}; allowed {allowed}.")


def items_of(name: str, values: Iterable[_T], kind: type[_T], allowed: str) -> tuple[_T, ...]:
    """The items of an argument. Raises ArgumentTypeError as `check_type`, for the whole and for an item."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ArgumentTypeError(f"{name} is {shown(values)}; allowed {allowed}.")
    found = tuple(values)
    for item in found:
        if not isinstance(item, kind):
            raise ArgumentTypeError(f"{name} has {shown(item)}; allowed {allowed}.")
    return found


def shown(value: object) -> str:
    """A value, or its type where it is long."""
    text = repr(value)
    short = len(text) <= LONGEST and text.isprintable()
    return text if short else f"of the type {type(value).__name__}"


class ShortRepr:
    """Shows at most ten lines of itself: its fields, and of each of them the beginning."""

    def __repr__(self) -> str:
        own = ", ".join(f"{name}={_BRIEF.repr(value)}" for name, value in vars(self).items())
        return shorten(f"{type(self).__name__}({own})", LONGEST_REPR, placeholder=" ...")

    def in_brief(self) -> str:
        """What another's repr shows of it."""
        return f"{type(self).__name__}(...)"


class _ShortRepr(Repr):
    def repr_instance(self, x: object, level: int) -> str:
        return x.in_brief() if isinstance(x, ShortRepr) else super().repr_instance(x, level)


_BRIEF = _ShortRepr()
_BRIEF.maxstring = LONGEST
