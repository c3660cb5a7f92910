"""A decode step and a prefill as lists of operations with their bytes, MACs and flops.

Counting rules, for a batch of B sequences:

- ``weight_bytes``: stored bytes of the weights an operation reads, once for the whole batch.
- ``kv_bytes``: KV cache bytes read and written. The new token counts as one of the ``context`` tokens; its
  key and value are written once, and all ``context`` keys and values are read.
- ``act_bytes``: fp32 activations in and out, 4 bytes an element.
- ``macs``: multiply-accumulates of matrix products. Attention has ``2 * B * n_heads * head_dim * context``.
- ``flops``: all *other* scalar floating-point operations, so that ``2 * macs + flops`` is the total. Per
  element: RMS norm 4 (square, add, scale, weight), residual add 1, rotation 6 per pair, softmax 6 (scale,
  compare, subtract, exponential, add, divide), gated activation 5 (negate, exponential, add, divide,
  multiply; a plain one 4), rounding an operand to integers 3 (absolute value, compare, multiply), greedy
  sampling 1. Rounding belongs to the operation that produces the operand.

Kinds: ``gemv`` (goes to the PIM in SAIL), ``attention``, ``elementwise``, ``embedding``, ``sampling``.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from sailsim.base.errors import SailsimError
from sailsim.workloads.formats import TensorFormat, WeightFormat
from sailsim.workloads.model import MAX_DIMENSION, Linear, ModelSpec, Role

Kind = Literal["gemv", "attention", "elementwise", "embedding", "sampling"]

ACT_BYTES = 4
NORM_FLOPS, ADD_FLOPS, ROTATE_PAIR_FLOPS, SOFTMAX_FLOPS, ROUND_FLOPS, SAMPLE_FLOPS = 4, 1, 6, 6, 3, 1
GATED_FLOPS, PLAIN_FLOPS = 5, 4


@dataclass(frozen=True)
class Op:
    """One operation of a step; see the module for what is counted.

    ``k``, ``n`` are the sizes of a gemv's matrix (0 elsewhere), ``batch`` the rows it works on. ``layer`` is
    the block, -1 for the embedding, ``n_layers`` from the final norm on. ``role`` names the activation that
    feeds a gemv, ``weights_key`` the tensor it reads and ``format`` that tensor's format (None elsewhere).
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
    role: Role | None = None
    weights_key: str = ""
    format: TensorFormat | None = None


def decode_step(model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> list[Op]:
    """Operations that produce one token for each of ``batch`` sequences of ``context`` tokens.

    ``context`` counts the token being processed. Raises SailsimError unless both are 1..``MAX_DIMENSION``.
    """
    _check(batch=batch, context=context)
    return list(_decoded(model, fmt, batch, context))


@lru_cache(maxsize=64)
def _decoded(model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> tuple[Op, ...]:
    """Every machine and every card of a comparison runs the same few steps."""
    keys = batch * context
    return tuple(_step(model, fmt, rows=batch, sequences=batch, keys_read=keys, pairs=keys))


def prefill_step(model: ModelSpec, fmt: WeightFormat, prompt: int, batch: int = 1) -> list[Op]:
    """Operations that process ``batch`` prompts of ``prompt`` tokens at once, causally, up to one new token.

    Matrix products work on ``prompt * batch`` rows, except the head, which needs the last token of each.
    """
    _check(prompt=prompt, batch=batch)
    pairs = batch * prompt * (prompt + 1) // 2
    return _step(model, fmt, rows=batch * prompt, sequences=batch, keys_read=batch * prompt, pairs=pairs)


def _check(**sizes: int) -> None:
    for name, value in sizes.items():
        if not 1 <= value <= MAX_DIMENSION:
            raise SailsimError(f"{name} is {value!r}; allowed is 1..{MAX_DIMENSION}.")


def _step(
    model: ModelSpec, fmt: WeightFormat, rows: int, sequences: int, keys_read: int, pairs: int
) -> list[Op]:
    """The step for ``rows`` tokens of ``sequences`` sequences.

    ``keys_read``: keys fetched from the cache a layer; ``pairs``: query-key pairs of one head.
    """
    ops = [_embedding(model, fmt, rows)]
    for layer in range(model.n_layers):
        ops += _block(model, fmt, layer, rows, keys_read, pairs)
    ops.append(_norm("output_norm", model, model.n_layers, sequences))
    ops.append(_gemv(model.head, model, fmt, sequences))
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


def _block(
    model: ModelSpec, fmt: WeightFormat, layer: int, rows: int, keys_read: int, pairs: int
) -> list[Op]:
    blk = f"blk.{layer}."
    by_role: dict[Role, list[Op]] = {}
    for linear in model.layer_linears(layer):
        by_role.setdefault(linear.role, []).append(_gemv(linear, model, fmt, rows))
    rotated = rows * (model.d_attn + model.d_kv)
    rope = Op(
        blk + "rope",
        "elementwise",
        layer,
        rows,
        act_bytes=2 * ACT_BYTES * rotated,
        flops=ROTATE_PAIR_FLOPS * rotated // 2,
    )
    attention = Op(
        blk + "attention",
        "attention",
        layer,
        rows,
        kv_bytes=2 * model.d_kv * model.kv_bits / 8 * (keys_read + rows),
        act_bytes=2 * ACT_BYTES * rows * model.d_attn,
        macs=2 * model.d_attn * pairs,
        flops=SOFTMAX_FLOPS * model.n_heads * pairs + ROUND_FLOPS * rows * model.d_attn,
    )
    operands = 3 if model.gated_ffn else 2
    activation = Op(
        blk + "ffn_act",
        "elementwise",
        layer,
        rows,
        act_bytes=operands * ACT_BYTES * rows * model.d_ffn,
        flops=((GATED_FLOPS if model.gated_ffn else PLAIN_FLOPS) + ROUND_FLOPS) * rows * model.d_ffn,
    )
    return [
        _norm(blk + "attn_norm", model, layer, rows),
        *by_role["attn_in"],
        rope,
        attention,
        *by_role["attn_out"],
        _norm(blk + "ffn_norm", model, layer, rows),
        *by_role["ffn_in"],
        activation,
        *by_role["ffn_out"],
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
    """The residual add of the block before, the norm, and the rounding of the next products' operand."""
    d = model.d_model
    return Op(
        name,
        "elementwise",
        layer,
        rows,
        weight_bytes=4 * d,
        act_bytes=4 * ACT_BYTES * rows * d,
        flops=(ADD_FLOPS + NORM_FLOPS + ROUND_FLOPS) * rows * d,
        weights_key=name + ".weight",
    )


def _gemv(linear: Linear, model: ModelSpec, fmt: WeightFormat, rows: int) -> Op:
    tensor = fmt.tensor(linear, model)
    return Op(
        linear.name if linear.role != "head" else "output",
        "gemv",
        linear.layer,
        rows,
        k=linear.k,
        n=linear.n,
        weight_bytes=tensor.bytes(linear.k, linear.n),
        act_bytes=ACT_BYTES * rows * (linear.k + linear.n),
        macs=rows * linear.params,
        role=linear.role,
        weights_key=linear.name + ".weight",
        format=tensor,
    )
