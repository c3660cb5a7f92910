"""Attention as units compute it: whole numbers of queries, keys, probabilities and values.

Queries are rounded for each head of a token, as inputs of any layer are. The products of a query with all
keys are exact; each is scaled by its key's scale and the query's (docs/contract.md, section 1). The softmax
is the cores', in fp32. A probability, not yet divided by their sum, times its value's scale is an input of
the values' matrix, unsigned, of which the largest is the largest number of its bits.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv import quantize_rows
from sailsim.workloads.decoder import Floats, cache_codes

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
        share = q.shape[2] // k.shape[2]
        out = np.empty_like(q)
        hidden = ~np.tri(q.shape[1], k.shape[1], k.shape[1] - q.shape[1], dtype=bool)
        for text in range(len(q)):
            for head in range(k.shape[2]):
                keys, values = (cache_codes(x[text, :, head], self.kv_bits) for x in (k, v))
                for of in range(head * share, (head + 1) * share):
                    out[text, :, of] = self._head(q[text, :, of], keys, values, hidden)
        return out

    def _head(
        self,
        q: Floats,
        keys: tuple[Floats, Floats],
        values: tuple[Floats, Floats],
        hidden: npt.NDArray[np.bool_],
    ) -> Floats:
        """Of the queries of a head (tokens, head_dim)."""
        ints, scale = quantize_rows(q, self.abits)
        scores = self._sums(ints, keys[0].T) * keys[1][:, 0] * scale[:, None]
        scores /= np.float32(np.sqrt(q.shape[-1]))
        scores[hidden] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        inputs, step = self.inputs(weights, values[1][:, 0])
        mixed = self._sums(inputs, values[0]) * step[:, None]
        return np.asarray(mixed / weights.sum(axis=-1, keepdims=True), dtype=np.float32)

    def inputs(self, weights: Floats, scales: Floats) -> tuple[Floats, Floats]:
        """Weights of tokens (rows, tokens) times the scales of their values (tokens,), as unsigned whole
        numbers, and what one is worth in each row."""
        scaled = weights * scales
        most = np.float32((1 << self.abits) - 1)
        step = scaled.max(axis=-1) / most
        whole = np.divide(scaled, step[:, None], out=np.zeros_like(scaled), where=step[:, None] > 0)
        return np.minimum(np.rint(whole), most), step

    def _sums(self, inputs: npt.NDArray[Any], codes: Floats) -> Floats:
        """Exact products of whole numbers, rounded to fp32 once."""
        bound = (1 << self.abits) * (1 << (self.kv_bits - 1)) * codes.shape[0]
        kind = np.float32 if bound < EXACT else np.float64
        return np.asarray(inputs.astype(kind) @ codes.astype(kind), dtype=np.float32)
