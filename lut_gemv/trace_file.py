"""Traces: descriptors and their operands in one file, laid out as a unit's memory.

docs/contract.md gives the bytes. The same file drives the AArch64 program and `replay`, which does the
checks, results and statuses of a unit without timing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sailsim import __version__, _core
from sailsim.base.atomic import atomic_file
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import check_regular, unreadable
from sailsim.lut_gemv import descriptor as abi
from sailsim.lut_gemv.codes import (
    CodeKind,
    WeightCode,
    accumulator_bound,
    pack_codes,
    row_bytes,
    unpack_codes,
)
from sailsim.lut_gemv.counts import PrtConfig
from sailsim.lut_gemv.descriptor import COMPLETION, DESCRIPTOR, Flag, Status
from sailsim.lut_gemv.fast import lut_gemv_blocks, pattern_profile
from sailsim.lut_gemv.operands import UNIT_ACCUMULATOR_BITS, activation_dtype, activation_range
from sailsim.lut_gemv.tile import Scales, Tile, same_results

MAGIC = b"SAILTRCE"
FORMAT_VERSION = 1
SCHEMA = 1
"""Version of the JSON part."""
BASE = 1 << 36
"""Address of the image's first byte. Any but 0 would do, as loaders move the image."""
IMAGE_OFFSET = 4096
"""Offset of the image in the file: a page, so that the image can be mapped."""
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
"""Header of a trace file, 128 bytes."""

LAYOUTS = {"packed": "packed", "rows": "rows apart"}
"""Placements of the weights of a trace's tiles, and their names in tables.

Tiles lie one after the other, or an odd number of DRAM rows apart.
"""

_CODE_FLAG: dict[CodeKind, int] = {
    "twos": abi.CODE_TWOS,
    "offset": Flag.CODE_OFFSET,
    "ternary": Flag.CODE_TERNARY,
    "book": Flag.CODE_BOOK,
}


@dataclass(frozen=True, eq=False)
class Trace:
    """Open trace. The arrays are views of the mapped file; nothing is copied.

    Attributes:
        path: of the file.
        header: the JSON part: ``schema``, ``written_by``, ``model``, ``provenance``, ``tiles`` (names).
        base: address of the image's first byte.
        image_bytes: length of the image, which is zero after the stored bytes, where results are written.
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
        """Stored bytes at ``address``, or None if they do not all lie in the stored image."""
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
        tiles: written one by one, so a generator needs the memory of one tile only. Operands that occur more
            than once are stored once.
        model: name of the model that the tiles come from.
        provenance: any JSON value: command, seed, commit.
        expect: whether to store every tile's output, by plain products, for replays of the trace.
        row: bytes of a DRAM row over all channels. With it every tile's weights begin on a row, an odd number
            of rows after those of the tile before: as many tiles of equal size as there are banks (a power of
            two) begin in different banks. 0: operands follow one another.
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
            # Results follow the stored bytes, whose end is known only after the last tile.
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
        words = {"schema": SCHEMA, "written_by": f"sailsim {__version__}", "model": model}
        text = json.dumps(words | {"provenance": dict(provenance or {}), "tiles": names}).encode()
        if len(text) > JSON_BYTES_MAX:
            raise SailsimError(f"the trace's JSON part has {len(text)} bytes; allowed is {JSON_BYTES_MAX}.")
        ends = IMAGE_OFFSET + np.cumsum([image.size, descriptors.nbytes, 8 * len(descriptors)])
        sizes = (BASE, image.size + work_bytes, IMAGE_OFFSET, image.size, ends[0], len(descriptors))
        header = np.array(
            (MAGIC, FORMAT_VERSION, abi.ABI_VERSION, *sizes, ends[1], ends[2], len(text), b""), FILE_HEADER
        )
        file.writelines([descriptors.tobytes(), np.array(expected, "<u8").tobytes(), text])
        file.seek(0)
        file.write(header.tobytes())


class _ImageWriter:
    """Writer that appends operands to the image, each on a cache line, and each only once."""

    def __init__(self, file: BinaryIO, row: int = 0) -> None:
        self._file = file
        self.row = row
        self._weights = 0
        self._addresses: dict[bytes, int] = {}
        self.size = 0

    def store_weights(self, codes: NDArray[np.uint8]) -> int:
        """Append a tile's packed codes, an odd number of rows after the last ones."""
        data = codes.tobytes()
        if self.row and blake2b(data).digest() not in self._addresses:
            self._weights += (-(-(self.size - self._weights) // self.row) | 1) * self.row
            self._pad(self._weights)
        return self.store_bytes(data)

    def store(self, array: NDArray[Any]) -> int:
        """Append an array's little-endian bytes and return their address."""
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
    return -(-size // abi.BUFFER_ALIGN) * abi.BUFFER_ALIGN


def _describe(tile: Tile, image: _ImageWriter) -> NDArray[np.void]:
    """Descriptor of a tile whose operands go to ``image``; output and completion stay open."""
    record = np.zeros((), DESCRIPTOR)
    if image.row:  # shared operands come before the first tile, so that all are equally far apart
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
    """Open a trace file. All parts are checked to lie in the file before any of them is read.

    Raises:
        SailsimError: for a file that is no trace, is cut short, or has a wrong header.
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
    for field, allowed in (("version", FORMAT_VERSION), ("abi_version", abi.ABI_VERSION)):
        if header[field] != allowed:
            raise SailsimError(f"trace {path} has {field} {header[field]}; allowed is {allowed}.")
    base, size, stored = (int(header[field]) for field in ("base", "image_bytes", "stored_bytes"))
    if base == 0 or base % abi.BUFFER_ALIGN or base + size > 1 << 64:
        raise SailsimError(
            f"trace {path} has base {base:#x} for {size} bytes; allowed are multiples of {abi.BUFFER_ALIGN} "
            "above 0 that keep the image within 64 bits."
        )
    if stored > size:
        raise SailsimError(
            f"trace {path} stores {stored} bytes of an image; allowed are its image_bytes, {size}."
        )
    if header["image_offset"] % abi.BUFFER_ALIGN:
        raise SailsimError(
            f"trace {path} has image_offset {header['image_offset']}; "
            f"allowed are multiples of {abi.BUFFER_ALIGN}."
        )


def _parse_json(path: Path, text: NDArray[np.uint8]) -> dict[str, Any]:
    if len(text) > JSON_BYTES_MAX:
        raise SailsimError(f"trace {path} has {len(text)} bytes of JSON; allowed is {JSON_BYTES_MAX}.")
    try:
        header = json.loads(text.tobytes().decode())
    except (ValueError, RecursionError):
        raise SailsimError(f"trace {path}: its JSON part cannot be parsed.") from None
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        schema = header.get("schema") if isinstance(header, dict) else header
        raise SailsimError(f"trace {path} has JSON schema {str(schema)[:40]}; allowed is {SCHEMA}.")
    return header


OUTPUT_BYTES_MAX = 1 << 30
"""Most bytes of one tile's results.

The file does not hold them, so a small one could need any amount of memory. All other memory of a replay is
in proportion to the file.
"""
ACCUMULATOR_BYTES = 1 << 26
"""Bytes of the accumulators that are computed together, of one output at least."""


class DescriptorError(SailsimError):
    """Refusal of a descriptor by a unit, with the status and the field of the completion record."""

    def __init__(self, status: Status, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.field = field

    @property
    def detail(self) -> int:
        """Byte offset of the offending field."""
        fields = DESCRIPTOR.fields
        assert fields is not None
        return int(fields[self.field][1])


@dataclass(frozen=True, eq=False)
class ReplayResult:
    """Result of replaying one descriptor.

    Attributes:
        index: of the descriptor in the trace.
        name: of the tile in the trace's header.
        status, detail: those of a unit's completion record.
        problem: one sentence if ``status`` is not ``OK``.
        tile: its operands, or None after an error.
        output: int32 or fp32 ``(B, N)``, or None after an error.
        matches: whether the output equals the trace's expected one by :func:`same_results`; None without one.
        profile: counts of its patterns, or None after an error.
        lookups, prt_hits: counts of one pass over the outputs; a unit with more passes multiplies them.
    """

    index: int
    name: str
    status: Status
    detail: int = 0
    problem: str = ""
    tile: Tile | None = None
    output: NDArray[Any] | None = None
    matches: bool | None = None
    profile: _core.PatternProfile | None = None
    lookups: int = 0
    prt_hits: int = 0


def replay(trace: Trace, *, prt: PrtConfig | None = None, threads: int = 1) -> Iterator[ReplayResult]:
    """Compute a unit's results for a trace's descriptors, without timing; the trace is not changed.

    Args:
        trace: an open trace.
        prt: the unit's PRT, for descriptors that use it; the default one if None.
        threads: of the products.
    """
    names = trace.header.get("tiles")
    for index in range(len(trace)):
        name = str(names[index]) if isinstance(names, list) and index < len(names) else ""
        try:
            tile = decode_tile(trace, index)
        except DescriptorError as error:
            yield ReplayResult(index, name, error.status, error.detail, str(error))
            continue
        output = _output(tile, threads)
        tile_prt = (prt or PrtConfig()) if tile.prt else PrtConfig(enabled=False)
        profile = pattern_profile(tile.x, prt=tile_prt, **tile.widths)
        yield ReplayResult(
            index,
            name,
            Status.OK,
            tile=tile,
            output=output,
            matches=_matches(trace, index, output),
            profile=profile,
            lookups=tile.batch * tile.abits * len(profile.zero),
            prt_hits=int(profile.hits.sum()),
        )


def _output(tile: Tile, threads: int) -> NDArray[Any]:
    columns = max(1, ACCUMULATOR_BYTES // (8 * tile.blocks * tile.batch))
    parts = []
    for start in range(0, tile.n, columns):
        part = tile.outputs(start, start + columns)
        acc = lut_gemv_blocks(part.x, part.codes, code=part.code, threads=threads, **part.widths)
        parts.append(part.finish(acc))
    return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def _matches(trace: Trace, index: int, output: NDArray[Any]) -> bool | None:
    address = int(trace.expected[index])
    if address == 0:
        return None
    expected = trace.stored(address, output.nbytes)
    return expected is not None and same_results(output, expected.view(output.dtype).reshape(output.shape))


def decode_tile(trace: Trace, index: int) -> Tile:
    """Read the tile of a descriptor.

    Raises:
        DescriptorError: for a descriptor that a unit refuses; the checks and their order are those of
            docs/contract.md, section 6. The simulated unit checks that a table fits the arrays.
    """
    return _DescriptorReader(trace, index).tile()


class _DescriptorReader:
    """Reader that checks a descriptor field by field, then reads its operands."""

    def __init__(self, trace: Trace, index: int) -> None:
        self._trace = trace
        self._index = index
        assert DESCRIPTOR.names is not None
        self._d = {field: int(trace.descriptors[index][field]) for field in DESCRIPTOR.names}
        self._flags = self._d["flags"]
        self._code_flag = self._flags & abi.CODE_MASK
        self._signed = not self._flags & Flag.ACT_UNSIGNED

    def tile(self) -> Tile:
        for wrong, status, field, what, allowed in self._checks():
            if wrong:
                raise self._refuse(status, field, what, allowed)
        return self._read(self._sizes())

    def _refuse(self, status: Status, field: str, what: str, allowed: str) -> DescriptorError:
        return DescriptorError(
            status, field, f"descriptor {self._index}: {field} {what}; allowed is {allowed} ({status.name})."
        )

    def _checks(self) -> Iterator[tuple[object, Status, str, str, str]]:
        """Checks in the contract's order: whether one fails, and the arguments of `_refuse` then.

        A check is evaluated only after all earlier ones have passed.
        """
        d, ternary = self._d, self._code_flag == Flag.CODE_TERNARY
        for field, status, low, high in (
            ("wbits", Status.ERR_WBITS, 2 if ternary else 1, 2 if ternary else abi.WBITS_MAX),
            ("abits", Status.ERR_ABITS, 1, abi.ABITS_MAX),
            ("nbw", Status.ERR_NBW, 1, abi.NBW_MAX),
            ("k", Status.ERR_SHAPE, 1, (1 << 32) - 1),
            ("n", Status.ERR_SHAPE, 1, (1 << 32) - 1),
            ("batch", Status.ERR_SHAPE, 1, (1 << 16) - 1),
        ):
            yield not low <= d[field] <= high, status, field, f"is {d[field]}", f"{low}..{high}"
        converts = bool(self._flags & Flag.CONVERT)
        for wrong, allowed in (
            (self._flags & abi.RESERVED, "no reserved bit"),
            (converts != (d["scales"] != 0), "CONVERT exactly with scales"),
            (self._flags & Flag.MINIMUM and not converts, "MINIMUM only with CONVERT"),
        ):
            yield wrong, Status.ERR_FLAGS, "flags", f"is {self._flags:#x}", allowed
        sizes = self._sizes()
        for field in sizes:
            align = abi.COMPLETION_ALIGN if field == "completion" else abi.BUFFER_ALIGN
            yield d[field] % align, Status.ERR_ALIGN, field, f"is {d[field]:#x}", f"a multiple of {align}"
        book, values = d["codebook"], 1 << d["wbits"] if self._code_flag == Flag.CODE_OFFSET else 1
        has_book = self._code_flag == Flag.CODE_BOOK
        wrong, allowed = (book == 0, "an address") if has_book else (book >= values, f"0..{values - 1}")
        yield wrong, Status.ERR_CODEBOOK, "codebook", f"is {book:#x}", allowed
        for field, size in sizes.items():
            if field in ("output", "completion"):
                reachable = self._trace.writable(d[field], size)
            else:
                reachable = self._trace.stored(d[field], size) is not None
            what = f"needs {size} bytes at {d[field]:#x}"
            yield not reachable, Status.ERR_FAULT, field, what, "an address range inside the image"
        end = d["output"] + sizes["output"]
        for field, size in sizes.items():
            overlaps = field != "output" and d[field] < end and d["output"] < d[field] + size
            yield overlaps, Status.ERR_OVERLAP, "output", f"overlaps {field}", "a buffer of its own"
        length = min(d["group_size"] or d["k"], d["k"]) if d["scales"] else d["k"]
        bound = accumulator_bound(self._code(), d["abits"], self._signed, length)
        most = (1 << (UNIT_ACCUMULATOR_BITS - 1)) - 1
        what = f"is {d['k']}, which lets a sum reach {bound}"
        yield bound > most, Status.ERR_OVERFLOW, "k", what, f"a sum of at most {most}"

    def _sizes(self) -> dict[str, int]:
        """Sizes in bytes of the buffers, in the order of their fields."""
        d = self._d
        sizes = {
            "weights": d["k"] * row_bytes(d["n"], d["wbits"]),
            "activations": d["batch"] * d["k"] * (1 if d["abits"] <= 8 else 2),
            "output": 4 * d["batch"] * d["n"],
        }
        if d["scales"]:
            halves = 2 * self._scale_halves()
            sizes["scales"] = halves + -halves % 4 + 4 * d["batch"]
        sizes["completion"] = COMPLETION.itemsize
        if self._code_flag == Flag.CODE_BOOK:
            sizes["codebook"] = 2 << d["wbits"]
        return sizes

    def _blocks(self) -> int:
        return -(-self._d["k"] // (self._d["group_size"] or self._d["k"]))

    def _scale_halves(self) -> int:
        """Number of fp16 values before the activation scales."""
        return self._blocks() * self._d["n"] * (2 if self._flags & Flag.MINIMUM else 1)

    def _read(self, sizes: dict[str, int]) -> Tile:
        d = self._d
        if sizes["output"] > OUTPUT_BYTES_MAX:
            raise SailsimError(
                f"descriptor {self._index}: {d['batch']} x {d['n']} results take {sizes['output']} bytes to "
                f"replay; allowed is {OUTPUT_BYTES_MAX}."
            )
        code = self._code()
        packed = self._stored("weights", sizes["weights"]).reshape(d["k"], -1)
        codes = unpack_codes(packed, d["n"], d["wbits"])
        if (most := int(codes.max())) >= code.legal_codes:
            raise self._refuse(Status.ERR_CODE, "weights", f"hold code {most}", f"0..{code.legal_codes - 1}")
        dtype = np.dtype(activation_dtype(d["abits"], self._signed)).newbyteorder("<")
        x = self._stored("activations", sizes["activations"]).view(dtype).reshape(d["batch"], d["k"])
        low, high = activation_range(d["abits"], self._signed)
        if x.min() < low or x.max() > high:
            outlier = x.min() if x.min() < low else x.max()
            raise self._refuse(Status.ERR_VALUE, "activations", f"hold {outlier}", f"{low}..{high}")
        return Tile(
            x=x,
            codes=codes,
            code=code,
            abits=d["abits"],
            signed=self._signed,
            nbw=d["nbw"],
            group_size=d["group_size"],
            prt=bool(self._flags & Flag.PRT),
            scales=self._scales(sizes["scales"]) if d["scales"] else None,
        )

    def _stored(self, field: str, size: int) -> NDArray[np.uint8]:
        data = self._trace.stored(self._d[field], size)
        assert data is not None
        return data

    def _code(self) -> WeightCode:
        wbits, book = self._d["wbits"], np.empty(0, "<i2")
        if self._code_flag == Flag.CODE_BOOK:
            book = self._stored("codebook", 2 << wbits).view("<i2")
        kind = next(kind for kind, flag in _CODE_FLAG.items() if flag == self._code_flag)
        return WeightCode.of(kind, wbits, self._d["codebook"], book)

    def _scales(self, size: int) -> Scales:
        data = self._stored("scales", size)
        halves = data[: 2 * self._scale_halves()].view("<f2").reshape(-1, self._blocks(), self._d["n"])
        act_scale = data[size - 4 * self._d["batch"] :].view("<f4")
        return Scales(halves[0], act_scale, halves[1] if len(halves) == 2 else None)
