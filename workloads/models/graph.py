"""Operations of a decode step, a prefill or a mixed step, with their bytes, MACs and flops.

Counting rules, for a batch of B sequences:

- ``weight_bytes``: stored bytes of the weights an operation reads, once for the whole batch.
- ``kv_bytes``: KV cache bytes read and written. The new token counts as one of the ``context`` tokens; its
  key and value are written once, and all ``context`` keys and values are read, or those in attention's
  window.
- ``act_bytes``: fp32 activations in and out, 4 bytes an element.
- ``macs``: multiply-accumulates of matrix products. Attention has as many as the queries of all heads and its
  own result have elements (``d_query + d_attn``), for each pair of a query's token and a token that it sees:
  ``B * context`` pairs in a decode step, ``B * N * (N + 1) / 2`` of prompts of N; where attention has a
  window, those in it.
- A block of experts has a router, which scores them for every token, and one operation for each of an
  expert's matrices, over all experts that a token chose: ``weight_bytes`` are those of the experts that any
  token of the batch chose, ``macs`` and ``batch`` those of all pairs of a token and its expert.
- ``flops``: all *other* scalar floating-point operations, so that ``2 * macs + flops`` is the total. Per
  element: RMS norm 4 (square, add, scale, weight), residual add 1, rotation 6 per pair, softmax 6 (scale,
  compare, subtract, exponential, add, divide), gated activation 5 (negate, exponential, add, divide,
  multiply; a plain one 4), rounding an operand to integers 3 (absolute value, compare, multiply), greedy
  sampling 1. Choosing experts is a softmax and a comparison an expert, joining their outputs 2 an element.
  Rounding belongs to the operation that produces the operand. Keys and values of few bits are rounded when
  they are new and unpacked when they are read, 2 an element (to a float, times the scale): ``cache_flops``,
  a part of ``flops``.

Kinds: ``gemv`` (goes to the PIM in SAIL), ``attention``, ``elementwise``, ``embedding``, ``sampling``, and
where units multiply keys and values ``softmax`` and ``cache``, which reads ``weight_bytes`` and then writes
``kv_bytes``.

`attention_on_units` replaces the attention of each head of a sequence by two GEMVs with their own input,
which the queries of a group share. The cache is `ModelSpec.with_kv_bits`: integers with an fp16 scale per
head and token.

- **scores**: the queries (group, head_dim), rounded to ``abits``, times the keys (head_dim, tokens). The
  key's scale is that of the one block of its output.
- **values**: the probabilities (group, tokens) times the values (tokens, value_dim). A token's scale goes
  with the inputs: the cores multiply the probabilities by it before they round them to ``abits``.

The cores round new keys and values and write them into the tiles, take the softmax, and round the result. A
tile has a row of codes for each input, so that a new key has a code in each of ``head_dim`` rows and
touches a line of each, while a new value is a row of its own. A line that is not filled is read before it is
written. docs/decode.md explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Literal, NamedTuple

from sailsim.base.errors import SailsimError
from sailsim.workloads.models.experts import Spread, expected_spread, touched_deviation, touched_experts
from sailsim.workloads.models.formats import TensorFormat, WeightFormat, uniform_format
from sailsim.workloads.models.model import MAX_DIMENSION, NORMS, Linear, ModelSpec, Role

Kind = Literal["gemv", "attention", "elementwise", "embedding", "sampling", "cache", "softmax"]

ACT_BYTES = 4
NORM_FLOPS, ADD_FLOPS, ROTATE_PAIR_FLOPS, SOFTMAX_FLOPS, ROUND_FLOPS, SAMPLE_FLOPS = 4, 1, 6, 6, 3, 1
GATED_FLOPS, PLAIN_FLOPS = 5, 4
UNPACK_FLOPS = 2
CHOOSE_FLOPS, JOIN_FLOPS = SOFTMAX_FLOPS + 1, 2


class Chunk(NamedTuple):
    """New tokens of a sequence in a step: one in decoding, all of a prompt, or a part of it."""

    new: int
    before: int = 0
    """Tokens of the sequence that are in the cache."""
    times: int = 1
    """Number of sequences with these tokens."""

    @property
    def tokens(self) -> int:
        """Tokens of the sequence, with the new ones."""
        return self.before + self.new

    @property
    def decodes(self) -> bool:
        """Whether this is a sequence's next token, and not one of a prompt."""
        return self.new == 1 and self.before > 0

    def keys(self, window: int) -> int:
        """Keys fetched from the cache by all sequences; a token sees itself and ``window - 1`` before it."""
        return self.times * (self.new + min(self.before, window - 1))

    def pairs(self, window: int) -> int:
        """Pairs of a query's token and a token that it sees, over all sequences."""
        growing = min(max(window - self.before, 0), self.new)  # tokens whose window is not full
        seen = growing * self.before + growing * (growing + 1) // 2 + (self.new - growing) * window
        return self.times * seen


@dataclass(frozen=True)
class Op:
    """One operation of a step, counted as the module's text defines.

    Attributes:
        layer: the block, -1 for the embedding, ``n_layers`` from the final norm on.
        batch: rows of the input.
        k, n: sizes of a gemv's matrix; of a softmax, its rows and all their scores; else 0.
        role: activation that feeds a gemv; None elsewhere.
        weights_key: tensor that is read.
        format: of that tensor; None elsewhere.
        matrices: number of matrices in the tensor, one per expert or head.
        used: number of those that a token uses.
        spread: tokens per matrix of experts (`experts.Spread`).
        deviation: standard deviation of the number of experts that any token uses.
        side_by_side: whether each matrix has its own input, as attention's heads have.
    """

    name: str
    kind: Kind
    layer: int
    batch: int
    k: int = 0
    n: int = 0
    weight_bytes: float = 0
    kv_bytes: float = 0
    act_bytes: float = 0
    macs: int = 0
    flops: int = 0
    cache_flops: int = 0
    role: Role | None = None
    weights_key: str = ""
    format: TensorFormat | None = None
    matrices: int = 1
    used: int = 1
    spread: Spread = ()
    side_by_side: bool = False
    deviation: float = 0.0

    @property
    def products(self) -> tuple[tuple[Op, float], ...]:
        """Products of one matrix that a gemv consists of, and how often each occurs.

        Experts have one for every number of tokens that an expert may see.
        """
        if not self.spread:
            return ((self, 1.0),)
        assert self.format is not None
        size = self.format.bytes(self.k, self.n)
        alone = replace(self, weight_bytes=size, matrices=1, used=1, spread=(), deviation=0.0)
        return tuple((alone._with_rows(tokens), times) for tokens, times in self.spread)

    def _with_rows(self, rows: int) -> Op:
        macs, act_bytes = rows * self.k * self.n, ACT_BYTES * rows * (self.k + self.n)
        return replace(self, batch=rows, act_bytes=act_bytes, macs=macs)


def decode_step(model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> list[Op]:
    """Operations that produce one token for each of ``batch`` sequences of ``context`` tokens.

    ``context`` counts the token being processed. Raises SailsimError unless both sizes are
    1..``MAX_DIMENSION``.
    """
    check_sizes(batch=batch, context=context)
    return mixed_step(model, fmt, (Chunk(1, context - 1, batch),))


def prefill_step(model: ModelSpec, fmt: WeightFormat, prompt: int, batch: int = 1) -> list[Op]:
    """Operations that process ``batch`` prompts of ``prompt`` tokens at once, causally, up to one new token.

    Matrix products work on ``prompt * batch`` rows, except the head, which needs the last token of each.
    """
    check_sizes(prompt=prompt, batch=batch)
    return mixed_step(model, fmt, (Chunk(prompt, 0, batch),))


def mixed_step(model: ModelSpec, fmt: WeightFormat, chunks: Sequence[Chunk]) -> list[Op]:
    """Operations of a step with chunks of prompts and of sequences that decode.

    Matrix products work on all new tokens as rows, the head on the last of each chunk. Raises SailsimError
    for a number that is not 1..``MAX_DIMENSION``, for ``before`` below 0, and without a chunk.
    """
    rows, sequences = 0, 0
    for chunk in chunks:
        check_sizes(**{"new tokens": chunk.new, "times": chunk.times, "tokens of a sequence": chunk.tokens})
        if chunk.before < 0:
            raise SailsimError(f"tokens before a chunk are {chunk.before}; allowed are 0 or more.")
        rows, sequences = rows + chunk.new * chunk.times, sequences + chunk.times
    check_sizes(**{"new tokens of a step": rows})
    step = _StepRows(model, fmt, rows, tuple(chunks))
    ops = [_embedding(model, fmt, rows)]
    for layer in range(model.n_layers):
        ops += _block(step, layer)
    ops.append(_norm("output_norm", model, model.n_layers, sequences))
    ops.append(_gemv(model.head, step, sequences))
    logits = sequences * model.vocab
    sample = Op("sample", "sampling", model.n_layers, sequences, act_bytes=ACT_BYTES * logits)
    return [*ops, replace(sample, flops=SAMPLE_FLOPS * logits)]


def step_notes(model: ModelSpec, rows: int) -> list[str]:
    """Assumptions of a step of ``rows`` rows, in sentences."""
    notes = list(model.notes)
    if model.experts is not None and rows > 1:
        notes.append(
            "Tokens are taken to choose experts uniformly and independently, which of all independent "
            "choices touches the most: the experts' bytes are an upper end, and so is the step's time."
        )
    return notes


def split_chunks(chunks: Sequence[Chunk]) -> tuple[tuple[Chunk, ...], tuple[Chunk, ...]]:
    """Split chunks into those that decode and those of prompts."""
    return tuple(c for c in chunks if c.decodes), tuple(c for c in chunks if not c.decodes)


def check_sizes(**sizes: int) -> None:
    """Raise SailsimError, by its name, for a size that is not 1..``MAX_DIMENSION``."""
    for name, value in sizes.items():
        if not 1 <= value <= MAX_DIMENSION:
            raise SailsimError(f"{name} is {value!r}; allowed is 1..{MAX_DIMENSION}.")


@dataclass(frozen=True)
class _StepRows:
    """Rows of a step: the new tokens of all chunks."""

    model: ModelSpec
    fmt: WeightFormat
    rows: int
    chunks: tuple[Chunk, ...]

    @cached_property
    def spread(self) -> Spread:
        """Tokens per expert, equal in all blocks."""
        assert self.model.experts is not None
        return expected_spread(self.model.experts.count, self.model.experts.used, self.rows)

    def op(self, name: str, layer: int, operands: int, flops: int, weights: int = 0, key: str = "") -> Op:
        """Elementwise operation with ``operands`` elements in and out, and ``weights`` in fp32."""
        return _elementwise(name, layer, self.rows, operands, flops, 4 * weights, key)

    def activation(self, name: str, layer: int, elements: int) -> Op:
        """Activation function of a feed-forward network with ``elements`` inner elements."""
        operands, flops = (3, GATED_FLOPS) if self.model.gated_ffn else (2, PLAIN_FLOPS)
        return self.op(name, layer, operands * elements, (flops + ROUND_FLOPS) * elements)

    def norm(self, name: str, layer: int) -> list[Op]:
        """Norm that only some models have, as no or one operation."""
        if name not in self.model.norms:
            return []
        weights, elements = NORMS[name](self.model)
        elements *= self.rows
        name = f"blk.{layer}.{name}"
        return [self.op(name, layer, 2 * elements, NORM_FLOPS * elements, weights, name + ".weight")]

    def gemvs(self, layer: int) -> dict[Role, list[Op]]:
        """Products of a block, without those of experts, by the activation that they read."""
        by_role: dict[Role, list[Op]] = {}
        for linear in self.model.layer_linears(layer):
            if not linear.of_experts:
                by_role.setdefault(linear.role, []).append(_gemv(linear, self, self.rows))
        return by_role


def _block(step: _StepRows, layer: int) -> list[Op]:
    model, rows = step.model, step.rows
    by_role = step.gemvs(layer)
    feed = _expert_ffn if model.has_experts(layer) else _dense_ffn
    return [
        _norm(f"blk.{layer}.attn_norm", model, layer, rows),
        *step.norm("attn_norm_2", layer),
        *by_role["attn_in"],
        *step.norm("attn_q_norm", layer),
        *step.norm("attn_k_norm", layer),
        *_attention(step, layer),
        *step.norm("attn_sub_norm", layer),
        *by_role["attn_out"],
        *step.norm("post_attention_norm", layer),
        _norm(f"blk.{layer}.ffn_norm", model, layer, rows),
        *feed(step, layer, by_role),
        *step.norm("post_ffw_norm", layer),
    ]


def _attention(step: _StepRows, layer: int) -> list[Op]:
    model, rows, blk = step.model, step.rows, f"blk.{layer}."
    window = model.attended(layer, MAX_DIMENSION)
    keys_read = sum(chunk.keys(window) for chunk in step.chunks)
    pairs = sum(chunk.pairs(window) for chunk in step.chunks)
    rotated = rows * (model.d_query + model.d_key)
    scaled = model.d_cached if model.kv_scale_bits else 0
    converted = scaled * (ROUND_FLOPS * rows + UNPACK_FLOPS * keys_read)
    softmax = SOFTMAX_FLOPS * model.n_heads * pairs + ROUND_FLOPS * rows * model.d_attn
    attention = replace(
        Op(blk + "attention", "attention", layer, rows, flops=softmax + converted, cache_flops=converted),
        kv_bytes=model.cached_bytes * (keys_read + rows),
        act_bytes=ACT_BYTES * rows * (model.d_query + model.d_attn),
        macs=(model.d_query + model.d_attn) * pairs,
    )
    return [step.op(blk + "rope", layer, 2 * rotated, ROTATE_PAIR_FLOPS * rotated // 2), attention]


def _dense_ffn(step: _StepRows, layer: int, by_role: dict[Role, list[Op]]) -> list[Op]:
    """Feed-forward network of all tokens."""
    return [
        *by_role["ffn_in"],
        step.activation(f"blk.{layer}.ffn_act", layer, step.rows * step.model.d_ffn),
        *step.norm("ffn_sub_norm", layer),
        *by_role["ffn_out"],
    ]


def _expert_ffn(step: _StepRows, layer: int, by_role: dict[Role, list[Op]]) -> list[Op]:
    model, blk, rows = step.model, f"blk.{layer}.", step.rows
    experts = model.experts
    assert experts is not None
    router, *shared = by_role["ffn_in"]
    deviation = touched_deviation(experts.count, experts.used, rows)
    products: dict[Role, list[Op]] = {}
    for linear in model.layer_linears(layer):
        if linear.of_experts:
            products.setdefault(linear.role, []).append(_gemv(linear, step, rows, step.spread, deviation))
    scores = rows * experts.count
    ops = [router, step.op(blk + "ffn_topk", layer, scores, CHOOSE_FLOPS * scores)]
    if shared:
        ops += [
            *shared,
            step.activation(blk + "ffn_act_shexp", layer, rows * experts.shared_d_ffn),
            *by_role["ffn_out"],
        ]
    joined = rows * experts.used * model.d_model
    return [
        *ops,
        *products["ffn_in"],
        step.activation(blk + "ffn_act_exps", layer, rows * experts.used * experts.d_ffn),
        *products["ffn_out"],
        step.op(blk + "ffn_join", layer, joined + rows * model.d_model, JOIN_FLOPS * joined),
    ]


def _embedding(model: ModelSpec, fmt: WeightFormat, rows: int) -> Op:
    elements, size = rows * model.d_model, rows * fmt.embedding(model).column_bytes(model.d_model)
    read = Op("token_embd", "embedding", -1, rows, weight_bytes=size, weights_key="token_embd.weight")
    return replace(read, act_bytes=ACT_BYTES * elements, flops=elements)


def _norm(name: str, model: ModelSpec, layer: int, rows: int) -> Op:
    """Residual add of the block before, norm, and rounding of the next products' operand.

    A model without this norm still has the other two.
    """
    d = model.d_model
    has = name.rpartition(".")[2] in model.norms
    weights, key = (4 * d, f"{name}.weight") if has else (0, "")
    flops = (ADD_FLOPS + (NORM_FLOPS if has else 0) + ROUND_FLOPS) * rows * d
    return _elementwise(name, layer, rows, 4 * rows * d, flops, weights, key)


def _elementwise(
    name: str, layer: int, rows: int, operands: int, flops: int, read: float = 0, key: str = ""
) -> Op:
    """Operation of the cores with ``operands`` elements in and out, which reads ``read`` bytes too."""
    return Op(
        name, "elementwise", layer, rows, weight_bytes=read, act_bytes=ACT_BYTES * operands, flops=flops,
        weights_key=key,
    )  # fmt: skip


def _gemv(linear: Linear, step: _StepRows, rows: int, spread: Spread = (), deviation: float = 0.0) -> Op:
    """Products of one matrix, or of the matrix of every expert that a token chose."""
    tensor, pairs = step.fmt.tensor(linear, step.model), rows * linear.used
    size = tensor.bytes(linear.k, linear.n)
    return Op(
        linear.name if linear.role != "head" else "output",
        "gemv",
        linear.layer,
        pairs,
        k=linear.k,
        n=linear.n,
        weight_bytes=touched_experts(spread) * size if spread else size,
        act_bytes=ACT_BYTES * pairs * (linear.k + linear.n),
        macs=pairs * linear.k * linear.n,
        role=linear.role,
        weights_key=linear.name + ".weight",
        format=tensor,
        matrices=linear.count,
        used=linear.used,
        spread=spread,
        deviation=deviation,
    )


SCALE_FLOPS = 1
"""Flops of a probability times its value's scale."""
SCALE_BYTES = 2
"""Bytes of an fp16 scale."""


def attention_on_units(
    ops: Sequence[Op], model: ModelSpec, context: int, line: int, queries: int = 1, chunk: int = 1
) -> list[Op]:
    """Operations of a step, ``ops``, with attention's products as GEMVs of the units.

    Args:
        ops: of a decode step, or of a prefill.
        model: with a cache of integers.
        context: tokens of each sequence.
        line: bytes of a cache line, in which new keys and values are written.
        queries: new tokens at the end of each sequence: one in decoding, all in prefill.
        chunk: new tokens that share a product with the keys.
    """
    all_ops: list[Op] = []
    for op in ops:
        if op.kind != "attention":
            all_ops.append(op)
            continue
        all_ops.append(_cache_write(op, model, context, line, queries))
        for begin in range(context - queries, context, chunk):
            sequences, end = op.batch // queries, min(begin + chunk, context)
            all_ops += _chunk_attention(op, model, context, sequences, begin, end)
    return all_ops


def _cache_write(op: Op, model: ModelSpec, context: int, line: int, queries: int) -> Op:
    """Rounding of new keys and values, and their write into the cache."""
    heads = op.batch // queries * model.n_kv_heads
    new = op.batch * (model.d_query + model.d_cached)
    if queries == 1:
        written, unfilled = _new_token_lines(model, model.attended(op.layer, context), line)
    else:
        written, unfilled = _prompt_lines(model, context, line), 0
    name = op.name.removesuffix("attention") + "attn_cache"
    write = _elementwise(name, op.layer, op.batch, 2 * new, ROUND_FLOPS * new, heads * unfilled * line)
    return replace(write, kind="cache", kv_bytes=heads * written * line)


def _chunk_attention(
    op: Op, model: ModelSpec, context: int, sequences: int, begin: int, end: int
) -> list[Op]:
    """Attention of the tokens begin..end - 1 of each sequence, to all keys that any of them sees."""
    tokens, heads = end - begin, sequences * model.n_kv_heads
    window = model.attended(op.layer, context)
    seen = end - max(0, begin + 1 - window)
    rows = sequences * model.n_heads
    pairs = rows * sum(min(at + 1, window) for at in range(begin, end))
    mixed = sequences * tokens * model.d_attn
    prefix = op.name.removesuffix("attention")

    def product(name: str, k: int, n: int, fmt: TensorFormat) -> Op:
        one = Op(prefix + name, "gemv", op.layer, 0, k, n, role="attn_out", format=fmt, side_by_side=True)
        weights, spread = heads * fmt.bytes(k, n), ((tokens * model.gqa, float(heads)),)
        return replace(one, weight_bytes=weights, matrices=heads, spread=spread)._with_rows(rows * tokens)

    written = pairs + rows * tokens * seen  # tokens that a query does not see are written as 0
    flops, scales = (SOFTMAX_FLOPS + SCALE_FLOPS + ROUND_FLOPS) * pairs, SCALE_BYTES * heads * seen
    softmax = _elementwise(prefix + "attn_softmax", op.layer, op.batch, written, flops, scales)
    # Keys have a scale a token, which is that of its output. Values are one block, whose scale is 1.
    keys, values = (uniform_format(model.kv_bits, size).base for size in (model.head_dim, 0))
    return [
        product("attn_scores", model.head_dim, seen, keys),
        replace(softmax, kind="softmax", k=rows * tokens, n=pairs),
        product("attn_values", seen, model.d_value // model.n_kv_heads, values),
        _elementwise(prefix + "attn_mix", op.layer, op.batch, 2 * mixed, ROUND_FLOPS * mixed, 0.0),
    ]


def _row_bytes(model: ModelSpec, tokens: int) -> tuple[int, int]:
    """Bytes of a row of a head's key codes, which has all tokens, and of a token's value."""
    value_dim = model.d_value // model.n_kv_heads
    return ceil(tokens * model.kv_bits / 8), ceil(value_dim * model.kv_bits / 8)


def _new_token_lines(model: ModelSpec, tokens: int, line: int) -> tuple[int, int]:
    """Cache lines that a new key and value of a head touch, and those among them that they do not fill.

    A key's codes lie in ``head_dim`` rows of all tokens, a value's in one row, and the scale of each in a
    line of scales.
    """
    row, value = _row_bytes(model, tokens)
    keys = model.head_dim if row >= line else ceil(model.head_dim * row / line)
    return keys + ceil(value / line) + 2, keys + (value % line > 0) + 2


def _prompt_lines(model: ModelSpec, tokens: int, line: int) -> int:
    """Cache lines of all keys and values of a head, and of their scales.

    None is read before it is written, as all of them are new.
    """
    row, value = _row_bytes(model, tokens)
    keys = model.head_dim * ceil(row / line) if row >= line else ceil(model.head_dim * row / line)
    return keys + ceil(tokens * value / line) + 2 * ceil(SCALE_BYTES * tokens / line)
