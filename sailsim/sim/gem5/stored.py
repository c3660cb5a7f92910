"""Records of results on gem5: their commands, and objects made from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sailsim.lut_gemv.counts import TILE_PHASES

DECODE = "decode"
"""Value of the column `command` for whole tokens."""
VALIDATE = "validate"
"""Value of the column `command` for compared tiles."""
TIMELINE = "timeline"
"""Value of the column `command` for timelines of a tile."""


# --- Compared tiles ---

Row = Mapping[str, Any]
"""Record of a tile on a substrate, from `compare`; times are in C-SRAM cycles."""
STREAM_GB_S = 4.0
"""Bandwidth that each stream of reads next to the units asks for."""


@dataclass(frozen=True)
class NeighbourLoad:
    """Load on memory while a tile runs.

    Attributes:
        units: tiles that start together, each on its own unit; the next ones start when all have ended.
        streams: readers of memory next to them, which ask for `STREAM_GB_S` each.
        stream_offset: bytes between the readers' start and that in a replay; another row means another bank.
    """

    units: int = 1
    streams: int = 0
    stream_offset: int = 0

    def __str__(self) -> str:
        units = f"{self.units} at a time" if self.units > 1 else ""
        beside = f"beside {self.streams} streams" if self.streams else "alone"
        place = f"from {self.stream_offset >> 10} KiB on" if self.stream_offset else ""
        return " ".join(word for word in (units, beside, place) if word)


ALONE = NeighbourLoad()


def load_of(row: Row) -> NeighbourLoad:
    """Load on memory during a compared tile."""
    return NeighbourLoad(row["units"], row["streams"], row["stream_offset"])


def rows_of(record: Row) -> list[Row]:
    """Comparisons in a stored record."""
    return [json.loads(text) for text in record["comparisons"]]


# --- Timelines ---

COLUMNS = ("pass", "group", "load_start", "load_end", "start", "build", "lookup", "convert", "write_back")
"""Columns of a group in a timeline: two numbers, three times and four lengths. Times are cycles from the
tile's start, lengths are cycles."""


@dataclass(frozen=True)
class TileTimeline:
    """Timeline of a tile on one unit.

    Attributes:
        source: name of the simulator.
        tile: the tile's name.
        clock_ghz: clock of the cycles.
        groups: rows of `COLUMNS`, one for each group of each pass, in order.
        double_buffer: whether a write-back may wait for the next group.
        before: cycles from the descriptor's arrival to the tile's start, if known.
        after: cycles from the tile's end to the acknowledgement of the results, if known.
    """

    source: str
    tile: str
    clock_ghz: float
    groups: tuple[tuple[int, ...], ...]
    double_buffer: bool
    before: int | None = None
    after: int | None = None

    def bars(self) -> dict[str, list[tuple[int, int]]]:
        """Start and length of every bar by phase, in cycles from the tile's start; bars of length 0 are left
        out."""
        bars: dict[str, list[tuple[int, int]]] = {name: [] for name in TILE_PHASES}
        for i, row in enumerate(self.groups):
            _, _, load_start, load_end, start, build, lookup, convert, write_back = row
            bars["load"].append((load_start, load_end - load_start))
            at = start
            for name, cycles in (("build", build), ("lookup", lookup), ("convert", convert)):
                bars[name].append((at, cycles))
                at += cycles
            # With double buffering a write-back has the port to itself just before the next group computes.
            if self.double_buffer and i + 1 < len(self.groups):
                at = self.groups[i + 1][4] - write_back
            bars["write_back"].append((at, write_back))
        return {name: [bar for bar in own if bar[1] > 0] for name, own in bars.items()}

    @property
    def end(self) -> int:
        """Cycles from the tile's start to its end."""
        return max(start + cycles for bars in self.bars().values() for start, cycles in bars)


def timelines_of(record: Mapping[str, Any]) -> list[TileTimeline]:
    """Timelines in a record that `both_timelines` stored."""
    rows = [json.loads(text) for text in record["timelines"]]
    return [TileTimeline(**row | {"groups": tuple(map(tuple, row["groups"]))}) for row in rows]
