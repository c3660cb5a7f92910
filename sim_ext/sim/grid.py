"""Every combination of lists of values, for who writes Python; plans are `sailsim.sim.plan`."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from sailsim.base.errors import SailsimError
from sailsim.sim.plan.plan import LARGEST_PLAN
from sailsim.sim.point import Point

_FIELDS = tuple(f.name for f in fields(Point))


def expand(grids: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The points of some grids, each once, in order.

    A grid maps fields of `Point` to a value or to a list of values; it stands for every combination of them,
    the last field varying fastest.

    Raises:
        SailsimError: a field that a point does not have, an empty list, a value that a point refuses, or
            more than 100,000 combinations.
    """
    points: dict[Point, None] = {}
    combinations = 0
    for grid in grids:
        for name, values in grid.items():
            if name not in _FIELDS:
                raise SailsimError(f"{name} is not a field of a point; allowed are {', '.join(_FIELDS)}.")
            if isinstance(values, list | tuple) and not values:
                raise SailsimError(f"{name} is an empty list; allowed is at least one value.")
        axes = [values if isinstance(values, list | tuple) else [values] for values in grid.values()]
        combinations += math.prod(len(axis) for axis in axes)
        if combinations > LARGEST_PLAN:
            raise SailsimError(
                f"the sweep has {combinations} points; allowed are {LARGEST_PLAN} at most in one folder."
            )
        for combination in itertools.product(*axes):
            points[Point(**dict(zip(grid, combination, strict=True)))] = None
    return list(points)
