"""A machine with other values: checked like a file's, and written as a file that extends the one it varies.

`vary` makes it, `save_system` writes it, and `load_system` of that file gives an equal machine, so every
point of a study can be run again by its file.
"""

import difflib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Choice, Frozen, Quantity
from sailsim.sim.files import card_names, load_machine, load_system, system_names
from sailsim.sim.substrate import SubstrateChoice, substrate_path
from sailsim.sim.system import Gpu, System
from sailsim.sim.tables import sentence

Value = int | float | str | bool
Leaf = Quantity | Choice
_M = TypeVar("_M", bound=System | Gpu)


def leaves(machine: Frozen, prefix: str = "") -> dict[str, Leaf]:
    """Every sourced value of a machine by its dotted path (`pim.clock`), in the order of the file."""
    return {path: value for path, value in values(machine, prefix) if isinstance(value, Quantity | Choice)}


def values(section: Frozen, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a section and of those in it by its dotted path, sourced or not."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Frozen) and not isinstance(value, Quantity | Choice):
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
    note: str = "a variation",
) -> _M:
    """The machine with the values of `changes`, dotted path -> value in the field's unit.

    An operation of the arrays is one too: `pim.substrate.add`, cycles as a number or in words ("8n-2").

    A changed value is `assumed`, with `source` and `note`; its range is the old one, widened to hold the old
    and the new value. The machine extends the one it varies, whose price it has.

    Raises:
        SailsimError: one sentence that names the field, the value and what is allowed.
    """
    known = leaves(machine)
    changes = _with_operations(machine, changes)
    table = machine.model_dump()
    for path, value in changes.items():
        if path not in known:
            near = difflib.get_close_matches(path, known, n=3, cutoff=0.4) or list(known)[:3]
            raise SailsimError(
                f"{path} is not a value of system {machine.name}; allowed are the fields that "
                f"`sailsim systems show {machine.name}` lists, such as {', '.join(near)}."
            )
        *sections, field = path.split(".")
        inner = table
        for section in sections:
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
        raise SailsimError(sentence(table["name"], error)) from None
    return found


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
        named = SubstrateChoice.parse(asked)
        for path, value in costs.items():
            other = SubstrateChoice.parse(f"{named.file}:{path.removeprefix(prefix)}={value}")
            named.costs.update(other.costs)
    except ValueError as error:
        raise SailsimError(f"{_SUBSTRATE} is {error}.") from None
    return others | {_SUBSTRATE: str(named)}


def _changed(path: str, old: Leaf, value: Value, source: str, note: str) -> dict[str, Any]:
    """The table of a leaf with another value."""
    if isinstance(old, Choice):
        if not isinstance(value, str | bool):
            raise SailsimError(f"{path} is {value!r}; allowed is a choice such as {old.value!r}.")
        return {"value": value, "source": source, "kind": "assumed", "note": note}
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SailsimError(f"{path} is {value!r}; allowed is a finite number in {old.unit}.")
    span = [x for x in (old.low, old.value, old.high, value) if x is not None]
    return {
        "value": value,
        "unit": old.unit,
        "source": source,
        "kind": "assumed",
        "low": min(span),
        "high": max(span),
        "note": note,
    }


def changed_values(machine: System | Gpu, base: System | Gpu) -> dict[str, Leaf]:
    """The leaves of `machine` that differ from those of `base`, by dotted path.

    Raises:
        SailsimError: a section or a switch that differs, which no list of values can say.
    """
    own, below = leaves(machine), leaves(base)
    odd = sorted(own.keys() ^ below.keys())
    if isinstance(machine, System) and isinstance(base, System) and machine.has_pim != base.has_pim:
        odd.append("pim.enabled")
    if odd:
        raise SailsimError(
            f"{odd[0]} is not in both of {machine.name} and {base.name}; allowed are machines that differ in "
            "values only."
        )
    return {path: leaf for path, leaf in own.items() if leaf != below[path]}


def system_toml(
    machine: System | Gpu, base: str | Path, comment: str = "", folder: Path | None = None
) -> str:
    """The text of a file that extends `base`, a name that ships or a path, by what `machine` changes.

    `folder` is where the file will lie, for a path that is relative to it.

    Raises:
        SailsimError: `base` cannot be read, or the machine has its name.
    """
    below = load_machine(base)
    if machine.name == below.name:
        raise SailsimError(
            f"name is {machine.name!r}, the name of what the file extends; allowed is another."
        )
    extended = str(base)
    if extended not in (*system_names(), *card_names()) and folder is not None:
        extended = _seen_from(folder, extended)
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += [
        f"extends = {_text(extended)}",
        f"name = {_text(machine.name)}",
        f"title = {_text(machine.title)}",
    ]
    # A section inside another (memory.timing) may lie between the other's fields, and TOML opens each once.
    sections: dict[str, list[str]] = {}
    for path, leaf in changed_values(machine, below).items():
        head, _, field = path.rpartition(".")
        if path == "pim.substrate" and folder is not None and substrate_path(str(leaf.value)):
            choice = SubstrateChoice.parse(str(leaf.value))
            seen = choice._replace(file=_seen_from(folder, choice.file))
            leaf = leaf.model_copy(update={"value": str(seen)})
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
    write_whole(path, system_toml(machine, base, comment, path.parent).encode())
    return path


def _inline(leaf: Leaf, machine: System | Gpu) -> str:
    """A leaf as an inline table; the source is written out, since keys belong to the base's file."""
    table = leaf.model_dump(exclude_none=True)
    table["source"] = machine.citation(leaf.source)
    if not table["note"]:
        del table["note"]
    return "{ " + ", ".join(f"{key} = {_literal(value)}" for key, value in table.items()) + " }"


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    return repr(value)


def _text(text: str) -> str:
    """A TOML basic string: JSON's, with DEL escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def as_system(system: System | str | Path) -> System:
    """A machine by itself, by name or by path."""
    return system if isinstance(system, System) else load_system(system)


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
        changes[path] = _parsed(text)
    return changes


def _parsed(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    kinds: tuple[type[int] | type[float], ...] = (int, float)
    for kind in kinds:
        try:
            return kind(text)
        except ValueError:
            continue
    return text
