"""A step's operations in parts: GEMVs that share an input together, every other operation by itself.

The blocks of a model are alike, so that a step has hundreds of parts of a few kinds.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from sailsim.sim.patterns import InputRows
from sailsim.workloads import Op

T = TypeVar("T")

_ALIKE = attrgetter(*(f.name for f in fields(Op) if f.name not in ("name", "layer", "weights_key")))
"""All of an operation but which one it is."""


class Part(NamedTuple):
    """Operations that go to the PIM units together, or one that does not; `kind` is equal for equal work."""

    kind: int
    ops: tuple[Op, ...]


@dataclass(frozen=True, eq=False)
class Same(Generic[T]):
    """Something that is never changed, as a key: equal to itself alone, whatever it would take to compare."""

    it: T

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.it is other.it

    def __hash__(self) -> int:
        return id(self.it)


def parts_of(ops: Sequence[Op]) -> tuple[Part, ...]:
    """The parts in order: runs of GEMVs that read the same input, every other operation by itself."""
    kinds: dict[Any, int] = {}
    parts = []
    for _, run_of in groupby(
        ops, key=lambda op: (op.layer, op.role) if op.kind == "gemv" else (op.layer, op.name)
    ):
        part = tuple(run_of)
        parts.append(Part(kinds.setdefault(tuple(map(_ALIKE, part)), len(kinds)), part))
    return tuple(parts)


@lru_cache(maxsize=64)
def inputs_of(parts: Same[tuple[Part, ...]], n_layers: int, seed: int) -> tuple[InputRows, ...]:
    """Which captured activations the GEMVs of each part read, in the order of the parts that have any."""
    inputs = []
    for _, (op, *_) in parts.it:
        if op.kind == "gemv":
            assert op.role is not None
            inputs.append(InputRows(op.role, op.layer, n_layers, op.k, op.batch, seed))
    return tuple(inputs)


def has_codes(op: Op) -> bool:
    """Whether a GEMV's weights have scalar codes, which PIM units take."""
    return op.format is not None and op.format.code is not None


@lru_cache(maxsize=64)
def block_sizes(parts: Same[tuple[Part, ...]]) -> tuple[int, ...]:
    """How many weights share a scale in the GEMVs that go to the PIM units: each size once."""
    every = (op for part in parts.it for op in part.ops if op.kind == "gemv" and has_codes(op))
    return tuple(dict.fromkeys(op.format.group_size for op in every if op.format is not None))


class Takes(Protocol):
    """What says which GEMVs go to the accelerator: a backend."""

    def takes(self, op: Op) -> bool:
        """Whether it multiplies the operation's matrix."""


@lru_cache(maxsize=64)
def on_cores(parts: Same[tuple[Part, ...]], backend: Takes) -> tuple[Op, ...]:
    """The GEMVs that the accelerator does not take."""
    return tuple(op for part in parts.it for op in part.ops if op.kind == "gemv" and not backend.takes(op))


class Layout(NamedTuple):
    """Which parts of a step are the same work with the same patterns."""

    different: tuple[tuple[int, int], ...]
    """Of each that is not like an earlier one: its place among parts, and that of its input among inputs."""
    order: list[int]
    """For every part, which of `different` it is like."""
    times: list[int]
    """How many parts each of `different` stands for."""


@lru_cache(maxsize=64)
def layout(parts: Same[tuple[Part, ...]], patterns: tuple[str, ...]) -> Layout:
    """Where a step repeats itself; `patterns` are keys of the profiles of its inputs (`inputs_of`)."""
    places: dict[tuple[int, str], int] = {}
    different: list[tuple[int, int]] = []
    order: list[int] = []
    inputs = 0
    for at, (kind, ops) in enumerate(parts.it):
        gemv = ops[0].kind == "gemv"
        place = places.setdefault((kind, patterns[inputs] if gemv else ""), len(different))
        if place == len(different):
            different.append((at, inputs))
        order.append(place)
        inputs += gemv
    counted = Counter(order)
    return Layout(tuple(different), order, [counted[place] for place in range(len(different))])
