"""Constants of a model as one object: floats in the units of their sourced quantities.

A model takes its constants as an argument, so that a study of uncertainty can put others in their place:
``replace(EnergyConstants.default(), core_active_w=1.4)``, or one end of every range with ``at("low")``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import ClassVar, Literal, Self

from sailsim.base.errors import SailsimError
from sailsim.sim import Quantity


@dataclass(frozen=True)
class Constants:
    """Base: every field is a float with an entry of the same name in ``QUANTITIES``, in that one's unit."""

    QUANTITIES: ClassVar[Mapping[str, Quantity]] = {}

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, int | float) and isfinite(value) and value >= 0):
                raise SailsimError(
                    f"{type(self).__name__}.{field.name} is {value!r}, allowed is a finite number of at "
                    f"least 0"
                )

    @classmethod
    def default(cls) -> Self:
        """Every constant at its value."""
        return cls(**{name: float(q.value) for name, q in cls.QUANTITIES.items()})

    @classmethod
    def at(cls, end: Literal["low", "high"]) -> Self:
        """Every constant at the same end of its range; at its value where it has no range."""
        found = {}
        for name, quantity in cls.QUANTITIES.items():
            edge = quantity.low if end == "low" else quantity.high
            found[name] = float(quantity.value if edge is None else edge)
        return cls(**found)
