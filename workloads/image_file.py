"""Image files: what the decode program maps into its memory (docs/decode.md gives the bytes).

`read_image` checks all that the program checks and gives the weights back, for the NumPy path and the tests.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import numpy as np
import numpy.typing as npt

from sailsim.base.errors import SailsimError
from sailsim.base.input_file import check_regular, unreadable
from sailsim.lut_gemv import WeightCode
from sailsim.workloads.image_layout import (
    ALIGN,
    CHUNK,
    MAX_BATCH,
    Shape,
    aligned,
    read_rows,
    read_tiles,
    reading,
)
from sailsim.workloads.model import MAX_DIMENSION
from sailsim.workloads.weights import Weights

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
