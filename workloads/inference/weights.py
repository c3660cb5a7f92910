"""Weights of one layer as a PIM tile holds them: a file's own codes, or codes made from its values.

Where a GGUF tensor already has the requested format, its codes are used as stored, bit for bit. Its scales
and minima become fp16, which rounds those of formats with inner scales in a block to nearest
(docs/models.md). Other tensors' values are quantized to the codes, blocks and minima of the format. Models
without weights get seeded Gaussian ones. ``origin`` names the case, and is written into the header of a
trace.

In folders, GPTQ packs codes along K and zero points along N, lowest bits first, as one stream of bits over
the words; AWQ packs both along N, eight codes a word in an order of its own. A stored GPTQ zero point is one
less than its value, unless the folder has ``gptq_v2``. A zero point becomes the block's minimum, ``-zero *
scale``, or the offset of the code where all are the middle. Where groups are of inputs in another order than
the matrix's (``g_idx``), rows are reordered by group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.fast import scaled_product
from sailsim.lut_gemv.quantize import quantize_weights
from sailsim.workloads.model_files.folder_model import FLOATS, FolderModel
from sailsim.workloads.model_files.gguf_model import GgufModel
from sailsim.workloads.model_files.safetensors_file import StoredTensor, printable
from sailsim.workloads.models.formats import BLOCKS, WORD_BITS, GroupFormat, TensorFormat
from sailsim.workloads.models.model import Linear

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

WEIGHTS_AT_ONCE = 1 << 15
"""Weights unpacked at a time: their codes stay in a CPU's cache while they are transposed."""


def read_blocks(raw: Bytes, fmt: TensorFormat) -> Weights:
    """Unpack blocks ``raw`` (N, bytes of K weights), in the order of a tile's rows; scales are fp32.

    Raises SailsimError for a format without codes.
    """
    if fmt.name not in STORED:
        raise SailsimError(f"format is {fmt.name!r}; allowed is one with codes: {', '.join(STORED)}.")
    assert fmt.code is not None
    n = len(raw)
    k = raw.shape[1] // fmt.block_bytes * fmt.block
    codes = np.empty((k, n), np.uint8)
    factors = np.empty((1 + fmt.minimum, k // fmt.group_size, n), np.float32)
    step = max(1, WEIGHTS_AT_ONCE // k)
    for start in range(0, n, step):
        rows = raw[start : start + step]
        parts = _block_parts(rows.reshape(len(rows), -1, fmt.block_bytes), fmt)
        for whole, part in zip((codes, *factors), parts, strict=True):
            whole[:, start : start + step] = part.reshape(len(rows), -1).T
    return Weights(codes, fmt.code, fmt.group_size, factors[0], factors[1] if fmt.minimum else None)


def _planes(packed: Bytes, run: int, bits: int, count: int) -> Bytes:
    """Unpack ``count`` codes of ``bits`` bits from each byte; the lowest ones of a run of bytes come first.

    Eight bytes are shifted at once if a run has as many: bits that a neighbour shifts in are masked out.
    """
    word = np.dtype("<u8" if run % 8 == 0 else np.uint8)
    runs = np.ascontiguousarray(packed).view(word).reshape(*packed.shape[:-1], -1, 1, run // word.itemsize)
    shifts = (bits * np.arange(count)).astype(word)[:, None]
    mask = np.full(word.itemsize, (1 << bits) - 1, np.uint8).view(word)
    codes = np.ascontiguousarray((runs >> shifts) & mask)
    return codes.view(np.uint8).reshape(*packed.shape[:-1], -1)


def _block_parts(blocks: Bytes, fmt: TensorFormat) -> list[npt.NDArray[Any]]:
    """Codes, scales and, if the format has them, minima; all axes but the last are those of the blocks."""
    layout, low = BLOCKS[fmt.name], 0
    planes: list[Bytes] = []
    for at, bits, run in layout.codes:
        stored = blocks[..., at : at + fmt.block * bits // 8]
        planes.append(_planes(stored, run, bits, 8 // bits) << np.uint8(low))
        low += bits
    codes = reduce(np.bitwise_or, planes) if planes else _digits(blocks)
    if fmt.name == "mxfp4":  # the codes mean twice their value, so a byte e is 2**(e - 128)
        return [codes, np.ldexp(np.float32(1), blocks[..., :1].astype(np.int32) - 128)]
    factors = [
        np.ascontiguousarray(blocks[..., at : at + 2]).view("<f2").astype(np.float32) for at in layout.fp16
    ]
    if fmt.name in _INNER:
        scales, minima = _INNER[fmt.name](blocks)
        factors = [factors[0] * scales, *(-factor * minima for factor in factors[1:])]
    return [codes, *factors]


def _less_32(low: Bytes, high: Bytes) -> tuple[Floats, Any]:
    """Scales of 6 bits around 32, from their low four and high two bits; without minima."""
    return (low | (high << np.uint8(4))).astype(np.float32) - 32, 0


def _six_bits(packed: Bytes) -> tuple[Bytes, Bytes]:
    """Unpack eight scales and eight minima of 6 bits from 12 bytes.

    The first four of each fill the low bits of a byte. The low halves of the others share a byte, and their
    two highest bits fill the rest of the first four's bytes.
    """
    first, second, third = packed[..., :4], packed[..., 4:8], packed[..., 8:]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6 << 4)], axis=-1)
    minima = np.concatenate([second & 63, (third >> 4) | (second >> 6 << 4)], axis=-1)
    return scales, minima


_THIRDS = np.array([1, 3, 9, 27, 81], np.uint8)


def _digits(blocks: Bytes) -> Bytes:
    """Unpack TQ1_0's digits of base 3, five a byte, four in a block's last four bytes.

    The first digits of a run of bytes come first. A byte is a fraction of 256: three times the remainder has
    the next digit before the point, which is the number of thirds in the remainder.
    """
    rest = np.ascontiguousarray(blocks[..., :52]) * _THIRDS.reshape(-1, *blocks.ndim * (1,))
    digits = np.moveaxis((rest > 85).view(np.uint8) + (rest > 170).view(np.uint8), 0, -2)
    codes = np.empty((*blocks.shape[:-1], 256), np.uint8)
    for first, run, at, count in ((0, 32, 0, 5), (32, 16, 160, 5), (48, 4, 240, 4)):
        part = codes[..., at : at + run * count].reshape(*blocks.shape[:-1], count, run)
        part[...] = digits[..., :count, first : first + run]
    return codes


_INNER: dict[str, Callable[[Bytes], tuple[Any, Any]]] = {
    "q2_k": lambda blocks: (blocks[..., :16] & 15, blocks[..., :16] >> 4),
    "q3_k": lambda blocks: _less_32(
        _planes(blocks[..., 96:104], 8, 4, 2), _planes(blocks[..., 104:108], 4, 2, 4)
    ),
    "q4_k": lambda blocks: _six_bits(blocks[..., 4:16]),
    "q5_k": lambda blocks: _six_bits(blocks[..., 4:16]),
    "q6_k": lambda blocks: (blocks[..., 192:208].view(np.int8), 0),
    "iq4_xs": lambda blocks: _less_32(_planes(blocks[..., 4:8], 1, 4, 2), _planes(blocks[..., 2:4], 1, 2, 4)),
}
"""Integers by which a block's fp16 scale and minimum are multiplied, of types with inner scales.

Such a product has more digits than fp16, which rounds it.
"""

STORED = tuple(name for name, block in BLOCKS.items() if block.code is not None)
"""Tensor types whose codes can be used as stored: all with scalar codes."""

COLUMNS = 512
"""Columns quantized at a time."""

GAUSSIAN_SIGMA = 0.02
"""Standard deviation of synthetic weights (GPT-2's initializer_range); scales absorb it."""


@dataclass(frozen=True)
class Weights:
    """Codes uint8 (K, N), scales fp16 (blocks, N) and, if the format has them, minima like the scales.

    A weight is ``value * scale + minimum`` of its block, where ``code`` decodes the value.
    """

    codes: npt.NDArray[np.uint8]
    code: WeightCode
    group_size: int
    scales: npt.NDArray[Any]
    minima: npt.NDArray[Any] | None
    origin: str = ""
    order: npt.NDArray[Any] | None = None
    """Input of each row of codes; None: rows are in the order of inputs."""

    @property
    def factors(self) -> list[npt.NDArray[Any]]:
        """Scales and, if there are any, minima."""
        return [self.scales] if self.minima is None else [self.scales, self.minima]

    def take(self, outputs: npt.NDArray[Any] | slice) -> Weights:
        """Weights of some outputs, by index or slice."""
        minima = None if self.minima is None else self.minima[:, outputs]
        return replace(self, codes=self.codes[:, outputs], scales=self.scales[:, outputs], minima=minima)

    def product(
        self, x: npt.NDArray[Any], act_scale: Floats, *, abits: int, threads: int = 1
    ) -> npt.NDArray[np.float32]:
        """Product of integers (B, K), each row with its scale, as a unit computes it, fp32 (B, N)."""
        return scaled_product(
            x, act_scale, self.codes, abits=abits, code=self.code, group_size=self.group_size,
            scale=self.scales, minimum=self.minima, threads=threads,
        )  # fmt: skip

    def values(self) -> npt.NDArray[np.float32]:
        """Dequantized weights, fp32 (K, N)."""
        block = np.arange(len(self.codes)) // (self.group_size or len(self.codes))
        values = self.code.decode(self.codes) * self.scales[block].astype(np.float32)
        return np.asarray(values if self.minima is None else values + self.minima[block], dtype=np.float32)


@dataclass(frozen=True)
class WeightSource:
    """Source of the weights of one matrix, known before they are loaded.

    ``load`` reads or makes them in the codes, blocks and minima of ``format``. Raises SailsimError for a
    format without scalar codes.
    """

    format: TensorFormat
    origin: str
    load: Callable[[], Weights]

    def __post_init__(self) -> None:
        if self.format.code is None:
            raise SailsimError(f"format is {self.format.name}, which has no scalar codes; a tile needs them.")

    @property
    def code(self) -> WeightCode:
        """Weight code of the format."""
        assert self.format.code is not None
        return self.format.code


def weight_source(
    model: GgufModel | FolderModel | None, linear: Linear, fmt: TensorFormat, seed: int = 0
) -> WeightSource:
    """Choose the source of a layer's weights in a format.

    It is the file's own codes if they have the format, else codes of its values; without a file, weights are
    Gaussian. Raises SailsimError for a format without codes.
    """
    if model is None:
        return synthetic_source(linear, fmt, seed)
    own = model.format.tensors[linear.name]
    is_folder = isinstance(model, FolderModel)
    if fmt == own and (isinstance(own, GroupFormat) if is_folder else own.name in STORED):
        rounded = _rounded_numbers(model, linear, own)
        origin = f"stored {own.name} codes" + (f", {rounded} rounded to fp16" if rounded else "")
        return WeightSource(fmt, origin, lambda: _stored_weights(model, linear, own, origin))
    origin = f"{fmt.name} codes of {own.name} values"
    return WeightSource(fmt, origin, lambda: quantize(_matrix_values(model, linear, own), fmt, origin))


def _rounded_numbers(model: GgufModel | FolderModel, linear: Linear, own: TensorFormat) -> str:
    """Kind of a matrix's numbers that fp16 rounds: scales, minima, or neither (empty)."""
    if isinstance(model, GgufModel):
        return "scales" if own.name in _INNER else ""
    if own.minimum:
        return "minima"
    return "" if model.parts(linear.name)["scales"].dtype == "F16" else "scales"


def _stored_weights(
    model: GgufModel | FolderModel, linear: Linear, own: TensorFormat, origin: str = ""
) -> Weights:
    if isinstance(model, FolderModel):
        assert isinstance(own, GroupFormat)
        return _unpack_groups(model, linear, own, origin)
    return _unpack_blocks(model.raw(f"{linear.name}.weight"), own, origin)


def _matrix_values(
    model: GgufModel | FolderModel, linear: Linear, own: TensorFormat
) -> npt.NDArray[np.float32]:
    """Values of a matrix, fp32 (K, N), inputs in their own order."""
    if isinstance(model, GgufModel):
        return model.dequantize(f"{linear.name}.weight").T
    if not isinstance(own, GroupFormat):
        return _read_floats(model.parts(linear.name)["weight"]).T
    stored = _stored_weights(model, linear, own)
    values = stored.values()
    return values if stored.order is None else values[np.argsort(stored.order)]


def synthetic_source(linear: Linear, fmt: TensorFormat, seed: int) -> WeightSource:
    """Gaussian weights for a layer of a model without weights; name and seed determine them."""
    origin = f"synthetic Gaussian, seed {seed}, as {fmt.name}"

    def load() -> Weights:
        rng = np.random.default_rng([seed, crc32(linear.name.encode())])
        values = rng.standard_normal((linear.k, linear.n), dtype=np.float32) * np.float32(GAUSSIAN_SIGMA)
        return quantize(values, fmt, origin)

    return WeightSource(fmt, origin, load)


def quantize(values: npt.NDArray[np.float32], fmt: TensorFormat, origin: str) -> Weights:
    """Quantize values (K, N) to a format with codes, some columns at a time to save memory."""
    assert fmt.code is not None
    runs = [values[:, start : start + COLUMNS] for start in range(0, values.shape[1], COLUMNS)]
    parts = [quantize_weights(run, fmt.code, fmt.group_size, minimum=fmt.minimum) for run in runs]
    codes, scales, minima = zip(*parts, strict=True)
    return Weights(
        np.concatenate(codes, axis=1),
        fmt.code,
        fmt.group_size,
        np.concatenate(scales, axis=1),
        np.concatenate(minima, axis=1) if fmt.minimum else None,
        origin,
    )


def _unpack_blocks(raw: npt.NDArray[np.uint8], fmt: TensorFormat, origin: str) -> Weights:
    """Unpack blocks ``raw`` (N, bytes) for a tile, with scales and minima in fp16."""
    exact = read_blocks(raw, fmt)
    scales, minima = exact.scales, exact.minima
    return replace(
        exact,
        scales=_fp16_powers(scales, exact.codes) if fmt.name == "mxfp4" else tile_fp16("scale", scales, fmt),
        minima=None if minima is None else tile_fp16("minimum", minima, fmt),
        origin=origin,
    )


def tile_fp16(field: str, exact: npt.NDArray[np.float32], fmt: TensorFormat) -> npt.NDArray[np.float16]:
    """Round scales or minima to fp16. Raises SailsimError for one beyond its range."""
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float16)
    lost = np.isinf(rounded) & np.isfinite(exact)
    if lost.any():
        raise SailsimError(
            f"a {field} of {fmt.name} is {exact[lost].flat[0]:g}; allowed in a tile is what fp16 holds."
        )
    return rounded


def _fp16_powers(exact: npt.NDArray[np.float32], codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float16]:
    """Convert MXFP4's scales (blocks, N) of codes (K, N) to fp16.

    Refuses one that fp16 does not hold exactly, unless its block is all zeros.
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


AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Column, of eight neighbours, of each code of a word, lowest bits first."""


def _read_floats(tensor: StoredTensor) -> npt.NDArray[np.float32]:
    """Read a tensor of a type of `FLOATS` as fp32. Refuses a NaN and an infinity."""
    raw = tensor.read()
    if tensor.dtype not in FLOATS:
        raise SailsimError(f"the dtype of {printable(tensor.name)} is {tensor.dtype}; allowed is a float.")
    if tensor.dtype == "BF16":
        values = (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        values = raw.view("<f2" if tensor.dtype == "F16" else "<f4").astype(np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        raise SailsimError(
            f"element {int(bad.argmax())} of {printable(tensor.name)} is {values[bad][0]}; allowed are "
            "numbers."
        )
    return values.reshape(tensor.shape)


def _unpack_groups(model: FolderModel, linear: Linear, fmt: GroupFormat, origin: str) -> Weights:
    """Unpack codes, scales and zero points of GPTQ or AWQ for a tile."""
    assert fmt.code is not None
    parts = model.parts(linear.name)
    bits, k, n = fmt.code.wbits, linear.k, linear.n
    words, zero_words = (parts[name].read().view("<u4") for name in ("qweight", "qzeros"))
    groups = parts["scales"].shape[0]
    if fmt.method == "awq":
        codes = _unpack_awq_words(words.reshape(k, -1), bits)[:, :n]
        zeros = _unpack_awq_words(zero_words.reshape(groups, -1), bits)[:, :n]
    else:
        codes = np.ascontiguousarray(_unpack_words(words.reshape(-1, n).T, bits)[:, :k].T)
        zeros = _unpack_words(zero_words.reshape(groups, -1), bits)[:, :n]
        if model.zero_less_one:
            zeros = (zeros + np.uint8(1)) & np.uint8((1 << bits) - 1)
    exact = _read_floats(parts["scales"])
    scales = tile_fp16("scale", exact, fmt)
    minima = None
    if fmt.minimum:
        minima = tile_fp16("minimum", -zeros.astype(np.float32) * exact, fmt)
    elif (zeros != fmt.code.zero_point).any():
        raise SailsimError(
            f"a zero point of {printable(parts['qzeros'].name)} is {zeros[zeros != fmt.code.zero_point][0]}; "
            f"allowed is {fmt.code.zero_point}, as the folder says that codes are symmetric."
        )
    order = _group_order(parts, fmt, k)
    if order is not None:
        codes = codes[order]
    return Weights(codes, fmt.code, fmt.group_size, scales, minima, origin, order)


def _unpack_words(words: npt.NDArray[np.uint32], bits: int) -> Bytes:
    """Unpack codes (rows, words * 32 / bits) of words (rows, words), lowest bits of a row first."""
    rows = np.ascontiguousarray(words, dtype="<u4").view(np.uint8)
    code_bits = np.unpackbits(rows, axis=1, bitorder="little").reshape(len(rows), -1, bits)
    return np.packbits(code_bits, axis=2, bitorder="little")[..., 0]


def _unpack_awq_words(words: npt.NDArray[np.uint32], bits: int) -> Bytes:
    """Unpack codes of words (rows, words) in AWQ's order."""
    by_word = _unpack_words(words, bits).reshape(len(words), -1, WORD_BITS // bits)
    codes = np.empty_like(by_word)
    codes[..., AWQ_ORDER] = by_word
    return codes.reshape(len(words), -1)


def _group_order(parts: dict[str, StoredTensor], fmt: GroupFormat, k: int) -> npt.NDArray[Any] | None:
    """Inputs in the order of their groups; None if that is their own order.

    Refuses groups of different sizes.
    """
    if not fmt.indexed or not fmt.group_size:
        return None
    index = parts["g_idx"].read().view("<i4")
    ascending = np.arange(k) // fmt.group_size
    order = np.argsort(index, kind="stable")
    wrong = index[order] != ascending
    if wrong.any():
        raise SailsimError(
            f"group {int(index[order][wrong][0])} of {printable(parts['g_idx'].name)} has another number of "
            f"inputs than {fmt.group_size}, or is none; allowed are groups 0..{int(ascending[-1])} of so "
            "many."
        )
    return None if (index == ascending).all() else order
