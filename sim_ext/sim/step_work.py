"""What the accelerator does in a step, however many threads work beside it: remembered from step to step."""

from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property, lru_cache
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from sailsim.sim.jobs import Jobs, Units, jobs_of
from sailsim.sim.parts import Layout, Part, Takes, layout
from sailsim.sim.patterns import InputRows
from sailsim.sim.point import Point
from sailsim.sim.same import Same
from sailsim.workloads.activations import Activations


class Products:
    """The matrix products on the accelerator of parts that are alike: a row a part, a column a product."""

    def __init__(self, ops: Sequence[int], jobs: Sequence[Jobs], rows: int) -> None:
        self.ops, self.jobs = ops, jobs
        """Of each product: its place among the part's operations, and its jobs."""
        shape = (rows, len(jobs))
        self.bytes, self.seconds = np.empty(shape), np.empty(shape)
        for column, found in enumerate(jobs):
            self.bytes[:, column], self.seconds[:, column] = found.bytes, found.seconds

    def throttled(self, column: int, rate: float) -> NDArray[np.float64]:
        """As `Segments.throttled`."""
        return self.jobs[column].throttled(rate)


class Work:
    """What the accelerator does in a step, however many threads work beside it, on whatever cores."""

    def __init__(self, found: Layout, products: Sequence[Products | None]) -> None:
        self.layout, self.products = found, products
        """Of each kind of the layout; None where the cores alone work."""
        kinds = zip(found.kinds, products, strict=True)
        self.jobs = [(jobs, alike.times) for alike, own in kinds if own for jobs in own.jobs]
        """Every job, with how many tensors it is."""
        self._counted: dict[int, int] = {}

    @cached_property
    def cache_bytes(self) -> float:
        """Of keys and values that units read, in the place of weights."""
        kinds = zip(self.layout.kinds, self.products, strict=True)
        heads = ((a, o) for a, o in kinds if o is not None and a.ops[0].side_by_side)
        return float(sum(alike.times @ jobs.bytes for alike, own in heads for jobs in own.jobs))

    @cached_property
    def seconds(self) -> float:
        """Of all jobs one behind the other, with all weights where the accelerator needs them."""
        return sum(float(times @ jobs.seconds) for jobs, times in self.jobs)

    @cached_property
    def cycles(self) -> int:
        """Of the accelerator."""
        return sum(int(times @ jobs.cycles) for jobs, times in self.jobs)

    def counted(self, at: int) -> int:
        """Of one unit: a count by its place in `Units.counts`."""
        if at not in self._counted:
            self._counted[at] = sum(int(times @ jobs.counts[:, at]) for jobs, times in self.jobs)
        return self._counted[at]


_BUT_THREADS = attrgetter(*(f.name for f in fields(Point) if f.name != "threads"))


class Asked:
    """A point as a key of what the accelerator does: points that differ in their threads alone are equal."""

    def __init__(self, point: Point) -> None:
        self.point = point
        self._key = _BUT_THREADS(point)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asked) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=16)
def step_work(
    backend: Takes,
    units: Same[Units],
    asked: Asked,
    parts: Same[tuple[Part, ...]],
    inputs: Same[tuple[InputRows, ...]],
    captured: Same[Activations],
) -> Work:
    """The jobs of a step, one for products that are alike and meet equal patterns."""
    jobs = units.it.step(asked.point, parts, inputs, captured.it)
    found = layout(parts, tuple(jobs.keys))
    products: list[Products | None] = []
    for alike in found.kinds:
        if alike.ops[0].kind != "gemv":
            products.append(None)
            continue
        taken = [i for i, op in enumerate(alike.ops) if backend.takes(op)]
        of_each = [jobs_of(units.it, jobs, alike.ops[i], alike.inputs) for i in taken]
        products.append(Products(taken, of_each, len(alike.places)))
    return Work(found, products)
