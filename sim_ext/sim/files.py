"""Reading system files: errors name the field, the value and what is allowed."""

from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sailsim.base.arguments import A_PATH, check_type
from sailsim.base.errors import SailsimError
from sailsim.sim.parts_of_files import completed, over_machine
from sailsim.sim.substrate import substrate_path
from sailsim.sim.system import Gpu, System
from sailsim.sim.system_choice import SystemChoice, chosen_system, in_words
from sailsim.sim.tables import Shelf, Table, sentence
from sailsim.sim.vary import vary


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
