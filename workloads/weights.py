"""Weights of one layer as a PIM tile holds them: a file's own codes, or codes made from its values.

Where a GGUF tensor has the format that is asked for, its codes are taken as they are stored, bit for bit, and
its scales and minima as fp16, which for the formats with scales of their own inside a block rounds them to
nearest (docs/models.md). Else the tensor's values are quantized to the codes, blocks and minima of the
format; models without weights get seeded Gaussian ones. ``origin`` says which, and goes into the header of a
trace.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv import WeightCode, quantize_weights, quantize_weights_code, quantize_weights_minimum
from sailsim.workloads.formats import TensorFormat
from sailsim.workloads.gguf_model import GgufModel
from sailsim.workloads.model import Linear
from sailsim.workloads.stored import STORED, read_blocks

ROUNDED = ("q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_xs")
"""Types whose scales are an fp16 number times a whole one, which fp16 holds rounded."""

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
    order: npt.NDArray[Any] | None = None
    """The input that each row of codes is of, where that is not the row's own."""

    def columns(self, start: int, stop: int) -> "Weights":
        """The weights of the outputs ``start`` to ``stop - 1``."""
        return self.taken(slice(start, stop))

    def taken(self, outputs: npt.NDArray[Any] | slice) -> "Weights":
        """The weights of some outputs, by their numbers or as a run of them."""
        minima = None if self.minima is None else self.minima[:, outputs]
        return replace(self, codes=self.codes[:, outputs], scales=self.scales[:, outputs], minima=minima)

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

    Stored codes are used where the format is the tensor's own.
    """
    name = f"{linear.name}.weight"
    own = model.format.tensors[linear.name]
    fmt = fmt or own
    if fmt == own and own.name in STORED:
        origin = f"stored {own.name} codes" + (", scales rounded to fp16" if own.name in ROUNDED else "")
        return WeightSource(fmt, origin, lambda: _stored(model.file.raw(name), fmt, origin))
    origin = f"{fmt.name} codes of {own.name} values"
    return WeightSource(fmt, origin, lambda: quantized(model.file.dequantize(name).T, fmt, origin))


def synthetic_source(linear: Linear, fmt: TensorFormat, seed: int) -> WeightSource:
    """Gaussian weights of a layer whose weights nobody ships, the same for the same name and seed."""
    origin = f"synthetic Gaussian, seed {seed}, as {fmt.name}"

    def load() -> Weights:
        rng = np.random.default_rng([seed, crc32(linear.name.encode())])
        values = rng.standard_normal((linear.k, linear.n), dtype=np.float32) * np.float32(GAUSSIAN_SIGMA)
        return quantized(values, fmt, origin)

    return WeightSource(fmt, origin, load)


def quantized(values: npt.NDArray[np.float32], fmt: TensorFormat, origin: str) -> Weights:
    """Codes of values (K, N), made some columns at a time: they do not depend on each other, and that needs
    less memory."""
    runs = [values[:, start : start + COLUMNS] for start in range(0, values.shape[1], COLUMNS)]
    parts = [quantized_block(run, fmt) for run in runs]
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


def quantized_block(values: npt.NDArray[np.float32], fmt: TensorFormat) -> tuple[Any, Any, Any]:
    """Codes, scales and minima (None without) of values (K, N), some columns or one block of them."""
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
    """What the blocks of ``raw`` (N, bytes) hold, as a tile has it."""
    assert fmt.code is not None
    codes, scales, minima = read_blocks(raw, fmt)
    return Weights(
        codes,
        fmt.code,
        fmt.group_size,
        _powers(scales, codes) if fmt.name == "mxfp4" else tile_fp16("scale", scales, fmt),
        None if minima is None else tile_fp16("minimum", minima, fmt),
        origin,
    )


def tile_fp16(field: str, exact: npt.NDArray[np.float32], fmt: TensorFormat) -> npt.NDArray[np.float16]:
    """Scales or minima as a tile has them. Raises SailsimError for one that is beyond fp16."""
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float16)
    lost = np.isinf(rounded) & np.isfinite(exact)
    if lost.any():
        raise SailsimError(
            f"a {field} of {fmt.name} is {exact[lost].flat[0]:g}; allowed in a tile is what fp16 holds."
        )
    return rounded


def _powers(exact: npt.NDArray[np.float32], codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float16]:
    """MXFP4's scales (blocks, N) of codes (K, N).

    Raises SailsimError where fp16 does not hold one whose block is not all zeros.
    """
    with np.errstate(over="ignore"):
        scales = exact.astype(np.float16)
    zero = (codes & 7 == 0).reshape(len(exact), -1, exact.shape[1]).all(axis=1)
    lost = (scales != exact) & ~zero
    if lost.any():
        raise SailsimError(
            f"a scale of MXFP4 is {exact[lost].flat[0]:g}; allowed in a tile is what fp16 holds exactly."
        )
    return np.where(zero, np.float16(0), scales)
