"""What to do about a combination whose values are allowed one by one, but not together."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from sailsim.base.errors import SailsimError
from sailsim.sim.plan.axis import Axis, ends
from sailsim.sim.plan.combination import point_of
from sailsim.sim.vary import Value

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
