"""Fields of machines that points set, as columns of a study's records.

A point's own fields are columns anyway. What its `system` sets behind the name (`llc.slices`), and the costs
of operations that its `substrate` or its system sets (`pim.substrate.add`), have a column each, under the
field's name, in every record of the study: where a point does not set the field, it holds what its machine
has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.sim.point import Point
from sailsim.sim.substrate import Cost, SubstrateChoice, load_substrate
from sailsim.sim.system import System
from sailsim.sim.vary import SystemChoice, leaves

SUBSTRATE = "pim.substrate"
OPERATION = f"{SUBSTRATE}."
"""What the name of a cost of an operation begins with."""


@dataclass(frozen=True)
class SetField:
    """A column of the records of a study."""

    name: str
    """A value of a system file, or `pim.substrate.<operation>`."""
    words: bool = False
    """Whether it holds text because some of its costs are no numbers, but polynomials."""


def set_fields(points: Iterable[Point]) -> tuple[SetField, ...]:
    """The columns of a study of some points, in alphabetical order."""
    names: set[str] = set()
    every: set[tuple[str, str | None]] = set()
    for point in points:
        every.add((point.system, point.substrate))
    for system, substrate in every:
        names.update(SystemChoice.parse(system).changes)
        if substrate is not None:
            names.update(OPERATION + each for each in SubstrateChoice.parse(substrate).costs)
    costs = {name for name in names if name.startswith(OPERATION)}
    words = {name for name in costs if any(_in_words(name, *each) for each in every)}
    return tuple(SetField(name, name in words) for name in sorted(names))


def set_values(fields: Iterable[SetField], point: Point, system: System) -> dict[str, Any]:
    """What a point on its machine has in the columns; None where the machine has no such field."""
    fields = tuple(fields)
    if not fields:
        return {}
    values: Mapping[str, Any] = leaves(system)
    return {field.name: _value(field, values, point) for field in fields}


def _value(field: SetField, values: Mapping[str, Any], point: Point) -> Any:
    if field.name.startswith(OPERATION):
        cost = _cost(field.name, point.substrate, values)
        return None if cost is None else str(cost) if field.words else cost()
    found = values.get(field.name)
    return None if found is None else found.value


def _cost(name: str, substrate: str | None, values: Mapping[str, Any]) -> Cost | None:
    """Of an operation of a point's arrays: those that it names, or its machine's."""
    if substrate is None:
        own = values.get(SUBSTRATE)
        if own is None:
            return None
        substrate = str(own.value)
    return load_substrate(substrate).costs.get(name.removeprefix(OPERATION))


def _in_words(name: str, system: str, substrate: str | None) -> bool:
    """Whether a point of this machine and substrate has a polynomial as the cost of an operation."""
    try:
        cost = _cost(name, substrate, {} if substrate else leaves(load_system(system)))
    except SailsimError:
        return False  # nor has it any record
    return cost is not None and any(cost.coefficients[1:])
