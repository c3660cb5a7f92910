"""A combination of values as a point: its own fields, values of its machine, costs of its arrays' operations.

A field is named as in a point (`wbits`), as in a system file (`llc.slices`), or as a substrate and one of its
operations (`row_dfm:add`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Frozen, Is
from sailsim.sim.files import load_system
from sailsim.sim.plan.axis import Axis, ends
from sailsim.sim.point import Point
from sailsim.sim.set_fields import OPERATION, SUBSTRATE
from sailsim.sim.substrate import OPERATIONS, SUBSTRATES, parse_cost
from sailsim.sim.system_choice import in_words, system_with
from sailsim.sim.vary import Value, leaves

MOST_TRIED = 64
"""Values of an axis that are tried in the place of one, at most: each is a point to make."""


def way_out(axes: Sequence[Axis], combination: Mapping[str, Value], in_file: bool) -> str:
    """How to leave out a combination that no point can have, after a space; empty where it is no matter of
    values that do not go together.

    Two axes or more are at fault if another value of either would do. Where only one is, its list has a
    value that goes with nothing else of the study, and the error before has said which. ``in_file``: whether
    constraints stand in a plan's file, or among a command's options.
    """
    at_fault = [axis for axis in axes if _another_would_do(axis, combination)]
    names = [name for axis in at_fault for name in axis.names]
    if len(at_fault) < 2 or any(":" in name for name in names):
        return ""
    together = " and ".join(f"{name} == {combination[name]!r}" for name in names)
    constraint = f"not ({together})"
    where = f'constraints = ["{constraint}"]' if in_file else f'--constraint "{constraint}"'
    return f" A constraint leaves that out: {where}."


def _another_would_do(axis: Axis, combination: Mapping[str, Value]) -> bool:
    """Whether there is a point with other values of an axis."""
    for row in islice(_rows(axis), MOST_TRIED):
        changed = {**combination, **dict(zip(axis.names, row, strict=True))}
        if changed == combination:
            continue
        try:
            point_of(changed)
        except SailsimError:
            continue
        return True
    return False


def _rows(axis: Axis) -> Iterator[tuple[Value, ...]]:
    yield from axis.rows or ends(axis)


POINT_FIELDS = tuple(f.name for f in fields(Point))
WHOLE_FIELDS = (
    "wbits",
    "abits",
    "nbw",
    "group_size",
    "batch",
    "threads",
    "prompt",
    "context",
    "kv_bits",
    "seed",
)
"""Those of a point that are whole numbers."""


def point_of(values: Mapping[str, Value]) -> Point:
    """The point of a combination, field -> value.

    Raises:
        SailsimError: a value that a field does not take; whether a machine takes its own is seen when it is
            read.
    """
    own: dict[str, Any] = {name: value for name, value in values.items() if name in POINT_FIELDS}
    costs = {name: value for name, value in values.items() if ":" in name}
    changes = {name: value for name, value in values.items() if name not in own and name not in costs}
    if changes:
        system = own.get("system", Point.system)
        if not isinstance(system, str):
            raise SailsimError(f"system is {system!r}; allowed is a name or a path.")
        own["system"] = system_with(system, changes)
    for name, value in costs.items():
        substrate, _, operation = name.rpartition(":")
        own["substrate"] = f"{own.get('substrate', substrate)}:{operation}={in_words(value)}"
    return Point(**own)


def check_fields(names: Iterable[str], systems: Iterable[str]) -> None:
    """Raise SailsimError for a field that a point on one of the systems does not have, or has in two ways."""
    names = list(names)
    others = [name for name in names if name not in POINT_FIELDS]
    costs = [name for name in others if ":" in name]
    for name in costs:
        _check_cost(name)
    substrates = {name.rpartition(":")[0] for name in costs} | ({"substrate"} & set(names))
    if len(substrates) > 1:
        one, two, *_ = sorted(substrates)
        raise SailsimError(f"the plan has {one} and {two}; allowed is one substrate, or one list of them.")
    below = next((name for name in others if name == SUBSTRATE or name.startswith(OPERATION)), None)
    if substrates and below is not None:
        raise SailsimError(
            f"the plan has {below} and {min(substrates)}, which stands in its place; allowed is one of the "
            "two."
        )
    for system in systems if len(others) > len(costs) else ():
        known = leaves(load_system(system))
        for name in others:
            if name not in (*costs, *known) and not (SUBSTRATE in known and _is_cost(name)):
                near = nearest(name, (*POINT_FIELDS, *known))
                raise SailsimError(
                    f"{name} is neither a field of a point nor a value of system {system}; the nearest are "
                    f"{', '.join(near)}."
                )


def check_value(name: str, value: Value) -> None:
    """Raise SailsimError for an empty text, and for a cost of an operation that is none."""
    if value == "":
        raise SailsimError(f"{name} is ''; allowed is a text that is not empty.")
    if ":" not in name and not _is_cost(name):
        return
    try:
        parse_cost(in_words(value))
    except ValueError as error:
        raise SailsimError(f"{name} {error}.") from None


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three names that are like another: those with its last part, then those spelt like it."""
    known = list(known)
    last = name.rpartition(".")[2]
    found = [each for each in known if last in (each, each.rpartition(".")[2])]
    found += difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return list(dict.fromkeys(found))[:3] or known[:3]


def is_whole(name: str, system: str) -> bool:
    """Whether a field takes whole numbers alone."""
    if name in POINT_FIELDS:
        return name in WHOLE_FIELDS
    section: Any = load_system(system)
    *sections, field = name.split(".")
    for each in sections:
        section = getattr(section, each, None)
    if not isinstance(section, Frozen) or field not in type(section).model_fields:
        return False
    return any(isinstance(rule, Is) and rule.whole for rule in type(section).model_fields[field].metadata)


def _is_cost(name: str) -> bool:
    return name.startswith(OPERATION) and name.removeprefix(OPERATION) in OPERATIONS


def _check_cost(name: str) -> None:
    """Raise SailsimError for what is no operation of a substrate."""
    substrate, _, operation = name.rpartition(":")
    problem = SUBSTRATES.problem(substrate)
    if problem is not None:
        raise SailsimError(f"{name} is no field: its substrate is {problem}.")
    if operation not in OPERATIONS:
        near = nearest(operation, OPERATIONS)
        raise SailsimError(
            f"{name} is no field: a substrate has no operation {operation!r}; the nearest are "
            f"{', '.join(near)}."
        )
