"""Image files: what the decode program maps into its memory (docs/decode.md gives the bytes).

`read_image` checks all that the program checks and gives the weights back, for the NumPy path and the tests.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.base.input_file import check_regular, unreadable
from sailsim.lut_gemv.codes import WeightCode, pack_codes, row_bytes, unpack_codes
from sailsim.workloads.model import MAX_DIMENSION
from sailsim.workloads.weights import Weights

ALIGN = 64
"""Of everything in an image that a program points to."""
CHUNK = 16
"""Weights along K that a panel of rows is padded to; a block is a whole number of them."""
ROWS_PANEL, LUT_PANEL = 8, 32
SEGMENT = 256
LUT_WBITS_MAX = 4
"""Widest codes with a lut layout: one look-up stands for 4 weights of one bit."""
BOOK_WBITS_MAX = 4
"""Widest codebook that a table of 16 bytes holds."""
MAX_BATCH = 64

Bytes = npt.NDArray[np.uint8]


def aligned(size: int, to: int = ALIGN) -> int:
    """The next multiple of ``to``."""
    return -(-size // to) * to


@dataclass(frozen=True)
class Shape:
    """What decides the sizes of a matrix's layouts."""

    k: int
    n: int
    wbits: int
    group_size: int
    minimum: bool
    slices: int

    @property
    def block(self) -> int:
        """Weights that share a scale."""
        return self.group_size if 0 < self.group_size < self.k else self.k

    @property
    def blocks(self) -> int:
        """Scales of an output."""
        return ceil(self.k / self.block)

    @property
    def factors(self) -> int:
        """fp16 numbers that a block has for an output."""
        return 2 if self.minimum else 1

    @property
    def share(self) -> int:
        """Outputs of a slice."""
        return ceil(self.n / self.slices)

    @property
    def tile_codes(self) -> int:
        """Bytes of a tile's codes, up to where its scales begin."""
        return aligned(self.k * row_bytes(self.share, self.wbits))

    @property
    def tile_stride(self) -> int:
        """Bytes from a tile to the next."""
        scales = aligned(2 * self.blocks * self.share * self.factors, 4)
        return self.tile_codes + aligned(scales + 4 * MAX_BATCH)

    @property
    def rows_bytes(self) -> int:
        """Bytes of the rows layout."""
        chunks = ceil(self.k / CHUNK)
        return ceil(self.n / ROWS_PANEL) * 16 * (self.blocks * self.factors + chunks * self.wbits)

    @property
    def lut_bytes(self) -> int:
        """Bytes of the lut layout."""
        return (
            ceil(self.n / LUT_PANEL) * 32 * (2 * self.blocks * self.factors + ceil(self.k / 8) * self.wbits)
        )

    @property
    def tiles_bytes(self) -> int:
        """Bytes of all tiles."""
        return ceil(self.n / self.share) * self.tile_stride


@dataclass(frozen=True)
class Reading:
    """How stored codes read in rows and lut: ``step * (code ^ flip) - zero``; with step 0 by the codebook."""

    flip: int
    step: int
    zero: int


def reading(code: WeightCode) -> Reading:
    """How codes of a kind are stored. Raises SailsimError for those that int8 products cannot take."""
    top = 1 << (code.wbits - 1)
    if code.wbits == 8:  # as int8
        if code.kind == "twos":
            return Reading(0, 1, 0)
        if code.kind == "offset" and code.zero_point == top:
            return Reading(top, 1, 0)
    elif code.kind == "twos":
        return Reading(top, 1, top)
    elif code.kind == "offset":
        return Reading(0, 1, code.zero_point)
    elif code.kind == "ternary":
        return Reading(0, 1, 1)
    elif code.wbits == 1 and code.magnitude <= 127 and code.values[0] < code.values[1]:
        return Reading(0, int(code.values[1]) - int(code.values[0]), -int(code.values[0]))
    elif code.wbits <= BOOK_WBITS_MAX and code.magnitude <= 127:
        return Reading(0, 0, 0)
    raise SailsimError(
        f"weights have {code.kind} codes of {code.wbits} bits up to {code.magnitude}; allowed in an image "
        f"are those that read as int8, and codebooks of at most {BOOK_WBITS_MAX} bits."
    )


def _padded(array: npt.NDArray[Any], rows: int, columns: int) -> npt.NDArray[Any]:
    """Zeros below and to the right, up to multiples."""
    return np.pad(array, ((0, -len(array) % rows), (0, -array.shape[1] % columns)))


def _factors(weights: Weights, panel: int) -> Bytes:
    """Scales and minima as bytes (panels, blocks, bytes of one panel and block)."""
    kinds = [weights.scales] if weights.minima is None else [weights.scales, weights.minima]
    tables = [_padded(kind.astype(np.float16), 1, panel) for kind in kinds]
    stacked = np.stack(
        [table.reshape(len(table), -1, panel) for table in tables]
    )  # kind, block, panel, output
    return (
        np.ascontiguousarray(stacked.transpose(2, 1, 0, 3))
        .view(np.uint8)
        .reshape(stacked.shape[2], stacked.shape[1], -1)
    )


def _interleaved(factors: Bytes, codes: list[Bytes]) -> Bytes:
    """Factors (panels, blocks, bytes) before the codes of each block, (panels, bytes) each."""
    parts = [part for block, packed in enumerate(codes) for part in (factors[:, block], packed)]
    return np.concatenate(parts, axis=1)


def _planes(wbits: int) -> list[tuple[int, int]]:
    """Widths of the planes of a code and the bit at which each begins."""
    found, at = [], 0
    for width in (8, 4, 2, 1):
        if wbits - at >= width:
            found.append((width, at))
            at += width
    return found


def rows_layout(weights: Weights, shape: Shape) -> Bytes:
    """The rows layout of a matrix, uint8 (rows_bytes,)."""
    stored = _padded((weights.codes ^ np.uint8(reading(weights.code).flip)).T, ROWS_PANEL, CHUNK)
    panels, chunks = len(stored) // ROWS_PANEL, stored.shape[1] // CHUNK
    # panel, half, output, chunk, quad, weight -> panel, chunk, quad, half, output, weight
    registers = stored.reshape(panels, 2, 4, chunks, 4, 4).transpose(0, 3, 4, 1, 2, 5)
    registers = registers.reshape(panels, chunks, 8, 16)
    packed = []
    for width, at in _planes(shape.wbits):
        part = (registers >> np.uint8(at)) & np.uint8((1 << width) - 1)
        part = part.reshape(panels, chunks, width, 8 // width, 16)
        shifts = (width * np.arange(8 // width, dtype=np.uint8))[:, None]
        packed.append(np.bitwise_or.reduce(part << shifts, axis=3).reshape(panels, chunks, -1))
    codes = np.concatenate(packed, axis=2)
    blocks = [
        codes[:, start // CHUNK : ceil(min(start + shape.block, shape.k) / CHUNK)].reshape(panels, -1)
        for start in range(0, shape.k, shape.block)
    ]
    return _interleaved(_factors(weights, ROWS_PANEL), blocks).reshape(-1)


def read_rows(data: Bytes, shape: Shape, flip: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float16]]:
    """Codes (K, N) and factors (scale, minimum; blocks, N) out of the rows layout of a matrix."""
    panels = data.reshape(-1, 16 * (shape.blocks * shape.factors + ceil(shape.k / CHUNK) * shape.wbits))
    at, factors, chunks = 0, [], []
    for start in range(0, shape.k, shape.block):
        head = 16 * shape.factors
        factors.append(np.ascontiguousarray(panels[:, at : at + head]).view(np.float16))
        count = ceil(min(shape.block, shape.k - start) / CHUNK)
        size = count * 16 * shape.wbits
        chunks.append(panels[:, at + head : at + head + size].reshape(len(panels), count, -1))
        at += head + size
    packed = np.concatenate(chunks, axis=1)
    registers = np.zeros((*packed.shape[:2], 8, 16), np.uint8)
    for width, bit in _planes(shape.wbits):
        rows = packed[:, :, 16 * bit : 16 * (bit + width)].reshape(*packed.shape[:2], width, 1, 16)
        shifts = (width * np.arange(8 // width, dtype=np.uint8))[:, None]
        part = rows >> shifts & np.uint8((1 << width) - 1)
        registers |= part.reshape(registers.shape) << np.uint8(bit)
    # panel, chunk, quad, half, output, weight -> chunk, quad, weight, panel, half, output
    codes = registers.reshape(*packed.shape[:2], 4, 2, 4, 4).transpose(1, 2, 5, 0, 3, 4)
    numbers = np.stack(factors).reshape(shape.blocks, len(panels), shape.factors, ROWS_PANEL)
    by_kind = numbers.transpose(2, 0, 1, 3).reshape(shape.factors, shape.blocks, -1)
    found = codes.reshape(-1, len(panels) * ROWS_PANEL)[: shape.k, : shape.n] ^ np.uint8(flip)
    return found, by_kind[..., : shape.n]


def lut_layout(weights: Weights, shape: Shape) -> Bytes:
    """The lut layout of a matrix, uint8 (lut_bytes,)."""
    stored = _padded((weights.codes ^ np.uint8(reading(weights.code).flip)).T, LUT_PANEL, 8)
    panels, pairs = len(stored) // LUT_PANEL, stored.shape[1] // 8
    weighed = stored.reshape(panels, LUT_PANEL, pairs, 8).transpose(0, 2, 1, 3)  # panel, pair, output, weight
    planes = np.stack(
        [
            np.packbits((weighed >> np.uint8(bit)) & np.uint8(1), axis=3, bitorder="little")[..., 0]
            for bit in range(shape.wbits)
        ],
        axis=1,
    )  # panel, bit, pair, output
    blocks = []
    for start in range(0, shape.k, shape.block):
        stop = min(start + shape.block, shape.k)
        segments = [
            planes[:, :, at // 8 : ceil(min(at + SEGMENT, stop) / 8)].reshape(panels, -1)
            for at in range(start, stop, SEGMENT)
        ]
        blocks.append(np.concatenate(segments, axis=1))
    return _interleaved(_factors(weights, LUT_PANEL), blocks).reshape(-1)


def tiles_layout(weights: Weights, shape: Shape) -> Bytes:
    """The tiles of a matrix, uint8 (tiles_bytes,)."""
    tiles = np.zeros((ceil(shape.n / shape.share), shape.tile_stride), np.uint8)
    for tile, start in zip(tiles, range(0, shape.n, shape.share), strict=True):
        part = weights.columns(start, min(start + shape.share, shape.n))
        packed = pack_codes(part.codes, shape.wbits).reshape(-1)
        tile[: len(packed)] = packed
        kinds = [part.scales] if part.minima is None else [part.scales, part.minima]
        numbers = np.concatenate([np.ascontiguousarray(kind, np.float16).reshape(-1) for kind in kinds])
        tile[shape.tile_codes : shape.tile_codes + numbers.nbytes] = numbers.view(np.uint8)
    return tiles.reshape(-1)


def read_tiles(data: Bytes, shape: Shape) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float16]]:
    """Codes (K, N) and factors (scale, minimum; blocks, N) out of the tiles of a matrix."""
    codes, numbers = [], []
    for tile, start in zip(data.reshape(-1, shape.tile_stride), range(0, shape.n, shape.share), strict=True):
        owned = min(shape.share, shape.n - start)
        width = row_bytes(owned, shape.wbits)
        codes.append(unpack_codes(tile[: shape.k * width].reshape(shape.k, width), owned, shape.wbits))
        count = shape.factors * shape.blocks * owned
        stored = tile[shape.tile_codes : shape.tile_codes + 2 * count].view(np.float16)
        numbers.append(stored.reshape(shape.factors, shape.blocks, owned))
    return np.concatenate(codes, axis=1), np.concatenate(numbers, axis=2)


MAGIC = b"SAILIMGE"
VERSION = 1
KINDS = (
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
    "head",
    "embedding",
)
"""What a matrix is for; its number in the file is its place here."""
CODES = ("twos", "offset", "ternary", "book")
"""Weight codes; the number in the file is twice the place here, as in a descriptor's flags."""
LAYOUTS = ("rows", "lut", "tiles")
HEAD_DIM_MAX = 512
SLICES_MAX = 64
JSON_BYTES_MAX = 1 << 24

HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<u4"),
        ("crc", "<u4"),
        ("file_bytes", "<u8"),
        *[(name, "<u4") for name in ("n_layers", "model_layers", "d_model", "n_heads", "n_kv_heads")],
        *[(name, "<u4") for name in ("head_dim", "d_ffn", "vocab")],
        ("norm_eps", "<f4"),
        ("rope_base", "<f4"),
        *[(name, "<u4") for name in ("slices", "max_batch", "tied", "tensor_count")],
        *[(name, "<u8") for name in ("tensor_offset", "norms_offset", "norms_bytes")],
        ("norms_crc", "<u4"),
        ("reserved_word", "<u4"),
        ("json_offset", "<u8"),
        ("json_bytes", "<u8"),
        ("reserved", "V128"),
    ]
)
"""The first 256 bytes. ``crc`` is CRC-32 of the header, with 0 in its place, and the table of tensors."""

TENSOR = np.dtype(
    [
        *[(name, "<u4") for name in ("kind", "layer", "k", "n")],
        *[(name, "u1") for name in ("wbits", "code", "minimum", "reserved_byte")],
        ("group_size", "<u2"),
        ("zero_point", "<u2"),
        *[(f"{layout}_{field}", "<u8") for layout in LAYOUTS for field in ("offset", "bytes")],
        *[(f"{layout}_crc", "<u4") for layout in LAYOUTS],
        ("step", "<i2"),
        ("zero", "<i2"),
        ("reserved_1", "V40"),
        ("book", "<i2", (16,)),
        ("reserved_2", "V32"),
    ]
)
"""One matrix, 192 bytes; its codebook on a line of its own. Offset and bytes of a layout it lacks are 0."""


def matrix_order(n_layers: int, tied: bool) -> Iterator[tuple[str, int]]:
    """Kind and block of the matrices of an image in the order of its table."""
    for layer in range(n_layers):
        for kind in KINDS[:7]:
            yield kind, layer
    yield "head", n_layers
    if not tied:
        yield "embedding", n_layers


@dataclass(frozen=True)
class Dimensions:
    """The shape of the model in an image; ``norm_eps`` and ``rope_base`` are its two constants."""

    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ffn: int
    vocab: int
    norm_eps: float
    rope_base: float
    slices: int

    def matrix(self, kind: str) -> tuple[int, int]:
        """K and N of a matrix."""
        d, attn, kv = self.d_model, self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        return {
            "attn_q": (d, attn),
            "attn_k": (d, kv),
            "attn_v": (d, kv),
            "attn_output": (attn, d),
            "ffn_gate": (d, self.d_ffn),
            "ffn_up": (d, self.d_ffn),
            "ffn_down": (self.d_ffn, d),
        }.get(kind, (d, self.vocab))


class Image:
    """An open image; arrays are views of the mapped file. Make one with `read_image`.

    ``about`` is its JSON part: model, origin of the weights, notes.
    """

    def __init__(self, path: Path, data: npt.NDArray[np.uint8]) -> None:
        self.path, self.data = path, data
        self.header = np.frombuffer(data[: HEADER.itemsize].tobytes(), HEADER)[0]
        _check_header(self)
        names = ("n_layers", "d_model", "n_heads", "n_kv_heads", "head_dim", "d_ffn", "vocab")
        self.dimensions = Dimensions(
            **{name: int(self.header[name]) for name in names},
            norm_eps=float(self.header["norm_eps"]),
            rope_base=float(self.header["rope_base"]),
            slices=int(self.header["slices"]),
        )
        start, count = int(self.header["tensor_offset"]), int(self.header["tensor_count"])
        self.tensors = data[start : start + count * TENSOR.itemsize].view(TENSOR)
        self.about: dict[str, Any] = _about(self)

    @property
    def tied(self) -> bool:
        """Whether the head's matrix gives the embeddings too."""
        return bool(self.header["tied"])

    def wrong(self, field: str, value: object, allowed: str) -> SailsimError:
        """What to raise for a field of the file."""
        return SailsimError(f"image {self.path}: {field} is {value}; allowed is {allowed}.")

    def section(self, field: str, offset: int, size: int) -> npt.NDArray[np.uint8]:
        """Bytes of the file that a field points to. Raises SailsimError outside the file."""
        if offset % ALIGN or offset + size > len(self.data):
            raise self.wrong(
                field, f"{size} bytes at {offset}", f"a multiple of {ALIGN} inside its {len(self.data)} bytes"
            )
        return self.data[offset : offset + size]

    @property
    def norms(self) -> npt.NDArray[np.float32]:
        """Weights of the norms (2 n_layers + 1, d_model): of attention, feed-forward by block, the last."""
        rows = 2 * self.dimensions.n_layers + 1
        part = self.section("norms", int(self.header["norms_offset"]), int(self.header["norms_bytes"]))
        return part.view(np.float32).reshape(rows, -1)[:, : self.dimensions.d_model]

    def shape(self, index: int) -> Shape:
        """Sizes of the matrix at a place of the table."""
        record = self.tensors[index]
        return Shape(
            int(record["k"]),
            int(record["n"]),
            int(record["wbits"]),
            int(record["group_size"]),
            bool(record["minimum"]),
            self.dimensions.slices,
        )

    def weights(self, index: int, layout: Literal["rows", "tiles"] = "rows") -> Weights:
        """The matrix at a place of the table. Raises SailsimError for tiles that it does not have."""
        shape, record = self.shape(index), self.tensors[index]
        size = {"rows": shape.rows_bytes, "tiles": shape.tiles_bytes}[layout]
        if not record[f"{layout}_bytes"]:
            raise self.wrong(f"{layout} of matrix {index}", "absent", "an image written with them")
        code = self.code(index)
        data = self.section(layout, int(record[f"{layout}_offset"]), size)
        if layout == "rows":
            codes, factors = read_rows(data, shape, reading(code).flip)
        else:
            codes, factors = read_tiles(data, shape)
        minima = factors[1] if shape.minimum else None
        return Weights(codes, code, shape.group_size, factors[0], minima, "image")

    def code(self, index: int) -> WeightCode:
        """How the codes of a matrix read."""
        record = self.tensors[index]
        kind, wbits = CODES[int(record["code"]) // 2], int(record["wbits"])
        if kind == "twos":
            return WeightCode.twos(wbits)
        if kind == "offset":
            return WeightCode.offset(wbits, int(record["zero_point"]))
        return WeightCode.ternary() if kind == "ternary" else WeightCode.book(record["book"][: 1 << wbits])


def read_image(path: str | os.PathLike[str], check: bool = True) -> Image:
    """Opens an image. With ``check`` all checksums and scales are looked at too.

    Raises SailsimError for a file that is no whole image of this version.
    """
    path = Path(path)
    size = check_regular(path, "image")
    if size < HEADER.itemsize:
        raise SailsimError(
            f"image {path}: its size is {size} bytes; allowed is at least {HEADER.itemsize} (a header)."
        )
    try:
        data: npt.NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r")
    except OSError as error:
        raise unreadable(path, "image", error) from error
    image = Image(path, data)
    _check_tensors(image)
    if check:
        _check_contents(image)
    return image


def _check_header(image: Image) -> None:
    header = image.header
    if bytes(header["magic"]) != MAGIC:
        raise image.wrong("the magic", bytes(header["magic"]), f"{MAGIC!r}")
    limits = {
        "version": (VERSION, VERSION),
        "file_bytes": (len(image.data), len(image.data)),
        **dict.fromkeys(("n_layers", "model_layers"), (1, 1 << 16)),
        **dict.fromkeys(("d_model", "n_heads", "n_kv_heads", "d_ffn", "vocab"), (1, MAX_DIMENSION)),
        "head_dim": (2, HEAD_DIM_MAX),
        "slices": (1, SLICES_MAX),
        "max_batch": (MAX_BATCH, MAX_BATCH),
        "tied": (0, 1),
    }
    for field, (least, most) in limits.items():
        if not least <= header[field] <= most:
            raise image.wrong(field, header[field], f"{least}..{most}" if least < most else f"{least}")
    if header["head_dim"] % 2 or header["n_heads"] % header["n_kv_heads"]:
        raise image.wrong(
            "head_dim, n_heads, n_kv_heads",
            f"{header['head_dim']}, {header['n_heads']}, {header['n_kv_heads']}",
            "an even one, and query heads that share keys evenly",
        )
    if int(header["n_heads"]) * int(header["head_dim"]) > MAX_DIMENSION:
        raise image.wrong("n_heads * head_dim", header["n_heads"], f"at most {MAX_DIMENSION}")
    for field in ("norm_eps", "rope_base"):
        if not (np.isfinite(header[field]) and header[field] > 0):
            raise image.wrong(field, header[field], "a positive number")
    expected = 7 * int(header["n_layers"]) + (1 if header["tied"] else 2)
    if header["tensor_count"] != expected:
        raise image.wrong("tensor_count", header["tensor_count"], f"{expected} by its blocks")
    table = image.section("the table of tensors", int(header["tensor_offset"]), expected * TENSOR.itemsize)
    first = bytearray(image.data[: HEADER.itemsize].tobytes())
    first[12:16] = bytes(4)
    found = crc32(table.tobytes(), crc32(first))
    if found != header["crc"]:
        raise image.wrong("the checksum of the header", f"{header['crc']:#010x}", f"{found:#010x}")


def _about(image: Image) -> dict[str, Any]:
    size = int(image.header["json_bytes"])
    if size > JSON_BYTES_MAX:
        raise image.wrong("json_bytes", size, f"at most {JSON_BYTES_MAX}")
    try:
        about = json.loads(image.section("json", int(image.header["json_offset"]), size).tobytes().decode())
    except (ValueError, RecursionError):
        raise image.wrong("json", "no JSON", "one object") from None
    if not isinstance(about, dict):
        raise image.wrong("json", "no object", "one object")
    return about


def _check_tensors(image: Image) -> None:
    sizes = image.dimensions
    norms = aligned(4 * sizes.d_model) * (2 * sizes.n_layers + 1)
    if image.header["norms_bytes"] != norms:
        raise image.wrong("norms_bytes", image.header["norms_bytes"], f"{norms}")
    image.section("norms", int(image.header["norms_offset"]), norms)
    for index, (kind, layer) in enumerate(matrix_order(sizes.n_layers, image.tied)):
        record = image.tensors[index]
        name = f"matrix {index} ({kind} of block {layer})"
        expected = (KINDS.index(kind), layer, *sizes.matrix(kind))
        found = tuple(int(record[field]) for field in ("kind", "layer", "k", "n"))
        if found != expected:
            raise image.wrong(f"kind, layer, k, n of {name}", found, f"{expected}")
        if not 1 <= record["wbits"] <= 8 or record["code"] not in (0, 2, 4, 6) or record["minimum"] > 1:
            raise image.wrong(f"wbits of {name}", record["wbits"], "1..8 with a code and a minimum of 0 or 1")
        if record["group_size"] % CHUNK:
            raise image.wrong(f"group_size of {name}", record["group_size"], f"a multiple of {CHUNK}")
        if not record["rows_bytes"]:
            raise image.wrong(f"rows of {name}", "absent", "an image that has them")
        shape = image.shape(index)
        for layout, size in zip(LAYOUTS, (shape.rows_bytes, shape.lut_bytes, shape.tiles_bytes), strict=True):
            stored = int(record[f"{layout}_bytes"])
            if stored not in (0, size):
                raise image.wrong(f"{layout}_bytes of {name}", stored, f"0 or {size}")
            image.section(f"{layout} of {name}", int(record[f"{layout}_offset"]), stored)


def _check_contents(image: Image) -> None:
    header = image.header
    parts = [("norms", int(header["norms_offset"]), int(header["norms_bytes"]), int(header["norms_crc"]))]
    for index, record in enumerate(image.tensors):
        for layout in LAYOUTS:
            offset, size, crc = (int(record[f"{layout}_{field}"]) for field in ("offset", "bytes", "crc"))
            parts.append((f"{layout} of matrix {index}", offset, size, crc))
    for name, offset, size, crc in parts:
        found = crc32(image.section(name, offset, size).data)
        if size and found != crc:
            raise image.wrong(f"the checksum of {name}", f"{crc:#010x}", f"{found:#010x}")
    if not np.isfinite(image.norms).all():
        raise image.wrong("a weight of a norm", "no number", "finite ones")
    for index, record in enumerate(image.tensors):
        sound = _finite(image.weights(index))
        if not sound or (record["tiles_bytes"] and not _finite(image.weights(index, "tiles"))):
            raise image.wrong(f"a scale of matrix {index}", "no number", "finite ones")


def _finite(weights: Weights) -> bool:
    minima = weights.minima
    return bool(np.isfinite(weights.scales).all() and (minima is None or np.isfinite(minima).all()))
