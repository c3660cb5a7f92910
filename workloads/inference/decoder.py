"""Forward pass of a Llama: RMS norms, rotary positions, grouped-query attention and SwiGLU.

llama.cpp stores the rows of Q and K so that the rotation pairs are neighbours, (2i, 2i + 1); the checkpoints'
own order has them half a head apart. `LinearLayers` multiplies in floats, or computes what every slice of a
unit would return: activations rounded for each token, the exact product of each block, scales in the
contract's order. It uses plain multiplication, which gives the results of look-ups to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.base.progress import with_progress
from sailsim.lut_gemv.quantize import quantize_rows
from sailsim.workloads.inference.weights import Weights, weight_source
from sailsim.workloads.model_files.gguf_model import GgufModel, open_gguf
from sailsim.workloads.models.formats import FLOATS, TensorFormat, WeightFormat
from sailsim.workloads.models.model import Linear, Role

Floats = npt.NDArray[np.float32]
Observer = Callable[[Role, int, Floats], None]
Rounding = Callable[[Floats], Floats]
"""Maps keys or values (..., heads, head_dim) to those that a cache gives back."""
Attend = Callable[[Floats, Floats, Floats], Floats]
"""Attention of queries, keys and values, with the shapes of `attention`."""

MAX_TOKENS = 2048
"""Most tokens of one pass: the memory of attention scores grows with their square."""


def attention(q: Floats, k: Floats, v: Floats) -> Floats:
    """Causal attention of each text; heads of q share the keys and values in equal runs.

    q and the result are (texts, tokens, heads, head_dim), k and v have fewer heads. Texts are worked on one
    at a time, so that the scores stay in a CPU's cache.
    """

    def head_attention(q: Floats, keys: Floats, values: Floats, hidden: npt.NDArray[np.bool_]) -> Floats:
        scores = q @ keys.T / np.float32(np.sqrt(q.shape[-1]))
        scores[hidden] = -np.inf
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.asarray(scores @ values / scores.sum(axis=-1, keepdims=True))

    return _by_head(q, k, v, lambda head: head, head_attention)


def _by_head(
    q: Floats, k: Floats, v: Floats, read: Callable[[Floats], Any], head_attention: Callable[..., Floats]
) -> Floats:
    """Attention head by head.

    ``read`` is applied to keys and values once for all heads that share them. ``head_attention`` takes a
    head's queries, keys and values, and a mask of the keys that a query does not see.
    """
    share = q.shape[2] // k.shape[2]
    out = np.empty_like(q)
    hidden = ~np.tri(q.shape[1], dtype=bool)
    for text in range(len(q)):
        for head in range(k.shape[2]):
            keys, values = read(k[text, :, head]), read(v[text, :, head])
            for query in range(head * share, (head + 1) * share):
                out[text, :, query] = head_attention(q[text, :, query], keys, values, hidden)
    return out


@dataclass
class Decoder:
    """Llama that runs block by block on several texts at once.

    Raises SailsimError for another architecture than llama, and for tensors that plain blocks do not have.
    """

    model: GgufModel
    layers: LinearLayers
    round_cached: Rounding = lambda x: x
    attend: Attend = attention
    _norms: dict[str, Floats] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._eps, self._base = llama_constants(self.model, FORWARD_PASS)

    def embed(self, tokens: Sequence[int] | npt.NDArray[np.int64]) -> Floats:
        """Residual stream (tokens, d_model) before the first block.

        Raises SailsimError for a token outside the vocabulary.
        """
        outside = next((token for token in tokens if not 0 <= token < self.model.spec.vocab), None)
        if outside is not None:
            raise SailsimError(f"tokens has {outside}; allowed is 0..{self.model.spec.vocab - 1}.")
        return self.layers.embedding(np.asarray(tokens, np.int64))

    def block(self, layer: int, x: Floats, length: int, observe: Observer | None = None) -> Floats:
        """Run one block on the residual stream (texts * length, d_model) of texts of ``length`` tokens."""
        spec = self.model.spec
        q_, k_, v_, output, gate_, up_, down = spec.layer_linears(layer)

        def observed(role: Role, x: Floats) -> Floats:
            if observe is not None:
                observe(role, layer, x)
            return x

        a = observed("attn_in", self._norm(x, f"blk.{layer}.attn_norm"))
        q, k, v = (
            y.reshape(-1, length, y.shape[1] // spec.head_dim, spec.head_dim)
            for y in self.layers.products(a, (q_, k_, v_))
        )
        turns = rotation(0, length, spec.head_dim, self._base)
        q, k = rotate(q, turns), rotate(k, turns)
        k, v = self.round_cached(k), self.round_cached(v)
        mixed = observed("attn_out", self.attend(q, k, v).reshape(len(x), spec.d_attn))
        x = x + self.layers.products(mixed, (output,))[0]

        f = observed("ffn_in", self._norm(x, f"blk.{layer}.ffn_norm"))
        gate, up = self.layers.products(f, (gate_, up_))
        with np.errstate(over="ignore"):  # e**100 is too much for fp32, and 0 is the right answer
            gated = np.asarray(gate / (1 + np.exp(-gate)) * up, dtype=np.float32)
        hidden = observed("ffn_out", gated)
        return x + self.layers.products(hidden, (down,))[0]

    def last(self, x: Floats) -> Floats:
        """Input of the head (rows, d_model): the final norm of the residual stream."""
        return self._norm(x, "output_norm")

    def logits(self, x: Floats) -> Floats:
        """Logits (rows, vocab) of the head's input (rows, d_model)."""
        return self.layers.products(x, (self.model.spec.head,))[0]

    def after(self, tokens: Sequence[int], observe: Observer | None = None, progress: bool = False) -> Floats:
        """Logits (vocab,) of the token after a text.

        ``observe(role, layer, x)`` receives the float32 input (tokens, k) of the linear layers of each role,
        the head's with layer ``n_layers``; ``progress`` prints to standard error. Raises SailsimError for
        token numbers outside the vocabulary, and for none or more than ``MAX_TOKENS`` of them.
        """
        if not 1 <= len(tokens) <= MAX_TOKENS:
            raise SailsimError(f"tokens has {len(tokens)} entries; allowed is 1..{MAX_TOKENS}.")
        x = self.embed(tokens)
        for layer in with_progress(range(self.model.spec.n_layers), "blocks", progress):
            x = self.block(layer, x, len(tokens), observe)
        x = self.last(x)
        if observe is not None:
            observe("head", self.model.spec.n_layers, x)
        logits: Floats = self.logits(x[-1:])[0]
        return logits

    def _norm(self, x: Floats, name: str) -> Floats:
        if name not in self._norms:
            self._norms[name] = self.model.dequantize(f"{name}.weight")
        size = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self._eps)
        return np.asarray(x / size * self._norms[name], dtype=np.float32)


NORM_EPS, ROPE_BASE = 1e-5, 10000.0
"""Llama 2's constants, for files and shapes that state none."""

FORWARD_PASS = "a forward pass"


def open_llama(path: str | Path) -> GgufModel:
    """Open the GGUF file of a model that a `Decoder` can run. Raises SailsimError for any other."""
    model = open_gguf(path)
    llama_constants(model, FORWARD_PASS)
    return model


def llama_constants(model: GgufModel, what: str) -> tuple[float, float]:
    """Constant of a file's norms, and the base of its rotation.

    Raises SailsimError, saying that ``what`` needs it, for another architecture than llama, for tensors that
    plain blocks do not have, and for scaled positions.
    """
    spec = model.spec
    arch = model.get("general.architecture")
    if arch != "llama" or spec.fused_projections:
        raise SailsimError(f"GGUF file {model.path}: general.architecture is {arch!r}; {what} needs 'llama'.")
    spec.require_plain(what)
    rotated = model.integer("llama.rope.dimension_count", spec.head_dim)
    if rotated != spec.head_dim or spec.extra_params:
        raise SailsimError(
            f"GGUF file {model.path}: it rotates {rotated} of {spec.head_dim} elements and has "
            f"{spec.extra_params} elements beyond the plain blocks; {what} needs all and 0."
        )
    # As llama.cpp reads a file: a factor of 0 or 1, or the type ``none``, does not scale.
    if model.get("llama.rope.scaling.type") != "none":
        for key in ("llama.rope.scaling.factor", "llama.rope.scale_linear"):
            factor = model.get(key, 1.0)
            if factor not in (0, 1):
                raise SailsimError(
                    f"GGUF file {model.path}: {key} is {factor!r}; {what} needs 1, positions that are not "
                    "scaled."
                )
    eps = model.number("llama.attention.layer_norm_rms_epsilon", NORM_EPS)
    return eps, model.number("llama.rope.freq_base", ROPE_BASE)


def rounded_cache(bits: int) -> Rounding:
    """Rounding of keys and values by a cache of ``bits`` bits.

    2..8 bits: integers with one fp16 scale for each head of a token. 16: fp16. Raises SailsimError for other
    widths.
    """
    if bits == 16:
        return lambda x: x.astype(np.float16).astype(np.float32)
    if not 2 <= bits <= 8:
        raise SailsimError(f"kv_bits is {bits!r}; allowed is 2..8, or 16.")

    def rounded(x: Floats) -> Floats:
        codes, scale = cache_codes(x, bits)
        return np.asarray(codes * scale, dtype=np.float32)

    return rounded


def cache_codes(x: Floats, bits: int) -> tuple[Floats, Floats]:
    """Integers of 2..8 bits, (..., head_dim), and scales, (..., 1), of keys or values.

    Values that a cache of ``bits`` bits gave back have the same again.
    """
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
    """Rotate the pairs (2i, 2i + 1) of each head of x (..., tokens, heads, head_dim) by a `rotation`."""
    cos, sin = turns
    even, odd = x[..., 0::2], x[..., 1::2]
    out = np.empty_like(x)
    out[..., 0::2] = even * cos - odd * sin
    out[..., 1::2] = even * sin + odd * cos
    return out


Quantizer = Callable[[Linear, TensorFormat, Floats], Weights]
"""Quantizes a matrix to a format with codes, given an input (rows, K) of it."""


@dataclass
class LinearLayers:
    """Products of a model's matrices: in fp32 with the file's values, or as a PIM unit computes them.

    Attributes:
        model: the file.
        format: of each matrix on the units; None: the file's values in fp32, with nothing rounded.
        abits: bits of a unit's activation, 2..16.
        threads: of a unit's product.
        quantizer: makes the codes of a block's matrices where they are not the file's own; None: each weight
            to the nearest. The head is always so, as the embedding may need its table earlier.
    """

    model: GgufModel
    format: WeightFormat | None = None
    abits: int = 8
    threads: int = 1
    quantizer: Quantizer | None = None
    _table: Weights | Floats | None = field(default=None, init=False, repr=False)

    def products(self, x: Floats, linears: Sequence[Linear]) -> list[Floats]:
        """Multiply one input (rows, K) by each layer, to outputs (rows, N)."""
        if self.format is None:
            return [x @ self._values(linear.name).T for linear in linears]
        ints, scale = quantize_rows(x, self.abits)
        return [self._product(x, ints, scale, linear, self.format) for linear in linears]

    def embedding(self, tokens: npt.NDArray[np.int64]) -> Floats:
        """Rows of the embedding table (tokens, d_model), in the format that the table has."""
        spec = self.model.spec
        if self.format is None:
            return self._values("token_embd")[tokens]
        if self._table is None:
            linear = Linear("token_embd", "head", spec.d_model, spec.vocab, spec.n_layers)
            fmt = self.format.tensor(linear, spec) if spec.tied_embeddings else self.format.embedding(spec)
            self._table = self._nearest(linear, fmt)
        if not isinstance(self._table, Weights):
            return self._table[tokens]
        distinct, place = np.unique(tokens, return_inverse=True)
        return np.ascontiguousarray(self._table.take(distinct).values().T[place])

    def _values(self, name: str) -> Floats:
        """Values of a matrix (N, K) in fp32; the embedding is kept, as the head may read it too."""
        if name != "token_embd":
            return self.model.dequantize(f"{name}.weight")
        if self._table is None:
            self._table = self.model.dequantize("token_embd.weight")
        assert not isinstance(self._table, Weights)
        return self._table

    def _product(
        self, x: Floats, ints: npt.NDArray[np.integer], scale: Floats, linear: Linear, mix: WeightFormat
    ) -> Floats:
        weights = self._weights(linear, x, mix)
        if not isinstance(weights, Weights):
            return np.asarray(x @ weights.T, dtype=np.float32)
        return weights.product(ints, scale, abits=self.abits, threads=self.threads)

    def _weights(self, linear: Linear, x: Floats, mix: WeightFormat) -> Weights | Floats:
        fmt = mix.tensor(linear, self.model.spec)
        own = fmt == self.model.format.tensors[linear.name]
        if linear.name == "token_embd" and self._table is not None:
            return self._table
        if self.quantizer is None or own or fmt.code is None or linear.role == "head":
            return self._nearest(linear, fmt)
        return self.quantizer(linear, fmt, x)

    def _nearest(self, linear: Linear, fmt: TensorFormat) -> Weights | Floats:
        """Codes of the file, or nearest to its values; fp32 values (N, K) for the cores without codes."""
        if fmt.code is not None:
            return weight_source(self.model, linear, fmt).load()
        values = self.model.dequantize(f"{linear.name}.weight")
        if fmt == self.model.format.tensors[linear.name] or fmt.name == "f32":
            return values
        if fmt.name not in FLOATS:
            raise SailsimError(
                f"the format of {linear.name} is {fmt.name}, which nothing here writes; allowed are "
                f"the file's own, {', '.join(FLOATS)}, and formats with scalar codes."
            )
        if fmt.name == "f16":
            return values.astype(np.float16).astype(np.float32)
        # The nearest bf16, ties to even.
        bits = values.view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


EXACT = 1 << 24
"""Bound below which sums of integers are exact in fp32."""

Operand = tuple[npt.NDArray[Any], Floats]
"""Rows (..., K) of integers, and the scale of each (...)."""


class UnitAttention:
    """Causal attention of each text as units compute it, with a cache of ``kv_bits``.

    Inputs of its products are rounded to ``abits`` bits. ``rounded`` replaces the rounding: it takes rows
    (..., K) and whether they are signed. Raises SailsimError for a cache of floats.
    """

    def __init__(
        self, kv_bits: int, abits: int, rounded: Callable[[Floats, bool], Operand] | None = None
    ) -> None:
        if not 2 <= kv_bits <= 8:
            raise SailsimError(f"kv_bits is {kv_bits!r} with attention on the units; allowed there is 2..8.")
        self.kv_bits, self.abits = kv_bits, abits
        self._rounded = rounded or self.rounded

    def __call__(self, q: Floats, k: Floats, v: Floats) -> Floats:
        """Compute `attention`; ``k`` and ``v`` are as the cache gives them back, which has their codes."""
        return _by_head(q, k, v, lambda head: cache_codes(head, self.kv_bits), self.head_attention)

    def head_attention(
        self,
        q: Floats,
        keys: tuple[Floats, Floats],
        values: tuple[Floats, Floats],
        hidden: npt.NDArray[np.bool_],
    ) -> Floats:
        """Attention of queries (..., rows, head_dim), in their shape.

        ``keys`` and ``values`` are `cache_codes` of (..., tokens, head_dim); ``hidden`` (rows, tokens) masks
        the tokens that a query does not see.
        """
        ints, scale = self._rounded(q, True)
        scores = self._sums(ints, keys[0].swapaxes(-1, -2)) * keys[1].swapaxes(-1, -2) * scale[..., None]
        scores /= np.float32(np.sqrt(q.shape[-1]))
        scores[..., hidden] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        # The scale of a token's value is part of the input.
        inputs, step = self._rounded(weights * values[1].swapaxes(-1, -2), False)
        mixed = self._sums(inputs, values[0]) * step[..., None]
        return np.asarray(mixed / weights.sum(axis=-1, keepdims=True), dtype=np.float32)

    def rounded(self, x: Floats, signed: bool) -> Operand:
        """Round rows (rows, K) to integers of ``abits`` bits, with a scale for each row."""
        if signed:
            return quantize_rows(x, self.abits)
        most = np.float32((1 << self.abits) - 1)
        step = x.max(axis=-1) / most
        whole = np.divide(x, step[:, None], out=np.zeros_like(x), where=step[:, None] > 0)
        return np.minimum(np.rint(whole), most), step

    def _sums(self, inputs: npt.NDArray[Any], codes: Floats) -> Floats:
        """Exact products of integers, rounded to fp32 once."""
        bound = (1 << self.abits) * (1 << (self.kv_bits - 1)) * codes.shape[-2]
        kind = np.float32 if bound < EXACT else np.float64
        return np.asarray(inputs.astype(kind) @ codes.astype(kind), dtype=np.float32)
