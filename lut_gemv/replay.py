"""What a unit does with the descriptors of a trace: checks, results and statuses, without timing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv import descriptor as abi
from sailsim.lut_gemv.codes import WeightCode, row_bytes, unpack_codes
from sailsim.lut_gemv.counts import PrtConfig
from sailsim.lut_gemv.descriptor import DESCRIPTOR, Flag, Status
from sailsim.lut_gemv.fast import lut_gemv_blocks, pattern_profile
from sailsim.lut_gemv.operands import (
    accumulator_bound,
    activation_dtype,
    activation_range,
)
from sailsim.lut_gemv.tile import UNIT_ACCUMULATOR_BITS, Scales, Tile, same_results
from sailsim.lut_gemv.trace import Trace

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
class Replayed:
    """The outcome of one descriptor.

    Attributes:
        index: of the descriptor in the trace.
        name: of the tile, as the trace's header has it.
        status, detail: as a unit's completion record would have them.
        problem: one sentence if ``status`` is not ``OK``.
        output: int32 or fp32 ``(B, N)``, or None after an error.
        matches: whether the output equals the trace's expected one, as :func:`same_results` has it; None
            without one.
        lookups, prt_hits: of one pass over the outputs; a unit that needs more passes multiplies them.
    """

    index: int
    name: str
    status: Status
    detail: int = 0
    problem: str = ""
    output: NDArray[Any] | None = None
    matches: bool | None = None
    lookups: int = 0
    prt_hits: int = 0


def replay(trace: Trace, *, prt: PrtConfig | None = None, threads: int = 1) -> Iterator[Replayed]:
    """Execute a trace's descriptors in order; nothing is written to the trace.

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
            yield Replayed(index, name, error.status, error.detail, str(error))
            continue
        widths: dict[str, Any] = {
            "abits": tile.abits,
            "signed": tile.signed,
            "nbw": tile.nbw,
            "group_size": tile.group_size,
        }
        output = _output(tile, threads, widths)
        used = (prt or PrtConfig()) if tile.prt else PrtConfig(enabled=False)
        profile = pattern_profile(tile.x, prt=used, **widths)
        yield Replayed(
            index,
            name,
            Status.OK,
            output=output,
            matches=_matches(trace, index, output),
            lookups=tile.batch * tile.abits * len(profile.zero),
            prt_hits=int(profile.hits.sum()),
        )


def _output(tile: Tile, threads: int, widths: dict[str, Any]) -> NDArray[Any]:
    """What the unit writes, by some outputs at a time: their sums do not depend on each other."""
    columns = max(1, ACCUMULATOR_BYTES // (8 * tile.blocks * tile.batch))
    parts = []
    for start in range(0, tile.n, columns):
        part = tile.outputs(start, start + columns)
        parts.append(
            part.finish(lut_gemv_blocks(part.x, part.codes, code=part.code, threads=threads, **widths))
        )
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
    return _Decoder(trace, index).tile()


class _Decoder:
    """Checks a descriptor field by field, then reads its operands."""

    def __init__(self, trace: Trace, index: int) -> None:
        self._trace = trace
        self._index = index
        record = trace.descriptors[index]
        assert DESCRIPTOR.names is not None
        self._d = {field: int(record[field]) for field in DESCRIPTOR.names}
        self._flags = self._d["flags"]

    def tile(self) -> Tile:
        self._check_widths()
        self._check_flags()
        ranges = self._ranges()
        self._check_alignment(ranges)
        self._check_codebook()
        self._check_reachable(ranges)
        self._check_overlap(ranges)
        self._check_overflow()
        return self._read(ranges)

    def _fail(self, status: Status, field: str, what: str, allowed: str) -> DescriptorError:
        return DescriptorError(
            status, field, f"descriptor {self._index}: {field} {what}; allowed is {allowed} ({status.name})."
        )

    def _check_widths(self) -> None:
        ternary = self._flags & abi.CODE_MASK == Flag.CODE_TERNARY
        wbits = (2, 2) if ternary else (1, abi.WBITS_MAX)
        for field, status, (low, high) in (
            ("wbits", Status.ERR_WBITS, wbits),
            ("abits", Status.ERR_ABITS, (1, abi.ABITS_MAX)),
            ("nbw", Status.ERR_NBW, (1, abi.NBW_MAX)),
            ("k", Status.ERR_SHAPE, (1, (1 << 32) - 1)),
            ("n", Status.ERR_SHAPE, (1, (1 << 32) - 1)),
            ("batch", Status.ERR_SHAPE, (1, (1 << 16) - 1)),
        ):
            if not low <= self._d[field] <= high:
                raise self._fail(status, field, f"is {self._d[field]}", f"{low}..{high}")

    def _check_flags(self) -> None:
        converts, has_scales = bool(self._flags & Flag.CONVERT), self._d["scales"] != 0
        if self._flags & abi.RESERVED:
            raise self._fail(Status.ERR_FLAGS, "flags", f"is {self._flags:#x}", "no reserved bit")
        if converts != has_scales:
            raise self._fail(Status.ERR_FLAGS, "flags", f"is {self._flags:#x}", "CONVERT exactly with scales")
        if self._flags & Flag.MINIMUM and not converts:
            raise self._fail(Status.ERR_FLAGS, "flags", f"is {self._flags:#x}", "MINIMUM only with CONVERT")

    def _check_codebook(self) -> None:
        book = self._d["codebook"]
        if self._code_flag == Flag.CODE_BOOK:
            good, allowed = book != 0, "an address"
        else:
            values = 1 << self._d["wbits"] if self._code_flag == Flag.CODE_OFFSET else 1
            good, allowed = book < values, f"0..{values - 1}"
        if not good:
            raise self._fail(Status.ERR_CODEBOOK, "codebook", f"is {book:#x}", allowed)

    def _ranges(self) -> dict[str, int]:
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
        sizes["completion"] = abi.COMPLETION.itemsize
        if self._code_flag == Flag.CODE_BOOK:
            sizes["codebook"] = 2 << d["wbits"]
        return sizes

    @property
    def _code_flag(self) -> int:
        return self._flags & abi.CODE_MASK

    def _blocks(self) -> int:
        group_size = self._d["group_size"] or self._d["k"]
        return -(-self._d["k"] // group_size)

    def _scale_halves(self) -> int:
        """How many fp16 values stand before the activation scales."""
        return self._blocks() * self._d["n"] * (2 if self._flags & Flag.MINIMUM else 1)

    def _check_alignment(self, ranges: dict[str, int]) -> None:
        for field in ranges:
            align = abi.COMPLETION_ALIGN if field == "completion" else abi.BUFFER_ALIGN
            address = self._d[field]
            if address % align:
                raise self._fail(Status.ERR_ALIGN, field, f"is {address:#x}", f"a multiple of {align}")

    def _check_reachable(self, ranges: dict[str, int]) -> None:
        for field, size in ranges.items():
            address = self._d[field]
            if field in ("output", "completion"):
                reachable = self._trace.writable(address, size)
            else:
                reachable = self._trace.stored(address, size) is not None
            if not reachable:
                what = f"needs {size} bytes at {address:#x}"
                raise self._fail(Status.ERR_FAULT, field, what, "an address range inside the image")

    def _check_overlap(self, ranges: dict[str, int]) -> None:
        start = self._d["output"]
        end = start + ranges["output"]
        for field, size in ranges.items():
            address = self._d[field]
            if field != "output" and address < end and start < address + size:
                raise self._fail(Status.ERR_OVERLAP, "output", f"overlaps {field}", "a buffer of its own")

    def _check_overflow(self) -> None:
        d = self._d
        length = min(d["group_size"] or d["k"], d["k"]) if d["scales"] else d["k"]
        bound = accumulator_bound(self._code(), d["abits"], self._signed, length)
        if bound >= 1 << (UNIT_ACCUMULATOR_BITS - 1):
            what = f"is {d['k']}, which lets a sum reach {bound}"
            allowed = f"a sum of at most {(1 << (UNIT_ACCUMULATOR_BITS - 1)) - 1}"
            raise self._fail(Status.ERR_OVERFLOW, "k", what, allowed)

    @property
    def _signed(self) -> bool:
        return not self._flags & Flag.ACT_UNSIGNED

    def _read(self, sizes: dict[str, int]) -> Tile:
        d = self._d
        self._check_memory()
        code = self._code()
        packed = self._bytes("weights", sizes["weights"]).reshape(d["k"], -1)
        codes = unpack_codes(packed, d["n"], d["wbits"])
        if int(codes.max()) >= code.legal_codes:
            raise self._fail(
                Status.ERR_CODE, "weights", f"hold code {codes.max()}", f"0..{code.legal_codes - 1}"
            )
        dtype = np.dtype(activation_dtype(d["abits"], self._signed)).newbyteorder("<")
        x = self._bytes("activations", sizes["activations"]).view(dtype).reshape(d["batch"], d["k"])
        low, high = activation_range(d["abits"], self._signed)
        if x.min() < low or x.max() > high:
            outlier = x.min() if x.min() < low else x.max()
            raise self._fail(Status.ERR_VALUE, "activations", f"hold {outlier}", f"{low}..{high}")
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

    def _check_memory(self) -> None:
        d = self._d
        size = 4 * d["batch"] * d["n"]
        if size > OUTPUT_BYTES_MAX:
            raise SailsimError(
                f"descriptor {self._index}: {d['batch']} x {d['n']} results take {size} bytes to replay; "
                f"allowed is {OUTPUT_BYTES_MAX}."
            )

    def _bytes(self, field: str, size: int) -> NDArray[np.uint8]:
        data = self._trace.stored(self._d[field], size)
        assert data is not None
        return data

    def _code(self) -> WeightCode:
        wbits = self._d["wbits"]
        if self._code_flag == Flag.CODE_BOOK:
            return WeightCode.book(self._bytes("codebook", 2 << wbits).view("<i2"))
        if self._code_flag == Flag.CODE_OFFSET:
            return WeightCode.offset(wbits, self._d["codebook"])
        return WeightCode.ternary() if self._code_flag == Flag.CODE_TERNARY else WeightCode.twos(wbits)

    def _scales(self, size: int) -> Scales:
        shape = (self._blocks(), self._d["n"])
        data = self._bytes("scales", size)
        halves = self._scale_halves()
        values = data[: 2 * halves].view("<f2").reshape(-1, *shape)
        act_scale = data[size - 4 * self._d["batch"] :].view("<f4")
        return Scales(values[0], act_scale, values[1] if len(values) == 2 else None)
