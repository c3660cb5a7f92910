"""Results on gem5 as a folder keeps them: which command each record is of, and what it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sailsim.lut_gemv.counts import TILE_PHASES

DECODE = "decode"
"""What the column `command` of whole tokens says."""
VALIDATE = "validate"
"""Of compared tiles."""
TIMELINE = "timeline"
"""Of a tile's timelines."""


# --- Compared tiles ---

Row = Mapping[str, Any]
"""One tile on one substrate, as `compare` has it; times in C-SRAM cycles."""
STREAM_GB_S = 4.0
"""What each reader beside the units asks for."""


@dataclass(frozen=True)
class NeighbourLoad:
    """What a tile has beside it.

    `units` begin together, each with a tile of its own; the next begin when all have ended. `streams` readers
    beside them ask for `STREAM_GB_S` each, from `stream_offset` bytes beyond where replays have them on: with
    other rows they come to other banks.
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
    """What a compared tile had beside it."""
    return NeighbourLoad(row["units"], row["streams"], row["stream_offset"])


def rows_of(record: Row) -> list[Row]:
    """The comparisons of a stored record."""
    return [json.loads(text) for text in record["comparisons"]]


# --- Timelines ---

COLUMNS = ("pass", "group", "load_start", "load_end", "start", "build", "lookup", "convert", "write_back")
"""Of a group; the first five are numbers or cycles from the tile's start, the others lengths in cycles."""


@dataclass(frozen=True)
class TileTimeline:
    """One tile on one unit.

    Attributes:
        source: who says so, for people.
        tile: its name.
        clock_ghz: of the cycles.
        groups: rows of `COLUMNS`, one for each group of each pass, in order.
        double_buffer: whether a write-back may wait for the next group.
        before: cycles from the descriptor's arrival to the tile's start; None: not known.
        after: cycles from its end to the acknowledgement of the results; None: not known.
    """

    source: str
    tile: str
    clock_ghz: float
    groups: tuple[tuple[int, ...], ...]
    double_buffer: bool
    before: int | None = None
    after: int | None = None

    def bars(self) -> dict[str, list[tuple[int, int]]]:
        """Start and length, cycles from the tile's start, of every bar by phase; none of length 0."""
        bars: dict[str, list[tuple[int, int]]] = {name: [] for name in TILE_PHASES}
        for i, row in enumerate(self.groups):
            _, _, load_start, load_end, start, build, lookup, convert, write_back = row
            bars["load"].append((load_start, load_end - load_start))
            at = start
            for name, cycles in (("build", build), ("lookup", lookup), ("convert", convert)):
                bars[name].append((at, cycles))
                at += cycles
            # With double buffering it has the port to itself just before the next group computes.
            if self.double_buffer and i + 1 < len(self.groups):
                at = self.groups[i + 1][4] - write_back
            bars["write_back"].append((at, write_back))
        return {name: [bar for bar in own if bar[1] > 0] for name, own in bars.items()}

    @property
    def end(self) -> int:
        """Cycles of the tile."""
        return max(start + cycles for bars in self.bars().values() for start, cycles in bars)


def timelines_of(record: Mapping[str, Any]) -> list[TileTimeline]:
    """What a stored record of `both_timelines` holds."""
    rows = [json.loads(text) for text in record["timelines"]]
    return [TileTimeline(**row | {"groups": tuple(map(tuple, row["groups"]))}) for row in rows]
