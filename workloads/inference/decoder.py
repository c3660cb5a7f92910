"""What a llama does with a text, whatever multiplies its matrices: norms, rotations, attention, the order of
things.

RMS norms, rotary positions, grouped-query attention, SwiGLU. llama.cpp stores the rows of Q and K so that the
rotation pairs are neighbours, (2i, 2i + 1); the checkpoints' own order has them half a head apart. The linear
layers are `LinearProducts`: floats, or what every slice of a unit would return: activations rounded for each
token, the exact product of each block, scales in the contract's order. `UnitProducts` multiplies, which gives
what look-ups give, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.base.progress import followed
from sailsim.lut_gemv.quantize import quantize_rows
from sailsim.workloads.inference.weights import Weights, weight_source
from sailsim.workloads.model_files.gguf_model import GgufModel, open_gguf
from sailsim.workloads.models.formats import FLOATS, TensorFormat, WeightFormat
from sailsim.workloads.models.model import Linear, Role

Floats = npt.NDArray[np.float32]
Observer = Callable[[Role, int, Floats], None]
Rounding = Callable[[Floats], Floats]
"""Of keys or values (..., heads, head_dim): what the cache gives back of them."""
Attend = Callable[[Floats, Floats, Floats], Floats]
"""Of queries, keys and values, as `attention`."""


MAX_TOKENS = 2048
"""Longest text of one pass: attention scores grow with its square."""


class LinearProducts(Protocol):
    """Who multiplies: the linear layers of a model."""

    def products(self, x: Floats, linears: Sequence[Linear]) -> list[Floats]:
        """Of one input (rows, K), each layer's output (rows, N)."""

    def embedding(self, tokens: npt.NDArray[np.int64]) -> Floats:
        """Rows of the embedding table (tokens, d_model)."""


def attention(q: Floats, k: Floats, v: Floats) -> Floats:
    """Causal attention of each text; heads of q share the keys and values in equal runs.

    q (texts, tokens, heads, head_dim), k and v with fewer heads. As q. One text at a time: its scores stay
    in a cache.
    """

    def mixed(q: Floats, keys: Floats, values: Floats, hidden: npt.NDArray[np.bool_]) -> Floats:
        scores = q @ keys.T / np.float32(np.sqrt(q.shape[-1]))
        scores[hidden] = -np.inf
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.asarray(scores @ values / scores.sum(axis=-1, keepdims=True))

    return _by_head(q, k, v, lambda head: head, mixed)


def _by_head(
    q: Floats, k: Floats, v: Floats, read: Callable[[Floats], Any], mixed: Callable[..., Floats]
) -> Floats:
    """Attention head by head: ``mixed`` of a head's queries, of keys and values as ``read`` gives them, once
    for all heads that share them, and of which keys a query does not see."""
    share = q.shape[2] // k.shape[2]
    out = np.empty_like(q)
    hidden = ~np.tri(q.shape[1], dtype=bool)
    for text in range(len(q)):
        for head in range(k.shape[2]):
            keys, values = read(k[text, :, head]), read(v[text, :, head])
            for of in range(head * share, (head + 1) * share):
                out[text, :, of] = mixed(q[text, :, of], keys, values, hidden)
    return out


@dataclass
class Decoder:
    """A llama that runs block by block on some texts at once.

    Raises SailsimError for another architecture than llama, and for tensors that plain blocks do not have.
    """

    model: GgufModel
    products: LinearProducts
    cached: Rounding = lambda x: x
    attend: Attend = attention
    _norms: dict[str, Floats] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._eps, self._base = llama_constants(self.model, A_PASS)

    def embed(self, tokens: Sequence[int] | npt.NDArray[np.int64]) -> Floats:
        """The residual stream (tokens, d_model) before the first block. Raises SailsimError for a number
        outside the vocabulary."""
        outside = next((token for token in tokens if not 0 <= token < self.model.spec.vocab), None)
        if outside is not None:
            raise SailsimError(f"tokens has {outside}; allowed is 0..{self.model.spec.vocab - 1}.")
        return self.products.embedding(np.asarray(tokens, np.int64))

    def block(self, layer: int, x: Floats, length: int, observe: Observer | None = None) -> Floats:
        """One block on the residual stream ``x`` (texts * length, d_model) of texts of ``length`` tokens."""
        spec = self.model.spec
        q_, k_, v_, output, gate_, up_, down = spec.layer_linears(layer)

        def seen(role: Role, of: Floats) -> Floats:
            if observe is not None:
                observe(role, layer, of)
            return of

        a = seen("attn_in", self._normed(x, f"blk.{layer}.attn_norm"))
        q, k, v = (
            y.reshape(-1, length, y.shape[1] // spec.head_dim, spec.head_dim)
            for y in self.products.products(a, (q_, k_, v_))
        )
        turns = rotation(0, length, spec.head_dim, self._base)
        q, k = rotate(q, turns), rotate(k, turns)
        k, v = self.cached(k), self.cached(v)
        mixed = seen("attn_out", self.attend(q, k, v).reshape(len(x), spec.d_attn))
        x = x + self.products.products(mixed, (output,))[0]

        f = seen("ffn_in", self._normed(x, f"blk.{layer}.ffn_norm"))
        gate, up = self.products.products(f, (gate_, up_))
        hidden = seen("ffn_out", _swiglu(gate, up))
        return x + self.products.products(hidden, (down,))[0]

    def last(self, x: Floats) -> Floats:
        """The input of the head (rows, d_model)."""
        return self._normed(x, "output_norm")

    def logits(self, x: Floats) -> Floats:
        """Of the head's input (rows, d_model), the logits (rows, vocab)."""
        return self.products.products(x, (self.model.spec.head,))[0]

    def after(self, tokens: Sequence[int], observe: Observer | None = None, progress: bool = False) -> Floats:
        """Logits (vocab,) of the token after a text.

        ``observe(role, layer, x)`` receives the float32 input (tokens, k) of the linear layers of each role,
        the head's with layer ``n_layers``; ``progress`` is told on standard error. Raises SailsimError for
        token numbers outside the vocabulary, and for none or more than ``MAX_TOKENS`` of them.
        """
        if not 1 <= len(tokens) <= MAX_TOKENS:
            raise SailsimError(f"tokens has {len(tokens)} entries; allowed is 1..{MAX_TOKENS}.")
        x = self.embed(tokens)
        for layer in followed(range(self.model.spec.n_layers), "blocks", progress):
            x = self.block(layer, x, len(tokens), observe)
        x = self.last(x)
        if observe is not None:
            observe("head", self.model.spec.n_layers, x)
        logits: Floats = self.logits(x[-1:])[0]
        return logits

    def _normed(self, x: Floats, name: str) -> Floats:
        """Root-mean-square norm of each row."""
        if name not in self._norms:
            self._norms[name] = self.model.file.dequantize(f"{name}.weight")
        size = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self._eps)
        return np.asarray(x / size * self._norms[name], dtype=np.float32)


NORM_EPS, ROPE_BASE = 1e-5, 10000.0
"""Llama 2's, where a file or shape does not say."""

A_PASS = "a forward pass"


def open_llama(path: str | Path) -> GgufModel:
    """A GGUF file of a model that a `Decoder` can run. Raises SailsimError for one that it cannot, before
    anything else about the file is asked."""
    model = open_gguf(path)
    llama_constants(model, A_PASS)
    return model


def llama_constants(model: GgufModel, what: str) -> tuple[float, float]:
    """The constant of a file's norms and the base of its rotation. Raises SailsimError, saying ``what`` needs
    it, for another architecture than llama, for tensors that plain blocks do not have, and for positions that
    are scaled before they are turned by."""
    file, spec = model.file, model.spec
    arch = file.get("general.architecture")
    if arch != "llama" or spec.fused_projections:
        raise SailsimError(f"GGUF file {file.path}: general.architecture is {arch!r}; {what} needs 'llama'.")
    spec.require_plain(what)
    rotated = file.integer("llama.rope.dimension_count", spec.head_dim)
    if rotated != spec.head_dim or spec.extra_params:
        raise SailsimError(
            f"GGUF file {file.path}: it rotates {rotated} of {spec.head_dim} elements and has "
            f"{spec.extra_params} elements beyond the plain blocks; {what} needs all and 0."
        )
    _require_unscaled(model, what)
    eps = file.number("llama.attention.layer_norm_rms_epsilon", NORM_EPS)
    return eps, file.number("llama.rope.freq_base", ROPE_BASE)


def _require_unscaled(model: GgufModel, what: str) -> None:
    """Raise for a file that stretches its positions, as longer contexts want them.

    As llama.cpp reads a file: a factor of 0 or 1, or the type ``none``, is none.
    """
    file = model.file
    if file.get("llama.rope.scaling.type") == "none":
        return
    for key in ("llama.rope.scaling.factor", "llama.rope.scale_linear"):
        factor = file.get(key, 1.0)
        if factor not in (0, 1):
            raise SailsimError(
                f"GGUF file {file.path}: {key} is {factor!r}; {what} needs 1, positions that are not scaled."
            )


def rounded_cache(bits: int) -> Rounding:
    """How a cache of so many bits keeps keys and values: 2..8, each head of a token as whole numbers of one
    fp16 scale, or 16, fp16. Raises SailsimError for other widths."""
    if bits == 16:
        return lambda x: x.astype(np.float16).astype(np.float32)
    if not 2 <= bits <= 8:
        raise SailsimError(f"kv_bits is {bits!r}; allowed is 2..8, or 16.")

    def rounded(x: Floats) -> Floats:
        codes, scale = cache_codes(x, bits)
        return np.asarray(codes * scale, dtype=np.float32)

    return rounded


def cache_codes(x: Floats, bits: int) -> tuple[Floats, Floats]:
    """Whole numbers of 2..8 bits, (..., head_dim), and the scale, (..., 1), of keys or values: those again of
    what a cache of so many bits gives back."""
    most = (1 << (bits - 1)) - 1
    scale = (np.abs(x).max(axis=-1, keepdims=True) / most).astype(np.float16).astype(np.float32)
    steps = np.divide(x, scale, out=np.zeros_like(x), where=scale > 0)
    return np.clip(np.rint(steps), -most, most), scale


def rotation(start: int, tokens: int, head_dim: int, base: float) -> Floats:
    """Cosines and sines (2, tokens, 1, head_dim / 2) of the rotary positions from `start` on."""
    frequency = base ** (-np.arange(0, head_dim, 2) / head_dim)
    angle = np.outer(np.arange(start, start + tokens), frequency)[:, None, :]
    return np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


def rotate(x: Floats, turns: Floats) -> Floats:
    """Rotates the pairs (2i, 2i + 1) of each head, x (..., tokens, heads, head_dim), by `rotation`."""
    cos, sin = turns
    even, odd = x[..., 0::2], x[..., 1::2]
    out = np.empty_like(x)
    out[..., 0::2] = even * cos - odd * sin
    out[..., 1::2] = even * sin + odd * cos
    return out


def _swiglu(gate: Floats, up: Floats) -> Floats:
    with np.errstate(over="ignore"):  # e**100 is too much for fp32, and 0 is the right answer
        return np.asarray(gate / (1 + np.exp(-gate)) * up, dtype=np.float32)


Make = Callable[[Linear, TensorFormat, Floats], Weights]
"""Codes of a matrix in a format, made with an input (rows, K) of it in hand."""


@dataclass
class FloatProducts:
    """Products of the file's values in fp32. The embedding is kept where the head reads it too."""

    model: GgufModel
    _table: Floats | None = field(default=None, init=False, repr=False)

    def products(self, x: Floats, linears: Sequence[Linear]) -> list[Floats]:
        """Of one input (rows, K), each layer's output (rows, N)."""
        return [x @ self._values(linear.name).T for linear in linears]

    def embedding(self, tokens: npt.NDArray[np.int64]) -> Floats:
        """Rows of the embedding table (tokens, d_model)."""
        return self._values("token_embd")[tokens]

    def _values(self, name: str) -> Floats:
        if name != "token_embd":
            return self.model.file.dequantize(f"{name}.weight")
        if self._table is None:
            self._table = self.model.file.dequantize("token_embd.weight")
        return self._table


@dataclass
class UnitProducts:
    """Products as the unit computes them.

    Attributes:
        model: the file.
        format: of each matrix.
        abits: bits of an activation, 2..16.
        threads: of a product.
        make: how codes of a block's matrices are made where they are not the file's own; None: each weight to
            the nearest, as always those of the head, whose table the embedding may need before.
    """

    model: GgufModel
    format: WeightFormat
    abits: int
    threads: int = 1
    make: Make | None = None
    _table: Weights | Floats | None = field(default=None, init=False, repr=False)

    def products(self, x: Floats, linears: Sequence[Linear]) -> list[Floats]:
        """Of one input (rows, K), each layer's output (rows, N)."""
        ints, scale = quantize_rows(x, self.abits)
        return [self._product(x, ints, scale, linear) for linear in linears]

    def embedding(self, tokens: npt.NDArray[np.int64]) -> Floats:
        """Rows of the embedding table (tokens, d_model), in the format that the table has."""
        spec = self.model.spec
        if self._table is None:
            linear = Linear("token_embd", "head", spec.d_model, spec.vocab, spec.n_layers)
            fmt = self.format.tensor(linear, spec) if spec.tied_embeddings else self.format.embedding(spec)
            self._table = self._plain(linear, fmt)
        if not isinstance(self._table, Weights):
            return self._table[tokens]
        distinct, place = np.unique(tokens, return_inverse=True)
        return np.ascontiguousarray(self._table.taken(distinct).values().T[place])

    def _product(self, x: Floats, ints: npt.NDArray[np.integer], scale: Floats, linear: Linear) -> Floats:
        made = self._made(linear, x)
        if not isinstance(made, Weights):
            return np.asarray(x @ made.T, dtype=np.float32)
        return made.product(ints, scale, abits=self.abits, threads=self.threads)

    def _made(self, linear: Linear, x: Floats) -> Weights | Floats:
        fmt = self.format.tensor(linear, self.model.spec)
        own = fmt == self.model.format.tensors[linear.name]
        if linear.name == "token_embd" and self._table is not None:
            return self._table
        if self.make is None or own or fmt.code is None or linear.role == "head":
            return self._plain(linear, fmt)
        return self.make(linear, fmt, x)

    def _plain(self, linear: Linear, fmt: TensorFormat) -> Weights | Floats:
        """Codes that are the file's own, or the nearest to its values; without codes, the values
        (N, K) in fp32, a job for the cores."""
        if fmt.code is not None:
            return weight_source(self.model, linear, fmt).load()
        values = self.model.file.dequantize(f"{linear.name}.weight")
        if fmt == self.model.format.tensors[linear.name] or fmt.name == "f32":
            return values
        if fmt.name not in FLOATS:
            raise SailsimError(
                f"the format of {linear.name} is {fmt.name}, which nothing here writes; allowed are "
                f"the file's own, {', '.join(FLOATS)}, and formats with scalar codes."
            )
        if fmt.name == "f16":
            return values.astype(np.float16).astype(np.float32)
        return _bf16(values)


def _bf16(values: Floats) -> Floats:
    """The nearest bf16, ties to even, as fp32."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


EXACT = 1 << 24
"""Sums below it are whole numbers in fp32."""


@dataclass(frozen=True)
class UnitAttention:
    """Causal attention of each text with products of ``abits``-bit inputs and a cache of ``kv_bits``."""

    kv_bits: int
    abits: int

    def __post_init__(self) -> None:
        if not 2 <= self.kv_bits <= 8:
            raise SailsimError(
                f"kv_bits is {self.kv_bits!r} beside attention on the units; allowed there is 2..8."
            )

    def __call__(self, q: Floats, k: Floats, v: Floats) -> Floats:
        """As `decoder.attention`; ``k`` and ``v`` are what the cache gives back, which has their codes."""
        return _by_head(q, k, v, lambda head: cache_codes(head, self.kv_bits), self.mixed)

    def mixed(
        self,
        q: Floats,
        keys: tuple[Floats, Floats],
        values: tuple[Floats, Floats],
        hidden: npt.NDArray[np.bool_],
    ) -> Floats:
        """Of the queries (..., rows, head_dim) of heads whose keys and values are `cache_codes` of
        (..., tokens, head_dim); ``hidden`` (rows, tokens) says what a query does not see. As ``q``."""
        ints, scale = self.rounded(q)
        scores = self._sums(ints, keys[0].swapaxes(-1, -2)) * keys[1].swapaxes(-1, -2) * scale[..., None]
        scores /= np.float32(np.sqrt(q.shape[-1]))
        scores[..., hidden] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        inputs, step = self.inputs(weights, values[1].swapaxes(-1, -2))
        mixed = self._sums(inputs, values[0]) * step[..., None]
        return np.asarray(mixed / weights.sum(axis=-1, keepdims=True), dtype=np.float32)

    def rounded(self, q: Floats) -> tuple[npt.NDArray[Any], Floats]:
        """Queries (..., head_dim) as whole numbers, and what one is worth in each."""
        return quantize_rows(q, self.abits)

    def inputs(self, weights: Floats, scales: Floats) -> tuple[npt.NDArray[Any], Floats]:
        """Weights of tokens (..., tokens) times the scales of their values, which broadcast to them, as
        unsigned whole numbers, and what one is worth in each row."""
        scaled = weights * scales
        most = np.float32((1 << self.abits) - 1)
        step = scaled.max(axis=-1) / most
        whole = np.divide(scaled, step[:, None], out=np.zeros_like(scaled), where=step[:, None] > 0)
        return np.minimum(np.rint(whole), most), step

    def _sums(self, inputs: npt.NDArray[Any], codes: Floats) -> Floats:
        """Exact products of whole numbers, rounded to fp32 once."""
        bound = (1 << self.abits) * (1 << (self.kv_bits - 1)) * codes.shape[-2]
        kind = np.float32 if bound < EXACT else np.float64
        return np.asarray(inputs.astype(kind) @ codes.astype(kind), dtype=np.float32)
