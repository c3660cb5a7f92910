"""Does gem5's PIM unit take the time that the core says? Tiles through both, phase by phase and end to end.

What is compared, per tile of one slice and per substrate:

- *phases*: cycles of build, look-up, conversion and write-back, which must be equal: the unit drives the
  core's `TileSequencer`, and only when weights arrive is gem5's own;
- *end to end*: cycles from the descriptor's arrival to the last result (the completion record's `cycles`)
  against the fast engine's time of the tile without fetching descriptor and writing record.

Tiles of `HELD_OUT` were added when the engine's memory model was done, and nothing was changed after them;
those of `TUNED_TILES` were the first of that kind, until one of them did show something.
The engine gives a mean over refreshes; a short tile meets one or none, which `refreshes` counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv import Tile, write_trace
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.cases import HELD_OUT, TUNED_TILES, coded_tiles, fits, tiles
from sailsim.sim.gem5.streams import shared_bandwidth
from sailsim.sim.replay import timed_tile
from sailsim.sim.substrate import load_substrate, substrate_names
from sailsim.sim.system import System
from sailsim.sim.tiles import PimUnits

SUBSTRATES = tuple(substrate_names())
"""What is compared unless a caller says."""

PHASES = {
    "build": "buildCycles",
    "lookup": "lookupCycles",
    "convert": "convertCycles",
    "write_back": "writeBackCycles",
}
"""Phases of the core's timing and the unit's statistic of each."""


@dataclass(frozen=True)
class Comparison:
    """One tile on one substrate; times in C-SRAM cycles."""

    substrate: str
    streams: int
    tile: str
    core_phases: dict[str, int]
    gem5_phases: dict[str, int]
    engine_cycles: float
    gem5_cycles: int
    correct: bool
    held_out: bool = False
    refreshes: int = 0

    @property
    def phases_equal(self) -> bool:
        """Whether every phase takes the same number of cycles."""
        return self.core_phases == self.gem5_phases

    @property
    def error(self) -> float:
        """Of the engine's time, relative to gem5's."""
        return self.engine_cycles / self.gem5_cycles - 1

    def as_dict(self) -> dict[str, Any]:
        """Flat, for a table."""
        return {
            "substrate": self.substrate,
            "streams": self.streams,
            "tile": self.tile,
            **{f"core_{phase}": cycles for phase, cycles in self.core_phases.items()},
            **{f"gem5_{phase}": cycles for phase, cycles in self.gem5_phases.items()},
            "phases_equal": self.phases_equal,
            "correct": self.correct,
            "engine_cycles": round(self.engine_cycles, 1),
            "gem5_cycles": self.gem5_cycles,
            "error": round(self.error, 4),
            "held_out": self.held_out,
            "refreshes": self.refreshes,
        }


@dataclass(frozen=True)
class Summary:
    """Over comparisons: whether all results and phases agree, and how far end-to-end times differ."""

    tiles: int
    all_correct: bool
    all_phases_equal: bool
    median_error: float
    worst_error: float
    worst_tile: str


UNITS = 48
"""Of a run; a tile each, which all come one after the other."""


def summarise(comparisons: Sequence[Comparison]) -> Summary:
    """Median and worst of the absolute end-to-end errors."""
    worst = max(comparisons, key=lambda c: abs(c.error))
    return Summary(
        tiles=len(comparisons),
        all_correct=all(c.correct for c in comparisons),
        all_phases_equal=all(c.phases_equal for c in comparisons),
        median_error=median(abs(c.error) for c in comparisons),
        worst_error=abs(worst.error),
        worst_tile=f"{worst.tile} on {worst.substrate}, {worst.streams} streams",
    )


def compare(
    gem5: Gem5,
    system: System,
    folder: Path,
    *,
    substrates: Sequence[str] = SUBSTRATES,
    streams: int = 0,
    stream_gb_s: float = 4.0,
    timeout_s: float = 1800,
) -> list[Comparison]:
    """Every tile on every substrate, one tile at a time, each on a unit of its own.

    Args:
        gem5: with the module.
        system: a machine with PIM units.
        folder: for traces and gem5's output.
        substrates: which tables of costs.
        streams: readers beside the tiles, each asking for `stream_gb_s`.

    Raises:
        SailsimError: no PIM units, gem5 did not get to the end, or a tile was refused by it.
    """
    pim = system.require_pim()
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Comparison] = []
    for substrate in substrates:
        choice = pim.substrate.model_copy(update={"value": substrate})
        machine = system.model_copy(update={"pim": pim.model_copy(update={"substrate": choice})})
        known = [*tiles(), *tiles(2, TUNED_TILES), *coded_tiles()]
        seen = [tile for tile in known if fits(machine, tile)]
        work = seen + [tile for tile in tiles(3, HELD_OUT) if fits(machine, tile)]
        called = load_substrate(substrate).name  # a word for files: `substrate` may be a path
        for first in range(0, len(work), UNITS):
            part = work[first : first + UNITS]
            trace = folder / f"{called}-{first}.trace"
            write_trace(trace, part)
            run = gem5.replay(
                machine,
                trace,
                folder / f"{called}-{streams}-{first}",
                units=len(part),
                window=1,
                streams=streams,
                stream_gb_s=stream_gb_s,
                timeout_s=timeout_s,
            )
            for unit, (tile, row) in enumerate(zip(part, run.tiles(), strict=True)):
                if row["status"] != 1:
                    raise SailsimError(
                        f"tile {tile.name} on {substrate} was refused with status {row['status']}."
                    )
                phases = {phase: int(run.unit_stat(unit, name)) for phase, name in PHASES.items()}
                engine = _engine_seconds(machine, tile, streams, stream_gb_s)
                found.append(
                    Comparison(
                        substrate=substrate,
                        streams=streams,
                        tile=tile.name,
                        core_phases={phase: int(getattr(engine[1], phase)) for phase in PHASES},
                        gem5_phases=phases,
                        engine_cycles=engine[0] * pim.clock.si,
                        gem5_cycles=row["cycles"],
                        correct=bool(row["good"]),
                        held_out=first + unit >= len(seen),
                        refreshes=_refreshes(system, row),
                    )
                )
    return found


def _engine_seconds(
    system: System, tile: Tile, streams: int, stream_gb_s: float
) -> tuple[float, _core.TileTiming]:
    """The engine's time of a tile alone on a unit, its data in memory, from descriptor to results."""
    units = PimUnits(
        system, substrate=None, convert=system.unit_convert, prt=tile.prt, slices=1, operands="dram"
    )
    timed = timed_tile(units, tile)
    rate, _ = shared_bandwidth(system, 1, streams, stream_gb_s)
    seconds = timed.throttled(inf, max(units.dram.latency, units.window / rate))
    return seconds - timed.edges.descriptor - timed.edges.record, timed.timing


def _refreshes(system: System, row: dict[str, int]) -> int:
    """Refreshes that begin while a tile is under way: gem5's ranks all start one every tREFI."""
    interval = system.memory.timing.trefi.si * 1e12
    return int(row["answered_ps"] // interval) - int(row["rung_ps"] // interval)
