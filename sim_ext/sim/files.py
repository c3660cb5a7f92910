"""Reading system files: inheritance, and errors that name the field, the value and what is allowed."""

import tomllib
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sailsim.errors import SailsimError
from sailsim.sim.system import Card, System

_SHIPPED = resources.files("sailsim.sim") / "systems"
_MAX_BYTES = 1 << 20
_MAX_DEPTH = 8


@lru_cache(maxsize=1)
def _kinds() -> dict[str, str]:
    """Shipped machine -> "cpu" or "gpu", in the order of their names."""
    names = sorted(p.name.removesuffix(".toml") for p in _SHIPPED.iterdir() if p.name.endswith(".toml"))
    return {name: str(_merged(name, ())["kind"]) for name in names}


def system_names() -> list[str]:
    """The CPU machines that ship, with and without PIM units."""
    return [name for name, kind in _kinds().items() if kind == "cpu"]


def card_names() -> list[str]:
    """The GPU cards that ship."""
    return [name for name, kind in _kinds().items() if kind == "gpu"]


def load_system(name_or_path: str | Path) -> System:
    """Read a CPU machine: the name of one that ships, or the path of a TOML file.

    Raises:
        SailsimError: one sentence that names the field, the value and what is allowed.
    """
    machine = load_machine(name_or_path)
    if not isinstance(machine, System):
        raise SailsimError(f"system {name_or_path!s} is a GPU card; allowed are {', '.join(system_names())}.")
    return machine


def load_card(name_or_path: str | Path) -> Card:
    """Read a GPU card: the name of one that ships, or the path of a TOML file.

    Raises:
        SailsimError: one sentence that names the field, the value and what is allowed.
    """
    machine = load_machine(name_or_path)
    if not isinstance(machine, Card):
        raise SailsimError(f"card {name_or_path!s} is a CPU machine; allowed are {', '.join(card_names())}.")
    return machine


def load_machine(name_or_path: str | Path) -> System | Card:
    """Read a machine of either kind. Shipped ones are read once per process."""
    text = str(name_or_path)
    return _load_shipped(text) if text in _shipped_names() else _validated(text)


@lru_cache(maxsize=64)
def _load_shipped(name: str) -> System | Card:
    return _validated(name)


def json_schema() -> dict[str, Any]:
    """JSON schema of a complete system file (a file with `extends` may leave out what it inherits)."""
    return TypeAdapter(System | Card).json_schema()


@lru_cache(maxsize=1)
def _shipped_names() -> frozenset[str]:
    return frozenset(p.name.removesuffix(".toml") for p in _SHIPPED.iterdir() if p.name.endswith(".toml"))


def _validated(name_or_path: str) -> System | Card:
    table = _merged(name_or_path, ())
    kind = table.get("kind")
    model: type[System] | type[Card]
    if kind == "cpu":
        model = System
    elif kind == "gpu":
        model = Card
    else:
        raise SailsimError(f"{name_or_path}: kind is {kind!r}; allowed are 'cpu' and 'gpu'.")
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise SailsimError(_sentence(name_or_path, error)) from None


def _locate(name_or_path: str, base: Path | None) -> tuple[Traversable | Path, Path | None]:
    """The file behind a name, and the folder that its own `extends` may be relative to."""
    if name_or_path in _shipped_names():
        return _SHIPPED / f"{name_or_path}.toml", None
    if not (name_or_path.endswith(".toml") or "/" in name_or_path):
        raise SailsimError(
            f"system {name_or_path!r} is unknown; allowed are {', '.join(sorted(_shipped_names()))} "
            "or the path of a .toml file."
        )
    path = Path(name_or_path)
    if base is not None and not path.is_absolute():
        path = base / path
    return path, path.parent


def _merged(name_or_path: str, seen: tuple[str, ...], base: Path | None = None) -> dict[str, Any]:
    """The file's tables over those of the file that it extends."""
    if name_or_path in seen or len(seen) >= _MAX_DEPTH:
        raise SailsimError(
            f"{seen[0]}: extends goes {' > '.join((*seen, name_or_path))}; allowed is a chain of at most "
            f"{_MAX_DEPTH} files without a circle."
        )
    path, folder = _locate(name_or_path, base)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SailsimError(f"system file {path} cannot be read: {error.strerror}.") from None
    if len(data) > _MAX_BYTES:
        raise SailsimError(f"system file {path} is larger than {_MAX_BYTES} bytes, which none may be.")
    try:
        table = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SailsimError(f"system file {path} is not TOML: {error}.") from None
    parent = table.pop("extends", None)
    if parent is None:
        return table
    if not isinstance(parent, str):
        raise SailsimError(f"system file {path}: extends is {parent!r}; allowed is one name or path.")
    inherited = _merged(parent, (*seen, name_or_path), folder)
    merged = _over(table, inherited)
    merged["extends"] = (parent, *inherited.get("extends", ()))
    return merged


def _over(upper: dict[str, Any], lower: dict[str, Any]) -> dict[str, Any]:
    """`lower` with the fields of `upper` in their place.

    A quantity is replaced as a whole: a changed value must not keep the source of the old one.
    """
    result = dict(lower)
    for key, value in upper.items():
        below = result.get(key)
        if isinstance(value, dict) and isinstance(below, dict) and "value" not in below:
            result[key] = _over(value, below)
        else:
            result[key] = value
    return result


def _sentence(name: str, error: ValidationError) -> str:
    """The first of pydantic's errors as one sentence."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"] if part not in ("function-after", "int", "float"))
    given = first["input"]
    shown = repr(given) if not isinstance(given, dict) else "a table"
    match first["type"]:
        case "missing":
            text = f"{field} is missing; it needs a value"
        case "extra_forbidden":
            text = f"{field} is not a field of a system file; `sailsim systems schema` lists what is"
        case "value_error":
            reason = str(first["ctx"]["error"])
            text = f"{field} {reason}" if field else reason
        case _:
            text = f"{field} is {shown}; {first['msg'][0].lower()}{first['msg'][1:]}"
    more = error.error_count() - 1
    return f"{name}: {text}{f' (and {more} more)' if more else ''}."
