"""A plan as a TOML file; docs/studies.md says what is in it. The sweeps that ship are such files.

Paths in a file are relative to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.base.input_file import read_bytes
from sailsim.base.quantity import is_number
from sailsim.base.toml_file import MAX_BYTES, parse_toml
from sailsim.sim.files import Value, chosen_system
from sailsim.sim.plan.plan import (
    LARGEST_PLAN,
    POINT_FIELDS,
    RANGE,
    Axis,
    Part,
    Plan,
    axis_of,
    is_whole,
    ranged,
    shown,
)
from sailsim.sim.plan.sample import METHODS, Sample
from sailsim.sim.point import Point
from sailsim.sim.substrate import SubstrateChoice
from sailsim.workloads.model import model_names


def expand(grids: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The points of some grids, each once, in order.

    A grid maps fields to a value or to a list of values, as the axes of a plan have them; it stands for every
    combination of them, the last field varying fastest.

    Raises:
        SailsimError: a field that a point does not have, an empty list, a value that a point refuses, or
            more than 100,000 combinations.
    """
    return Plan(tuple(_grid(grid) for grid in grids)).points


def _grid(grid: Mapping[str, Any]) -> Part:
    lists = {name: each if isinstance(each, list | tuple) else [each] for name, each in grid.items()}
    return Part({}, tuple(axis_of(name, values) for name, values in lists.items()))


LISTS = ("system", "model", "substrate")
"""Axes that may stand at the top of a plan."""
PART = (*LISTS, "fixed", "axes", "zip", "sample")
"""Keys of a plan with one part, and of each `[[part]]`."""
AROUND = ("title", "beside")
BESIDE_PARTS = (*AROUND, "fixed", "part")
SAMPLE = ("method", "points", "seed")
_GRID = "grid"
_LONGEST_TEXT = 4096
_DEEPEST = 8
_PATHS = ("model", "weights", "activations")


def read_plan(path: str | Path) -> tuple[Plan, str]:
    """A plan and its text, read once: the file may change meanwhile.

    Raises:
        SailsimError: one sentence that names the file, the key and what is allowed.
    """
    path = Path(path)
    data = read_bytes(path, "plan file", MAX_BYTES, "a TOML file")
    plan = _plan_of(parse_toml(data, f"plan file {path}"), str(path), path.parent)
    return plan, data.decode()


def parse_plan(text: str, file: str, folder: Path | None = None) -> Plan:
    """The plan of a text; `folder` is what its paths are relative to. Raises SailsimError as `read_plan`."""
    return _plan_of(parse_toml(text.encode(errors="surrogatepass"), f"plan {file}"), file, folder)


def _plan_of(table: Mapping[str, Any], file: str, folder: Path | None) -> Plan:
    try:
        return _Reader(folder).plan(table, file)
    except SailsimError as error:
        raise SailsimError(f"{file}: {error}") from None


def preset_names() -> list[str]:
    """Plans that ship, in alphabetical order."""
    folder = files("sailsim.sim") / "presets"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def preset_plan(name: str) -> Plan:
    """A plan that ships.

    Raises:
        SailsimError: no such plan.
    """
    if name not in preset_names():
        raise SailsimError(f"preset is {name!r}; allowed are {', '.join(preset_names())}.")
    text = (files("sailsim.sim") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    return parse_plan(text, f"preset {name}")


class _Reader:
    """What a file says, checked; errors name the key."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def plan(self, table: Mapping[str, Any], file: str) -> Plan:
        allowed = BESIDE_PARTS if "part" in table else (*AROUND, *PART)
        _check_keys("", table, allowed, " beside [[part]]" if "part" in table else "")
        title = table.get("title", "")
        if not isinstance(title, str):
            raise SailsimError(f"title is {shown(title)}; allowed is a text.")
        beside = tuple(self._moved("beside", name) for name in _texts("beside", table.get("beside", [])))
        fixed = dict(self._values("fixed", table.get("fixed", {})))
        if "part" not in table:
            return Plan((self._part("", table, fixed),), beside, title, file)
        parts = table["part"]
        if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
            raise SailsimError("part is no list of tables; allowed are [[part]] tables.")
        found = []
        for number, part in enumerate(parts, 1):
            where = f"part {number}, "
            _check_keys(where, part, PART)
            own = fixed | dict(self._values(f"{where}fixed", part.get("fixed", {})))
            found.append(self._part(where, part, own))
        return Plan(tuple(found), beside, title, file)

    def _part(self, where: str, table: Mapping[str, Any], fixed: Mapping[str, Value]) -> Part:
        axes = []
        for name in LISTS:
            if name in table:
                texts = _texts(f"{where}{name}", table[name])
                axes.append(axis_of(name, [self._moved(name, text) for text in texts]))
        groups = table.get("zip", [])
        if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
            raise SailsimError(f"{where}zip is {shown(groups)}; allowed are [[zip]] tables.")
        axes += [self._together(f"{where}zip {i}", group) for i, group in enumerate(groups, 1)]
        system = _system(fixed, axes)
        for key, value in _flat(f"{where}axes", table.get("axes", {})):
            name = self._field(key)
            if isinstance(value, dict):
                axes.append(ranged(name, value, is_whole(name, system)))
            else:
                each = value if isinstance(value, list) else [value]
                axes.append(axis_of(name, [self._value(f"{where}axes", name, one) for one in each]))
        sample = _sample(f"{where}sample", table.get("sample", {}))
        return Part(fixed, tuple(axes), sample)

    def _together(self, where: str, group: Mapping[str, Any]) -> Axis:
        """The axis of a `[[zip]]` table: lists of one length."""
        columns: dict[str, list[Value]] = {}
        for key, value in _flat(where, group):
            if not isinstance(value, list) or not value:
                raise SailsimError(f"{where}: {key} is {shown(value)}; allowed is a list of values.")
            name = self._field(key)
            columns[name] = [self._value(where, name, one) for one in value]
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) != 1:
            said = ", ".join(f"{name} {length}" for name, length in lengths.items()) or "no field"
            raise SailsimError(f"{where} has {said}; allowed are lists of one length.")
        rows = zip(*columns.values(), strict=True)
        return Axis(tuple(columns), tuple(dict.fromkeys(rows)))

    def _values(self, where: str, table: Any) -> Iterator[tuple[str, Value]]:
        """What is fixed."""
        for key, value in _flat(where, table):
            name = self._field(key)
            yield name, self._value(where, name, value)

    def _field(self, name: str) -> str:
        """An axis's name, whose substrate may be a file."""
        substrate, colon, operation = name.rpartition(":")
        return f"{self._moved('substrate', substrate)}:{operation}" if colon else name

    def _value(self, where: str, name: str, value: Any) -> Value:
        if isinstance(value, bool) or is_number(value):
            return value
        if isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable():
            return self._moved(name, value)
        raise SailsimError(
            f"{where}: {name} is {shown(value)}; allowed are finite numbers, texts, true and false."
        )

    def _moved(self, name: str, text: str) -> str:
        """A value that may be a path, as it is seen from here."""
        if self._folder is None or not text:
            return text
        if name in ("system", "beside"):
            choice = chosen_system(text)
            return str(choice._replace(file=self._from_here(choice.file, False)))
        if name in ("substrate", "pim.substrate"):
            try:
                named = SubstrateChoice.parse(text)
            except ValueError:
                return text  # the point says what is wrong
            return str(named._replace(file=self._from_here(named.file, False)))
        if name in _PATHS:
            every = name == "activations" or (name == "model" and text not in model_names())
            return self._from_here(text, every)
        return text

    def _from_here(self, text: str, is_path: bool) -> str:
        if not is_path and not text.endswith(".toml") and "/" not in text:
            return text
        assert self._folder is not None
        found = os.path.normpath(self._folder / text)
        return found if "/" in found or found.endswith(".toml") or is_path else f"./{found}"


def _check_keys(where: str, table: Mapping[str, Any], allowed: tuple[str, ...], beside: str = "") -> None:
    unknown = next((key for key in table if key not in allowed), None)
    if unknown is not None:
        field = unknown in POINT_FIELDS and "axes" in allowed
        raise SailsimError(
            f"{where}{shown(unknown)} is no key of a plan{beside}; allowed are {', '.join(allowed)}"
            f"{f', and {unknown} in axes or fixed' if field else ''}."
        )


def _texts(where: str, value: Any) -> list[str]:
    """A list of texts, or one."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list):
        raise SailsimError(f"{where} is {shown(value)}; allowed is a list of texts.")
    for text in found:
        if not isinstance(text, str) or not text or len(text) > _LONGEST_TEXT or not text.isprintable():
            raise SailsimError(f"{where} has {shown(text)}; allowed are texts that are not empty.")
    return found


def _flat(where: str, table: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The fields of a table by their dotted names: TOML reads `llc.slices = 1` as a table in a table."""
    if not isinstance(table, dict):
        raise SailsimError(f"{where} is {shown(table)}; allowed is a table of fields.")
    for key, value in table.items():
        name = f"{prefix}{key}"
        if not key.isprintable() or len(name) > _LONGEST_TEXT or depth > _DEEPEST:
            raise SailsimError(f"{where} has {shown(name)}; allowed are names of fields.")
        if isinstance(value, dict) and not (value and all(inner in RANGE for inner in value)):
            if not value or any(inner in RANGE for inner in value):
                unknown = next((inner for inner in value if inner not in RANGE), "")
                raise SailsimError(
                    f"{where}: {name} is a table with {shown(unknown)}; allowed in a range are "
                    f"{', '.join(RANGE)}."
                )
            yield from _flat(where, value, f"{name}.", depth + 1)
        else:
            yield name, value


def _sample(where: str, table: Any) -> Sample | None:
    if not isinstance(table, dict):
        raise SailsimError(f"{where} is {shown(table)}; allowed is a table.")
    _check_keys(f"{where}: ", table, SAMPLE)
    method = table.get("method", _GRID)
    if method == _GRID:
        other = next((key for key in table if key != "method"), None)
        if other is not None:
            raise SailsimError(
                f"{where}: {other} stands beside method 'grid'; allowed beside it are {', '.join(METHODS)}."
            )
        return None
    if method not in METHODS:
        raise SailsimError(f"{where}: method is {shown(method)}; allowed are {', '.join((_GRID, *METHODS))}.")
    whole = {"points": (1, LARGEST_PLAN), "seed": (0, (1 << 63) - 1)}
    for key, (least, most) in whole.items():
        value = table.get(key, 0)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise SailsimError(
                f"{where}: {key} is {shown(value)}; allowed is a whole number {least}..{most}."
            )
    return Sample(method, table["points"], table.get("seed", 0))


def _system(fixed: Mapping[str, Value], axes: list[Axis]) -> str:
    """The machine whose fields a part's axes are, or one of them."""
    return Part(fixed, tuple(axes)).systems[0]
