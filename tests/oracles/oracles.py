"""The shared cases: small tiles with the results and counts that every level must reproduce to the bit.

``cases.json`` holds them for readers in any language; ``make_cases.py`` wrote it. Floats are given as the
integers of their bits. A case:

    name, abits, signed, nbw, group_size
    x          (B, K) integers
    code       kind, wbits, zero_point, and values for a codebook
    codes      (K, N)
    scales     null, or scale_fp16 (blocks, N), minimum_fp16 (the same, or null), act_scale_fp32 (B)
    y          (B, N): the int64 product
    result     (B, N): what a unit writes: int32, or with scales the bits of fp32
    profile    zero, hits, misses: (G) each, for 32 LRU entries
    counts     of one pass without conversions, by the keys of docs/contract.md, section 2

``bad_descriptors.json`` holds descriptors that a unit refuses, as changes to that of ``plain`` without PRT:
``set`` gives fields new values; a pair [field, n] means the address in that field plus n.
"""

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim import _core
from sailsim.lut_gemv import reference
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.counts import PrtConfig
from sailsim.lut_gemv.descriptor import COMPLETION_ALIGN, DESCRIPTOR, Status
from sailsim.lut_gemv.operands import activation_range
from sailsim.lut_gemv.tile import Scales, Tile
from sailsim.lut_gemv.trace_file import FILE_HEADER, read_trace, write_trace

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Oracle:
    """One case: the tile and what must come of it."""

    tile: Tile
    y: NDArray[np.int64]
    result: NDArray[Any]
    profile: dict[str, list[int]]
    counts: dict[str, int]


def load_oracles() -> list[Oracle]:
    """All cases, in the order of the file."""
    return [_oracle(case) for case in json.loads((FOLDER / "cases.json").read_text())]


def hits_of(tile: Tile, unit: _core.SliceConfig) -> int:
    """PRT hits of a case in a unit, whose table need not be that of `cases.json`."""
    counts = reference.lut_gemv(tile.x, tile.codes, code=tile.code, prt=PrtConfig.of(unit), **tile.widths)[1]
    return counts.prt_hits


def load_bad_descriptors() -> list[dict[str, Any]]:
    """``name``, ``set``, ``status`` and ``field`` of every refused descriptor."""
    rows = json.loads((FOLDER / "bad_descriptors.json").read_text())
    assert isinstance(rows, list)
    return rows


def without_prt(tile: Tile) -> Tile:
    """The same tile with the PRT flag off."""
    return dataclasses.replace(tile, prt=False)


def change_descriptor(path: Path, index: int, changes: dict[str, Any]) -> None:
    """Give fields of a trace's descriptor new values, as ``bad_descriptors.json`` writes them."""
    data = bytearray(path.read_bytes())
    header = np.frombuffer(data, FILE_HEADER, 1)[0]
    start = int(header["descriptor_offset"]) + index * DESCRIPTOR.itemsize
    record = np.frombuffer(data, DESCRIPTOR, 1, start)
    original = record[0].copy()
    for field, value in changes.items():
        record[field] = value if isinstance(value, int) else int(original[value[0]]) + value[1]
    path.write_bytes(data)


def write_refused_trace(path: Path) -> list[dict[str, Any]]:
    """Write all refused descriptors and a good one behind them as one trace.

    Returns:
        What the driver's ``--list`` must say of each: status, detail, wrong_words and changed_bytes. A
        descriptor whose completion record cannot be written stays PENDING.
    """
    rows = load_bad_descriptors()
    (plain,) = (oracle.tile for oracle in load_oracles() if oracle.tile.name == "plain")
    write_trace(path, [without_prt(plain)] * (len(rows) + 1))
    assert DESCRIPTOR.fields is not None
    expected = []
    for index, row in enumerate(rows):
        change_descriptor(path, index, row["set"])
        unanswered = row["field"] == "completion" and row["status"] == "ERR_FAULT"
        status, detail = ("PENDING", 0) if unanswered else (row["status"], DESCRIPTOR.fields[row["field"]][1])
        expected.append({"status": status, "detail": detail})
    expected.append({"status": "OK", "detail": 0})
    return [{**line, "wrong_words": 0, "changed_bytes": 0} for line in expected]


def write_random_trace(path: Path, count: int, seed: int) -> None:
    """Write random tiles as a trace and then spoil two in three of their descriptors.

    Fields get values that are nothing, too much or another's; addresses lie off a line, at the ends of the
    image, before and behind it, at the ends of the address space, or on another buffer. A few are noise.
    """
    rng = np.random.default_rng(seed)
    write_trace(path, [random_tile(rng) for _ in range(count)], expect=False)
    data = bytearray(path.read_bytes())
    header = np.frombuffer(data, FILE_HEADER, 1)[0]
    first = int(header["base"])
    last = first + int(header["image_bytes"])
    records = np.frombuffer(data, DESCRIPTOR, count, int(header["descriptor_offset"]))
    for index in range(count):
        kind = rng.integers(16)
        if kind == 0:
            records[index] = np.frombuffer(rng.bytes(DESCRIPTOR.itemsize), DESCRIPTOR)[0]
        for _ in range(rng.integers(1, 3) if kind > 5 else 0):
            _spoil(records[index], first, last, rng)
    path.write_bytes(data)


def random_tile(
    rng: np.random.Generator,
    most: tuple[int, int, int] = (48, 24, 6),
    signed: bool | None = None,
    scaled: bool | None = None,
) -> Tile:
    """A valid tile of up to so many inputs, outputs and rows, small ones more often.

    Activations are mostly small, as real ones are: that gives the zero patterns and the repeats that count.
    """
    k, n, batch = (int(rng.integers(1, rng.integers(2, each + 2))) for each in most)
    wbits, abits = int(rng.integers(1, 9)), int(rng.integers(1, 17))
    signed = bool(rng.integers(2)) if signed is None else signed
    code = [
        WeightCode.twos(wbits),
        WeightCode.offset(wbits, int(rng.integers(1 << wbits))),
        WeightCode.ternary(),
        WeightCode.book(rng.integers(-128, 128, 1 << wbits)),
    ][rng.integers(4)]
    group_size, scales = int(rng.integers(k + 5)) if rng.integers(3) else 0, None
    if rng.integers(2) if scaled is None else scaled:
        size = (-(-k // (group_size or k)), n)
        scale, minimum = (rng.uniform(-1, 1, size).astype(np.float16) for _ in range(2))
        act_scale = rng.uniform(-1, 1, batch).astype(np.float32)
        scales = Scales(scale, act_scale, minimum if rng.integers(2) else None)
    spread = 1 << int(rng.integers(abits + 1))
    x = rng.integers(-spread, spread, (batch, k), endpoint=True)
    return Tile(
        np.clip(x, *activation_range(abits, signed)),
        rng.integers(0, code.legal_codes, (k, n), dtype=np.uint8),
        code,
        abits,
        signed,
        nbw=int(rng.integers(1, 7)),
        group_size=group_size,
        prt=bool(rng.integers(2)),
        scales=scales,
    )


def _spoil(record: np.void, first: int, last: int, rng: np.random.Generator) -> None:
    """Change one thing about a descriptor of an image from ``first`` to ``last``; it may stay valid."""
    fields = ("wbits", "abits", "nbw", "k", "n", "batch", "flags", "codebook")
    addresses = ("weights", "activations", "output", "scales", "completion", "codebook")
    field = str(rng.choice(fields if rng.integers(2) else addresses))
    bits = 8 * record.dtype[field].itemsize
    lines, other = int(rng.integers(1, 5)), int(record[str(rng.choice(addresses))])
    if field in fields:
        any_value = int.from_bytes(rng.bytes(bits // 8), "little") >> int(rng.integers(bits))
        limits = {
            "wbits": (0, 9),
            "abits": (17, int(rng.integers(1, 17))),
            "nbw": (0, 7),
            "k": (0, 1024),
        }.get(field, (0, 1))
        flipped = int(record[field]) ^ 1 << int(rng.integers(bits))
        values = [flipped] if field == "flags" else [any_value, *limits]
    else:
        own = int(record[field])
        values = [
            own + int(rng.integers(1, 64)),
            own + 64 * lines,
            first - 64 * lines,
            last + 64 * (lines - 1),
        ]
        values += [64 * (lines - 1), -64 * lines, first + 64 * int(rng.integers((last - first) // 64))]
        values += [other, other + 64]
    record[field] = values[rng.integers(len(values))] % (1 << bits)


def replayed(
    path: Path, config: _core.SliceConfig, measured: NDArray[np.uint8] | None = None
) -> tuple[Counter[str], NDArray[np.uint8]]:
    """What the core makes of a trace, as `lutmm_driver` runs it: how often each status, and the image.

    With ``measured``, an image that others left, completion records have its cycles: a spoiled descriptor may
    read them.
    """
    trace, statuses = read_trace(path), Counter[str]()
    memory = np.full(trace.image_bytes, 0xA5, np.uint8)
    memory[: len(trace.image)] = trace.image
    for completion in map(int, trace.descriptors["completion"]):
        start = completion - trace.base
        if completion % COMPLETION_ALIGN == 0 and len(trace.image) <= start <= len(memory) - 32:
            memory[start : start + 32] = 0
    for record in trace.descriptors:
        done = _core.execute_descriptor(config, record.tobytes(), memory, trace.base)
        statuses[Status(done.status).name] += 1
        start = int(record["completion"]) - trace.base
        if measured is not None and 0 <= start <= len(memory) - 32:
            memory[start + 8 : start + 16] = measured[start + 8 : start + 16]
    return statuses, memory


def differing_words(image: NDArray[np.uint8], expected: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Which words of two images differ; which NaN an operation returns is not part of the contract."""
    a, b = image.view(np.float32), expected.view(np.float32)
    return np.flatnonzero((image.view(np.uint32) != expected.view(np.uint32)) & ~(np.isnan(a) & np.isnan(b)))


def _oracle(case: dict[str, Any]) -> Oracle:
    scales, code = None, case["code"]
    if case["scales"] is not None:
        minimum = case["scales"]["minimum_fp16"]
        scales = Scales(
            np.array(case["scales"]["scale_fp16"], np.uint16).view(np.float16),
            np.array(case["scales"]["act_scale_fp32"], np.uint32).view(np.float32),
            None if minimum is None else np.array(minimum, np.uint16).view(np.float16),
        )
    widths = {key: case[key] for key in ("abits", "signed", "nbw", "group_size")}
    tile = Tile(
        np.array(case["x"], np.int64),
        np.array(case["codes"], np.uint8),
        WeightCode.of(code["kind"], code["wbits"], code["zero_point"], code.get("values", ())),
        scales=scales,
        name=case["name"],
        **widths,
    )
    result = (
        np.array(case["result"], np.uint32).view(np.float32) if scales else np.array(case["result"], np.int32)
    )
    return Oracle(tile, np.array(case["y"], np.int64), result, case["profile"], case["counts"])
