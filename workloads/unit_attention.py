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
written. docs/attention.md explains.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from sailsim.workloads.formats import TensorFormat, uniform_format
from sailsim.workloads.graph import ACT_BYTES, ROUND_FLOPS, SOFTMAX_FLOPS, Op
from sailsim.workloads.model import ModelSpec

SCALE_FLOPS = 1
"""A probability times its value's scale."""
SCALE_BYTES = 2
"""Of an fp16 scale."""


def attention_on_units(ops: Sequence[Op], model: ModelSpec, context: int, line: int) -> list[Op]:
    """The operations of a decode step, ``ops``, with the products of attention as GEMVs of the units.

    ``line``: bytes of a cache line, in which new keys and values are written.
    """
    found: list[Op] = []
    for op in ops:
        found += _on_units(op, model, context, line) if op.kind == "attention" else [op]
    return found


def key_format(model: ModelSpec) -> TensorFormat:
    """Of the keys as the scores' matrix: the scale of a token is that of its output."""
    return uniform_format(model.kv_bits, model.head_dim).base


def value_format(model: ModelSpec) -> TensorFormat:
    """Of the values as a matrix: one block, whose scale is 1."""
    return uniform_format(model.kv_bits, 0).base


def _on_units(attention: Op, model: ModelSpec, context: int, line: int) -> list[Op]:
    """What becomes of the attention of a block."""
    layer, rows = attention.layer, attention.batch
    tokens = model.attended(layer, context)
    name = attention.name.removesuffix("attention")
    queries, matrices = rows * model.n_heads, rows * model.n_kv_heads
    value_dim = model.d_value // model.n_kv_heads

    def on_cores(what: str, elements: int, flops: int, read: float = 0.0) -> Op:
        bytes_ = ACT_BYTES * elements
        return Op(name + what, "elementwise", layer, rows, weight_bytes=read, act_bytes=bytes_, flops=flops)

    def product(what: str, k: int, n: int, fmt: TensorFormat) -> Op:
        return Op(
            name + what,
            "gemv",
            layer,
            queries,
            k=k,
            n=n,
            weight_bytes=matrices * fmt.bytes(k, n),
            act_bytes=ACT_BYTES * queries * (k + n),
            macs=queries * k * n,
            role="attn_out",
            format=fmt,
            matrices=matrices,
            spread=((model.gqa, float(matrices)),),
            side_by_side=True,
        )

    new = rows * (model.d_query + model.d_cached)
    pairs = queries * tokens
    touched, unfilled = _lines(model, tokens, value_dim, line)
    write = on_cores("attn_cache", 2 * new, ROUND_FLOPS * new, read=matrices * unfilled * line)
    mixed = rows * model.d_attn
    return [
        replace(write, kind="cache", kv_bytes=matrices * touched * line),
        product("attn_scores", model.head_dim, tokens, key_format(model)),
        on_cores(
            "attn_softmax",
            2 * pairs,
            (SOFTMAX_FLOPS + SCALE_FLOPS + ROUND_FLOPS) * pairs,
            read=SCALE_BYTES * matrices * tokens,
        ),
        product("attn_values", tokens, value_dim, value_format(model)),
        on_cores("attn_mix", 2 * mixed, ROUND_FLOPS * mixed),
    ]


def _lines(model: ModelSpec, tokens: int, value_dim: int, line: int) -> tuple[int, int]:
    """Cache lines that a new key and value of a head touch, and those among them that they do not fill.

    A key's codes lie in ``head_dim`` rows of all tokens, a value's in one row, and the scale of each in a
    line of scales.
    """
    row, value = (ceil(elements * model.kv_bits / 8) for elements in (tokens, value_dim))
    keys = model.head_dim if row >= line else ceil(model.head_dim * row / line)
    return keys + ceil(value / line) + 2, keys + (value % line > 0) + 2
