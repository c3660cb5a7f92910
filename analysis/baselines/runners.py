"""Runners: who runs a point. SAIL, the cores, the cards, and what a user's file adds.

A runner is hardware with software on it, a rule for the weights' format and one for what it pays. Those that
ship are `data/runners.toml`; `runners` puts a user's beside them. No other module names a machine that a
point is compared with, except where the paper itself does.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ValidationError, model_validator

from sailsim.analysis.baselines.kinds import KINDS, KindName, kind_of
from sailsim.analysis.baselines.prediction import data_file
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Frozen
from sailsim.base.toml_file import read_toml
from sailsim.sim.files import card_names, load_card, load_machine, system_names
from sailsim.sim.system import Gpu, System
from sailsim.sim.system_choice import SystemChoice
from sailsim.workloads.formats import weight_format

SAIL = "sail"
"""The runner that the others are compared with."""
CORES = "cores"
"""The runner that SAIL's joules are shown beside: the same threads of the same server, llama.cpp."""
OF_THE_POINT = "point"
"""`hardware`: the point's own system. `format`: the point's own weights."""
EVERY_CARD = "cards"
"""`hardware` of an entry that stands for one runner a shipped card."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class Runner(Frozen):
    """One runner, as a `[[runner]]` table of a file says it."""

    name: str
    """Small letters, digits, `.`, `_` and `-`; the key of its results."""
    title: str
    """In tables and figures."""
    kind: KindName
    """accelerator: PIM units do the matrix products; cores: the cores do; card: a GPU."""
    hardware: str
    """`point`: the point's own system; else a system or card by name, or its file from this one's folder."""
    software: str
    """What runs on it, of its kind's."""
    threads: Literal["same", "all"] = "same"
    """Cores that work: as many as the point says, or all."""
    instances: Literal["one", "best"] = "one"
    """Processes of the software side by side on the cores: one, or as many as are fastest at the point."""
    format: str = OF_THE_POINT
    """`point`: the point's weights; else a llama.cpp format such as f16."""
    pays: Literal["used", "whole"] = "used"
    """What an hour costs: the part of a server that the run uses, or all of it. A card is paid whole."""
    overhead: bool = False
    """Whether the server costs more than its price says, by the cost's `overhead` (docs/cost.md)."""
    curves: bool = True
    """Whether figures by bits and by threads have a line of it; tables and dollars have every runner."""
    source: str
    """Why it stands there, or where the choice comes from."""
    machine: System | Gpu | None = None
    """The hardware, read once; None: the point's own. A file gives `hardware` instead."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name is {self.name!r}; allowed are small letters, digits, '.', '_' and '-', and one of the "
                "first two at the front"
            )
        if not self.source.strip():
            raise ValueError(
                "source is empty; allowed is why the runner stands there, or where it comes from"
            )
        allowed = KINDS[self.kind].software_stacks
        if self.software not in allowed:
            raise ValueError(
                f"software is {self.software!r}; allowed on {self.kind} is one of {', '.join(allowed)}"
            )
        if self.kind == "accelerator" and self.format != OF_THE_POINT:
            raise ValueError(f"format is {self.format!r}; allowed on an accelerator is {OF_THE_POINT!r}")
        if self.kind != "cores" and self.instances != "one":
            raise ValueError(f"instances is {self.instances!r}; allowed on {self.kind} is 'one'")
        if self.format != OF_THE_POINT:
            weight_format(self.format)
        self._check_hardware()
        return self

    def _check_hardware(self) -> None:
        """Raise ValueError where the hardware is not of the runner's kind."""
        problem = KINDS[self.kind].refusal(self.machine)
        if self.machine is None and self.hardware != OF_THE_POINT:
            problem = f"; allowed for {self.kind} is a name or a file of its kind"
        if problem is not None:
            comma = "" if problem.startswith(";") else ", "
            raise ValueError(f"hardware is {self.hardware!r}{comma}{problem}")

    @property
    def paid(self) -> Literal["used", "whole"]:
        """What an hour of it costs."""
        return "whole" if self.kind == "card" else self.pays

    @property
    def digest(self) -> str:
        """SHA-256 of all that the runner is, its hardware included, for keys of results."""
        content = self.model_dump(exclude={"machine", "hardware", "source"})
        # A machine's name and what it extends decide its price.
        content["machine"] = self.machine and [self.machine.digest, self.machine.name, *self.machine.extends]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def runners(beside: Iterable[str | Path] = ()) -> tuple[Runner, ...]:
    """The runners that ship, and those of some files or machines behind them.

    Each of ``beside`` is a file of `[[runner]]` tables, or a machine: the file of a system or a card, or the
    name of one that ships, with other values of its fields behind it, as in "l4:sms=60". A machine runs its
    kind's first software, a server on all of its cores or, with PIM units, as an accelerator. Raises
    SailsimError for a file that is none of these, and for two runners of one name.
    """
    found = [*shipped_runners()]
    names = {runner.name for runner in found}
    for path in beside:
        for runner in read_runners(path):
            if runner.name in names:
                raise SailsimError(
                    f"{path}: two runners have the name {runner.name!r}; allowed is one name each."
                )
            names.add(runner.name)
            found.append(runner)
    return tuple(found)


@lru_cache(maxsize=1)
def shipped_runners() -> tuple[Runner, ...]:
    """The runners of `data/runners.toml`, in its order, cards by their names."""
    table = tomllib.loads(data_file("runners.toml").read_text("utf-8"))
    return tuple(runner for entry in table["runner"] for runner in _expanded(entry, "runners.toml", None))


def named(*names: str) -> tuple[Runner, ...]:
    """Some of the runners that ship, in the order of their names here."""
    by_name = {runner.name: runner for runner in shipped_runners()}
    return tuple(by_name[name] for name in names)


def packed(found: Iterable[Runner]) -> tuple[Runner, ...]:
    """The same, those on cores with as many processes side by side as are the fastest."""
    return tuple(
        each.model_copy(update={"instances": "best"}) if each.kind == "cores" else each for each in found
    )


def read_runners(path: str | Path) -> tuple[Runner, ...]:
    """The runners of a file, or the one that a system or card file or name stands for."""
    text = str(path)
    try:
        choice = SystemChoice.parse(text)
    except ValueError as error:
        raise SailsimError(f"beside is {error}.") from None
    if choice.file in (*system_names(), *card_names()):
        return (_of_machine(text, None),)
    table = read_toml(Path(choice.file), "runner", "a TOML file or a machine of `sailsim list system`")
    if "runner" not in table:
        if "kind" in table or "extends" in table:
            return (_of_machine(text, Path(choice.file)),)
        raise SailsimError(
            f"{path} has no [[runner]] and no kind; allowed is a file of runners, of a system or of a card."
        )
    if choice.changes:
        raise SailsimError(
            f"beside is {text!r}, which sets {next(iter(choice.changes))} of a file of runners; allowed is "
            "another value of a machine's field."
        )
    other = next((key for key in table if key != "runner"), None)
    entries = table["runner"]
    if other is not None or not isinstance(entries, list):
        raise SailsimError(f"{path}: {other or 'runner'} is unexpected; allowed are [[runner]] tables.")
    return tuple(runner for entry in entries for runner in _expanded(entry, str(path), Path(path).parent))


def identity(beside: Sequence[Runner]) -> str:
    """What results of some runners beyond the shipped ones rest on, as text; empty for none."""
    shipped = {runner.name for runner in shipped_runners()}
    return ",".join(f"{r.name}={r.digest}" for r in beside if r.name not in shipped)


def _of_machine(text: str, path: Path | None) -> Runner:
    """The runner that a machine alone stands for."""
    machine = load_machine(text)
    kind = kind_of(machine)
    entry = {
        "name": re.sub(r"[^a-z0-9._-]+", "-", machine.name.lower()).strip("-."),
        "title": machine.title,
        "kind": kind,
        "hardware": text,
        "software": KINDS[kind].software_of(machine),
        "threads": "all" if kind == "cores" else "same",
        "instances": "best" if kind == "cores" else "one",
        "pays": "whole" if kind == "cores" else "used",
        "overhead": kind == "accelerator",
        "source": f"--beside {path or text}",
        "machine": machine,
    }
    return _validated(entry, text)


def _expanded(entry: Any, origin: str, folder: Path | None) -> list[Runner]:
    """The runners of one table: one, or one a shipped card."""
    if not isinstance(entry, dict):
        raise SailsimError(f"{origin}: runner is {entry!r}; allowed are [[runner]] tables.")
    if "machine" in entry:
        raise SailsimError(
            f"{origin}: machine is not a field of a runner; allowed is hardware, a name or a file."
        )
    hardware = entry.get("hardware")
    if hardware == EVERY_CARD and entry.get("kind") == "card":
        found = []
        for name in card_names():
            filled = {key: _filled(value, name) for key, value in entry.items()}
            found.append(_validated(filled | {"hardware": name, "machine": load_card(name)}, origin))
        return found
    if not isinstance(hardware, str) or hardware == OF_THE_POINT:
        return [_validated(entry, origin)]
    if SystemChoice.parse(hardware).file.endswith(".toml") and folder is not None:
        hardware = str(folder / hardware)
    return [_validated(entry | {"hardware": hardware, "machine": load_machine(hardware)}, origin)]


def _filled(value: Any, card: str) -> Any:
    """A text of an entry for every card with one card's name in it."""
    return value.replace("{name}", card).replace("{NAME}", card.upper()) if isinstance(value, str) else value


def _validated(entry: Mapping[str, Any], origin: str) -> Runner:
    """The runner of a table, or SailsimError with the first thing that is wrong."""
    try:
        return Runner.model_validate(dict(entry))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        name = entry.get("name")
        where = f"{origin}, runner {name}" if isinstance(name, str) else origin
        match first["type"]:
            case "missing":
                text = f"{field} is missing; it needs a value"
            case "extra_forbidden":
                text = f"{field} is not a field of a runner; allowed are {', '.join(_FIELDS)}"
            case "value_error":
                text = str(first["ctx"]["error"]).rstrip(".")
            case "literal_error":
                text = f"{field} is {first['input']!r}; allowed are {first['ctx']['expected']}"
            case _:
                text = f"{field} is {first['input']!r}; {first['msg'][0].lower()}{first['msg'][1:]}"
        raise SailsimError(f"{where}: {text}.") from None


_FIELDS = tuple(name for name in Runner.model_fields if name != "machine")
