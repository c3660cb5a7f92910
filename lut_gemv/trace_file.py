"""Traces: descriptors and their operands in one file, laid out as the memory that a unit would see.

docs/contract.md gives the bytes. The same file drives the AArch64 program and `replay`: what a unit does with
the descriptors, its checks, results and statuses, without timing.
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
from sailsim.lut_gemv.descriptor import (
    ABI_VERSION,
    BUFFER_ALIGN,
    CODE_TWOS,
    COMPLETION,
    DESCRIPTOR,
    Flag,
    Status,
)
from sailsim.lut_gemv.fast import lut_gemv_blocks, pattern_profile
from sailsim.lut_gemv.operands import UNIT_ACCUMULATOR_BITS, activation_dtype, activation_range
from sailsim.lut_gemv.tile import Scales, Tile, same_results

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

_CODE_FLAG: dict[CodeKind, int] = {
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
        ends = IMAGE_OFFSET + np.cumsum([image.size, descriptors.nbytes, 8 * len(descriptors)])
        sizes = (BASE, image.size + work_bytes, IMAGE_OFFSET, image.size, ends[0], len(descriptors))
        header = np.array(
            (MAGIC, FORMAT_VERSION, ABI_VERSION, *sizes, ends[1], ends[2], len(text), b""), FILE_HEADER
        )
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
        schema = header.get("schema") if isinstance(header, dict) else header
        raise SailsimError(f"trace {path} has JSON schema {str(schema)[:40]}; allowed is {SCHEMA}.")
    return header


OUTPUT_BYTES_MAX = 1 << 30
"""What the results of one tile may take. A file does not hold them, so a small one could ask for any memory;
all else that a replay takes is in proportion to the file."""
ACCUMULATOR_BYTES = 1 << 26
"""Accumulators at a time: of as many outputs as they have room for, one at least."""


class DescriptorError(SailsimError):
    """A descriptor that a unit refuses, with the status and the field of its completion record."""

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
    """The outcome of one descriptor.

    Attributes:
        index: of the descriptor in the trace.
        name: of the tile, as the trace's header has it.
        status, detail: as a unit's completion record would have them.
        problem: one sentence if ``status`` is not ``OK``.
        tile: its operands, or None after an error.
        output: int32 or fp32 ``(B, N)``, or None after an error.
        matches: whether the output equals the trace's expected one, as :func:`same_results` has it; None
            without one.
        profile: what became of its patterns, or None after an error.
        lookups, prt_hits: of one pass over the outputs; a unit that needs more passes multiplies them.
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
    """Do what a unit does with a trace's descriptors, without timing; nothing is written to the trace.

    Args:
        trace: an open trace.
        prt: the unit's PRT, where the descriptor uses it; the default one if None.
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
        used = (prt or PrtConfig()) if tile.prt else PrtConfig(enabled=False)
        profile = pattern_profile(tile.x, prt=used, **tile.widths)
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
    """What the unit writes, by some outputs at a time: their sums do not depend on each other."""
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
    """The tile that a descriptor names.

    Raises:
        DescriptorError: for a descriptor that a unit refuses; the checks and their order are those of
            docs/contract.md, section 6. That a table fits the arrays is up to the simulated unit.
    """
    return _DescriptorReader(trace, index).tile()


class _DescriptorReader:
    """Checks a descriptor field by field, then reads its operands."""

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
        """In the contract's order: whether something is wrong, and what is said then (`_refuse`).

        Each is asked for only where those before it found nothing.
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
            align = abi.COMPLETION_ALIGN if field == "completion" else BUFFER_ALIGN
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
        """The buffers in the order of their fields, and their sizes in bytes."""
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
        """How many fp16 values stand before the activation scales."""
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
