"""Reading, variation and writing of system files; errors name the field, the value and what is allowed.

A varied system is written as a file that extends the original. `load_system` of that file gives an equal
system, so every point of a study can be run again from its file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sailsim.base.arguments import PATH_TYPES, check_type, short_text
from sailsim.base.atomic import write_whole
from sailsim.base.errors import ImpossibleMachineError, SailsimError
from sailsim.base.hints import nearest
from sailsim.base.quantity import Choice, FrozenModel, Quantity, is_number
from sailsim.sim.machine import catalog
from sailsim.sim.machine.catalog import DRAM_TYPES, Catalog, FileReference, Table, Value, canonical_number
from sailsim.sim.machine.pim import AUTO
from sailsim.sim.machine.substrate import canonical_substrate, parse_substrate, substrate_path
from sailsim.sim.machine.system import Gpu, System

Leaf = Quantity | Choice
_M = TypeVar("_M", bound=System | Gpu)

VARIATION_NOTE = "a variation"
"""Note of a value changed by `vary`, whose range is the old one, widened to hold the new value."""
_SOURCED = (Quantity, Choice)


@lru_cache(maxsize=16)  # a population of machines asks for those of its base each time
def leaves(machine: System | Gpu, prefix: str = "") -> Mapping[str, Leaf]:
    """Sourced values of a system by their dotted paths (`pim.clock`), in the order of the file."""
    return {path: value for path, value in values(machine, prefix) if isinstance(value, _SOURCED)}


def leaves_and_auto(machine: System | Gpu) -> dict[str, Leaf | str]:
    """Sourced values of a system, and a `pim.nbw` of "auto", which has no source."""
    return {**leaves(machine), **{path: value for path, value in values(machine) if value == AUTO}}


def value_of(leaf: Leaf | str) -> Value:
    """Value of a field, with or without a source."""
    return leaf if isinstance(leaf, str) else leaf.value


def values(section: FrozenModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of each field of a section and its inner sections, sourced or not."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, FrozenModel) and not isinstance(value, _SOURCED):
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
    note: str = VARIATION_NOTE,
    read_from: str = "",
) -> _M:
    """System with other values of fields.

    A changed value is `assumed`; its range is the old one, widened to hold the old and the new value. The
    result extends the original and has its price.

    Args:
        machine: system to vary.
        changes: dotted path -> value in the field's unit. `pim.substrate.add` and the like are cycles of
            operations, as a number or in words ("8n-2"). Another `memory.type` brings the type's fields.
        name: name of the result; default: the old one.
        title: title of the result; default: the old one.
        source: source of the changed values.
        note: note of the changed values.
        read_from: file of the system, for messages.

    Raises:
        SailsimError: one sentence that names the field, the value and what is allowed.
        ImpossibleMachineError: each value is allowed, but no system can have all of them together.
    """
    changes = _with_operations(machine, changes)
    known = leaves(machine)
    table = _fields(machine) | _new_memory(machine, changes.get("memory.type"))
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
                inner[section] = _fields(inner[section])
            inner = inner[section]
        inner[field] = _changed(path, known[path], value, source, note)
    table["name"] = name if name is not None else machine.name
    table["title"] = title if title is not None else machine.title
    if name is not None and name != machine.name:
        table["extends"] = (machine.name, *machine.extends)
    try:
        kind: type[Any] = type(machine)
        varied: _M = kind.model_validate(table)
    except ValidationError as error:
        fields = [
            catalog.field_path(problem) for problem in error.errors() if problem["type"] == "value_error"
        ]
        together = len(fields) == error.error_count() and known.keys().isdisjoint(fields)
        kind_of_error = ImpossibleMachineError if together else SailsimError
        raise kind_of_error(catalog.error_sentence(table["name"], error)) from None
    return varied


def _fields(section: FrozenModel) -> dict[str, Any]:
    """Fields of a section; inner sections stay models, so that unchanged ones are not checked again."""
    return {name: getattr(section, name) for name in type(section).model_fields}


def _new_memory(machine: System | Gpu, new: Value | None) -> dict[str, Any]:
    """Memory and citations of a system with the DRAM type ``new``; {} unless it ships and is another one.

    Clock, width, banks, row and timing are the new type's, and a stated peak is dropped.
    """
    if not isinstance(machine, System) or new not in DRAM_TYPES.names or new == machine.memory.type.value:
        return {}
    table = DRAM_TYPES.read(str(new))
    return {
        "memory": _fields(machine.memory) | {"stated_peak": None} | table["memory"],
        "sources": machine.sources | table["sources"],
    }


_SUBSTRATE = "pim.substrate"


def with_substrate(system: System, substrate: str, source: str) -> System:
    """System with another substrate, under its own name and price; the same object if nothing changes.

    Raises:
        SailsimError: as `vary`; the system has no PIM units.
    """
    varied = vary(system, {_SUBSTRATE: substrate}, source=source, note="another substrate")
    own, other = (None if each.pim is None else each.pim.substrate.value for each in (system, varied))
    return system if own == other else varied


def _with_operations(machine: System | Gpu, changes: Mapping[str, Value]) -> dict[str, Value]:
    """Changes with costs of operations (`pim.substrate.add`) as part of the reference to the substrate."""
    prefix = f"{_SUBSTRATE}."
    costs = {path: value for path, value in changes.items() if path.startswith(prefix)}
    others = {path: value for path, value in changes.items() if path not in costs}
    if not costs or not isinstance(machine, System) or machine.pim is None:
        return dict(changes)
    try:
        file, merged = parse_substrate(str(others.get(_SUBSTRATE, machine.pim.substrate.value)))
        for path, value in costs.items():
            merged = {**merged, **parse_substrate(f"{file}:{path.removeprefix(prefix)}={value}").changes}
        substrate = canonical_substrate(str(FileReference(file, merged)))
    except ValueError as error:
        raise SailsimError(f"{_SUBSTRATE} is {error}.") from None
    return others | {_SUBSTRATE: substrate}


def _changed(path: str, old: Leaf, value: Value, source: str, note: str) -> dict[str, Any] | str:
    """Table of a field with another value; for `pim.nbw` also the word "auto"."""
    changed = {"value": value, "source": source, "kind": "assumed", "note": note}
    if isinstance(old, Choice):
        if not isinstance(value, str | bool):
            raise SailsimError(f"{path} is {value!r}; allowed is a choice such as {old.value!r}.")
        return changed
    if path == "pim.nbw" and value == AUTO:
        return AUTO
    is_usual = type(value) is float and isfinite(value)  # most are such, and a call takes its time
    if not is_usual and not is_number(value):
        raise SailsimError(f"{path} is {short_text(value)}; allowed is a finite number in {old.unit}.")
    low = old.value if old.low is None else old.low
    high = old.value if old.high is None else old.high
    return changed | {"unit": old.unit, "low": min(low, value), "high": max(high, value)}


def changed_values(machine: System | Gpu, base: System | Gpu) -> dict[str, Leaf | str]:
    """Fields of ``machine`` with other values than in ``base``, by their dotted paths.

    Raises:
        SailsimError: the two differ in a section or in `pim.enabled`.
    """
    own, below = leaves_and_auto(machine), leaves_and_auto(base)
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
    """Changes for `vary` from settings such as `pim.t_prt=0`.

    Raises:
        SailsimError: a setting is not FIELD=VALUE, or a field is set twice.
    """
    changes: dict[str, Value] = {}
    for setting in settings:
        path, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or not path or not text:
            raise SailsimError(f"set is {setting!r}; allowed is FIELD=VALUE, such as pim.t_prt=0.")
        if path in changes:
            raise SailsimError(f"{path} is set twice; allowed is once.")
        changes[path] = catalog.parse_value(text)
    return changes


def lenient_reference(text: str) -> FileReference:
    """Reference of a text; a malformed text stands for a file of that name."""
    try:
        return FileReference.parse(text)
    except ValueError:
        return FileReference(text, {})


def known_reference(text: str) -> FileReference:
    """Reference of a text. Raises ValueError also for a name that neither ships nor is a path."""
    reference = FileReference.parse(text)
    if problem := _SYSTEMS.problem(reference.file):
        raise ValueError(problem)
    return reference


def reference_to(machine: System) -> str:
    """Reference that gives a system: the shipped one that it extends, and the values that differ.

    Ranges and notes of changed values are lost. Raises SailsimError for a system that differs in more than
    values.
    """
    base = next((name for name in (machine.name, *machine.extends) if _SYSTEMS.problem(name) is None), "")
    below = load_system(base)
    own, old = changed_values(machine, below), leaves_and_auto(below)
    changes = {path: value_of(leaf) for path, leaf in own.items()}
    return extend_reference(base, {path: new for path, new in changes.items() if new != value_of(old[path])})


def extend_reference(system: str, changes: Mapping[str, Value]) -> str:
    """Reference ``system`` with further changes of fields.

    Raises:
        SailsimError: ``system`` is malformed, or a value cannot stand in a reference.
    """
    added, parsed = {field: canonical_number(value) for field, value in changes.items()}, "system"
    try:
        reference, parsed = FileReference.parse(system), _SUBSTRATE
        if isinstance(substrate := added.get(_SUBSTRATE), str):
            file, costs = parse_substrate(substrate)
            added |= {_SUBSTRATE: file} | {f"{_SUBSTRATE}.{each}": words for each, words in costs.items()}
    except ValueError as error:
        raise SailsimError(f"{parsed} is {error}.") from None
    for field, value in added.items():
        if isinstance(value, str) and re.search("[:=]", value):
            raise SailsimError(f"{field} is {value!r}; allowed is a text without : and =.")
    return str(reference._replace(changes=dict(sorted({**reference.changes, **added}.items()))))


def system_toml(
    machine: System | Gpu, base: str | Path, comment: str = "", folder: Path | None = None
) -> str:
    """Text of a file that extends ``base``, a shipped name or a path, by the values that ``machine`` changes.

    ``folder`` is the folder of the file, for relative paths in it.

    Raises:
        SailsimError: ``base`` cannot be read, or has the name of ``machine``.
    """
    base = FileReference.parse(str(base)).file
    below = load_machine(base)
    if machine.name == below.name:
        raise SailsimError(
            f"name is {machine.name!r}, the name of what the file extends; allowed is another."
        )
    extends = base if base in _SYSTEMS.names or folder is None else _relative_path(folder, base)
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    head = {"extends": extends, "name": machine.name, "title": machine.title}
    lines += [f"{key} = {_literal(value)}" for key, value in head.items()]
    # An inner section (memory.timing) may stand between fields of the outer one, and TOML opens each once.
    sections: dict[str, list[str]] = {}
    for path, leaf in changed_values(machine, below).items():
        section, _, field = path.rpartition(".")
        value = str(value_of(leaf))
        if path == _SUBSTRATE and isinstance(leaf, Choice) and folder is not None and substrate_path(value):
            reference = parse_substrate(value)
            reference = reference._replace(file=_relative_path(folder, reference.file))
            leaf = leaf.model_copy(update={"value": str(reference)})
        sections.setdefault(section, []).append(f"{field} = {_inline(leaf, machine)}")
    for section, fields in sections.items():
        lines += ["", f"[{section}]", *fields]
    return "\n".join(lines) + "\n"


def _relative_path(folder: Path, path: str) -> str:
    """Path relative to a folder, in a form that is not taken for a shipped name."""
    found = os.path.relpath(Path(path).resolve(), folder.resolve())
    return found if "/" in found or found.endswith(".toml") else f"./{found}"


def save_system(
    machine: System | Gpu, path: str | Path, base: str | Path = "sail-n1", comment: str = ""
) -> Path:
    """Write a system atomically as a file that extends ``base`` by the values that differ.

    Raises:
        SailsimError: as `system_toml`; the name of the file does not end in .toml.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".toml":
        raise SailsimError(f"system file {path} has no name that ends in .toml, which is what is allowed.")
    text = system_toml(machine, base, comment, path.parent)
    try:
        content = text.encode()
    except UnicodeEncodeError as error:  # an argument with bytes that are not UTF-8
        wrong = text[error.start : error.end]
        raise SailsimError(f"system file {path} would have {wrong!r}; allowed is what UTF-8 has.") from None
    write_whole(path, content)
    return path


def _inline(leaf: Leaf | str, machine: System | Gpu) -> str:
    """Value as an inline table with a full citation, since source keys belong to the base's file."""
    if isinstance(leaf, str):
        return _literal(leaf)
    table = leaf.model_dump(exclude_none=True, exclude={"synthesised"})
    table["source"] = machine.citation(leaf.source)
    if not table["note"]:
        del table["note"]
    return "{ " + ", ".join(f"{key} = {_literal(value)}" for key, value in table.items()) + " }"


def _literal(value: Value) -> str:
    """TOML literal of a value: as in JSON, with DEL escaped too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _resolve_substrate_path(table: Table, folder: Path) -> None:
    """Make a substrate's path relative to the working folder instead of the system file."""
    pim = table.get("pim")
    choice = pim.get("substrate") if isinstance(pim, dict) else None
    substrate = choice.get("value") if isinstance(choice, dict) else None
    if isinstance(choice, dict) and isinstance(substrate, str) and substrate_path(substrate) is not None:
        choice["value"] = str(folder / substrate)


_SYSTEMS = Catalog("system", "data/systems", _resolve_substrate_path, merge=catalog.merge_systems)


def system_names() -> list[str]:
    """Names of the shipped CPU servers, with and without accelerators."""
    return [name for name, kind in _SYSTEMS.kinds.items() if kind == "cpu"]


def gpu_names() -> list[str]:
    """Names of the shipped GPUs."""
    return [name for name, kind in _SYSTEMS.kinds.items() if kind == "gpu"]


def load_system(name_or_path: str | Path) -> System:
    """Read a CPU server by its shipped name or the path of a TOML file.

    Raises:
        SailsimError: one sentence that names the field, the value and what is allowed.
    """
    check_type("name_or_path", name_or_path, PATH_TYPES, "is a name or a path")
    if isinstance(machine := load_machine(name_or_path), System):
        return machine
    raise SailsimError(f"system {name_or_path!s} is a GPU; allowed are {', '.join(system_names())}.")


def load_gpu(name_or_path: str | Path) -> Gpu:
    """Read a GPU by its shipped name or the path of a TOML file.

    Raises:
        SailsimError: one sentence that names the field, the value and what is allowed.
    """
    if isinstance(machine := load_machine(name_or_path), Gpu):
        return machine
    raise SailsimError(f"GPU {name_or_path!s} is a CPU machine; allowed are {', '.join(gpu_names())}.")


def load_machine(name_or_path: str | Path) -> System | Gpu:
    """Read a CPU server or GPU by name or path, with changes as in "sail-n1:llc.slices=16".

    Shipped ones are read once per process.
    """
    text = str(name_or_path)
    if text in _SYSTEMS.names:
        return _load_shipped(text)
    reference = lenient_reference(text)
    if reference.file in _SYSTEMS.names:
        return _load_shipped(str(reference))
    return _varied(_read(reference.file), reference) if reference.changes else _read(text)


def as_system(system: System | str | Path) -> System:
    """System from itself, a name or a path."""
    return system if isinstance(system, System) else load_system(system)


@lru_cache(maxsize=256)  # a sweep without it takes 1.8 times as long
def _load_shipped(text: str) -> System | Gpu:
    reference = FileReference.parse(text)
    return _varied(_load_shipped(reference.file), reference) if reference.changes else _read(reference.file)


def _varied(base: System | Gpu, reference: FileReference) -> System | Gpu:
    """System with the changes of a reference, which its name and title show."""
    file, changes = reference
    words = ", ".join(f"{field} {catalog.format_value(value)}" for field, value in changes.items())
    title = f"{base.title} with {words}"
    return vary(base, changes, name=str(reference), title=title, source="set by the user", read_from=file)


def json_schema() -> dict[str, Any]:
    """JSON schema of a system file. Only the keys of a value are required: others may come from `extends`."""
    schema = TypeAdapter(System | Gpu).json_schema()
    for name, section in schema["$defs"].items():
        if name not in ("Quantity", "Choice"):
            section.pop("required", None)
            section.setdefault("properties", {})["extends"] = {"type": "string"}
    return schema


def _read(name_or_path: str) -> System | Gpu:
    table = catalog.resolve_parts(_SYSTEMS.read(name_or_path), _SYSTEMS, name_or_path)
    kind = table.get("kind")
    if kind not in ("cpu", "gpu"):
        state = "is missing" if kind is None else f"is {kind!r}"
        raise SailsimError(f"{name_or_path}: kind {state}; allowed are 'cpu' and 'gpu'.")
    model: type[System] | type[Gpu] = System if kind == "cpu" else Gpu
    return catalog.validate(model, table, name_or_path)
