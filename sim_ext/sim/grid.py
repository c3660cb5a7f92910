"""Sweeps as data: every combination of lists of values, given in a preset file or on the command line."""

import itertools
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.resources import files
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.sim.point import Point

_FIELDS = tuple(f.name for f in fields(Point))
_LONGEST_RANGE = 10_000
_LARGEST_SWEEP = 100_000


def expand(grids: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The points of some grids, each once, in order.

    A grid maps fields of `Point` to a value or to a list of values; it stands for every combination of them,
    the last field varying fastest.

    Raises:
        SailsimError: a field that a point does not have, an empty list, a value that a point refuses, or
            more than 100,000 combinations.
    """
    points: dict[Point, None] = {}
    combinations = 0
    for grid in grids:
        for name, values in grid.items():
            if name not in _FIELDS:
                raise SailsimError(f"{name} is not a field of a point; allowed are {', '.join(_FIELDS)}.")
            if isinstance(values, list | tuple) and not values:
                raise SailsimError(f"{name} is an empty list; allowed is at least one value.")
        axes = [values if isinstance(values, list | tuple) else [values] for values in grid.values()]
        combinations += math.prod(len(axis) for axis in axes)
        if combinations > _LARGEST_SWEEP:
            raise SailsimError(
                f"the sweep has {combinations} points; allowed are {_LARGEST_SWEEP} at most in one folder."
            )
        for combination in itertools.product(*axes):
            points[Point(**dict(zip(grid, combination, strict=True)))] = None
    return list(points)


def parse_numbers(field: str, text: str, words: Mapping[str, int] | None = None) -> list[int]:
    """``"2:8"`` (both ends in), ``"1,8,32"``, or a mix of them, as whole numbers in that order.

    `words` stand for the numbers that they map to.

    Raises:
        SailsimError: anything else; it names `field`.
    """
    numbers: list[int] = []
    for part in text.split(","):
        if words is not None and part.strip() in words:
            numbers.append(words[part.strip()])
            continue
        found = re.fullmatch(r"\s*(\d{1,9})\s*(?::\s*(\d{1,9})\s*)?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not 0 <= last - first < _LONGEST_RANGE:
            raise SailsimError(
                f"{field} is {text!r}; allowed are whole numbers and ranges, such as 4 or 1,8,32 or 2:8"
                f"{''.join(f', and {word}' for word in words or ())}."
            )
        numbers.extend(range(first, last + 1))
    return list(dict.fromkeys(numbers))


def preset_names() -> list[str]:
    """Presets that ship, in alphabetical order."""
    folder = files("sailsim.sim") / "presets"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def load_preset(name: str) -> list[Point]:
    """The points of a preset that ships.

    Raises:
        SailsimError: no such preset.
    """
    if name not in preset_names():
        raise SailsimError(f"preset is {name!r}; allowed are {', '.join(preset_names())}.")
    text = (files("sailsim.sim") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    return expand(tomllib.loads(text)["grid"])
