"""Parts of a step: GEMVs that share an input together, every other operation by itself.

The blocks of a model are alike, so a step has hundreds of parts of a few kinds.
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

MAX_LAYOUTS = 8
"""Cached layouts of a step: one for each NBW that a tensor can have, and for all of them."""

EVERY = 1 << 31
"""Number of layers with activations of their own that means all layers."""

MAX_ROWS = 65535
"""Most rows of a descriptor."""

PROMPT_CHUNK = 128
"""Most tokens of each prompt whose queries are multiplied with the keys together, where units do attention:
the fastest power of two for Llama 2 7B and for SmolLM2 (docs/decode.md)."""

_WORK = attrgetter(*(f.name for f in fields(Op) if f.name not in ("name", "layer", "weights_key")))
"""Fields of an operation that are equal for equal work."""


def parts_of(ops: Sequence[Op]) -> tuple[tuple[int, tuple[Op, ...]], ...]:
    """Kind and operations of each part in order; kinds are equal for equal work."""
    kinds: dict[Any, int] = {}
    parts = []
    for _, run in groupby(
        ops, key=lambda op: (op.layer, op.role) if op.kind == "gemv" else (op.layer, op.name)
    ):
        part = tuple(run)
        parts.append((kinds.setdefault(tuple(map(_WORK, part)), len(kinds)), part))
    return tuple(parts)


def has_codes(op: Op) -> bool:
    """Whether a GEMV's weights have scalar codes, which PIM units multiply."""
    return op.format is not None and op.format.code is not None


def scalar_codes(op: Op) -> tuple[int, int]:
    """Bits of the codes' values, and weights per scale, of a GEMV that `has_codes`."""
    assert op.format is not None
    assert op.format.code is not None
    return op.format.code.value_bits, op.format.group_size


class PartGroup(NamedTuple):
    """Different parts of one kind: the same work on inputs with other patterns."""

    ops: tuple[Op, ...]
    """Operations of the first part."""
    places: tuple[int, ...]
    """Place of each part among all parts."""
    inputs: tuple[int, ...]
    """Place of each part's input among all inputs, for experts of the first one; empty where only the cores
    work."""
    times: NDArray[np.int64]
    """Number of parts that each stands for."""


class StepParts:
    """Parts of a step. Two are equal only if identical, so that a cache compares no operations."""

    def __init__(self, ops: Sequence[Op], n_layers: int, captured_layers: int = EVERY) -> None:
        """`n_layers`: layers of the model; `captured_layers`: number of them with activations of their own,
        which their neighbours share."""
        self.parts, self._n_layers = parts_of(ops), n_layers
        self._sharing = ceil(n_layers / min(captured_layers, n_layers))
        self.inputs = lru_cache(maxsize=1)(self._inputs)  # a quarter of the time of a new machine
        self.layout = lru_cache(maxsize=MAX_LAYOUTS)(self._layout)  # half of it

    def _inputs(self, seed: int) -> tuple[InputRows, ...]:
        """Captured activations that the GEMVs read, in the order of the parts.

        Experts have an input for every number of tokens that an expert may see.
        """
        inputs = []
        for _, (op, *_) in self.parts:
            if op.kind == "gemv":
                assert op.role is not None
                sharing, last = self._sharing, max(op.layer, self._n_layers - 1)
                layer = min(op.layer // sharing * sharing + sharing // 2, last)
                for one, _ in op.products:
                    inputs.append(InputRows(op.role, layer, self._n_layers, op.k, one.batch, seed))
        return tuple(inputs)

    @cached_property
    def block_sizes(self) -> tuple[int, ...]:
        """Sizes of blocks that share a scale in the GEMVs of the PIM units, each once."""
        every = (op for _, ops in self.parts for op in ops if op.kind == "gemv" and has_codes(op))
        return tuple(dict.fromkeys(op.format.group_size for op in every if op.format is not None))

    def _layout(self, patterns: tuple[Hashable, ...]) -> tuple[tuple[PartGroup, ...], list[int]]:
        """Groups of parts that do the same work, and the number of each part's equal.

        `patterns` are keys of the profiles of the step's `inputs`. Numbers count the different parts of all
        groups.
        """
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
        groups = []
        for first in different.values():
            places, numbers = zip(*first.values(), strict=True)
            ops = self.parts[places[0]][1]
            times = np.array([counted[key] for key in first], dtype=np.int64)
            groups.append(PartGroup(ops, places, numbers if ops[0].kind == "gemv" else (), times))
        return tuple(groups), [number[key] for key in keys]


def chunks_of(point: Point) -> tuple[Chunk, ...]:
    """New tokens of a point's step, as the chunks of a mixed step."""
    if point.phase == "prefill":
        return (Chunk(point.prompt, 0, point.batch),)
    return (Chunk(1, point.context - 1, point.batch),)


def step_parts(
    system: System,
    model: ModelSpec,
    point: Point,
    captured_layers: int = EVERY,
    chunks: tuple[Chunk, ...] = (),
) -> StepParts:
    """Parts of the point's step, or of a mixed step of ``chunks``; `captured_layers` as in `StepParts`.

    Raises SailsimError for prompts of more rows than a descriptor can carry.
    """
    rows = sum(chunk.new * chunk.times for chunk in chunks) or point.tokens
    if (chunks or point.phase == "prefill") and rows > MAX_ROWS:
        raise SailsimError(
            f"{'new tokens' if chunks else 'batch x prompt'} is {rows}; allowed is at most {MAX_ROWS} rows "
            "of one prefill."
        )
    fmt, line = point.formats(model), system.llc.line.whole
    chunk = prompt_chunk(system, model, point)
    return _parts(model, fmt, chunks or chunks_of(point), point.attention, line, chunk, captured_layers)


def prompt_chunk(system: System, model: ModelSpec, point: Point) -> int:
    """Tokens of each prompt whose queries are multiplied with the keys together; 1 where cores do attention.

    On units it is `PROMPT_CHUNK`, or a smaller power of two if the scores of all heads and prompts do not
    fit the LLC.
    """
    if point.phase == "decode" or point.attention == "cores":
        return 1
    scores = ACT_BYTES * point.batch * model.n_heads * point.context
    chunk = PROMPT_CHUNK
    while chunk > 1 and chunk * scores > system.llc.size:
        chunk //= 2
    return chunk


@lru_cache(maxsize=64)  # results of a step are cached by its parts, which take longer to make
def _parts(
    model: ModelSpec,
    fmt: WeightFormat,
    chunks: tuple[Chunk, ...],
    attention: Attention,
    line: int,
    chunk: int,
    captured_layers: int,
) -> StepParts:
    ops = mixed_step(model, fmt, chunks)
    if attention == "units":
        (alone,) = chunks
        ops = attention_on_units(ops, model, alone.tokens, line, alone.new, chunk)
    return StepParts(ops, model.n_layers, captured_layers)
