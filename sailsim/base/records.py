"""Documents of many records as text with one record a line, so that a change of one shows as one line.

Each line is a JSON object with one key, which says where its value stands in the document: ``name`` is a
value of the document itself, ``name[]`` the next item of a list, ``name.key`` an entry of a mapping.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable
from typing import Any

from sailsim.base.errors import SailsimError


def to_lines(document: Mapping[str, Any]) -> str:
    """The text of a document whose own keys are words; what stands below them is any JSON."""
    return "".join(json.dumps({where: value}, allow_nan=False) + "\n" for where, value in _records(document))


def _records(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if not name.isidentifier():
            raise ValueError(f"{name!r} is no name of a record")
        if isinstance(value, list) and value:
            yield from ((f"{name}[]", item) for item in value)
        elif isinstance(value, dict) and value and all(isinstance(each, dict) for each in value.values()):
            yield from ((f"{name}.{key}", each) for key, each in value.items())
        else:
            yield name, value


def from_lines(text: str, path: object = "the text") -> dict[str, Any]:
    """The document of a text of `to_lines`. Raises SailsimError with ``path`` and the line that is none."""
    document: dict[str, Any] = {}
    for at, line in enumerate(text.splitlines(), 1):
        try:
            ((where, value),) = json.loads(line).items()
            name, dot, key = where.partition(".")
            if dot:
                document.setdefault(name, {})[key] = value
            elif where.endswith("[]"):
                document.setdefault(where[:-2], []).append(value)
            else:
                document[name] = value
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            raise SailsimError(
                f"{path}, line {at}, is no record; allowed is a JSON object with one key."
            ) from error
    return document


def read_records(path: Traversable) -> dict[str, Any]:
    """The document of a file. Raises SailsimError as `from_lines`, and OSError."""
    return from_lines(path.read_text("utf-8"), path)
