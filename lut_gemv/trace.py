"""Traces: descriptors and their operands in one file, laid out as the memory that a unit would see.

docs/contract.md gives the bytes. The same file drives the Python replay and the AArch64 program.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sailsim import __version__
from sailsim.base.atomic import atomic_file
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import check_regular, unreadable
from sailsim.lut_gemv.codes import pack_codes
from sailsim.lut_gemv.descriptor import (
    ABI_VERSION,
    BUFFER_ALIGN,
    CODE_TWOS,
    COMPLETION,
    DESCRIPTOR,
    Flag,
)
from sailsim.lut_gemv.tile import Scales, Tile

MAGIC = b"SAILTRCE"
FORMAT_VERSION = 1
SCHEMA = 1
"""Version of the JSON part."""
BASE = 1 << 36
"""Address of the image's first byte. Any would do: loaders move it, and no valid address is 0."""
IMAGE_OFFSET = 4096
"""Of the image in the file: a page, so that the image can be mapped."""
JSON_BYTES_MAX = 1 << 24

FILE_HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<u4"),
        ("abi_version", "<u4"),
        ("base", "<u8"),
        ("image_bytes", "<u8"),
        ("image_offset", "<u8"),
        ("stored_bytes", "<u8"),
        ("descriptor_offset", "<u8"),
        ("descriptor_count", "<u8"),
        ("expected_offset", "<u8"),
        ("json_offset", "<u8"),
        ("json_bytes", "<u8"),
        ("reserved", "V40"),
    ]
)
"""The first 128 bytes of a trace file."""

LAYOUTS = {"packed": "packed", "rows": "rows apart"}
"""Where the weights of a trace's tiles lie, and the words of tables for it: one behind the other, or an odd
number of DRAM rows apart."""

_CODE_FLAG: dict[str, int] = {
    "twos": CODE_TWOS,
    "offset": Flag.CODE_OFFSET,
    "ternary": Flag.CODE_TERNARY,
    "book": Flag.CODE_BOOK,
}


@dataclass(frozen=True, eq=False)
class Trace:
    """An open trace. The arrays are views of the mapped file; nothing is copied.

    Attributes:
        path: of the file.
        header: the JSON part: ``schema``, ``written_by``, ``model``, ``provenance``, ``tiles`` (names).
        base: address of the image's first byte.
        image_bytes: length of the image; beyond the stored bytes it is zero and takes the results.
        image: the stored bytes, uint8 ``(stored_bytes,)``.
        descriptors: :data:`~sailsim.lut_gemv.descriptor.DESCRIPTOR` ``(count,)``.
        expected: addresses of expected outputs, uint64 ``(count,)``; 0 where there is none.
    """

    path: Path
    header: Mapping[str, Any]
    base: int
    image_bytes: int
    image: NDArray[np.uint8]
    descriptors: NDArray[np.void]
    expected: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.descriptors)

    def stored(self, address: int, size: int) -> NDArray[np.uint8] | None:
        """The stored bytes at ``address``, or None if they do not all lie in the stored image."""
        start = address - self.base
        if start < 0 or start + size > len(self.image):
            return None
        return self.image[start : start + size]

    def writable(self, address: int, size: int) -> bool:
        """Whether ``size`` bytes at ``address`` lie in the image."""
        start = address - self.base
        return start >= 0 and start + size <= self.image_bytes


def write_trace(
    path: str | os.PathLike[str],
    tiles: Iterable[Tile],
    *,
    model: str = "",
    provenance: Mapping[str, Any] | None = None,
    expect: bool = True,
    row: int = 0,
) -> None:
    """Write ``tiles`` as a trace file, which appears whole or not at all.

    Args:
        path: of the file; an existing one is replaced at the end.
        tiles: taken one by one, so a generator needs the memory of one tile only. Operands that occur more
            than once are stored once.
        model: name of the model that the tiles come from.
        provenance: anything that JSON can hold: command, seed, commit.
        expect: whether to store every tile's output, by plain products, for whoever replays the trace.
        row: bytes of a DRAM row over all channels. With it every tile's weights begin on a row, an odd
            number of rows behind those of the tile before: of equally large tiles, as many as there are
            banks (a power of two) begin in banks of their own. 0: operands follow one another.
    """
    with atomic_file(path) as file:
        file.write(bytes(IMAGE_OFFSET))
        image = _ImageWriter(file, row)
        records: list[NDArray[np.void]] = []
        expected: list[int] = []
        names: list[str] = []
        work_bytes = 0
        for tile in tiles:
            record = _describe(tile, image)
            # Results come behind all that is stored; where that ends is known only after the last tile.
            record["output"] = work_bytes
            work_bytes += _aligned(4 * tile.batch * tile.n)
            record["completion"] = work_bytes
            work_bytes += _aligned(COMPLETION.itemsize)
            records.append(record)
            expected.append(image.store(tile.expected()) if expect else 0)
            names.append(tile.name)

        image.align()
        descriptors = np.array(records, DESCRIPTOR)
        descriptors["output"] += np.uint64(BASE + image.size)
        descriptors["completion"] += np.uint64(BASE + image.size)
        text = json.dumps(
            {
                "schema": SCHEMA,
                "written_by": f"sailsim {__version__}",
                "model": model,
                "provenance": dict(provenance or {}),
                "tiles": names,
            }
        ).encode()
        if len(text) > JSON_BYTES_MAX:
            raise SailsimError(f"the trace's JSON part has {len(text)} bytes; allowed is {JSON_BYTES_MAX}.")
        header = np.zeros((), FILE_HEADER)
        header["magic"], header["version"], header["abi_version"] = MAGIC, FORMAT_VERSION, ABI_VERSION
        header["base"], header["image_bytes"] = BASE, image.size + work_bytes
        header["image_offset"], header["stored_bytes"] = IMAGE_OFFSET, image.size
        header["descriptor_offset"] = IMAGE_OFFSET + image.size
        header["descriptor_count"] = len(descriptors)
        header["expected_offset"] = header["descriptor_offset"] + descriptors.nbytes
        header["json_offset"] = header["expected_offset"] + 8 * len(descriptors)
        header["json_bytes"] = len(text)
        file.write(descriptors.tobytes())
        file.write(np.array(expected, "<u8").tobytes())
        file.write(text)
        file.seek(0)
        file.write(header.tobytes())


class _ImageWriter:
    """Appends operands to the image, each on a cache line, and each only once."""

    def __init__(self, file: BinaryIO, row: int = 0) -> None:
        self._file = file
        self.row = row
        self._weights = 0
        self._addresses: dict[bytes, int] = {}
        self.size = 0

    def store_weights(self, codes: NDArray[np.uint8]) -> int:
        """Append a tile's packed codes, on a row that is an odd number of rows behind the last ones."""
        data = codes.tobytes()
        if self.row and blake2b(data).digest() not in self._addresses:
            self._weights += (-(-(self.size - self._weights) // self.row) | 1) * self.row
            self._pad(self._weights)
        return self.store_bytes(data)

    def store(self, array: NDArray[Any]) -> int:
        """Append an array's little-endian bytes; the address."""
        return self.store_bytes(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())

    def store_bytes(self, data: bytes) -> int:
        key = blake2b(data).digest()
        if key not in self._addresses:
            self.align()
            self._addresses[key] = BASE + self.size
            self._file.write(data)
            self.size += len(data)
        return self._addresses[key]

    def align(self) -> None:
        self._pad(_aligned(self.size))

    def _pad(self, size: int) -> None:
        self._file.write(bytes(size - self.size))
        self.size = size


def _aligned(size: int) -> int:
    return -(-size // BUFFER_ALIGN) * BUFFER_ALIGN


def _describe(tile: Tile, image: _ImageWriter) -> NDArray[np.void]:
    """The descriptor of a tile whose operands go to ``image``; output and completion are left open."""
    record = np.zeros((), DESCRIPTOR)
    if image.row:  # what tiles share comes before the first of them, so that all are equally far apart
        image.store(tile.x)
        if tile.code.kind == "book":
            image.store(tile.code.values)
    record["weights"] = image.store_weights(pack_codes(tile.codes, tile.code.wbits))
    record["activations"] = image.store(tile.x)
    record["k"], record["n"], record["batch"] = tile.k, tile.n, tile.batch
    record["wbits"], record["abits"], record["nbw"] = tile.code.wbits, tile.abits, tile.nbw
    record["group_size"] = tile.group_size
    flags = _CODE_FLAG[tile.code.kind]
    if not tile.signed:
        flags |= Flag.ACT_UNSIGNED
    if tile.prt:
        flags |= Flag.PRT
    if tile.code.kind == "book":
        record["codebook"] = image.store(tile.code.values)
    elif tile.code.kind == "offset":
        record["codebook"] = tile.code.zero_point
    if tile.scales is not None:
        flags |= Flag.CONVERT
        if tile.scales.minimum is not None:
            flags |= Flag.MINIMUM
        record["scales"] = image.store_bytes(_scale_bytes(tile.scales))
    record["flags"] = flags
    return record


def _scale_bytes(scales: Scales) -> bytes:
    parts = [scales.scale] if scales.minimum is None else [scales.scale, scales.minimum]
    data = b"".join(part.astype("<f2").tobytes() for part in parts)
    return data + bytes(-len(data) % 4) + scales.act_scale.astype("<f4").tobytes()


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Open a trace file. Its parts are checked to lie in the file before any of them is touched.

    Raises:
        SailsimError: for a file that is no trace, is cut short, or says so of itself in any other way.
    """
    path = Path(path)
    size = check_regular(path, "trace")
    if size < FILE_HEADER.itemsize:
        raise SailsimError(f"trace {path} has {size} bytes; its header alone takes {FILE_HEADER.itemsize}.")
    try:
        data = np.memmap(path, np.uint8, mode="r")
    except OSError as error:
        raise unreadable(path, "trace", error) from None
    header = data[: FILE_HEADER.itemsize].view(FILE_HEADER)[0]
    _check_file_header(path, header)

    def part(name: str, offset: str, size: int) -> NDArray[np.uint8]:
        start = int(header[offset])
        if start + size > len(data):
            raise SailsimError(
                f"trace {path} is cut short: {name} needs bytes {start}..{start + size}, "
                f"the file has {len(data)}."
            )
        return data[start : start + size]

    count = int(header["descriptor_count"])
    image = part("the image", "image_offset", int(header["stored_bytes"]))
    descriptors = part("the descriptor array", "descriptor_offset", count * DESCRIPTOR.itemsize)
    expected = part("the array of expected outputs", "expected_offset", count * 8)
    text = part("the JSON part", "json_offset", int(header["json_bytes"]))
    return Trace(
        path=path,
        header=_parse_json(path, text),
        base=int(header["base"]),
        image_bytes=int(header["image_bytes"]),
        image=image,
        descriptors=descriptors.view(DESCRIPTOR),
        expected=expected.view("<u8"),
    )


def _check_file_header(path: Path, header: NDArray[np.void]) -> None:
    if header["magic"] != MAGIC:
        raise SailsimError(f"{path} is no trace: it begins with {bytes(header['magic'])!r}, not {MAGIC!r}.")
    for field, allowed in (("version", FORMAT_VERSION), ("abi_version", ABI_VERSION)):
        if header[field] != allowed:
            raise SailsimError(f"trace {path} has {field} {header[field]}; allowed is {allowed}.")
    base, size, stored = (int(header[field]) for field in ("base", "image_bytes", "stored_bytes"))
    if base == 0 or base % BUFFER_ALIGN or base + size > 1 << 64:
        raise SailsimError(
            f"trace {path} has base {base:#x} for {size} bytes; allowed are multiples of {BUFFER_ALIGN} "
            "above 0 that keep the image within 64 bits."
        )
    if stored > size:
        raise SailsimError(
            f"trace {path} stores {stored} bytes of an image; allowed are its image_bytes, {size}."
        )
    if header["image_offset"] % BUFFER_ALIGN:
        raise SailsimError(
            f"trace {path} has image_offset {header['image_offset']}; "
            f"allowed are multiples of {BUFFER_ALIGN}."
        )


def _parse_json(path: Path, text: NDArray[np.uint8]) -> dict[str, Any]:
    if len(text) > JSON_BYTES_MAX:
        raise SailsimError(f"trace {path} has {len(text)} bytes of JSON; allowed is {JSON_BYTES_MAX}.")
    try:
        header = json.loads(text.tobytes().decode())
    except (ValueError, RecursionError):
        raise SailsimError(f"trace {path}: its JSON part cannot be parsed.") from None
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        found = header.get("schema") if isinstance(header, dict) else header
        raise SailsimError(f"trace {path} has JSON schema {str(found)[:40]}; allowed is {SCHEMA}.")
    return header
