"""Reader of TOML files of any origin.

A file that is too large, of another encoding or too deeply nested is an error of one sentence.
"""

from importlib.resources.abc import Traversable
from typing import Any

import tomli

from sailsim.base.errors import SailsimError
from sailsim.base.input_file import read_bytes
from sailsim.base.quantity import within_64_bits

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
"""Deepest nesting of tables and arrays; shipped files have at most four levels."""


def read_toml(path: Traversable, kind: str, allowed: str = "a TOML file") -> dict[str, Any]:
    """Table of a TOML file.

    Args:
        path: path of the file.
        kind: kind of the file in a word or two, for messages.
        allowed: allowed files, for messages.

    Raises:
        SailsimError: one sentence that names the file.
    """
    return parse_toml(read_bytes(path, f"{kind} file", MAX_BYTES, allowed), f"{kind} file {path}", allowed)


def parse_toml(data: bytes, name: str, allowed: str = "a TOML file") -> dict[str, Any]:
    """Table of a TOML file's content; ``name`` names the file in the SailsimError for a malformed one."""
    too_deep = SailsimError(
        f"{name} nests tables or arrays more than {MAX_DEPTH} deep; allowed is {allowed} with less."
    )
    try:
        table = tomli.loads(data.decode())
    except ValueError as error:  # of encoding, of TOML, of a number with too many digits
        raise SailsimError(f"{name} is not TOML: {error}; allowed is {allowed}.") from None
    except RecursionError:
        raise too_deep from None

    inner: list[tuple[str, Any, int]] = [("", table, 0)]
    for key, value, depth in inner:
        if type(value) is int and not within_64_bits(value):
            raise SailsimError(
                f"{name} has {key!r} as a whole number of more than 64 bits; allowed are those of TOML."
            )
        if isinstance(value, dict | list) and depth == MAX_DEPTH:
            raise too_deep
        if isinstance(value, dict):
            inner += [(f"{key}.{own}" if key else own, each, depth + 1) for own, each in value.items()]
        if isinstance(value, list):
            inner += [(key, each, depth + 1) for each in value]
    return table
