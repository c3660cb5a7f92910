"""Shapes of models as TOML files: those that ship (``models/``) and those of a user."""

from collections.abc import Iterable
from dataclasses import fields
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, get_args, get_origin

from sailsim.base.errors import SailsimError
from sailsim.base.toml_file import read_toml
from sailsim.workloads.experts import Experts
from sailsim.workloads.model import MAX_PARAMS, ModelSpec

_NOT_IN_FILES = ("published_params", "published_active", "published_source", "notes")
"""Fields that a file gives as the table ``published``, or that are a reader's own."""


@lru_cache(maxsize=1)
def model_names() -> tuple[str, ...]:
    """Names of the models that ship as data, sorted."""
    names = (
        entry.name.removesuffix(".toml")
        for entry in files(__package__).joinpath("models").iterdir()
        if entry.name.endswith(".toml")
    )
    return tuple(sorted(names))


def has_own_formats(model: str | Path) -> bool:
    """Whether a model argument names a file or folder with formats of its own, by its name alone: neither a
    model that ships nor a TOML file."""
    return str(model) not in model_names() and Path(model).suffix != ".toml"


@lru_cache(maxsize=32)
def shipped_model(name: str) -> ModelSpec:
    """One of the shapes that ship, `model_names`."""
    return read_shape(files(__package__).joinpath("models", f"{name}.toml"))


def read_shape(path: Traversable) -> ModelSpec:
    """ModelSpec of a TOML file. Raises SailsimError for a file that is none, or not of a model's shape."""
    table = read_toml(path, "model", "a table of shapes")
    published = _published(table.pop("published", {}), path)
    known = {field.name: field.type for field in fields(ModelSpec)}
    for field in _NOT_IN_FILES:
        del known[field]
    _require_known(f"model file {path}: field", table, [*known, "published"])
    missing = [field for field in list(known)[:10] if field not in table]
    if missing:
        raise SailsimError(
            f"model file {path}: field {missing[0]!r} is missing; a model needs a value for it."
        )
    for field, kind in known.items():
        if field in table:
            table[field] = _value(f"model file {path}: {field}", table[field], kind)
    for field, allowed in (("name", "a text that is not empty"), ("source", "the origin of the shapes")):
        if not table[field].strip():
            raise SailsimError(f"model file {path}: {field} is {table[field]!r}; allowed is {allowed}.")
    if table.get("max_context") == 0:
        raise SailsimError(
            f"model file {path}: max_context is 0; allowed is a number from 1 on, or no such field where "
            "nobody says how many tokens the model was made for."
        )
    spec = ModelSpec(
        **table,
        published_params=published.get("params", 0),
        published_active=published.get("active", 0),
        published_source=published.get("source", ""),
    )
    if table.get("kv_scale_bits", spec.kv_scale_bits) != spec.kv_scale_bits:
        raise SailsimError(
            f"model file {path}: kv_scale_bits is {table['kv_scale_bits']}; allowed is {spec.kv_scale_bits} "
            f"where kv_bits is {spec.kv_bits}."
        )
    return spec


def _require_known(what: str, table: dict[str, Any], known: Iterable[str]) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise SailsimError(f"{what} {unknown[0]!r} is unknown; allowed are {', '.join(known)}.")


def _value(what: str, value: Any, kind: Any) -> Any:
    """A field's value as its type has it: lists of a file become tuples, a table of experts `Experts`."""
    if Experts in get_args(kind):
        return _experts(what, value)
    one = next((of for of in get_args(kind) if of is not type(None)), kind)
    if get_origin(kind) is tuple:
        if not isinstance(value, list) or any(type(item) is not one for item in value):
            raise SailsimError(f"{what} is {value!r}; allowed is a list of values of type {one.__name__}.")
        return tuple(value)
    if type(value) is not one:
        raise SailsimError(f"{what} is {value!r}; allowed is a value of type {one.__name__}.")
    return value


def _experts(what: str, table: Any) -> Experts:
    if not isinstance(table, dict):
        raise SailsimError(f"{what} is {table!r}; allowed is a table.")
    known = {field.name: field.type for field in fields(Experts)}
    _require_known(f"{what}: field", table, known)
    missing = [field for field in ("count", "used", "d_ffn") if field not in table]
    if missing:
        raise SailsimError(f"{what}: field {missing[0]!r} is missing; experts need a value for it.")
    return Experts(**{field: _value(f"{what}.{field}", table[field], known[field]) for field in table})


def _published(table: Any, path: Traversable) -> dict[str, Any]:
    """What a model's page states, with fields of the right kind."""
    if not isinstance(table, dict):
        raise SailsimError(f"model file {path}: published is {table!r}; allowed is a table.")
    for field, value in table.items():
        if field in ("params", "active"):
            good, allowed = type(value) is int and 0 <= value <= MAX_PARAMS, f"a whole number 0..{MAX_PARAMS}"
        elif field == "source":
            good, allowed = isinstance(value, str), "a text"
        else:
            raise SailsimError(
                f"model file {path}: published.{field} is unknown; allowed are params, active and source."
            )
        if not good:
            raise SailsimError(f"model file {path}: published.{field} is {value!r}; allowed is {allowed}.")
    return table
