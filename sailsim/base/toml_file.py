"""TOML files of anybody's: one reader, which every kind of file goes through.

A file may be huge, of another encoding, or nested deeper than anything can follow; each ends in a sentence.
"""

import tomllib
from importlib.resources.abc import Traversable
from typing import Any

from sailsim.base.errors import SailsimError

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
"""Tables and arrays inside each other: no file of ours has more than four."""


def read_toml(path: Traversable, kind: str, allowed: str = "a TOML file") -> dict[str, Any]:
    """The table of a file.

    Args:
        path: of the file.
        kind: what it is, in a word or two, for errors.
        allowed: what may stand there, for errors.

    Raises:
        SailsimError: one sentence that names the file.
    """
    return parse_toml(read_bytes(path, kind, allowed), f"{kind} file {path}", allowed)


def read_bytes(path: Traversable, kind: str, allowed: str = "a TOML file") -> bytes:
    """A file's content, for `parse_toml`. Arguments and errors are those of `read_toml`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SailsimError(
            f"{kind} file {path} cannot be read: {error.strerror}; allowed is {allowed}."
        ) from None
    if len(data) > MAX_BYTES:
        raise SailsimError(f"{kind} file {path} is larger than {MAX_BYTES} bytes, which none may be.")
    return data


def parse_toml(data: bytes, named: str, allowed: str = "a TOML file") -> dict[str, Any]:
    """The table of a file's content. Raises SailsimError with what the file is called."""
    too_deep = SailsimError(
        f"{named} nests tables or arrays more than {MAX_DEPTH} deep; allowed is {allowed} with less."
    )
    try:
        table = tomllib.loads(data.decode())
    except ValueError as error:  # of encoding, of TOML, of a number with too many digits
        raise SailsimError(f"{named} is not TOML: {error}; allowed is {allowed}.") from None
    except RecursionError:
        raise too_deep from None
    level: list[Any] = [table]
    for _ in range(MAX_DEPTH):
        level = [each for outer in level for each in _inner(outer)]
    if level:
        raise too_deep
    return table


def _inner(value: Any) -> list[Any]:
    """The tables and arrays directly inside a value."""
    values = value.values() if isinstance(value, dict) else value
    return [each for each in values if isinstance(each, dict | list)]
