"""A NumPy forward pass of llama models from a GGUF file: the real inputs of every linear layer.

RMS norms, rotary positions, grouped-query attention, SwiGLU. llama.cpp stores the rows of Q and K so that
the rotation pairs are neighbours, (2i, 2i + 1); the checkpoints' own order has them half a head apart.
Weights are dequantized block by block, so memory stays near the size of one block plus the embedding.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.base.progress import followed
from sailsim.workloads.gguf_model import GgufModel
from sailsim.workloads.model import Role

Floats = npt.NDArray[np.float32]
Observer = Callable[[Role, int, Floats], None]

MAX_TOKENS = 2048
"""Longest text of one pass: attention scores grow with its square."""


def forward(
    model: GgufModel, tokens: Sequence[int], observe: Observer | None = None, progress: bool = False
) -> Floats:
    """Logits of the token after ``tokens``, (vocab,).

    ``observe(role, layer, x)`` receives the float32 input (tokens, k) of the linear layers of each role, the
    head's with layer ``n_layers``; ``progress`` is told on standard error. Raises SailsimError for another
    architecture than llama, for token numbers outside the vocabulary, and for none or more than
    ``MAX_TOKENS`` of them.
    """
    file, spec = model.file, model.spec
    arch = file.get("general.architecture")
    if arch != "llama" or spec.fused_projections:
        raise SailsimError(
            f"GGUF file {file.path}: general.architecture is {arch!r}; a forward pass needs 'llama'."
        )
    rotated = file.integer("llama.rope.dimension_count", spec.head_dim)
    if rotated != spec.head_dim or spec.extra_params:
        raise SailsimError(
            f"GGUF file {file.path}: it rotates {rotated} of {spec.head_dim} elements and has "
            f"{spec.extra_params} elements beyond the plain blocks; a forward pass needs all and 0."
        )
    if not 1 <= len(tokens) <= MAX_TOKENS:
        raise SailsimError(f"tokens has {len(tokens)} entries; allowed is 1..{MAX_TOKENS}.")
    bad = [token for token in tokens if not 0 <= token < spec.vocab]
    if bad:
        raise SailsimError(f"tokens has {bad[0]}; allowed is 0..{spec.vocab - 1}.")
    observe = observe or (lambda role, layer, x: None)
    eps = file.number("llama.attention.layer_norm_rms_epsilon", 1e-5)
    rotation = _rotation(len(tokens), spec.head_dim, file.number("llama.rope.freq_base", 10000.0))

    embedding = file.dequantize("token_embd.weight")
    x = embedding[np.asarray(tokens)]
    for layer in followed(range(spec.n_layers), "blocks", progress):
        x = _block(model, layer, x, eps, rotation, observe)
    x = _norm(x, file.dequantize("output_norm.weight"), eps)
    observe("head", spec.n_layers, x)
    head = embedding if spec.tied_embeddings else file.dequantize("output.weight")
    return np.asarray(head @ x[-1], dtype=np.float32)


def _block(
    model: GgufModel, layer: int, x: Floats, eps: float, rotation: Floats, observe: Observer
) -> Floats:
    """One transformer block on the residual stream x (tokens, d_model)."""
    spec = model.spec

    def weight(name: str) -> Floats:
        return model.file.dequantize(f"blk.{layer}.{name}.weight")

    a = _norm(x, weight("attn_norm"), eps)
    observe("attn_in", layer, a)
    q = _rotate((a @ weight("attn_q").T).reshape(-1, spec.n_heads, spec.head_dim), rotation)
    k = _rotate((a @ weight("attn_k").T).reshape(-1, spec.n_kv_heads, spec.head_dim), rotation)
    v = (a @ weight("attn_v").T).reshape(-1, spec.n_kv_heads, spec.head_dim)
    mixed = _attention(q, k, v)
    observe("attn_out", layer, mixed)
    x = x + mixed @ weight("attn_output").T

    f = _norm(x, weight("ffn_norm"), eps)
    observe("ffn_in", layer, f)
    gate = f @ weight("ffn_gate").T
    hidden = gate / (1 + np.exp(-gate)) * (f @ weight("ffn_up").T)
    observe("ffn_out", layer, hidden)
    return np.asarray(x + hidden @ weight("ffn_down").T, dtype=np.float32)


def _norm(x: Floats, weight: Floats, eps: float) -> Floats:
    """Root-mean-square norm of each row."""
    return np.asarray(x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight, dtype=np.float32)


def _rotation(tokens: int, head_dim: int, base: float) -> Floats:
    """Cosines and sines (2, tokens, 1, head_dim / 2) of the rotary positions."""
    frequency = base ** (-np.arange(0, head_dim, 2) / head_dim)
    angle = np.outer(np.arange(tokens), frequency)[:, None, :]
    return np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


def _rotate(x: Floats, rotation: Floats) -> Floats:
    """Rotates the pairs (2i, 2i + 1) of each head, x (tokens, heads, head_dim)."""
    cos, sin = rotation
    even, odd = x[..., 0::2], x[..., 1::2]
    out = np.empty_like(x)
    out[..., 0::2] = even * cos - odd * sin
    out[..., 1::2] = even * sin + odd * cos
    return out


def _attention(q: Floats, k: Floats, v: Floats) -> Floats:
    """Causal attention; heads of q share the keys and values in equal runs. Returns (tokens, d_attn)."""
    tokens, heads, dim = q.shape
    share = heads // k.shape[1]
    k, v = np.repeat(k, share, axis=1), np.repeat(v, share, axis=1)
    scores = np.einsum("thd,shd->hts", q, k) / np.float32(np.sqrt(dim))
    scores = np.where(np.tri(tokens, dtype=bool), scores, -np.inf)
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    return np.asarray(np.einsum("hts,shd->thd", scores, v), dtype=np.float32).reshape(tokens, heads * dim)
