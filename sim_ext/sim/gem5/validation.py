"""Does gem5's PIM unit take the time that the core says? Tiles through both, phase by phase and end to end.

What is compared, per tile of one slice and per substrate:

- *phases*: cycles of build, look-up, conversion and write-back, which must be equal: the unit drives the
  core's `TileSequencer`, and only when weights arrive is gem5's own;
- *end to end*: cycles from the descriptor's arrival to the last result (the completion record's `cycles`)
  against the fast engine's time of the tile without fetching descriptor and writing record.

Tiles are drawn at random, by a seed. The engine gives a mean over refreshes; a short tile meets one or none,
which `refreshes` counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.tile import Tile
from sailsim.lut_gemv.trace import write_trace
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.cases import drawn, drawn_tiles, fits
from sailsim.sim.gem5.outcome import Gem5Run
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
class Load:
    """What a tile has beside it.

    `units` begin together, each with a tile of the same shape and other numbers; the next begin when all have
    ended. `streams` readers beside them ask for `stream_gb_s` each, from `stream_offset` bytes beyond where
    replays have them on: with other rows they come to other banks.
    """

    units: int = 1
    streams: int = 0
    stream_gb_s: float = 4.0
    stream_offset: int = 0

    def __str__(self) -> str:
        units = f"{self.units} at a time" if self.units > 1 else ""
        beside = f"beside {self.streams} streams" if self.streams else "alone"
        place = f"from {self.stream_offset >> 10} KiB on" if self.stream_offset else ""
        return " ".join(word for word in (units, beside, place) if word)


ALONE = Load()


@dataclass(frozen=True)
class Comparison:
    """One tile on one substrate; times in C-SRAM cycles, of `load.units` alike the slowest one's."""

    substrate: str
    load: Load
    tile: str
    core_phases: dict[str, int]
    gem5_phases: dict[str, int]
    engine_cycles: float
    gem5_cycles: int
    correct: bool
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
            "streams": self.load.streams,
            "units": self.load.units,
            "stream_offset": self.load.stream_offset,
            "tile": self.tile,
            **{f"core_{phase}": cycles for phase, cycles in self.core_phases.items()},
            **{f"gem5_{phase}": cycles for phase, cycles in self.gem5_phases.items()},
            "phases_equal": self.phases_equal,
            "correct": self.correct,
            "engine_cycles": round(self.engine_cycles, 1),
            "gem5_cycles": self.gem5_cycles,
            "error": round(self.error, 4),
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
"""Of a run at most; a tile each, of which so many are under way at a time as are compared together."""


def summarise(comparisons: Sequence[Comparison]) -> Summary:
    """Median and worst of the absolute end-to-end errors."""
    worst = max(comparisons, key=lambda c: abs(c.error))
    return Summary(
        tiles=len(comparisons),
        all_correct=all(c.correct for c in comparisons),
        all_phases_equal=all(c.phases_equal for c in comparisons),
        median_error=median(abs(c.error) for c in comparisons),
        worst_error=abs(worst.error),
        worst_tile=f"{worst.tile} on {worst.substrate}, {worst.load}",
    )


def compare(
    gem5: Gem5,
    system: System,
    folder: Path,
    *,
    seed: int,
    count: int,
    substrates: Sequence[str] = SUBSTRATES,
    load: Load = ALONE,
    timeout_s: float = 1800,
) -> list[Comparison]:
    """Every tile of a draw that fits on every substrate, each on a unit of its own, those alike that `load`
    wants at a time.

    Args:
        gem5: with the module.
        system: a machine with PIM units.
        folder: for traces and gem5's output.
        seed: of the tiles' shapes and operands.
        count: tiles that are drawn, at least one.
        substrates: which tables of costs.
        load: units, 1..48, and readers.

    Raises:
        SailsimError: no PIM units, a number of units that is not allowed, gem5 did not get to the end, or a
            tile was refused by it.
    """
    if not 1 <= load.units <= UNITS:
        raise SailsimError(f"units is {load.units}; allowed: 1..{UNITS}.")
    pim = system.require_pim()
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Comparison] = []
    for substrate in substrates:
        choice = pim.substrate.model_copy(update={"value": substrate})
        machine = system.model_copy(update={"pim": pim.model_copy(update={"substrate": choice})})
        work = _work(machine, load.units, seed, count)
        called = load_substrate(substrate).name  # a word for files: `substrate` may be a path
        at_once = UNITS // load.units
        for first in range(0, len(work), at_once):
            part = work[first : first + at_once]
            trace = folder / f"{called}-{load.units}-{first}.trace"
            write_trace(trace, [tile for alike in part for tile in alike])
            ends = ",".join(str(load.units * end) for end in range(1, len(part) + 1))
            run = gem5.replay(
                machine,
                trace,
                folder / f"{called}-{load.units}-{first}-{load.streams}-{load.stream_offset}",
                units=len(part) * load.units,
                streams=load.streams,
                stream_gb_s=load.stream_gb_s,
                timeout_s=timeout_s,
                extra=("--phase-ends", ends, "--stream-offset", str(load.stream_offset)),
            )
            rows = run.tiles()
            for place, alike in enumerate(part):
                units = range(place * load.units, (place + 1) * load.units)
                compared = [
                    _compared(machine, tile, run, unit, rows[unit], load)
                    for unit, tile in zip(units, alike, strict=True)
                ]
                found.append(_together(compared))
    return found


def _work(system: System, units: int, seed: int, count: int) -> list[tuple[Tile, ...]]:
    """Every shape of a draw that fits the machine's arrays, with other numbers for each unit."""
    shapes = drawn(seed, count)
    of_all = [drawn_tiles(shapes, seed + 1000 * (unit + 1)) for unit in range(units)]
    return [alike for alike in zip(*of_all, strict=True) if fits(system, alike[0])]


def _compared(
    machine: System, tile: Tile, run: Gem5Run, unit: int, row: dict[str, int], load: Load
) -> Comparison:
    """One tile of a run, by its unit and its row."""
    pim = machine.require_pim()
    if row["status"] != 1:
        raise SailsimError(
            f"tile {tile.name} on {pim.substrate.value} was refused with status {row['status']}."
        )
    seconds, timing = _engine_seconds(machine, tile, load)
    return Comparison(
        substrate=str(pim.substrate.value),
        load=load,
        tile=tile.name,
        core_phases={phase: int(getattr(timing, phase)) for phase in PHASES},
        gem5_phases={phase: int(run.unit_stat(unit, name)) for phase, name in PHASES.items()},
        engine_cycles=seconds * pim.clock.si,
        gem5_cycles=row["cycles"],
        correct=bool(row["good"]),
        refreshes=_refreshes(machine, row),
    )


def _together(compared: Sequence[Comparison]) -> Comparison:
    """Tiles that ran at the same time as one: the slowest in gem5 and in the engine, unless phases differ."""
    shown = next(
        (each for each in compared if not each.phases_equal), max(compared, key=lambda each: each.gem5_cycles)
    )
    return replace(
        shown,
        engine_cycles=max(each.engine_cycles for each in compared),
        correct=all(each.correct for each in compared),
    )


def _engine_seconds(system: System, tile: Tile, load: Load) -> tuple[float, _core.TileTiming]:
    """The engine's time of a tile on each of the units, its data in memory, from descriptor to results."""
    unit = PimUnits(
        system, substrate=None, convert=system.unit_convert, prt=tile.prt, slices=1, operands="dram"
    )
    timed = timed_tile(unit, tile)
    rate = shared_bandwidth(system, load.units, load.streams, load.stream_gb_s)[0] / load.units
    seconds = timed.throttled(inf, max(unit.dram.latency, unit.window / rate))
    return seconds - timed.edges.descriptor - timed.edges.record, timed.timing


def _refreshes(system: System, row: dict[str, int]) -> int:
    """Refreshes that begin while a tile is under way: gem5's ranks all start one every tREFI."""
    interval = system.memory.timing.trefi.si * 1e12
    return int(row["answered_ps"] // interval) - int(row["rung_ps"] // interval)
