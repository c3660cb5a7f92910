"""Writes documents of the package's data, which `sailsim.base.atomic.parse_records` reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


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
