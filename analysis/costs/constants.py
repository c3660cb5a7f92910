"""Constants of a model as one object: floats in the units of their sourced quantities.

One file of `data/constants` ships for each model; a user's file changes the constants that it names
(`extends`). A model takes its constants as an argument, so that a study of uncertainty can pass others:
``replace(EnergyConstants.default(), core_active_w=1.4)``, or one end of every range with ``at("low")``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from pydantic import BaseModel, create_model

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import FrozenModel, Quantity, QuantityRule
from sailsim.sim.machine.catalog import Catalog, validate
from sailsim.sim.machine.substrate import Charge, parse_multiple

CONSTANTS = Catalog("constants", "data/constants", package="sailsim.analysis")
"""Files of constants, shipped or by path."""
End = Literal["low", "value", "high"]


class NotModelledError(SailsimError):
    """A system file lacks values that its energy or its area depends on."""


def data_file(name: str) -> Traversable:
    """A file of this package's ``data`` folder."""
    return files("sailsim.analysis") / "data" / name


@dataclass(frozen=True)
class ConstantSet:
    """Base class: each field is a float with unit and bounds, and a quantity of that name in `FILE`."""

    FILE: ClassVar[str] = ""
    """Shipped file, and the `kind` of all files of this model."""
    RULES: ClassVar[Mapping[str, QuantityRule]] = {}
    """Unit and bounds of each field, in order."""
    SHIPPED: ClassVar[Mapping[str, Quantity]] = {}
    """Quantities of the shipped file, filled in at the first use."""

    def __init_subclass__(cls) -> None:
        hints = get_type_hints(cls, include_extras=True)
        cls.RULES = {n: hint.__metadata__[0] for n, hint in hints.items() if get_origin(hint) is Annotated}

    def __post_init__(self) -> None:
        for name, rule in self.RULES.items():
            value = getattr(self, name)
            if not (isinstance(value, int | float) and isfinite(value) and rule.holds(value)):
                raise SailsimError(f"{type(self).__name__}.{name} is {value!r}, allowed is {rule.allowed}")

    @classmethod
    def quantities(cls, file: str | Path | None = None) -> Mapping[str, Quantity]:
        """Every constant with its source by name, from the shipped file or another one.

        Raises SailsimError that names the file and the field.
        """
        if file is not None:
            return _read(cls, str(file))
        if not cls.SHIPPED:
            cls.SHIPPED = _read(cls, cls.FILE)
        return cls.SHIPPED

    @classmethod
    def default(cls) -> Self:
        """Every constant at its value in the shipped file."""
        return cls.at("value")

    @classmethod
    def at(cls, end: End, file: str | Path | None = None) -> Self:
        """Every constant at the same end of its range; at its value where it has no range."""
        return cls(**{name: _at(quantity, end) for name, quantity in cls.quantities(file).items()})

    @classmethod
    def synthesised(cls) -> Self:
        """Every constant as synthesised with a cell library; at its value where no synthesis is known."""
        every = cls.quantities().items()
        return cls(**{name: _at(q.synthesised or q, "value") for name, q in every})

    @classmethod
    def ends(cls, file: str | Path | None = None) -> dict[End, Self]:
        """All constants at the low ends of their ranges, at their values and at the high ends; see `at`."""
        return {end: cls.at(end, file) for end in get_args(End)}


def _at(quantity: Quantity, end: End) -> float:
    """A quantity at an end of its range; at its value where it has no range."""
    edge = getattr(quantity, end)
    return float(quantity.value if edge is None else edge)


def charge_value(charge: Charge, constants: ConstantSet, end: End = "value") -> float:
    """Cost of an operation by a substrate's file, in the unit of the file's field.

    A quantity of the file is taken at ``end``; ``constants`` must be at the same end of their ranges.
    """
    if isinstance(charge, str):
        times, constant = parse_multiple(charge)
        return times * float(getattr(constants, constant))
    return _at(charge, end)


def files_by_kind(files: Iterable[str | Path], kinds: Iterable[type[ConstantSet]]) -> dict[str, str | Path]:
    """Files by the kind of constants that they hold, `ConstantSet.FILE`.

    Raises SailsimError for a file of a kind that is not among ``kinds``, and for two files of one.
    """
    known = [kind.FILE for kind in kinds]
    by_kind: dict[str, str | Path] = {}
    for file in files:
        kind = CONSTANTS.read(str(file)).get("kind")
        if kind not in known:
            raise SailsimError(f"{file}: kind is {kind!r}; allowed here is {' or '.join(known)}.")
        if kind in by_kind:
            raise SailsimError(
                f"{file}: kind is {kind!r}, as that of {by_kind[kind]}; allowed is one file of each."
            )
        by_kind[kind] = file
    return by_kind


def _cited(quantity: Quantity, sources: Mapping[str, str]) -> Quantity:
    """A quantity and its synthesised value with citations in place of their keys."""
    synthesised = quantity.synthesised and _cited(quantity.synthesised, sources)
    source = sources.get(quantity.source, quantity.source)
    return quantity.model_copy(update={"source": source, "synthesised": synthesised})


def _layout(cls: type[ConstantSet]) -> type[BaseModel]:
    rules: dict[str, Any] = {name: (Annotated[Quantity, rule], ...) for name, rule in cls.RULES.items()}
    values = create_model(f"{cls.__name__}Values", __base__=FrozenModel, **rules)
    layout: dict[str, Any] = {
        "format": (Literal[1], ...),
        "kind": (Literal[cls.FILE], ...),
        "extends": (tuple[str, ...], ()),
        "sources": (dict[str, str], {}),
        "constants": (values, ...),
    }
    return create_model(f"{cls.__name__}File", __base__=FrozenModel, **layout)


def _read(cls: type[ConstantSet], name: str) -> Mapping[str, Quantity]:
    allowed = f"a field of a file of {cls.FILE} constants; allowed are {', '.join(cls.RULES)}"
    content: Any = validate(_layout(cls), CONSTANTS.read(name), name, allowed)
    return MappingProxyType({n: _cited(getattr(content.constants, n), content.sources) for n in cls.RULES})
