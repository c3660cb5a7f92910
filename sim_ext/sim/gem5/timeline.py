"""Where the cycles of one tile lie: load, build, look-up, conversion and write-back of every group.

Two sources give the same picture where weights arrive at the same cycles: the core's `TileSequencer` with the
fast engine's rate, and gem5's unit, which prints a line for each group (debug flag SailPimGroups).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sailsim import _core
from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.counts import TILE_PHASES
from sailsim.lut_gemv.tile import Tile
from sailsim.lut_gemv.trace import write_trace
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.records import keys_of
from sailsim.sim.patterns import PROFILES
from sailsim.sim.system import System
from sailsim.sim.tiles import PimUnits

COLUMNS = ("pass", "group", "load_start", "load_end", "start", "build", "lookup", "convert", "write_back")
"""Of a row; the first five are numbers or cycles from the tile's start, the others lengths in cycles."""
TIMELINE = "timeline.json"
"""The file of a tile's timelines in a folder of gem5's results."""
DEBUG_FLAG = "SailPimGroups"
_UNTRACED = "Tracing is not enabled"
"""What gem5 says to a debug flag where it was compiled without them."""
_LINE = re.compile(
    r"pass (\d+) group (\d+): load (\d+)\.\.(\d+) start (\d+) build (\d+) lookup (\d+) convert (\d+) "
    r"write-back (\d+)"
)


class UntracedError(SailsimError):
    """A gem5 that was compiled without tracing, as gem5.fast is: its units print no groups."""


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
        found: dict[str, list[tuple[int, int]]] = {name: [] for name in TILE_PHASES}
        for i, row in enumerate(self.groups):
            _, _, load_start, load_end, start, build, lookup, convert, write_back = row
            found["load"].append((load_start, load_end - load_start))
            at = start
            for name, cycles in (("build", build), ("lookup", lookup), ("convert", convert)):
                found[name].append((at, cycles))
                at += cycles
            # With double buffering it has the port to itself just before the next group computes.
            if self.double_buffer and i + 1 < len(self.groups):
                at = self.groups[i + 1][4] - write_back
            found["write_back"].append((at, write_back))
        return {name: [bar for bar in bars if bar[1] > 0] for name, bars in found.items()}

    @property
    def end(self) -> int:
        """Cycles of the tile."""
        return max(start + cycles for bars in self.bars().values() for start, cycles in bars)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TileTimeline:
        """The timeline of `as_dict`.

        Raises:
            SailsimError: it is something else.
        """
        try:
            groups = tuple(tuple(int(value) for value in row) for row in data["groups"])
            if not groups or any(len(row) != len(COLUMNS) for row in groups):
                raise ValueError
            return cls(**{**data, "groups": groups})
        except (KeyError, TypeError, ValueError):
            raise SailsimError(
                f"the timeline is not one; allowed are rows of {', '.join(COLUMNS)} and what they belong to."
            ) from None


def core_timeline(
    system: System,
    tile: Tile,
    *,
    arrivals: Sequence[int] | None = None,
    source: str = "fast engine",
) -> TileTimeline:
    """A tile of one slice, alone on the machine, as the core's sequencer works it.

    Args:
        system: with PIM units.
        tile: the operands.
        arrivals: cycles at which the groups' weights have arrived; default: asked for ahead of need, as many
            lines under way as the unit has MSHRs, each for the latency of DRAM.
        source: for people.

    Raises:
        SailsimError: no PIM units, or the tile does not fit.
    """
    pim = system.require_pim()
    units = PimUnits(
        system, substrate=None, convert=system.unit_convert, prt=tile.prt, slices=1, operands="dram"
    )
    scan = units.scan(tile.abits, tile.signed, tile.nbw, tile.group_size)
    codes = tile.code_bytes() / tile.stored_bytes()
    try:
        groups = _core.tile_timeline(
            units.config,
            *tile.shape,
            PROFILES.scanned(tile.x, scan).counts,
            tile.scales is not None,
            minimum=tile.has_minimum,
            # As the engine has it: scales ride along, and weights are asked for behind the activations.
            bytes_per_cycle=units.dram.rate * codes / units.clock,
            latency=units.dram.latency * units.clock,
            lead=units.operands.latency * units.clock,
            ahead=units.ahead * codes,
            arrivals=None if arrivals is None else np.array(arrivals, dtype=np.int64),
        )
    except ValueError as error:
        raise SailsimError(f"tile {tile.name} cannot run: {error}.") from None
    return TileTimeline(source, tile.name, pim.clock.value, _rows(groups), bool(pim.double_buffer.value))


def gem5_timeline(
    gem5: Gem5, system: System, tile: Tile, folder: Path, timeout_s: float = 600
) -> TileTimeline:
    """A tile on one PIM unit of gem5, alone on the machine.

    Raises:
        UntracedError: this gem5 can print no groups.
        SailsimError: gem5 did not get to the end, refused the tile, or its unit printed no groups.
    """
    pim = system.require_pim()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trace = folder / "tile.trace"
        write_trace(trace, [tile])
    except OSError as error:
        raise SailsimError(f"folder {folder} cannot be written: {error.strerror}.") from None
    try:
        run = gem5.replay(system, trace, folder, units=1, timeout_s=timeout_s, debug=DEBUG_FLAG)
    except SailsimError as error:
        if _UNTRACED not in str(error):
            raise
        raise UntracedError(
            f"gem5 is {gem5.path}, which was compiled without tracing and prints no groups of a tile; "
            "allowed for a timeline is one with it, such as gem5.opt."
        ) from None
    finally:
        trace.unlink(missing_ok=True)
    (row,) = run.tiles()
    if row["status"] != 1:
        raise SailsimError(f"tile {tile.name} was refused by gem5's unit with status {row['status']}.")
    groups = read_groups(folder / "debug.txt")

    def cycles(stage: str) -> int:
        return round(run.unit_stat(0, f"stageTicks::{stage}") * 1e-12 * pim.clock.si)

    return TileTimeline(
        f"gem5 {gem5.version}",
        tile.name,
        pim.clock.value,
        groups,
        bool(pim.double_buffer.value),
        before=cycles("operands"),
        after=cycles("results"),
    )


def both_timelines(
    gem5: Gem5, machine: str, system: System, tile: Tile, out: Path, timeout_s: float = 600
) -> list[TileTimeline]:
    """A tile's timelines in gem5 and in the fast engine, stored as `TIMELINE` in a folder.

    What the folder has of the same tile, machine, gem5 and code is not simulated again.

    Args:
        machine: the system as the user named it.
        out: the folder; gem5's own output goes below it.

    Raises:
        UntracedError: this gem5 can print no groups; nothing is stored.
        SailsimError: as `gem5_timeline` and `core_timeline`; or the folder cannot be written.
    """
    path = out / TIMELINE
    operands = sha256(tile.codes.tobytes() + tile.x.tobytes()).hexdigest()
    question = {"command": "timeline", "system": machine, "tile": tile.name, "operands": operands}
    key, _ = keys_of({**question, "shape": list(tile.shape)}, system, gem5)
    if path.is_file() and _key(path) == key:
        return read_timelines(path)
    expected = core_timeline(system, tile)
    found = [gem5_timeline(gem5, system, tile, (out / "timeline").resolve(), timeout_s), expected]
    content = {"key": key, "timelines": [timeline.as_dict() for timeline in found]}
    try:
        write_whole(path, (json.dumps(content) + "\n").encode())
    except OSError as error:
        raise SailsimError(f"folder {out} cannot be written: {error.strerror}.") from None
    return found


def _key(path: Path) -> str:
    """Of the timelines in a file; empty for one that is damaged, which will be replaced."""
    try:
        return str(json.loads(path.read_bytes())["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def read_timelines(path: Path) -> list[TileTimeline]:
    """The timelines of a file that `both_timelines` wrote.

    Raises:
        SailsimError: it cannot be read or holds something else.
    """
    try:
        data = json.loads(path.read_bytes())["timelines"]
        if not data:
            raise ValueError("it is empty")
        return [TileTimeline.from_dict(item) for item in data]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SailsimError(f"timeline {path} cannot be read: {error}; remove it to make it again.") from None


def read_groups(path: Path) -> tuple[tuple[int, ...], ...]:
    """The groups that a unit printed, in order.

    Raises:
        SailsimError: none is there, or one is missing.
    """
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise SailsimError(f"gem5's debug output {path} cannot be read: {error.strerror}.") from None
    found = tuple(tuple(int(value) for value in match) for match in _LINE.findall(text))
    if not found:
        raise SailsimError(
            f"gem5's debug output {path} has no groups; build gem5 with this sailsim's module."
        )
    last = max(group for _, group, *_ in found)
    if [row[:2] for row in found] != [(i // (last + 1), i % (last + 1)) for i in range(len(found))]:
        raise SailsimError(f"gem5's debug output {path} lacks groups; allowed is one tile from start to end.")
    return found


def _rows(groups: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(value) for value in row) for row in groups)
