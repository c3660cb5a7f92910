"""Attention with its products on the units: scores and values as GEMVs over quantized keys and values.

The cache is `ModelSpec.cached`: whole numbers with one fp16 scale a head and token. A head of a sequence is
two matrices with an input of its own, which the queries of its group share:

- **scores**: the queries (group, head_dim), rounded to ``abits``, times the keys (head_dim, tokens). The
  key's scale is that of the one block of its output.
- **values**: the probabilities (group, tokens) times the values (tokens, value_dim). A token's scale goes
  with the inputs: the cores multiply the probabilities by it before they round them to ``abits``.

Around them the cores round what is new and write it into the tiles, take the softmax, and round the result.
A tile has a row of codes for each input, so that a new key has a code in each of ``head_dim`` rows and
touches a line of each, while a new value is a row of its own. A line that is not filled is read before it is
written. docs/decode.md explains.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from sailsim.workloads.formats import TensorFormat, uniform_format
from sailsim.workloads.graph import ACT_BYTES, ROUND_FLOPS, SOFTMAX_FLOPS, Op
from sailsim.workloads.model import ModelSpec

SCALE_FLOPS = 1
"""A probability times its value's scale."""
SCALE_BYTES = 2
"""Of an fp16 scale."""


def attention_on_units(
    ops: Sequence[Op], model: ModelSpec, context: int, line: int, queries: int = 1, chunk: int = 1
) -> list[Op]:
    """The operations of a step, ``ops``, with the products of attention as GEMVs of the units.

    Args:
        ops: of a decode step, or of a prefill.
        model: with a cache of whole numbers.
        context: tokens of each sequence.
        line: bytes of a cache line, in which new keys and values are written.
        queries: of each sequence the last so many tokens are new: one in decoding, in prefill all.
        chunk: how many of them look at the keys together.
    """
    found: list[Op] = []
    for op in ops:
        if op.kind == "attention":
            found += _on_units(_Attention(op, model, context, line, queries), chunk)
        else:
            found.append(op)
    return found


def key_format(model: ModelSpec) -> TensorFormat:
    """Of the keys as the scores' matrix: the scale of a token is that of its output."""
    return uniform_format(model.kv_bits, model.head_dim).base


def value_format(model: ModelSpec) -> TensorFormat:
    """Of the values as a matrix: one block, whose scale is 1."""
    return uniform_format(model.kv_bits, 0).base


@dataclass(frozen=True)
class _Attention:
    """Attention of a block of a step."""

    op: Op
    model: ModelSpec
    context: int
    line: int
    queries: int

    @property
    def sequences(self) -> int:
        """Each with keys of its own."""
        return self.op.batch // self.queries

    @property
    def matrices(self) -> int:
        """Heads of keys, of all sequences."""
        return self.sequences * self.model.n_kv_heads

    @property
    def value_dim(self) -> int:
        """Elements of a head's value."""
        return self.model.d_value // self.model.n_kv_heads

    def on_cores(self, what: str, elements: int, flops: int, read: float = 0.0) -> Op:
        """Work on so many elements in and out."""
        op, bytes_ = self.op, ACT_BYTES * elements
        name = op.name.removesuffix("attention") + what
        return Op(name, "elementwise", op.layer, op.batch, weight_bytes=read, act_bytes=bytes_, flops=flops)

    def product(self, what: str, tokens: int, k: int, n: int, fmt: TensorFormat) -> Op:
        """Of the queries of so many tokens of each sequence with a matrix a head."""
        op, rows = self.op, self.sequences * tokens * self.model.n_heads
        return Op(
            op.name.removesuffix("attention") + what,
            "gemv",
            op.layer,
            rows,
            k=k,
            n=n,
            weight_bytes=self.matrices * fmt.bytes(k, n),
            act_bytes=ACT_BYTES * rows * (k + n),
            macs=rows * k * n,
            role="attn_out",
            format=fmt,
            matrices=self.matrices,
            spread=((tokens * self.model.gqa, float(self.matrices)),),
            side_by_side=True,
        )


def _on_units(of: _Attention, chunk: int) -> list[Op]:
    """What becomes of the attention of a block."""
    model, op = of.model, of.op
    new = op.batch * (model.d_query + model.d_cached)
    touched, unfilled = _lines(model, of) if of.queries == 1 else (_filled_lines(model, of), 0)
    write = of.on_cores("attn_cache", 2 * new, ROUND_FLOPS * new, read=of.matrices * unfilled * of.line)
    found = [replace(write, kind="cache", kv_bytes=of.matrices * touched * of.line)]
    first = of.context - of.queries
    for begin in range(first, of.context, chunk):
        found += _chunk(of, begin, min(begin + chunk, of.context))
    return found


def _chunk(of: _Attention, begin: int, end: int) -> list[Op]:
    """Queries of the tokens begin..end - 1 of each sequence: all at the keys that any of them sees."""
    model, tokens = of.model, end - begin
    window = model.attended(of.op.layer, of.context)
    seen = end - max(0, begin + 1 - window)
    rows = of.sequences * model.n_heads
    pairs = rows * sum(min(at + 1, window) for at in range(begin, end))
    mixed = of.sequences * tokens * model.d_attn
    return [
        of.product("attn_scores", tokens, model.head_dim, seen, key_format(model)),
        of.on_cores(
            "attn_softmax",
            pairs + rows * tokens * seen,  # what a query does not see is written as 0
            (SOFTMAX_FLOPS + SCALE_FLOPS + ROUND_FLOPS) * pairs,
            read=SCALE_BYTES * of.matrices * seen,
        ),
        of.product("attn_values", tokens, seen, of.value_dim, value_format(model)),
        of.on_cores("attn_mix", 2 * mixed, ROUND_FLOPS * mixed),
    ]


def _lines(model: ModelSpec, of: _Attention) -> tuple[int, int]:
    """Cache lines that a new key and value of a head touch, and those among them that they do not fill.

    A key's codes lie in ``head_dim`` rows of all tokens, a value's in one row, and the scale of each in a
    line of scales.
    """
    line, tokens = of.line, model.attended(of.op.layer, of.context)
    row, value = (ceil(elements * model.kv_bits / 8) for elements in (tokens, of.value_dim))
    keys = model.head_dim if row >= line else ceil(model.head_dim * row / line)
    return keys + ceil(value / line) + 2, keys + (value % line > 0) + 2


def _filled_lines(model: ModelSpec, of: _Attention) -> int:
    """Cache lines of all keys and values of a head, and of their scales: where all are new, none holds
    anything that must be kept, and so none is read."""
    line = of.line
    row, value = (ceil(elements * model.kv_bits / 8) for elements in (of.context, of.value_dim))
    keys = model.head_dim * ceil(row / line) if row >= line else ceil(model.head_dim * row / line)
    return keys + ceil(of.context * value / line) + 2 * ceil(SCALE_BYTES * of.context / line)
