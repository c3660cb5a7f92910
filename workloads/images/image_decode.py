"""Reference of the decode program in NumPy, step by step from an image.

Integer products and their scales are the contract's, bit for bit. Norms, scores and exponentials are summed
by NumPy, in another order than the program's: an activation near the middle of two integers may be rounded to
the other one, which changes all later steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sailsim.base.errors import SailsimError
from sailsim.workloads.images.image_file import Image
from sailsim.workloads.inference.decoder import Floats, Operand, UnitAttention, cache_codes, rotate, rotation
from sailsim.workloads.inference.weights import Weights


def round_rows(x: Floats, kind: type[np.integer[Any]] = np.int8) -> Operand:
    """Round rows of floats to int8 or uint8, with the scale of each: its largest magnitude / 127 or 255."""
    most, largest = np.float32(np.iinfo(kind).max), np.abs(x).max(axis=1).astype(np.float32)
    tiny = largest < np.float32(2**-100)
    with np.errstate(divide="ignore"):
        factor = np.where(tiny, np.float32(0), most / largest)
    scale = np.where(tiny, np.float32(0), largest / most)
    return np.rint(x * factor[:, None]).astype(kind), scale.astype(np.float32)


CACHES = ("fp16", *(f"int{bits}" for bits in range(8, 1, -1)))
"""Formats of keys and values in the cache."""


class ImageDecoder:
    """Decode of ``batch`` sequences with the model of an image and a cache of one of `CACHES`.

    Attention over integers is `UnitAttention`, on the cores and on the units.
    """

    def __init__(self, image: Image, batch: int = 1, cache: str = "fp16") -> None:
        if cache not in CACHES:
            raise SailsimError(f"cache is {cache!r}; allowed are {', '.join(CACHES)}.")
        self.image, self.sizes, self.batch, self.cache = image, image.dimensions, batch, cache
        is_fp16 = cache == "fp16"
        self._code_attention = None if is_fp16 else UnitAttention(int(cache[-1]), 8, self._rounded_heads)
        self.position = 0
        self._weights: dict[str, Weights] = {}
        # One array (batch, heads, head_dim) for each position, of integers with their scale as last element.
        self._keys: list[list[Floats]] = [[] for _ in range(self.sizes.n_layers)]
        self._values: list[list[Floats]] = [[] for _ in range(self.sizes.n_layers)]

    def weights(self, name: str) -> Weights:
        """Matrix of the image, kept once it has been read."""
        if name not in self._weights:
            self._weights[name] = self.image.weights(name)
        return self._weights[name]

    def logits(self, tokens: Sequence[int]) -> Floats:
        """Decode one token of each sequence; logits of the next ones, (batch, vocab)."""
        x = self._norm(self.step(tokens), self.image.norms[-1])
        return self._multiplied(self._rounded(x), "head")

    def step(self, tokens: Sequence[int]) -> Floats:
        """Decode one token of each sequence; the output of the last block, (batch, d_model)."""
        sizes, norms = self.sizes, self.image.norms
        x = np.stack([self._embedding(token) for token in tokens])
        for layer in range(sizes.n_layers):
            block = f"blk.{layer}"
            a = self._rounded(self._norm(x, norms[2 * layer]))
            q, k, v = (self._multiplied(a, f"{block}.attn_{kind}") for kind in "qkv")
            mixed = self._rounded(self._attention(layer, q, k, v))
            x = x + self._multiplied(mixed, f"{block}.attn_output")
            f = self._rounded(self._norm(x, norms[2 * layer + 1]))
            gate, up = (self._multiplied(f, f"{block}.ffn_{kind}") for kind in ("gate", "up"))
            hidden = gate / (1 + np.exp(-gate)) * up
            x = x + self._multiplied(self._rounded(hidden), f"{block}.ffn_down")
        self.position += 1
        return x

    def _multiplied(self, operand: Operand, name: str) -> Floats:
        """Product of rounded rows (B, K) and a matrix, (B, N), as the contract defines it."""
        return self.weights(name).product(*operand, abits=8)

    def _rounded(self, x: Floats, kind: type[np.integer[Any]] = np.int8) -> Operand:
        return round_rows(x, kind)

    def _rounded_heads(self, x: Floats, signed: bool) -> Operand:
        ints, scale = self._rounded(x.reshape(-1, x.shape[-1]), np.int8 if signed else np.uint8)
        return ints.reshape(x.shape), scale.reshape(x.shape[:-1])

    def _embedding(self, token: int) -> Floats:
        weights = self.weights("head" if self.sizes.tied else "embedding")
        return weights.take(slice(token, token + 1)).values()[:, 0]

    def _norm(self, x: Floats, weight: Floats) -> Floats:
        mean = np.mean(x * x, axis=-1, keepdims=True)
        factor = 1 / np.sqrt(mean + np.float32(self.sizes.norm_eps))
        return np.asarray(x * weight * factor, dtype=np.float32)

    def _rotated(self, x: Floats) -> Floats:
        turns = rotation(self.position, 1, self.sizes.head_dim, self.sizes.rope_base)
        return rotate(x[:, None], turns)[:, 0]

    def _cached(self, x: Floats) -> Floats:
        if self._code_attention is not None:
            return np.concatenate(cache_codes(x, self._code_attention.kv_bits), axis=-1)
        return x.astype(np.float16).astype(np.float32)

    def _attention(self, layer: int, q: Floats, k: Floats, v: Floats) -> Floats:
        dim, share = self.sizes.head_dim, self.sizes.n_heads // self.sizes.n_kv_heads
        self._keys[layer].append(self._cached(self._rotated(k.reshape(self.batch, -1, dim))))
        self._values[layer].append(self._cached(v.reshape(self.batch, -1, dim)))
        keys, values = np.stack(self._keys[layer], axis=2), np.stack(self._values[layer], axis=2)
        rotated = self._rotated(q.reshape(self.batch, -1, dim))
        if self._code_attention is not None:
            queries = rotated.reshape(self.batch, -1, share, dim)
            hidden = np.zeros((share, keys.shape[2]), bool)
            key_codes, value_codes = ((rows[..., :dim], rows[..., dim:]) for rows in (keys, values))
            mixed = self._code_attention.head_attention(queries, key_codes, value_codes, hidden)
            return mixed.reshape(self.batch, -1)
        rotated = rotated / np.float32(np.sqrt(dim))
        grouped = rotated.reshape(self.batch, -1, share, dim)
        scores = np.einsum("bhgd,bhsd->bhgs", grouped, keys)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = np.einsum("bhgs,bhsd->bhgd", scores, values).reshape(self.batch, -1)
        return np.asarray(mixed, dtype=np.float32)
