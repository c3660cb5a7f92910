"""Weights of one layer as a PIM tile holds them: a file's own codes, or codes made from its values.

Where a GGUF tensor's stored codes read as a weight code (Q4_0, Q4_1, Q8_0), they are taken as they are, bit
for bit. Other tensors are dequantized and quantized again; models without weights get seeded Gaussian ones.
``origin`` says which, and goes into the header of a trace.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from sailsim.lut_gemv import WeightCode, quantize_weights
from sailsim.workloads.gguf_model import GgufModel
from sailsim.workloads.model import Linear

STORED = ("q4_0", "q4_1", "q8_0")
"""Tensor types whose codes are taken as they are stored."""

COLUMNS = 512
"""Columns quantized at a time."""

GAUSSIAN_SIGMA = 0.02
"""Standard deviation of synthetic weights (GPT-2's initializer_range); scales absorb it: no count moves."""


@dataclass(frozen=True)
class Weights:
    """Codes uint8 (K, N), scales fp16 (blocks, N) and, where the format has them, minima like the scales."""

    codes: npt.NDArray[np.uint8]
    code: WeightCode
    group_size: int
    scales: npt.NDArray[np.float16]
    minima: npt.NDArray[np.float16] | None
    origin: str

    def columns(self, start: int, stop: int) -> "Weights":
        """The weights of the outputs ``start`` to ``stop - 1``."""
        return Weights(
            self.codes[:, start:stop],
            self.code,
            self.group_size,
            self.scales[:, start:stop],
            None if self.minima is None else self.minima[:, start:stop],
            self.origin,
        )

    def values(self) -> npt.NDArray[np.float32]:
        """What the codes stand for, fp32 (K, N)."""
        block = (
            np.arange(len(self.codes)) // self.group_size
            if self.group_size
            else np.zeros(len(self.codes), int)
        )
        values = self.code.decode(self.codes) * self.scales[block].astype(np.float32)
        return np.asarray(values if self.minima is None else values + self.minima[block], dtype=np.float32)


@dataclass(frozen=True)
class WeightSource:
    """Where the weights of one matrix come from, known before they are made.

    ``load`` makes them; they have ``wbits``-bit codes, blocks of ``group_size`` and, if ``minimum``, minima.
    """

    wbits: int
    group_size: int
    minimum: bool
    origin: str
    load: Callable[[], Weights]


def file_source(
    model: GgufModel, linear: Linear, wbits: int | None = None, group_size: int = 32
) -> WeightSource:
    """Weights of a layer of a GGUF file.

    With ``wbits`` None or that of the stored codes, these are used where the type is one of ``STORED``;
    otherwise the values are quantized to ``wbits`` (None: the stored width, or 8) and ``group_size``.
    """
    name = f"{linear.name}.weight"
    stored = model.format.tensors[linear.name]
    code = stored.code
    if stored.name in STORED and code is not None and wbits in (None, code.wbits):
        origin = f"stored {stored.name} codes"
        return WeightSource(
            code.wbits,
            stored.group_size,
            stored.minimum,
            origin,
            lambda: _stored(model.file.raw(name), code, stored.group_size, stored.minimum, origin),
        )
    width = wbits or stored.wbits or 8
    origin = f"requantized from {stored.name} to {width} bits"
    return WeightSource(
        width,
        group_size,
        False,
        origin,
        lambda: _quantized(model.file.dequantize(name).T, width, group_size, origin),
    )


def synthetic_source(linear: Linear, wbits: int, group_size: int, seed: int) -> WeightSource:
    """Gaussian weights of a layer whose weights nobody ships, the same for the same name and seed."""
    origin = f"synthetic Gaussian, seed {seed}"

    def load() -> Weights:
        rng = np.random.default_rng([seed, crc32(linear.name.encode())])
        values = rng.standard_normal((linear.k, linear.n), dtype=np.float32) * np.float32(GAUSSIAN_SIGMA)
        return _quantized(values, wbits, group_size, origin)

    return WeightSource(wbits, group_size, False, origin, load)


def _quantized(values: npt.NDArray[np.float32], wbits: int, group_size: int, origin: str) -> Weights:
    """Quantizes some columns at a time: they do not depend on each other, and need less memory."""
    runs = [values[:, start : start + COLUMNS] for start in range(0, values.shape[1], COLUMNS)]
    parts = [quantize_weights(run, wbits, group_size) for run in runs]
    codes = np.concatenate([part[0] for part in parts], axis=1)
    scales = np.concatenate([part[1] for part in parts], axis=1)
    return Weights(codes, parts[0][2], group_size, scales, None, origin)


def _stored(
    raw: npt.NDArray[np.uint8], code: WeightCode, group_size: int, minimum: bool, origin: str
) -> Weights:
    """Codes, scales and minima out of the blocks of ``raw`` (N, bytes).

    A block is an fp16 scale, for Q4_1 an fp16 minimum, then 32 codes: 16 bytes whose low halves are the
    first 16 codes, or for Q8_0 a byte each.
    """
    n = len(raw)
    halves = 2 if minimum else 1
    blocks = raw.reshape(n, -1, 2 * halves + group_size * code.wbits // 8)
    head = np.ascontiguousarray(blocks[..., : 2 * halves]).view(np.float16)
    body = blocks[..., 2 * halves :]
    if code.wbits == 4:
        body = np.concatenate([body & 0x0F, body >> 4], axis=-1)

    def tile(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.ascontiguousarray(values.reshape(n, -1).T)

    minima = tile(head[..., 1]) if minimum else None
    return Weights(tile(body), code, group_size, tile(head[..., 0]), minima, origin)
