"""A step's operations in parts: GEMVs that share an input together, every other operation by itself.

The blocks of a model are alike, so that a step has hundreds of parts of a few kinds.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import fields
from functools import cached_property, lru_cache
from itertools import chain, groupby
from math import ceil
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.sim.machine.system import System
from sailsim.sim.point import Attention, Point
from sailsim.sim.step.patterns import InputRows
from sailsim.workloads.models.formats import WeightFormat
from sailsim.workloads.models.graph import ACT_BYTES, Chunk, Op, attention_on_units, mixed_step
from sailsim.workloads.models.model import ModelSpec

KEPT_LAYOUTS = 8
"""Of a step: one for each NBW that a tensor can have, and for all of them."""

EVERY = 1 << 31
"""Layers that have activations of their own: all."""

MAX_ROWS = 65535
"""What a descriptor can carry."""

PROMPT_CHUNK = 128
"""Tokens of each prompt whose queries look at the keys together where units attend, at most: of the powers of
two the fastest, of Llama 2 7B as of SmolLM2 (docs/decode.md)."""

_WORK = attrgetter(*(f.name for f in fields(Op) if f.name not in ("name", "layer", "weights_key")))
"""All of an operation but which one it is."""


class StepPart(NamedTuple):
    """Operations that go to the PIM units together, or one that does not; `kind` is equal for equal work."""

    kind: int
    ops: tuple[Op, ...]


def parts_of(ops: Sequence[Op]) -> tuple[StepPart, ...]:
    """The parts in order: runs of GEMVs that read the same input, every other operation by itself."""
    kinds: dict[Any, int] = {}
    parts = []
    for _, run_of in groupby(
        ops, key=lambda op: (op.layer, op.role) if op.kind == "gemv" else (op.layer, op.name)
    ):
        part = tuple(run_of)
        parts.append(StepPart(kinds.setdefault(tuple(map(_WORK, part)), len(kinds)), part))
    return tuple(parts)


def has_codes(op: Op) -> bool:
    """Whether a GEMV's weights have scalar codes, which PIM units take."""
    return op.format is not None and op.format.code is not None


def scalar_codes(op: Op) -> tuple[int, int]:
    """Of a GEMV that `has_codes`: bits of its codes' values, and weights of a scale."""
    assert op.format is not None
    assert op.format.code is not None
    return op.format.code.value_bits, op.format.group_size


class PartGroup(NamedTuple):
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


class PartLayout(NamedTuple):
    """Which parts of a step are the same work with the same patterns."""

    kinds: tuple[PartGroup, ...]
    order: list[int]
    """For every part, which of the different parts of all `kinds`, counted through, it is like."""


class StepParts:
    """The parts of a step, equal to itself alone: a key that takes no comparing of operations."""

    def __init__(self, ops: Sequence[Op], n_layers: int, captured: int = EVERY) -> None:
        """`n_layers`: of the model whose step it is; `captured`: how many of them have activations of their
        own, which their neighbours borrow."""
        self.parts, self._n_layers = parts_of(ops), n_layers
        self._together = ceil(n_layers / min(captured, n_layers))
        self.inputs = lru_cache(maxsize=1)(self._inputs)  # a quarter of the time of a new machine
        self.layout = lru_cache(maxsize=KEPT_LAYOUTS)(self._layout)  # half of it

    def _inputs(self, seed: int) -> tuple[InputRows, ...]:
        """Which captured activations the GEMVs of each part read, in the order of the parts that have any.

        Experts have one for every number of tokens that an expert may see.
        """
        inputs = []
        for _, (op, *_) in self.parts:
            if op.kind == "gemv":
                assert op.role is not None
                together, last = self._together, max(op.layer, self._n_layers - 1)
                layer = min(op.layer // together * together + together // 2, last)
                for one, _ in op.products:
                    inputs.append(InputRows(op.role, layer, self._n_layers, op.k, one.batch, seed))
        return tuple(inputs)

    @cached_property
    def block_sizes(self) -> tuple[int, ...]:
        """How many weights share a scale in the GEMVs that go to the PIM units: each size once."""
        every = (op for part in self.parts for op in part.ops if op.kind == "gemv" and has_codes(op))
        return tuple(dict.fromkeys(op.format.group_size for op in every if op.format is not None))

    def _layout(self, patterns: tuple[Hashable, ...]) -> PartLayout:
        """Where the step repeats itself; `patterns` are keys of the profiles of its `inputs`."""
        keys: list[tuple[int, tuple[Hashable, ...]]] = []
        different: dict[int, dict[tuple[int, tuple[Hashable, ...]], tuple[int, int]]] = {}
        inputs = 0
        for at, (kind, ops) in enumerate(self.parts):
            own = len(ops[0].products) if ops[0].kind == "gemv" else 0
            key = (kind, patterns[inputs : inputs + own])
            keys.append(key)
            different.setdefault(kind, {}).setdefault(key, (at, inputs))
            inputs += own
        counted = Counter(keys)
        number = {key: i for i, key in enumerate(chain.from_iterable(different.values()))}
        kinds = []
        for first in different.values():
            places, of_input = zip(*first.values(), strict=True)
            ops = self.parts[places[0]].ops
            times = np.array([counted[key] for key in first], dtype=np.int64)
            kinds.append(PartGroup(ops, places, of_input if ops[0].kind == "gemv" else (), times))
        return PartLayout(tuple(kinds), [number[key] for key in keys])


def pieces_of(point: Point) -> tuple[Chunk, ...]:
    """What a point's step works on, as the pieces of a mixed one."""
    if point.phase == "prefill":
        return (Chunk(point.prompt, 0, point.batch),)
    return (Chunk(1, point.context - 1, point.batch),)


def step_parts(
    system: System,
    model: ModelSpec,
    point: Point,
    captured: int = EVERY,
    pieces: tuple[Chunk, ...] = (),
) -> StepParts:
    """The parts of the step, that of ``pieces`` where there are any; `captured` as in `StepParts`.

    Raises SailsimError for prompts of more rows than a descriptor can carry.
    """
    rows = sum(piece.new * piece.times for piece in pieces) or point.tokens
    if (pieces or point.phase == "prefill") and rows > MAX_ROWS:
        raise SailsimError(
            f"{'new tokens' if pieces else 'batch x prompt'} is {rows}; allowed is at most {MAX_ROWS} rows "
            "of one prefill."
        )
    fmt, line = point.formats(model), system.llc.line.whole
    chunk = prompt_chunk(system, model, point)
    return _parts(model, fmt, pieces or pieces_of(point), point.attention, line, chunk, captured)


def prompt_chunk(system: System, model: ModelSpec, point: Point) -> int:
    """Tokens of each prompt whose queries look at the keys together where units attend: `PROMPT_CHUNK`, or
    fewer (a power of two) if the LLC has no room for the scores of all heads and prompts; else 1."""
    if point.phase == "decode" or point.attention == "cores":
        return 1
    scores = ACT_BYTES * point.batch * model.n_heads * point.context
    chunk = PROMPT_CHUNK
    while chunk > 1 and chunk * scores > system.llc.size:
        chunk //= 2
    return chunk


@lru_cache(maxsize=64)  # what is known of a step is known by its parts, which take longer to make
def _parts(
    model: ModelSpec,
    fmt: WeightFormat,
    pieces: tuple[Chunk, ...],
    attention: Attention,
    line: int,
    chunk: int,
    captured: int,
) -> StepParts:
    ops = mixed_step(model, fmt, pieces)
    if attention == "units":
        (piece,) = pieces
        ops = attention_on_units(ops, model, piece.tokens, line, piece.new, chunk)
    return StepParts(ops, model.n_layers, captured)
