"""TOML files of anybody's: one reader, which every kind of file goes through.

A file may be huge, of another encoding, or nested deeper than anything can follow; each ends in a sentence.
"""

import tomllib
from importlib.resources.abc import Traversable
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.base.input_file import read_bytes
from sailsim.base.quantity import within_64_bits

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
    data = read_bytes(path, f"{kind} file", MAX_BYTES, allowed)
    return parse_toml(data, f"{kind} file {path}", allowed)


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

    def check(name: str, value: Any, depth: int) -> None:
        if type(value) is int and not within_64_bits(value):
            raise SailsimError(
                f"{named} has {name!r} as a whole number of more than 64 bits; allowed are those of TOML."
            )
        if isinstance(value, dict | list) and depth == MAX_DEPTH:
            raise too_deep
        if isinstance(value, dict):
            for key, each in value.items():
                check(f"{name}.{key}" if name else key, each, depth + 1)
        if isinstance(value, list):
            for each in value:
                check(name, each, depth + 1)

    check("", table, 0)
    return table
