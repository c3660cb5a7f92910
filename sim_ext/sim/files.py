"""System files, read and written: errors name the field, the value and what is allowed.

A varied machine is written as a file that extends the one it varies. `load_system` of that file gives an
equal machine, so every point of a study can be run again by its file.
"""

from __future__ import annotations

import json
import os
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sailsim.base.arguments import A_PATH, check_type
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.sim.substrate import SubstrateChoice, substrate_path
from sailsim.sim.system import Gpu, System
from sailsim.sim.tables import Shelf, Table, completed, over_machine, sentence
from sailsim.sim.vary import (
    Leaf,
    SystemChoice,
    Value,
    changed_values,
    chosen_system,
    in_words,
    value_of,
    vary,
)


def system_toml(
    machine: System | Gpu, base: str | Path, comment: str = "", folder: Path | None = None
) -> str:
    """The text of a file that extends `base`, a name that ships or a path, by what `machine` changes.

    `folder` is where the file will lie, for a path that is relative to it.

    Raises:
        SailsimError: `base` cannot be read, or the machine has its name.
    """
    base = SystemChoice.parse(str(base)).file
    below = load_machine(base)
    if machine.name == below.name:
        raise SailsimError(
            f"name is {machine.name!r}, the name of what the file extends; allowed is another."
        )
    extended = base
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
        value = str(value_of(leaf))
        if path == "pim.substrate" and folder is not None and substrate_path(value):
            choice = SubstrateChoice.parse(value)
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
        return _text(leaf)
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


def _substrate_beside(table: Table, folder: Path) -> None:
    """Turn a substrate's path, which is relative to the system file, into one from here."""
    pim = table.get("pim")
    choice = pim.get("substrate") if isinstance(pim, dict) else None
    named = choice.get("value") if isinstance(choice, dict) else None
    if isinstance(named, str) and substrate_path(named) is not None:
        assert isinstance(choice, dict)
        choice["value"] = str(folder / named)


class _Systems(Shelf):
    """The system files."""

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Shipped machine -> "cpu" or "gpu", in the order of their names."""
        return {name: str(self.read(name)["kind"]) for name in self.names}


_SYSTEMS = _Systems("system", "systems", _substrate_beside, merge=over_machine)


def system_names() -> list[str]:
    """The CPU machines that ship, with and without PIM units."""
    return [name for name, kind in _SYSTEMS.kinds.items() if kind == "cpu"]


def card_names() -> list[str]:
    """The GPU cards that ship."""
    return [name for name, kind in _SYSTEMS.kinds.items() if kind == "gpu"]


def load_system(name_or_path: str | Path) -> System:
    """Read a CPU machine: the name of one that ships, or the path of a TOML file.

    Raises:
        SailsimError: one sentence that names the field, the value and what is allowed.
    """
    check_type("name_or_path", name_or_path, A_PATH, "is a name or a path")
    machine = load_machine(name_or_path)
    if not isinstance(machine, System):
        raise SailsimError(f"system {name_or_path!s} is a GPU card; allowed are {', '.join(system_names())}.")
    return machine


def load_card(name_or_path: str | Path) -> Gpu:
    """Read a GPU card: the name of one that ships, or the path of a TOML file.

    Raises:
        SailsimError: one sentence that names the field, the value and what is allowed.
    """
    machine = load_machine(name_or_path)
    if not isinstance(machine, Gpu):
        raise SailsimError(f"card {name_or_path!s} is a CPU machine; allowed are {', '.join(card_names())}.")
    return machine


def load_machine(name_or_path: str | Path) -> System | Gpu:
    """Read a machine of either kind. Shipped ones are read once per process.

    Behind the name or path may stand other values of fields, as in "sail-n1:llc.slices=16" (`SystemChoice`).
    """
    text = str(name_or_path)
    choice = chosen_system(text)
    if choice.file in _SYSTEMS.names:
        return _load_shipped(str(choice))
    return _varied(_validated(choice.file), choice) if choice.changes else _validated(text)


def as_system(system: System | str | Path) -> System:
    """A machine by itself, by name or by path."""
    return system if isinstance(system, System) else load_system(system)


@lru_cache(maxsize=256)  # a sweep without it takes 1.8 times as long
def _load_shipped(text: str) -> System | Gpu:
    choice = SystemChoice.parse(text)
    return _varied(_load_shipped(choice.file), choice) if choice.changes else _validated(choice.file)


def _varied(base: System | Gpu, choice: SystemChoice) -> System | Gpu:
    """A machine with the values that stand behind its name, which its name and title tell."""
    said = ", ".join(f"{field} {in_words(value)}" for field, value in choice.changes.items())
    title = f"{base.title} with {said}"
    return vary(
        base, choice.changes, name=str(choice), title=title, source="set by the user", read_from=choice.file
    )


def json_schema() -> dict[str, Any]:
    """JSON schema of a complete system file (a file with `extends` may leave out what it inherits)."""
    return TypeAdapter(System | Gpu).json_schema()


def _validated(name_or_path: str) -> System | Gpu:
    table = completed(_SYSTEMS.read(name_or_path), _SYSTEMS, name_or_path)
    kind = table.get("kind")
    model: type[System] | type[Gpu]
    if kind == "cpu":
        model = System
    elif kind == "gpu":
        model = Gpu
    else:
        found = "is missing" if kind is None else f"is {kind!r}"
        raise SailsimError(f"{name_or_path}: kind {found}; allowed are 'cpu' and 'gpu'.")
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise SailsimError(sentence(name_or_path, error)) from None
