"""Weights of one layer as a PIM tile holds them: a file's own codes, or codes made from its values.

Where a GGUF tensor has the format that is asked for and its stored codes and scales read as a tile's
(`STORED`), they are taken as they are, bit for bit. Else the tensor's values are quantized to the codes,
blocks and minima of the format; models without weights get seeded Gaussian ones. ``origin`` says which, and
goes into the header of a trace.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv import WeightCode, quantize_weights, quantize_weights_code, quantize_weights_minimum
from sailsim.workloads.formats import TensorFormat
from sailsim.workloads.gguf_model import GgufModel
from sailsim.workloads.model import Linear

STORED = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "mxfp4")
"""Tensor types whose codes, scales and minima are taken as they are stored: blocks of 32 weights with an
fp16 scale, and MXFP4, whose scales are powers of two. Others have scales that fp16 does not hold."""

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

    ``load`` makes them, in the codes, blocks and minima of ``format``, which has scalar codes.
    """

    format: TensorFormat
    origin: str
    load: Callable[[], Weights]

    def __post_init__(self) -> None:
        if self.format.code is None:
            raise SailsimError(f"format is {self.format.name}, which has no scalar codes; a tile needs them.")

    @property
    def code(self) -> WeightCode:
        """How the codes read."""
        assert self.format.code is not None
        return self.format.code


def file_source(model: GgufModel, linear: Linear, fmt: TensorFormat | None = None) -> WeightSource:
    """Weights of a layer of a GGUF file, in its own format or in another. Raises SailsimError without codes.

    Stored codes are used where the format is the tensor's own and one of ``STORED``.
    """
    name = f"{linear.name}.weight"
    own = model.format.tensors[linear.name]
    fmt = fmt or own
    if fmt == own and own.name in STORED:
        origin = f"stored {own.name} codes"
        return WeightSource(fmt, origin, lambda: _stored(model.file.raw(name), fmt, origin))
    origin = f"{fmt.name} codes of {own.name} values"
    return WeightSource(fmt, origin, lambda: _quantized(model.file.dequantize(name).T, fmt, origin))


def synthetic_source(linear: Linear, fmt: TensorFormat, seed: int) -> WeightSource:
    """Gaussian weights of a layer whose weights nobody ships, the same for the same name and seed."""
    origin = f"synthetic Gaussian, seed {seed}, as {fmt.name}"

    def load() -> Weights:
        rng = np.random.default_rng([seed, crc32(linear.name.encode())])
        values = rng.standard_normal((linear.k, linear.n), dtype=np.float32) * np.float32(GAUSSIAN_SIGMA)
        return _quantized(values, fmt, origin)

    return WeightSource(fmt, origin, load)


def _quantized(values: npt.NDArray[np.float32], fmt: TensorFormat, origin: str) -> Weights:
    """Quantizes some columns at a time: they do not depend on each other, and need less memory."""
    runs = [values[:, start : start + COLUMNS] for start in range(0, values.shape[1], COLUMNS)]
    parts = [_quantized_columns(run, fmt) for run in runs]
    codes, scales, minima = zip(*parts, strict=True)
    assert fmt.code is not None
    return Weights(
        np.concatenate(codes, axis=1),
        fmt.code,
        fmt.group_size,
        np.concatenate(scales, axis=1),
        np.concatenate(minima, axis=1) if fmt.minimum else None,
        origin,
    )


def _quantized_columns(values: npt.NDArray[np.float32], fmt: TensorFormat) -> tuple[Any, Any, Any]:
    """Codes, scales and minima (None without) of some columns."""
    code = fmt.code
    assert code is not None
    if fmt.minimum:
        codes, scales, minima, made = quantize_weights_minimum(values, code.wbits, fmt.group_size)
        assert made == code
        return codes, scales, minima
    if code.kind == "twos" or code.wbits == 1:  # symmetric, or signs with their mean magnitude
        codes, scales, made = quantize_weights(values, code.wbits, fmt.group_size)
        assert made == code
        return codes, scales, None
    return *quantize_weights_code(values, code, fmt.group_size), None


def _stored(raw: npt.NDArray[np.uint8], fmt: TensorFormat, origin: str) -> Weights:
    """Codes, scales and minima out of the blocks of ``raw`` (N, bytes).

    A block is its scale (fp16, or a power of two in a byte), perhaps an fp16 minimum, where codes have five
    bits the fifth ones in four bytes, and then 32 codes: a byte each, or 16 bytes whose low halves are the
    first 16 codes.
    """
    code = fmt.code
    assert code is not None
    n = len(raw)
    blocks = raw.reshape(n, -1, fmt.block_bytes)
    halves = 2 if fmt.minimum else 1
    head = 1 if fmt.name == "mxfp4" else 2 * halves
    body = blocks[..., head:]
    if code.wbits < 8:
        packed = body[..., -fmt.block // 2 :]
        fifth = body[..., : -fmt.block // 2]
        body = np.concatenate([packed & 0x0F, packed >> 4], axis=-1)
        if code.wbits == 5:
            body |= np.unpackbits(fifth, axis=-1, bitorder="little") << np.uint8(4)

    def tile(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.ascontiguousarray(values.reshape(n, -1).T)

    if fmt.name == "mxfp4":
        return Weights(tile(body), code, fmt.group_size, tile(_powers(blocks[..., 0], body)), None, origin)
    numbers = np.ascontiguousarray(blocks[..., :head]).view(np.float16)
    minima = tile(numbers[..., 1]) if fmt.minimum else None
    return Weights(tile(body), code, fmt.group_size, tile(numbers[..., 0]), minima, origin)


def _powers(exponents: npt.NDArray[np.uint8], codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float16]:
    """MXFP4's scales of codes that mean twice their value: a byte e is 2**(e - 128).

    Raises SailsimError where fp16 does not hold one whose block is not all zeros.
    """
    exact = np.ldexp(1.0, exponents.astype(np.int64) - 128)
    with np.errstate(over="ignore"):
        scales = exact.astype(np.float16)
    zero = ((codes == 0) | (codes == 8)).all(axis=-1)
    lost = (scales != exact) & ~zero
    if lost.any():
        raise SailsimError(
            f"a scale of MXFP4 is {exact[lost].flat[0]:g}; allowed in a tile is what fp16 holds exactly."
        )
    return np.where(zero, np.float16(0), scales)
