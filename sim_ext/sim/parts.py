"""A step's operations in parts: GEMVs that share an input together, every other operation by itself.

The blocks of a model are alike, so that a step has hundreds of parts of a few kinds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

from sailsim.sim.patterns import Rows
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
def inputs_of(parts: Same[tuple[Part, ...]], n_layers: int, seed: int) -> tuple[Rows, ...]:
    """Which captured activations the GEMVs of each part read, in the order of the parts that have any."""
    firsts = [part.ops[0] for part in parts.it if part.ops[0].kind == "gemv"]
    return tuple(Rows(op.role, op.layer, n_layers, op.k, op.batch, seed) for op in firsts if op.role)
