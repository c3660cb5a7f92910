"""A decode step, a prefill and a step of both as lists of operations with their bytes, MACs and flops.

Counting rules, for a batch of B sequences:

- ``weight_bytes``: stored bytes of the weights an operation reads, once for the whole batch.
- ``kv_bytes``: KV cache bytes read and written. The new token counts as one of the ``context`` tokens; its
  key and value are written once, and all ``context`` keys and values are read; where attention has a window,
  those in it.
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
where units do attention's products ``cache``, which writes ``kv_bytes`` and reads ``weight_bytes`` before.

`attention_on_units` makes two GEMVs with an input of their own, which the queries of a group share, of each
head of a sequence. The cache is `ModelSpec.cached`: whole numbers with one fp16 scale a head and token.

- **scores**: the queries (group, head_dim), rounded to ``abits``, times the keys (head_dim, tokens). The
  key's scale is that of the one block of its output.
- **values**: the probabilities (group, tokens) times the values (tokens, value_dim). A token's scale goes
  with the inputs: the cores multiply the probabilities by it before they round them to ``abits``.

Around them the cores round what is new and write it into the tiles, take the softmax, and round the result.
A tile has a row of codes for each input, so that a new key has a code in each of ``head_dim`` rows and
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
from sailsim.workloads.models.experts import Spread, expected_spread, touched, touched_deviation
from sailsim.workloads.models.formats import TensorFormat, WeightFormat, uniform_format
from sailsim.workloads.models.model import MAX_DIMENSION, NORMS, Linear, ModelSpec, Role

Kind = Literal["gemv", "attention", "elementwise", "embedding", "sampling", "cache", "softmax"]

ACT_BYTES = 4
NORM_FLOPS, ADD_FLOPS, ROTATE_PAIR_FLOPS, SOFTMAX_FLOPS, ROUND_FLOPS, SAMPLE_FLOPS = 4, 1, 6, 6, 3, 1
GATED_FLOPS, PLAIN_FLOPS = 5, 4
UNPACK_FLOPS = 2
CHOOSE_FLOPS, JOIN_FLOPS = SOFTMAX_FLOPS + 1, 2


class Chunk(NamedTuple):
    """New tokens of a sequence in a step: one that it decodes, all of a prompt, or some of one."""

    new: int
    before: int = 0
    """Tokens of the sequence that are in the cache."""
    times: int = 1
    """Sequences that are so."""

    @property
    def tokens(self) -> int:
        """Of the sequence, with the new ones."""
        return self.before + self.new

    @property
    def decodes(self) -> bool:
        """Whether it is a sequence's next token, and no prompt's."""
        return self.new == 1 and self.before > 0

    def keys(self, window: int) -> int:
        """Fetched from the cache by all, where a token sees itself and at most ``window`` - 1 before it."""
        return self.times * (self.new + min(self.before, window - 1))

    def pairs(self, window: int) -> int:
        """Of a query's token and one that it sees, by all."""
        growing = min(max(window - self.before, 0), self.new)  # tokens that see all before them
        seen = growing * self.before + growing * (growing + 1) // 2 + (self.new - growing) * window
        return self.times * seen


@dataclass(frozen=True)
class Op:
    """One operation of a step; see the module for what is counted.

    ``k``, ``n`` are the sizes of a gemv's matrix, of a softmax the heads of queries and all their scores (0
    elsewhere), ``batch`` the rows it works on. ``layer`` is
    the block, -1 for the embedding, ``n_layers`` from the final norm on. ``role`` names the activation that
    feeds a gemv, ``weights_key`` the tensor it reads and ``format`` that tensor's format (None elsewhere).
    A gemv of experts has a ``spread``: how many tokens meet how many of its tensor's ``matrices``, of which a
    token has ``used``, with the standard ``deviation`` of how many matrices any token meets. Those of
    attention's heads are ``side_by_side``: each has an input of its own.
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
        """The products that a gemv consists of, each of one matrix, and how often each occurs: itself once,
        or for experts one of every number of tokens that an expert may see."""
        if not self.spread:
            return ((self, 1.0),)
        assert self.format is not None
        return tuple((self._one(self.format, tokens), times) for tokens, times in self.spread)

    def _one(self, fmt: TensorFormat, tokens: int) -> Op:
        """The product of so many tokens and one expert's matrix."""
        return replace(
            self,
            batch=tokens,
            weight_bytes=fmt.bytes(self.k, self.n),
            act_bytes=ACT_BYTES * tokens * (self.k + self.n),
            macs=tokens * self.k * self.n,
            matrices=1,
            used=1,
            spread=(),
            deviation=0.0,
        )


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


def mixed_step(model: ModelSpec, fmt: WeightFormat, pieces: Sequence[Chunk]) -> list[Op]:
    """Operations of a step with any pieces of prompts beside any sequences that decode.

    Matrix products work on the new tokens of all as rows, the head on the last of each piece. Raises
    SailsimError where a number is not 1..``MAX_DIMENSION``, or before it less than 0, or without a piece.
    """
    rows, sequences = 0, 0
    for piece in pieces:
        check_sizes(**{"new tokens": piece.new, "times": piece.times, "tokens of a sequence": piece.tokens})
        if piece.before < 0:
            raise SailsimError(f"tokens before a piece are {piece.before}; allowed are 0 or more.")
        rows, sequences = rows + piece.new * piece.times, sequences + piece.times
    check_sizes(**{"new tokens of a step": rows})
    return _step(_StepRows(model, fmt, rows, sequences, tuple(pieces)))


def step_notes(model: ModelSpec, rows: int) -> list[str]:
    """What the operations of a step of so many rows rest on, in sentences."""
    notes = list(model.notes)
    if model.experts is not None and rows > 1:
        notes.append(
            "Tokens are taken to choose experts uniformly and independently, which of all independent "
            "choices touches the most: the experts' bytes are an upper end, and so is the step's time."
        )
    return notes


def split(pieces: Sequence[Chunk]) -> tuple[tuple[Chunk, ...], tuple[Chunk, ...]]:
    """Those that decode, and those of prompts."""
    return tuple(p for p in pieces if p.decodes), tuple(p for p in pieces if not p.decodes)


def check_sizes(**sizes: int) -> None:
    """Raise SailsimError for one that is not 1..``MAX_DIMENSION``, by its name."""
    for name, value in sizes.items():
        if not 1 <= value <= MAX_DIMENSION:
            raise SailsimError(f"{name} is {value!r}; allowed is 1..{MAX_DIMENSION}.")


@dataclass(frozen=True)
class _StepRows:
    """A step: ``rows`` new tokens of ``sequences`` sequences."""

    model: ModelSpec
    fmt: WeightFormat
    rows: int
    sequences: int
    pieces: tuple[Chunk, ...]

    @cached_property
    def spread(self) -> Spread:
        """How the tokens lie on the experts of a block, in all blocks alike."""
        assert self.model.experts is not None
        return expected_spread(self.model.experts.count, self.model.experts.used, self.rows)

    def op(self, name: str, layer: int, operands: int, flops: int, weights: int = 0, key: str = "") -> Op:
        """Work of the cores on so many elements in and out, with so many fp32 weights."""
        return _elementwise(name, layer, self.rows, operands, flops, 4 * weights, key)

    def activation(self, name: str, layer: int, elements: int) -> Op:
        """Between the matrices of a feed-forward network, on so many elements of its inside."""
        gated = self.model.gated_ffn
        return self.op(
            name,
            layer,
            (3 if gated else 2) * elements,
            ((GATED_FLOPS if gated else PLAIN_FLOPS) + ROUND_FLOPS) * elements,
        )

    def norm(self, name: str, layer: int) -> list[Op]:
        """A norm that only some models have."""
        if name not in self.model.norms:
            return []
        weights, elements = NORMS[name](self.model)
        elements *= self.rows
        name = f"blk.{layer}.{name}"
        return [self.op(name, layer, 2 * elements, NORM_FLOPS * elements, weights, name + ".weight")]

    def gemvs(self, layer: int) -> dict[Role, list[Op]]:
        """The products of a block but those of experts, by the activation that they read."""
        by_role: dict[Role, list[Op]] = {}
        for linear in self.model.layer_linears(layer):
            if not linear.of_experts:
                by_role.setdefault(linear.role, []).append(_gemv(linear, self, self.rows))
        return by_role


def _step(step: _StepRows) -> list[Op]:
    """The operations of a step."""
    model, sequences = step.model, step.sequences
    ops = [_embedding(model, step.fmt, step.rows)]
    for layer in range(model.n_layers):
        ops += _block(step, layer)
    ops.append(_norm("output_norm", model, model.n_layers, sequences))
    ops.append(_gemv(model.head, step, sequences))
    ops.append(
        Op(
            "sample",
            "sampling",
            model.n_layers,
            sequences,
            act_bytes=ACT_BYTES * sequences * model.vocab,
            flops=SAMPLE_FLOPS * sequences * model.vocab,
        )
    )
    return ops


def _block(step: _StepRows, layer: int) -> list[Op]:
    model, rows = step.model, step.rows
    by_role = step.gemvs(layer)
    feed = _chosen if model.has_experts(layer) else _ordinary
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
    """The rotation and attention itself."""
    model, rows, blk = step.model, step.rows, f"blk.{layer}."
    window = model.attended(layer, MAX_DIMENSION)
    keys_read = sum(piece.keys(window) for piece in step.pieces)
    pairs = sum(piece.pairs(window) for piece in step.pieces)
    rotated = rows * (model.d_query + model.d_key)
    scaled = model.d_cached if model.kv_scale_bits else 0
    converted = scaled * (ROUND_FLOPS * rows + UNPACK_FLOPS * keys_read)
    attention = Op(
        blk + "attention",
        "attention",
        layer,
        rows,
        kv_bytes=model.cached_bytes * (keys_read + rows),
        act_bytes=ACT_BYTES * rows * (model.d_query + model.d_attn),
        macs=(model.d_query + model.d_attn) * pairs,
        flops=SOFTMAX_FLOPS * model.n_heads * pairs + ROUND_FLOPS * rows * model.d_attn + converted,
        cache_flops=converted,
    )
    return [step.op(blk + "rope", layer, 2 * rotated, ROTATE_PAIR_FLOPS * rotated // 2), attention]


def _ordinary(step: _StepRows, layer: int, by_role: dict[Role, list[Op]]) -> list[Op]:
    """A feed-forward network that all tokens take."""
    return [
        *by_role["ffn_in"],
        step.activation(f"blk.{layer}.ffn_act", layer, step.rows * step.model.d_ffn),
        *step.norm("ffn_sub_norm", layer),
        *by_role["ffn_out"],
    ]


def _chosen(step: _StepRows, layer: int, by_role: dict[Role, list[Op]]) -> list[Op]:
    """A router, what all tokens take beside experts, and the experts that each token chooses."""
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
    return Op(
        "token_embd",
        "embedding",
        -1,
        rows,
        weight_bytes=rows * fmt.embedding(model).column_bytes(model.d_model),
        act_bytes=ACT_BYTES * rows * model.d_model,
        flops=rows * model.d_model,
        weights_key="token_embd.weight",
    )


def _norm(name: str, model: ModelSpec, layer: int, rows: int) -> Op:
    """The residual add of the block before, the norm, and the rounding of the next products' operand.

    Where a model has no such norm, the others are left.
    """
    d = model.d_model
    has = name.rpartition(".")[2] in model.norms
    weights, key = (4 * d, f"{name}.weight") if has else (0, "")
    flops = (ADD_FLOPS + (NORM_FLOPS if has else 0) + ROUND_FLOPS) * rows * d
    return _elementwise(name, layer, rows, 4 * rows * d, flops, weights, key)


def _elementwise(
    name: str, layer: int, rows: int, operands: int, flops: int, read: float = 0, key: str = ""
) -> Op:
    """Work of the cores on so many elements in and out, with so many bytes beside them."""
    return Op(
        name, "elementwise", layer, rows, weight_bytes=read, act_bytes=ACT_BYTES * operands, flops=flops,
        weights_key=key,
    )  # fmt: skip


def _gemv(linear: Linear, step: _StepRows, rows: int, spread: Spread = (), deviation: float = 0.0) -> Op:
    """The products of one matrix, or of that of every expert that a token chose."""
    tensor, pairs = step.fmt.tensor(linear, step.model), rows * linear.used
    size = tensor.bytes(linear.k, linear.n)
    return Op(
        linear.name if linear.role != "head" else "output",
        "gemv",
        linear.layer,
        pairs,
        k=linear.k,
        n=linear.n,
        weight_bytes=touched(spread) * size if spread else size,
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
    all_ops: list[Op] = []
    for op in ops:
        if op.kind == "attention":
            all_ops += _on_units(_AttentionOps(op, model, context, line, queries), chunk)
        else:
            all_ops.append(op)
    return all_ops


def key_format(model: ModelSpec) -> TensorFormat:
    """Of the keys as the scores' matrix: the scale of a token is that of its output."""
    return uniform_format(model.kv_bits, model.head_dim).base


def value_format(model: ModelSpec) -> TensorFormat:
    """Of the values as a matrix: one block, whose scale is 1."""
    return uniform_format(model.kv_bits, 0).base


@dataclass(frozen=True)
class _AttentionOps:
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
        name = self.op.name.removesuffix("attention") + what
        return _elementwise(name, self.op.layer, self.op.batch, elements, flops, read)

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


def _on_units(of: _AttentionOps, chunk: int) -> list[Op]:
    """What becomes of the attention of a block."""
    model, op = of.model, of.op
    new = op.batch * (model.d_query + model.d_cached)
    touched, unfilled = _lines(model, of) if of.queries == 1 else (_filled_lines(model, of), 0)
    write = of.on_cores("attn_cache", 2 * new, ROUND_FLOPS * new, read=of.matrices * unfilled * of.line)
    parts = [replace(write, kind="cache", kv_bytes=of.matrices * touched * of.line)]
    first = of.context - of.queries
    for begin in range(first, of.context, chunk):
        parts += _chunk(of, begin, min(begin + chunk, of.context))
    return parts


def _chunk(of: _AttentionOps, begin: int, end: int) -> list[Op]:
    """Queries of the tokens begin..end - 1 of each sequence: all at the keys that any of them sees."""
    model, tokens = of.model, end - begin
    window = model.attended(of.op.layer, of.context)
    seen = end - max(0, begin + 1 - window)
    rows = of.sequences * model.n_heads
    pairs = rows * sum(min(at + 1, window) for at in range(begin, end))
    mixed = of.sequences * tokens * model.d_attn
    softmax = of.on_cores(
        "attn_softmax",
        pairs + rows * tokens * seen,  # what a query does not see is written as 0
        (SOFTMAX_FLOPS + SCALE_FLOPS + ROUND_FLOPS) * pairs,
        read=SCALE_BYTES * of.matrices * seen,
    )
    return [
        of.product("attn_scores", tokens, model.head_dim, seen, key_format(model)),
        replace(softmax, kind="softmax", k=rows * tokens, n=pairs),
        of.product("attn_values", tokens, seen, of.value_dim, value_format(model)),
        of.on_cores("attn_mix", 2 * mixed, ROUND_FLOPS * mixed),
    ]


def _lines(model: ModelSpec, of: _AttentionOps) -> tuple[int, int]:
    """Cache lines that a new key and value of a head touch, and those among them that they do not fill.

    A key's codes lie in ``head_dim`` rows of all tokens, a value's in one row, and the scale of each in a
    line of scales.
    """
    line, tokens = of.line, model.attended(of.op.layer, of.context)
    row, value = (ceil(elements * model.kv_bits / 8) for elements in (tokens, of.value_dim))
    keys = model.head_dim if row >= line else ceil(model.head_dim * row / line)
    return keys + ceil(value / line) + 2, keys + (value % line > 0) + 2


def _filled_lines(model: ModelSpec, of: _AttentionOps) -> int:
    """Cache lines of all keys and values of a head, and of their scales: where all are new, none holds
    anything that must be kept, and so none is read."""
    line = of.line
    row, value = (ceil(elements * model.kv_bits / 8) for elements in (of.context, of.value_dim))
    keys = model.head_dim * ceil(row / line) if row >= line else ceil(model.head_dim * row / line)
    return keys + ceil(of.context * value / line) + 2 * ceil(SCALE_BYTES * of.context / line)
