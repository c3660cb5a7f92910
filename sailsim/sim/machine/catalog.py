"""Catalogs of TOML data files: shipped names and paths, inheritance, errors of one sentence.

System files, substrates and the analysis's constants are read through a catalog. A system file may also take
a DRAM type, a core with its private caches, or another system's PIM units from other files (`resolve_parts`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sailsim.base.errors import SailsimError
from sailsim.base.hints import did_you_mean
from sailsim.base.quantity import Choice, ChoiceRule, Quantity, QuantityRule, within_64_bits
from sailsim.base.toml_file import read_toml

Cycles = Annotated[Quantity, QuantityRule("cycles", least=0, whole=True)]
Latency = Annotated[Quantity, QuantityRule("ns", above=0, most=1e6)]
"""Latency up to a millisecond, a hundred times that of the slowest DRAM."""
Clock = Annotated[Quantity, QuantityRule("GHz", least=1e-3, most=1e3)]
"""Clock from 1 MHz to 1 THz."""
Entries = Annotated[Quantity, QuantityRule("entries", least=1, whole=True)]
Bandwidth = Annotated[Quantity, QuantityRule("GB/s", above=0)]
BytesPerCycle = Annotated[Quantity, QuantityRule("B/cycle", above=0)]
Share = Annotated[Quantity, QuantityRule("ratio", above=0, most=1)]
Ways = Annotated[Quantity, QuantityRule("ways", least=1, whole=True)]
Line = Annotated[Quantity, QuantityRule("B", least=16, most=256, whole=True)]
Switch = Annotated[Choice, ChoiceRule(True, False)]


Table = dict[str, Any]
Value = int | float | str | bool
"""Value of a field, as a user sets it."""
_Model = TypeVar("_Model", bound=BaseModel)

_MAX_DEPTH = 8


class Catalog:
    """TOML files of one kind: shipped ones by name, others by path."""

    def __init__(
        self,
        kind: str,
        folder: str,
        prepare: Callable[[Table, Path], None] | None = None,
        package: str = "sailsim.sim",
        merge: Callable[[Table, Table], Table] | None = None,
    ) -> None:
        """Create a catalog.

        Args:
            kind: word for a file of this kind, for messages.
            folder: folder of the shipped files in `package`.
            prepare: called with the table and folder of a file that does not ship, before merging.
            package: package that has the folder.
            merge: merges a file's table over that of the file that it extends; default: `merge_tables`.
        """
        self.kind = kind
        self._merge = merge or merge_tables
        self._folder = resources.files(package) / folder
        self._prepare = prepare

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Shipped names in alphabetical order."""
        files = [path.name for path in self._folder.iterdir() if path.name.endswith(".toml")]
        return tuple(sorted(name.removesuffix(".toml") for name in files))

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Shipped name -> the `kind` of its table, empty if it has none."""
        return {name: str(self.read(name).get("kind", "")) for name in self.names}

    def problem(self, name_or_path: str) -> str | None:
        """Reason why a text names no file, as the end of a sentence; None for a shipped name or a path."""
        if name_or_path in self.names or name_or_path.endswith(".toml") or "/" in name_or_path:
            return None
        near = did_you_mean(name_or_path, self.names)
        return f"{name_or_path!r}{near}; allowed are {', '.join(self.names)} or the path of a .toml file"

    def path(self, name_or_path: str) -> Path | None:
        """Path that a text names; None for a shipped name or a text that is neither."""
        if name_or_path in self.names or self.problem(name_or_path):
            return None
        return Path(name_or_path)

    def read(self, name_or_path: str) -> Table:
        """Table of a file, merged over those of the files that it extends. Raises SailsimError."""
        return self._merged(name_or_path, (), None)

    def _merged(self, name_or_path: str, seen: tuple[str, ...], base: Path | None) -> Table:
        if name_or_path in seen or len(seen) >= _MAX_DEPTH:
            raise SailsimError(
                f"{seen[0]}: extends goes {' > '.join((*seen, name_or_path))}; allowed is a chain of at most "
                f"{_MAX_DEPTH} files without a circle."
            )
        path, folder = self._locate(name_or_path, base, seen[-1] if seen else "")
        table = read_toml(path, self.kind)
        if folder is not None and self._prepare is not None:
            self._prepare(table, folder)
        parent = table.pop("extends", None)
        if parent is None:
            return table
        if not isinstance(parent, str):
            raise SailsimError(
                f"{self.kind} file {path}: extends is {parent!r}; allowed is one name or path."
            )
        inherited = self._merged(parent, (*seen, name_or_path), folder)
        merged = self._merge(table, inherited)
        name = inherited.get("name")
        # A file's name as well as its path: results and prices refer to a system by it.
        names = (name,) if isinstance(name, str) and parent not in self.names else ()
        merged["extends"] = (parent, *names, *inherited.get("extends", ()))
        return merged

    def _locate(
        self, name_or_path: str, base: Path | None, by: str
    ) -> tuple[Traversable | Path, Path | None]:
        """File of a name, and the folder for relative paths in it; ``by`` is the file that extends it."""
        if name_or_path in self.names:
            return self._folder / f"{name_or_path}.toml", None
        if problem := self.problem(name_or_path):
            raise SailsimError(f"{f'{self.kind} file {by}: extends' if by else self.kind} is {problem}.")
        path = Path(name_or_path)
        if base is not None and not path.is_absolute():
            path = base / path
        return path, path.parent


class FileReference(NamedTuple):
    """Reference to a file of a catalog: a shipped name or a path, with changed values.

    Texts are "sail-n1", "./mine.toml:llc.slices=16" or "sail-n1:memory.channels=4:pim.clock=2.5".
    """

    file: str
    """Shipped name or path of a file."""
    changes: Mapping[str, Value]
    """Field -> value."""

    @classmethod
    def parse(cls, text: str) -> FileReference:
        """Reference of a text, with the changes in alphabetical order. Fields are checked on reading.

        Raises:
            ValueError: a field is set twice or has no value; the message continues after "system is".
        """
        found = _REFERENCE.fullmatch(text)
        assert found is not None  # the first group takes anything
        file, settings = found.groups()
        changes: dict[str, Value] = {}
        for setting in settings.split(":")[1:]:
            field, _, words = (part.strip() for part in setting.partition("="))
            if not words:
                raise ValueError(f"{text!r}, where {field} has no value; allowed is one, as in llc.slices=16")
            if field in changes:
                raise ValueError(f"{text!r}, which sets {field} twice; allowed is once")
            changes[field] = canonical_number(parse_value(words))
        return cls(file, dict(sorted(changes.items())))

    def __str__(self) -> str:
        return self.file + "".join(f":{field}={format_value(value)}" for field, value in self.changes.items())


_FIELD = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_REFERENCE = re.compile(rf"(.*?)((?::\s*{_FIELD}\s*=[^:=]*)*)", re.DOTALL)


def parse_value(text: str) -> Value:
    """Number or boolean of a text, or the text itself; an integer of more than 64 bits is a float."""
    if text in ("true", "false"):
        return text == "true"
    with suppress(ValueError):
        if within_64_bits(number := int(text)):
            return number
    with suppress(ValueError):
        return float(text)
    return text


def format_value(value: Value) -> str:
    """Text from which `parse_value` reads the value."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def canonical_number(value: Value) -> Value:
    """Value with a float below 2^53 that is whole, such as 2.0, as an integer."""
    whole = isinstance(value, float) and abs(value) < 1 << 53 and value == int(value)
    return int(value) if whole else value


def merge_tables(upper: Table, lower: Table) -> Table:
    """Table ``lower`` with the fields of ``upper`` over its own.

    A quantity is replaced as a whole: a changed value must not keep the source of the old one.
    """
    result = dict(lower)
    for key, value in upper.items():
        below = result.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and "value" not in below:
            result[key] = merge_tables(value, below)
        else:
            result[key] = value
    return result


SYSTEM_FIELD_HINT = "a field of a system file; `sailsim show system NAME --as schema` lists what is"


def validate(
    model: type[_Model], content: Mapping[str, Any], name: str, unknown: str = SYSTEM_FIELD_HINT
) -> _Model:
    """Content of a file as its model. Raises SailsimError with an `error_sentence`."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise SailsimError(error_sentence(name, error, unknown)) from None


def error_sentence(name: str, error: ValidationError, unknown: str = SYSTEM_FIELD_HINT) -> str:
    """First of pydantic's errors as a sentence about the file ``name``.

    An unknown field "is not ``unknown``".
    """
    more = len({field_path(problem) for problem in error.errors(include_url=False)}) - 1
    return f"{name}: {first_problem(error, unknown)}{f' (also wrong: {more} more)' if more else ''}."


_NO_FIELDS = ("function-after", "int", "float", "str", "bool")
"""Parts of the location of a pydantic error that are no fields."""
_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "list_type": "a list",
}
"""Type of a pydantic error -> the type that is allowed."""
_TABLES = {
    "Quantity": 'a table with value, unit, source and kind, such as { value = 2.5, unit = "GHz", '
    'source = "...", kind = "measured" }',
    "Choice": "a table with value, source and kind",
}
"""Model -> the form of its table, for errors."""


def field_path(problem: ErrorDetails) -> str:
    """Dotted path of the field that a pydantic error is about; empty for the whole file."""
    return ".".join(str(part) for part in problem["loc"] if part not in _NO_FIELDS)


def first_problem(error: ValidationError, unknown: str) -> str:
    """First of pydantic's errors: the field, its value and what is allowed.

    An unknown field comes before a missing one of the same table: it may be a misspelling of it.
    """
    problems = error.errors(include_url=False)
    first = problems[0]
    if first["type"] == "missing":
        same_table = (each for each in problems if each["loc"][:-1] == first["loc"][:-1])
        first = next((each for each in same_table if each["type"] == "extra_forbidden"), first)
    field = field_path(first)
    given = first["input"]
    shown = repr(given) if not isinstance(given, dict) else "a table"
    match first["type"]:
        case "missing":
            return f"{field} is missing; it needs a value"
        case "extra_forbidden":
            return f"{field} is not {unknown}"
        case "value_error":
            reason = str(first["ctx"]["error"])
            return f"{field} {reason}" if field else reason
        case "model_type" if not isinstance(given, dict):
            return f"{field} is {shown}; allowed is {_TABLES.get(first['ctx']['class_name'], 'a table')}"
        case "literal_error":
            return f"{field} is {shown}; allowed is {first['ctx']['expected']}"
        case kind if kind in _TYPES:
            return f"{field} is {shown}; allowed is {_types_of(field, problems)}"
        case "section_problem":  # refused by the section's own model (`accelerator`)
            return f"{field}.{first['msg']}"
        case _:
            return f"{field} is {shown}; {first['msg'][0].lower()}{first['msg'][1:]}"


def _types_of(field: str, problems: list[ErrorDetails]) -> str:
    words = [
        _TYPES[each["type"]] for each in problems if field_path(each) == field and each["type"] in _TYPES
    ]
    if {"a whole number", "a number"} <= set(words):
        words.remove("a whole number")
    return " or ".join(dict.fromkeys(words))


# ---- Parts that a system file takes from other files -------------------------------------------------------
# `memory.type` names a file of `dram_types`, with the fields that all channels of that type share. Fields of
# the system file override them. A file that names another type than the file it extends drops the fields of
# the old type (`merge_systems`). `cores.extends` names a file of `core_types` in the same way, and
# `pim.extends` a shipped system, whose PIM units it takes.
DRAM_TYPES = Catalog("DRAM type", "data/dram_types")
_CORES = Catalog("core type", "data/core_types")
_TYPE_FIELDS = ("clock", "width", "banks", "row", "timing", "peak_bandwidth")
"""Fields of `memory` that its type sets, and the stated peak, which checks them."""
_CORE_SECTIONS = ("cores", "l1i", "l1d", "l2", "sources")


def _memory_type(table: Table) -> object:
    """Value of `memory.type` in a table; None if it has none."""
    memory = table.get("memory")
    choice = memory.get("type") if isinstance(memory, dict) else None
    return choice.get("value") if isinstance(choice, dict) else None


def merge_systems(upper: Table, lower: Table) -> Table:
    """Table of a system file merged over that of the file it extends.

    If ``upper`` names another type of memory, the fields of the old type are dropped.
    """
    dram_type = _memory_type(upper)
    if dram_type is not None and dram_type != _memory_type(lower) and isinstance(lower.get("memory"), dict):
        memory = {key: value for key, value in lower["memory"].items() if key not in _TYPE_FIELDS}
        lower = lower | {"memory": memory}
    return merge_tables(upper, lower)


def resolve_parts(table: Table, systems: Catalog, file: str) -> Table:
    """Table of a system with the parts from other files; ``file`` is its file, for messages.

    Raises:
        SailsimError: `cores.extends` or `pim.extends` is no shipped core type or system with PIM units.
    """
    if (name := _extended_by(table, "pim")) is not None:
        other = systems.read(name) if name in systems.names else {}
        if "pim" not in other or _extended_by(other, "pim") is not None:
            pims = {each: systems.read(each).get("pim", {"extends": 0}) for each in systems.names}
            allowed = ", ".join(each for each, pim in pims.items() if "extends" not in pim)
            raise SailsimError(f"{file}: pim.extends is {name!r}; allowed are {allowed}.")
        table = _extend_section(table, "pim", {"pim": other["pim"], "sources": other["sources"]})
    if (name := _extended_by(table, "cores")) is not None:
        if name not in _CORES.names:
            raise SailsimError(f"{file}: cores.extends is {name!r}; allowed are {', '.join(_CORES.names)}.")
        core = _CORES.read(name)
        table = _extend_section(table, "cores", {key: core[key] for key in _CORE_SECTIONS})
    dram_type = _memory_type(table)
    if isinstance(dram_type, str) and dram_type in DRAM_TYPES.names:
        dram = DRAM_TYPES.read(dram_type)
        table = merge_tables(table, {key: dram[key] for key in ("memory", "sources")})
    return table


def _extended_by(table: Table, section: str) -> Any:
    own = table.get(section)
    return own.get("extends") if isinstance(own, dict) else None


def _extend_section(table: Table, section: str, lower: Table) -> Table:
    """Table merged over ``lower``, without the `extends` of a section."""
    own = {key: value for key, value in table[section].items() if key != "extends"}
    return merge_tables(table | {section: own}, lower)
