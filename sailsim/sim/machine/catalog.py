"""Data files of one kind: names that ship and paths, inheritance, errors of one sentence.

Machines (`files`), substrates (`substrate`) and the analysis's constants are read by it. A system file takes
parts from elsewhere beside what it extends (`completed`): a type of DRAM, a core with its private caches,
another machine's PIM units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sailsim.base.errors import SailsimError
from sailsim.base.hints import did_you_mean
from sailsim.base.quantity import Choice, ChoiceRule, Quantity, QuantityRule
from sailsim.base.toml_file import read_toml

Cycles = Annotated[Quantity, QuantityRule("cycles", least=0, whole=True)]
Latency = Annotated[Quantity, QuantityRule("ns", above=0, most=1e6)]
"""Up to a millisecond, a hundred times what the slowest DRAM has."""
Clock = Annotated[Quantity, QuantityRule("GHz", least=1e-3, most=1e3)]
"""From 1 MHz to 1 THz."""
Entries = Annotated[Quantity, QuantityRule("entries", least=1, whole=True)]
Bandwidth = Annotated[Quantity, QuantityRule("GB/s", above=0)]
BytesPerCycle = Annotated[Quantity, QuantityRule("B/cycle", above=0)]
Share = Annotated[Quantity, QuantityRule("ratio", above=0, most=1)]
Ways = Annotated[Quantity, QuantityRule("ways", least=1, whole=True)]
Line = Annotated[Quantity, QuantityRule("B", least=16, most=256, whole=True)]
Switch = Annotated[Choice, ChoiceRule(True, False)]


Table = dict[str, Any]
M = TypeVar("M", bound=BaseModel)

_MAX_DEPTH = 8


class Catalog:
    """The TOML files of one kind: those that ship, by name, and anybody's, by path."""

    def __init__(
        self,
        kind: str,
        folder: str,
        prepare: Callable[[Table, Path], None] | None = None,
        package: str = "sailsim.sim",
        merge: Callable[[Table, Table], Table] | None = None,
    ) -> None:
        """A shelf.

        Args:
            kind: what a file is, in one word, for errors.
            folder: of those that ship, in `package`.
            prepare: is shown the table of a file that does not ship, and its folder, before it is merged.
            package: where the folder lies.
            merge: a file's table over that of what it extends; `over` unless a kind has more to it.
        """
        self.kind = kind
        self._merge = merge or over
        self._folder = resources.files(package) / folder
        self._prepare = prepare

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What ships, in alphabetical order."""
        files = [path.name for path in self._folder.iterdir() if path.name.endswith(".toml")]
        return tuple(sorted(name.removesuffix(".toml") for name in files))

    @cached_property
    def kinds(self) -> dict[str, str]:
        """What ships -> what its table says as `kind`, empty where it says none."""
        return {name: str(self.read(name).get("kind", "")) for name in self.names}

    def problem(self, name_or_path: str) -> str | None:
        """Why a text names no file, as the end of a sentence; None for a shipped name and any path."""
        if name_or_path in self.names or name_or_path.endswith(".toml") or "/" in name_or_path:
            return None
        near = did_you_mean(name_or_path, self.names)
        return f"{name_or_path!r}{near}; allowed are {', '.join(self.names)} or the path of a .toml file"

    def path(self, name_or_path: str) -> Path | None:
        """The path that a text names; None for a shipped name, and for what is neither."""
        if name_or_path in self.names or self.problem(name_or_path):
            return None
        return Path(name_or_path)

    def read(self, name_or_path: str) -> Table:
        """The file's table over those of the files that it extends.

        Raises:
            SailsimError: one sentence that names the file.
        """
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
        # A file's name as well as its path: results and prices know a machine by it.
        named = (name,) if isinstance(name, str) and parent not in self.names else ()
        merged["extends"] = (parent, *named, *inherited.get("extends", ()))
        return merged

    def _locate(
        self, name_or_path: str, base: Path | None, by: str
    ) -> tuple[Traversable | Path, Path | None]:
        """The file behind a name, and the folder that its own paths are relative to.

        `by` is the file that extends it, if one does.
        """
        if name_or_path in self.names:
            return self._folder / f"{name_or_path}.toml", None
        if problem := self.problem(name_or_path):
            raise SailsimError(f"{f'{self.kind} file {by}: extends' if by else self.kind} is {problem}.")
        path = Path(name_or_path)
        if base is not None and not path.is_absolute():
            path = base / path
        return path, path.parent


def over(upper: Table, lower: Table) -> Table:
    """`lower` with the fields of `upper` in their place.

    A quantity is replaced as a whole: a changed value must not keep the source of the old one.
    """
    result = dict(lower)
    for key, value in upper.items():
        below = result.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and "value" not in below:
            result[key] = over(value, below)
        else:
            result[key] = value
    return result


OF_A_SYSTEM = "a field of a system file; `sailsim show system NAME --as schema` lists what is"


def validated(model: type[M], content: Mapping[str, Any], name: str, unknown: str = OF_A_SYSTEM) -> M:
    """What a file holds as its model. Raises SailsimError as `sentence` has it."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise SailsimError(sentence(name, error, unknown)) from None


def sentence(name: str, error: ValidationError, unknown: str = OF_A_SYSTEM) -> str:
    """The first of pydantic's errors as one sentence about the file `name`.

    `unknown` says what a field that the model does not have is not.
    """
    more = len({field_of(problem) for problem in error.errors(include_url=False)}) - 1
    return f"{name}: {first_problem(error, unknown)}{f' (wrong beside it: {more} more)' if more else ''}."


_NO_FIELDS = ("function-after", "int", "float", "str", "bool")
"""What pydantic says of its own ways in the place of an error."""
_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "list_type": "a list",
}
"""What each of pydantic's complaints about a type asks for."""
_TABLES = {
    "Quantity": 'a table with value, unit, source and kind, such as { value = 2.5, unit = "GHz", '
    'source = "...", kind = "measured" }',
    "Choice": "a table with value, source and kind",
}
"""What a sourced value is, where a file has something else."""


def field_of(problem: ErrorDetails) -> str:
    """The dotted path of what one of pydantic's errors is about; empty for the whole."""
    return ".".join(str(part) for part in problem["loc"] if part not in _NO_FIELDS)


def first_problem(error: ValidationError, unknown: str) -> str:
    """The first of pydantic's errors: the field, what it is and what is allowed.

    A field that there is not comes before one that its table lacks: it may be the same, misspelt.
    """
    problems = error.errors(include_url=False)
    first = problems[0]
    if first["type"] == "missing":
        beside = (each for each in problems if each["loc"][:-1] == first["loc"][:-1])
        first = next((each for each in beside if each["type"] == "extra_forbidden"), first)
    field = field_of(first)
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
        case "section_problem":  # a section's own model has refused it (`accelerator`)
            return f"{field}.{first['msg']}"
        case _:
            return f"{field} is {shown}; {first['msg'][0].lower()}{first['msg'][1:]}"


def _types_of(field: str, problems: list[ErrorDetails]) -> str:
    """All that a field of several types may be."""
    words = [_TYPES[each["type"]] for each in problems if field_of(each) == field and each["type"] in _TYPES]
    if {"a whole number", "a number"} <= set(words):
        words.remove("a whole number")
    return " or ".join(dict.fromkeys(words))


# ---- What a system file takes from elsewhere --------------------------------------------------------------
# A type of DRAM (`memory.type`) is a file of `dram_types`: what all channels of it have in common. Its fields
# stand below those of the file that names it; a file that names another type than what it extends has nothing
# of the old one (`over_machine`). `cores.extends` names a core of `core_types` in the same way; `pim.extends`
# a shipped machine whose PIM units stand beside this one's caches.
DRAM_TYPES = Catalog("DRAM type", "data/dram_types")
_CORES = Catalog("core type", "data/core_types")
_OF_TYPE = ("clock", "width", "banks", "row", "timing", "peak_bandwidth")
"""Of `memory`: what a type decides, and the peak that a file may state to check it."""
_OF_CORES = ("cores", "l1i", "l1d", "l2", "sources")


def _type_of(table: Table) -> object:
    """The memory's type that a table states; None where it states none."""
    memory = table.get("memory")
    choice = memory.get("type") if isinstance(memory, dict) else None
    return choice.get("value") if isinstance(choice, dict) else None


def over_machine(upper: Table, lower: Table) -> Table:
    """`over` of a system file and what it extends, whose clock and times go where the file names another type
    of memory: times of DDR4 say nothing about HBM."""
    named = _type_of(upper)
    if named is not None and named != _type_of(lower) and isinstance(lower.get("memory"), dict):
        kept = {key: value for key, value in lower["memory"].items() if key not in _OF_TYPE}
        lower = lower | {"memory": kept}
    return over(upper, lower)


def completed(table: Table, shelf: Catalog, where: str) -> Table:
    """A system's table with all that it takes from elsewhere; `where` is its file, for errors.

    Raises:
        SailsimError: it names a core or a machine with PIM units that does not ship.
    """
    named = _named_by(table, "pim")
    if named is not None:
        other = shelf.read(named) if named in shelf.names else {}
        if "pim" not in other or _named_by(other, "pim") is not None:
            having = [
                name for name in shelf.names if "extends" not in shelf.read(name).get("pim", {"extends": 0})
            ]
            raise SailsimError(f"{where}: pim.extends is {named!r}; allowed are {', '.join(having)}.")
        table = _over_named(table, "pim", {"pim": other["pim"], "sources": other["sources"]})
    named = _named_by(table, "cores")
    if named is not None:
        if named not in _CORES.names:
            raise SailsimError(f"{where}: cores.extends is {named!r}; allowed are {', '.join(_CORES.names)}.")
        core = _CORES.read(named)
        table = _over_named(table, "cores", {key: core[key] for key in _OF_CORES})
    named = _type_of(table)
    if isinstance(named, str) and named in DRAM_TYPES.names:
        dram = DRAM_TYPES.read(named)
        table = over(table, {key: dram[key] for key in ("memory", "sources")})
    return table


def _named_by(table: Table, section: str) -> Any:
    """What a section of a table extends; None where it does not."""
    own = table.get(section)
    return own.get("extends") if isinstance(own, dict) else None


def _over_named(table: Table, section: str, lower: Table) -> Table:
    """The table over what one of its sections has named."""
    own = {key: value for key, value in table[section].items() if key != "extends"}
    return over(table | {section: own}, lower)
