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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.descriptor import DESCRIPTOR
from sailsim.lut_gemv.tile import Scales, Tile
from sailsim.lut_gemv.trace import FILE_HEADER, write_trace

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Oracle:
    """One case: the tile and what must come of it."""

    tile: Tile
    y: NDArray[np.int64]
    result: NDArray[Any]
    profile: dict[str, list[int]]
    counts: dict[str, int]

    @property
    def widths(self) -> dict[str, Any]:
        """The keyword arguments that all functions on patterns take."""
        tile = self.tile
        return {"abits": tile.abits, "signed": tile.signed, "nbw": tile.nbw, "group_size": tile.group_size}


def load_oracles() -> list[Oracle]:
    """All cases, in the order of the file."""
    return [_oracle(case) for case in json.loads((FOLDER / "cases.json").read_text())]


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


def code_from_json(code: dict[str, Any]) -> WeightCode:
    """A weight code as a case describes it."""
    match code["kind"]:
        case "twos":
            return WeightCode.twos(code["wbits"])
        case "offset":
            return WeightCode.offset(code["wbits"], code["zero_point"])
        case "ternary":
            return WeightCode.ternary()
        case _:
            return WeightCode.book(code["values"])


def _oracle(case: dict[str, Any]) -> Oracle:
    scales = None
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
        code_from_json(case["code"]),
        scales=scales,
        name=case["name"],
        **widths,
    )
    result = (
        np.array(case["result"], np.uint32).view(np.float32) if scales else np.array(case["result"], np.int32)
    )
    return Oracle(tile, np.array(case["y"], np.int64), result, case["profile"], case["counts"])
