"""A step's operations in parts: GEMVs that share an input together, every other operation by itself.

The blocks of a model are alike, so that a step has hundreds of parts of a few kinds.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import fields
from functools import lru_cache
from itertools import chain, groupby
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sailsim.sim.patterns import InputRows
from sailsim.sim.same import Same
from sailsim.workloads.graph import Op

_ALIKE = attrgetter(*(f.name for f in fields(Op) if f.name not in ("name", "layer", "weights_key")))
"""All of an operation but which one it is."""


class Part(NamedTuple):
    """Operations that go to the PIM units together, or one that does not; `kind` is equal for equal work."""

    kind: int
    ops: tuple[Op, ...]


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
    """Which captured activations the GEMVs of each part read, in the order of the parts that have any.

    Experts have one for every number of tokens that an expert may see.
    """
    inputs = []
    for _, (op, *_) in parts.it:
        if op.kind == "gemv":
            assert op.role is not None
            for one, _ in op.products:
                inputs.append(InputRows(op.role, op.layer, n_layers, op.k, one.batch, seed))
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


class Alike(NamedTuple):
    """Different parts of one kind: the same work on inputs with other patterns."""

    ops: tuple[Op, ...]
    """Of the first of them."""
    places: tuple[int, ...]
    """Of each: its place among parts."""
    inputs: tuple[int, ...]
    """Of each: the place of its input among inputs, of experts that of the first; none where the cores alone
    work."""
    times: NDArray[np.int64]
    """How many parts each stands for."""


class Layout(NamedTuple):
    """Which parts of a step are the same work with the same patterns."""

    kinds: tuple[Alike, ...]
    order: list[int]
    """For every part, which of the different parts of all `kinds`, counted through, it is like."""


@lru_cache(maxsize=512)  # machines of a prior with several NBWs, each tensor's own among them
def layout(parts: Same[tuple[Part, ...]], patterns: tuple[Hashable, ...]) -> Layout:
    """Where a step repeats itself; `patterns` are keys of the profiles of its inputs (`inputs_of`)."""
    keys: list[tuple[int, tuple[Hashable, ...]]] = []
    different: dict[int, dict[tuple[int, tuple[Hashable, ...]], tuple[int, int]]] = {}
    inputs = 0
    for at, (kind, ops) in enumerate(parts.it):
        own = len(ops[0].products) if ops[0].kind == "gemv" else 0
        key = (kind, patterns[inputs : inputs + own])
        keys.append(key)
        different.setdefault(kind, {}).setdefault(key, (at, inputs))
        inputs += own
    counted = Counter(keys)
    number = {key: i for i, key in enumerate(chain.from_iterable(different.values()))}
    kinds = []
    for found in different.values():
        places, of_input = zip(*found.values(), strict=True)
        ops = parts.it[places[0]].ops
        times = np.array([counted[key] for key in found], dtype=np.int64)
        kinds.append(Alike(ops, places, of_input if ops[0].kind == "gemv" else (), times))
    return Layout(tuple(kinds), [number[key] for key in keys])
