"""System files, read, varied and written: errors name the field, the value and what is allowed.

A varied machine is written as a file that extends the one it varies. `load_system` of that file gives an
equal machine, so every point of a study can be run again by its file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from sailsim.base.arguments import A_PATH, check_type, shown
from sailsim.base.atomic import write_whole
from sailsim.base.errors import ImpossibleMachineError, SailsimError
from sailsim.base.hints import nearest
from sailsim.base.quantity import Choice, Frozen, Quantity, is_number, within_64_bits
from sailsim.sim.machine.catalog import (
    DRAM_TYPES,
    Catalog,
    Table,
    completed,
    field_of,
    over_machine,
    sentence,
    validated,
)
from sailsim.sim.machine.pim import AUTO
from sailsim.sim.machine.substrate import SubstrateReference, substrate_path
from sailsim.sim.machine.system import Gpu, System

Value = int | float | str | bool
Leaf = Quantity | Choice
_M = TypeVar("_M", bound=System | Gpu)

A_VARIATION = "a variation"
"""The note of a value that `vary` has changed: its range holds the old value too, and is not its own."""
_SOURCED = (Quantity, Choice)


def leaves(machine: Frozen, prefix: str = "") -> dict[str, Leaf]:
    """Every sourced value of a machine by its dotted path (`pim.clock`), in the order of the file."""
    return {path: value for path, value in values(machine, prefix) if isinstance(value, _SOURCED)}


def leaves_and_words(machine: Frozen) -> dict[str, Leaf | str]:
    """`leaves`, and beside them an NBW that is each tensor's own: a word without a source."""
    return leaves(machine) | {path: value for path, value in values(machine) if value == AUTO}


def value_of(said: Leaf | str) -> Value:
    """What such a field says."""
    return said if isinstance(said, str) else said.value


def values(section: Frozen, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a section and of those in it by its dotted path, sourced or not."""
    for name, value in section:
        if isinstance(value, Frozen) and not isinstance(value, _SOURCED):
            yield from values(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def vary(
    machine: _M,
    changes: Mapping[str, Value],
    *,
    name: str | None = None,
    title: str | None = None,
    source: str = "varied by the caller",
    note: str = A_VARIATION,
    read_from: str = "",
) -> _M:
    """The machine with the values of `changes`, dotted path -> value in the field's unit.

    An operation of the arrays is one too: `pim.substrate.add`, cycles as a number or in words ("8n-2").
    Another `memory.type` brings what its type says, as in a file.

    A changed value is `assumed`, with `source` and `note`; its range is the old one, widened to hold the old
    and the new value. The machine extends the one it varies, whose price it has. `read_from` is the file
    that it was read from, for errors.

    Raises:
        SailsimError: one sentence that names the field, the value and what is allowed.
        ImpossibleMachineError: each value is allowed, but there is no machine with all of them.
    """
    changes = _with_operations(machine, changes)
    known = leaves(machine)
    table = _opened(machine) | _of_new_memory(machine, changes.get("memory.type"))
    for path, value in changes.items():
        if path not in known:
            raise SailsimError(
                f"{path} is not a value of system {machine.name}; allowed are the fields with a source that "
                f"`sailsim show system {read_from or machine.name}` lists, such as "
                f"{', '.join(nearest(path, known))}."
            )
        *sections, field = path.split(".")
        inner = table
        for section in sections:
            if not isinstance(inner[section], dict):
                inner[section] = _opened(inner[section])
            inner = inner[section]
        inner[field] = _changed(path, known[path], value, source, note)
    table["name"] = name if name is not None else machine.name
    table["title"] = title if title is not None else machine.title
    if name is not None and name != machine.name:
        table["extends"] = (machine.name, *machine.extends)
    try:
        kind: type[Any] = type(machine)
        found: _M = kind.model_validate(table)
    except ValidationError as error:
        about = [field_of(problem) for problem in error.errors() if problem["type"] == "value_error"]
        together = len(about) == error.error_count() and known.keys().isdisjoint(about)
        kind_of_error = ImpossibleMachineError if together else SailsimError
        raise kind_of_error(sentence(table["name"], error)) from None
    return found


def _opened(section: Frozen) -> dict[str, Any]:
    """The fields of a section, those in it as they are: what does not change is not checked again."""
    return {name: getattr(section, name) for name in type(section).model_fields}


def _of_new_memory(machine: System | Gpu, named: Value | None) -> dict[str, Any]:
    """Memory and citations of a machine that gets another type of DRAM: as in a file that names one, what the
    type says, and of the old one neither clock, width, banks, row and times nor a stated peak."""
    if not isinstance(machine, System) or named == machine.memory.type.value or named not in DRAM_TYPES.names:
        return {}
    table = DRAM_TYPES.read(str(named))
    return {
        "memory": _opened(machine.memory) | {"stated_peak": None} | table["memory"],
        "sources": machine.sources | table["sources"],
    }


_SUBSTRATE = "pim.substrate"


def on_substrate(system: System, substrate: str, source: str) -> System:
    """The machine on another substrate, with its name and price; itself where it has that one.

    Raises:
        SailsimError: as `vary`; a machine without PIM units.
    """
    varied = vary(system, {_SUBSTRATE: substrate}, source=source, note="another substrate")
    own, other = (None if each.pim is None else each.pim.substrate.value for each in (system, varied))
    return system if own == other else varied


def _with_operations(machine: System | Gpu, changes: Mapping[str, Value]) -> dict[str, Value]:
    """The changes, with costs of operations (`pim.substrate.add`) as a part of the choice of substrate."""
    prefix = f"{_SUBSTRATE}."
    costs = {path: value for path, value in changes.items() if path.startswith(prefix)}
    others = {path: value for path, value in changes.items() if path not in costs}
    if not costs or not isinstance(machine, System) or machine.pim is None:
        return dict(changes)
    asked = str(others.get(_SUBSTRATE, machine.pim.substrate.value))
    try:
        named = SubstrateReference.parse(asked)
        for path, value in costs.items():
            other = SubstrateReference.parse(f"{named.file}:{path.removeprefix(prefix)}={value}")
            named.costs.update(other.costs)
    except ValueError as error:
        raise SailsimError(f"{_SUBSTRATE} is {error}.") from None
    return others | {_SUBSTRATE: str(named)}


def _changed(path: str, old: Leaf, value: Value, source: str, note: str) -> dict[str, Any] | str:
    """The table of a leaf with another value; of NBW also the word for each tensor's own."""
    changed = {"value": value, "source": source, "kind": "assumed", "note": note}
    if isinstance(old, Choice):
        if not isinstance(value, str | bool):
            raise SailsimError(f"{path} is {value!r}; allowed is a choice such as {old.value!r}.")
        return changed
    if path == "pim.nbw" and value == AUTO:
        return AUTO
    if not is_number(value):
        raise SailsimError(f"{path} is {shown(value)}; allowed is a finite number in {old.unit}.")
    span = [x for x in (old.low, old.value, old.high, value) if x is not None]
    return changed | {"unit": old.unit, "low": min(span), "high": max(span)}


def changed_values(machine: System | Gpu, base: System | Gpu) -> dict[str, Leaf | str]:
    """What of `machine` (`leaves_and_words`) differs from `base`, by dotted path.

    Raises:
        SailsimError: a section or a switch that differs, which no list of values can say.
    """
    own, below = leaves_and_words(machine), leaves_and_words(base)
    odd = sorted(own.keys() ^ below.keys())
    if isinstance(machine, System) and isinstance(base, System) and machine.has_pim != base.has_pim:
        odd.append("pim.enabled")
    if odd:
        raise SailsimError(
            f"{odd[0]} is not in both of {machine.name} and {base.name}; allowed are machines that differ in "
            "values only."
        )
    return {path: leaf for path, leaf in own.items() if leaf != below[path]}


def parse_changes(settings: list[str] | tuple[str, ...]) -> dict[str, Value]:
    """`pim.t_prt=0` and the like as changes for `vary`: numbers, true, false, anything else is text.

    Raises:
        SailsimError: a setting without "=", or a field that is given twice.
    """
    changes: dict[str, Value] = {}
    for setting in settings:
        path, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or not path or not text:
            raise SailsimError(f"set is {setting!r}; allowed is FIELD=VALUE, such as pim.t_prt=0.")
        if path in changes:
            raise SailsimError(f"{path} is set twice; allowed is once.")
        changes[path] = parse_value(text)
    return changes


def parse_value(text: str) -> Value:
    """A number, true, false, or the text itself; a whole number of more than 64 bits is a float."""
    if text in ("true", "false"):
        return text == "true"
    with suppress(ValueError):
        if within_64_bits(number := int(text)):
            return number
    with suppress(ValueError):
        return float(text)
    return text


_FIELD = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_CHOICE = re.compile(rf"(.*?)((?::\s*{_FIELD}\s*=[^:=]*)*)", re.DOTALL)
_LARGEST_WHOLE = 1 << 53
"""From here on a float is not surely the whole number that was meant."""


class SystemReference(NamedTuple):
    """What names a machine: one that ships or a file, and fields that have other values than it says.

    In words "sail-n1", "./mine.toml:llc.slices=16", "sail-n1:memory.channels=4:pim.clock=2.5".
    """

    file: str
    """The name of one that ships or the path of a file."""
    changes: Mapping[str, Value]
    """As `vary` takes them, by the fields' names in alphabetical order."""

    @classmethod
    def parse(cls, text: str) -> SystemReference:
        """The choice that a text means. Whether the machine has such fields is seen when it is read.

        Raises:
            ValueError: a field twice, or without a value; the message goes on after "system is", without a
                full stop.
        """
        found = _CHOICE.fullmatch(text)
        assert found is not None  # the first group takes anything
        file, settings = found.groups()
        changes: dict[str, Value] = {}
        for setting in settings.split(":")[1:]:
            field, _, words = (part.strip() for part in setting.partition("="))
            if not words:
                raise ValueError(f"{text!r}, where {field} has no value; allowed is one, as in llc.slices=16")
            if field in changes:
                raise ValueError(f"{text!r}, which sets {field} twice; allowed is once")
            changes[field] = _whole(parse_value(words))
        return cls(file, dict(sorted(changes.items())))

    def __str__(self) -> str:
        return self.file + "".join(f":{field}={in_words(value)}" for field, value in self.changes.items())


def chosen_system(text: str) -> SystemReference:
    """As `SystemReference.parse`; a text that is no choice stands for a file of that name."""
    try:
        return SystemReference.parse(text)
    except ValueError:
        return SystemReference(text, {})


def known_system(text: str) -> SystemReference:
    """As `SystemReference.parse`; raises ValueError also for a name that neither ships nor is a path."""
    choice = SystemReference.parse(text)
    if why := _SYSTEMS.problem(choice.file):
        raise ValueError(why)
    return choice


def system_in_words(machine: System) -> str:
    """The choice that gives a machine: what it extends of those that ship, and the values that differ.

    Ranges and notes of changed values are those of a choice. Raises SailsimError for a machine that differs
    in more than values, which only its file says.
    """
    base = next((name for name in (machine.name, *machine.extends) if _SYSTEMS.problem(name) is None), "")
    below = load_system(base)
    own, old = changed_values(machine, below), leaves_and_words(below)
    changes = {path: value_of(leaf) for path, leaf in own.items()}
    return system_with(base, {path: new for path, new in changes.items() if new != value_of(old[path])})


def system_with(system: str, changes: Mapping[str, Value]) -> str:
    """A choice of machine with other values of fields, in words.

    Raises:
        SailsimError: one sentence about a text that is no choice, or a value that cannot stand behind one.
    """
    added, read = {field: _whole(value) for field, value in changes.items()}, "system"
    try:
        choice, read = SystemReference.parse(system), _SUBSTRATE
        if isinstance(named := added.get(_SUBSTRATE), str):
            substrate = SubstrateReference.parse(named)
            costs = {f"{_SUBSTRATE}.{each}": words for each, words in substrate.costs_in_words().items()}
            added |= {_SUBSTRATE: substrate.file} | costs
    except ValueError as error:
        raise SailsimError(f"{read} is {error}.") from None
    for field, value in added.items():
        if isinstance(value, str) and re.search("[:=]", value):
            raise SailsimError(f"{field} is {value!r}; allowed is a text without : and =.")
    return str(choice._replace(changes=dict(sorted({**choice.changes, **added}.items()))))


def in_words(value: Value) -> str:
    """A value as `parse_value` reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _whole(value: Value) -> Value:
    """2 for 2.0: one way to write a number."""
    if isinstance(value, float) and abs(value) < _LARGEST_WHOLE and value == int(value):
        return int(value)
    return value


def system_toml(
    machine: System | Gpu, base: str | Path, comment: str = "", folder: Path | None = None
) -> str:
    """The text of a file that extends `base`, a name that ships or a path, by what `machine` changes.

    `folder` is where the file will lie, for a path that is relative to it.

    Raises:
        SailsimError: `base` cannot be read, or the machine has its name.
    """
    base = SystemReference.parse(str(base)).file
    below = load_machine(base)
    if machine.name == below.name:
        raise SailsimError(
            f"name is {machine.name!r}, the name of what the file extends; allowed is another."
        )
    extended = base
    if extended not in _SYSTEMS.names and folder is not None:
        extended = _seen_from(folder, extended)
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += [
        f"extends = {_literal(extended)}",
        f"name = {_literal(machine.name)}",
        f"title = {_literal(machine.title)}",
    ]
    # A section inside another (memory.timing) may lie between the other's fields, and TOML opens each once.
    sections: dict[str, list[str]] = {}
    for path, leaf in changed_values(machine, below).items():
        head, _, field = path.rpartition(".")
        value = str(value_of(leaf))
        if path == "pim.substrate" and folder is not None and substrate_path(value):
            choice = SubstrateReference.parse(value)
            seen = choice._replace(file=_seen_from(folder, choice.file))
            leaf = leaf if isinstance(leaf, str) else leaf.model_copy(update={"value": str(seen)})
        sections.setdefault(head, []).append(f"{field} = {_inline(leaf, machine)}")
    for head, fields in sections.items():
        lines += ["", f"[{head}]", *fields]
    return "\n".join(lines) + "\n"


def _seen_from(folder: Path, path: str) -> str:
    """A path relative to a folder, such that it is not taken for a name."""
    found = os.path.relpath(Path(path).resolve(), folder.resolve())
    return found if "/" in found or found.endswith(".toml") else f"./{found}"


def save_system(
    machine: System | Gpu, path: str | Path, base: str | Path = "sail-n1", comment: str = ""
) -> Path:
    """Write `machine` as a file that extends `base` by only what differs; whole or not at all.

    Raises:
        SailsimError: as `system_toml`; the name of a file that does not end in .toml.
        OSError: it cannot be written.
    """
    path = Path(path)
    if path.suffix != ".toml":
        raise SailsimError(f"system file {path} has no name that ends in .toml, which is what is allowed.")
    text = system_toml(machine, base, comment, path.parent)
    try:
        content = text.encode()
    except UnicodeEncodeError as error:  # of an argument with bytes that are not UTF-8
        wrong = text[error.start : error.end]
        raise SailsimError(f"system file {path} would have {wrong!r}; allowed is what UTF-8 has.") from None
    write_whole(path, content)
    return path


def _inline(leaf: Leaf | str, machine: System | Gpu) -> str:
    """A leaf as an inline table; the source is written out, since keys belong to the base's file. A word is
    one."""
    if isinstance(leaf, str):
        return _literal(leaf)
    table = leaf.model_dump(exclude_none=True, exclude={"synthesised"})
    table["source"] = machine.citation(leaf.source)
    if not table["note"]:
        del table["note"]
    return "{ " + ", ".join(f"{key} = {_literal(value)}" for key, value in table.items()) + " }"


def _literal(value: Value) -> str:
    """TOML's numbers, truths and basic strings are JSON's, with DEL escaped too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _substrate_beside(table: Table, folder: Path) -> None:
    """Turn a substrate's path, which is relative to the system file, into one from here."""
    pim = table.get("pim")
    choice = pim.get("substrate") if isinstance(pim, dict) else None
    named = choice.get("value") if isinstance(choice, dict) else None
    if isinstance(named, str) and substrate_path(named) is not None:
        assert isinstance(choice, dict)
        choice["value"] = str(folder / named)


_SYSTEMS = Catalog("system", "data/systems", _substrate_beside, merge=over_machine)


def system_names() -> list[str]:
    """The CPU machines that ship, with and without PIM units."""
    return [name for name, kind in _SYSTEMS.kinds.items() if kind == "cpu"]


def gpu_names() -> list[str]:
    """The GPUs that ship."""
    return [name for name, kind in _SYSTEMS.kinds.items() if kind == "gpu"]


def load_system(name_or_path: str | Path) -> System:
    """Read a CPU machine: the name of one that ships, or the path of a TOML file.

    Raises:
        SailsimError: one sentence that names the field, the value and what is allowed.
    """
    check_type("name_or_path", name_or_path, A_PATH, "is a name or a path")
    if isinstance(machine := load_machine(name_or_path), System):
        return machine
    raise SailsimError(f"system {name_or_path!s} is a GPU; allowed are {', '.join(system_names())}.")


def load_gpu(name_or_path: str | Path) -> Gpu:
    """Read a GPU: the name of one that ships, or the path of a TOML file.

    Raises:
        SailsimError: one sentence that names the field, the value and what is allowed.
    """
    if isinstance(machine := load_machine(name_or_path), Gpu):
        return machine
    raise SailsimError(f"GPU {name_or_path!s} is a CPU machine; allowed are {', '.join(gpu_names())}.")


def load_machine(name_or_path: str | Path) -> System | Gpu:
    """Read a machine of either kind. Shipped ones are read once per process.

    Behind the name or path may stand other values of fields, as in "sail-n1:llc.slices=16"
    (`SystemReference`).
    """
    text = str(name_or_path)
    if text in _SYSTEMS.names:
        return _load_shipped(text)
    choice = chosen_system(text)
    if choice.file in _SYSTEMS.names:
        return _load_shipped(str(choice))
    return _varied(_validated(choice.file), choice) if choice.changes else _validated(text)


def as_system(system: System | str | Path) -> System:
    """A machine by itself, by name or by path."""
    return system if isinstance(system, System) else load_system(system)


@lru_cache(maxsize=256)  # a sweep without it takes 1.8 times as long
def _load_shipped(text: str) -> System | Gpu:
    choice = SystemReference.parse(text)
    return _varied(_load_shipped(choice.file), choice) if choice.changes else _validated(choice.file)


def _varied(base: System | Gpu, choice: SystemReference) -> System | Gpu:
    """A machine with the values that stand behind its name, which its name and title tell."""
    said = ", ".join(f"{field} {in_words(value)}" for field, value in choice.changes.items())
    title = f"{base.title} with {said}"
    return vary(
        base, choice.changes, name=str(choice), title=title, source="set by the user", read_from=choice.file
    )


def json_schema() -> dict[str, Any]:
    """JSON schema of a system file. What a file leaves out may come from what it extends, so that only the
    parts of a value are required."""
    schema = TypeAdapter(System | Gpu).json_schema()
    for name, section in schema["$defs"].items():
        if name not in ("Quantity", "Choice"):
            section.pop("required", None)
            section.setdefault("properties", {})["extends"] = {"type": "string"}
    return schema


def _validated(name_or_path: str) -> System | Gpu:
    table = completed(_SYSTEMS.read(name_or_path), _SYSTEMS, name_or_path)
    kind = table.get("kind")
    if kind not in ("cpu", "gpu"):
        found = "is missing" if kind is None else f"is {kind!r}"
        raise SailsimError(f"{name_or_path}: kind {found}; allowed are 'cpu' and 'gpu'.")
    model: type[System] | type[Gpu] = System if kind == "cpu" else Gpu
    return validated(model, table, name_or_path)
