"""A varied machine as a file that extends the one it varies.

`load_system` of that file gives an equal machine, so every point of a study can be run again by its file.
"""

import json
import os
from pathlib import Path

from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.sim.files import card_names, load_machine, system_names
from sailsim.sim.substrate import SubstrateChoice, substrate_path
from sailsim.sim.system import Gpu, System
from sailsim.sim.system_choice import SystemChoice
from sailsim.sim.vary import Leaf, Value, changed_values, value_of


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
