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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv import Scales, Tile, WeightCode, write_trace
from sailsim.sim.dram import Dram, Reader, shares
from sailsim.sim.gem5 import Gem5
from sailsim.sim.memory_path import memory, memory_paths
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

Fields = tuple[int, int, int, int, int, int, int, bool]
# K, N, batch, wbits, abits, NBW, group size (0: one block), scaled. Widths 2..8, NBW 2..5, batch 1..32;
# some edges are ragged.
TILES: tuple[Fields, ...] = (
    (256, 128, 1, 4, 8, 4, 0, False),
    (512, 344, 1, 4, 8, 4, 0, False),
    (1024, 128, 1, 4, 8, 4, 32, True),
    (1024, 64, 8, 4, 8, 4, 0, False),
    (512, 128, 16, 4, 8, 4, 0, False),
    (256, 128, 32, 4, 8, 4, 0, False),
    (512, 128, 1, 2, 8, 2, 0, False),
    (512, 128, 4, 2, 8, 3, 0, False),
    (512, 128, 1, 3, 8, 2, 0, False),
    (384, 96, 8, 3, 8, 5, 0, False),
    (512, 128, 2, 5, 8, 3, 0, False),
    (512, 64, 4, 5, 6, 4, 64, True),
    (512, 128, 1, 6, 8, 4, 0, False),
    (256, 128, 8, 6, 8, 2, 0, False),
    (512, 96, 2, 7, 8, 3, 0, False),
    (256, 64, 16, 7, 4, 5, 0, False),
    (512, 128, 1, 8, 8, 4, 0, False),
    (512, 128, 8, 8, 8, 2, 0, False),
    (256, 256, 4, 8, 16, 3, 0, False),
    (301, 77, 3, 4, 8, 4, 0, False),
    (333, 129, 5, 3, 7, 3, 0, False),
    (127, 343, 2, 5, 8, 5, 0, False),
    (515, 65, 1, 2, 4, 4, 0, False),
    (300, 100, 7, 4, 8, 4, 50, True),
    (640, 40, 2, 4, 8, 5, 32, True),
    (96, 700, 1, 8, 8, 4, 0, False),
)


TUNED_TILES: tuple[Fields, ...] = (
    (768, 160, 1, 4, 8, 4, 0, False),
    (640, 200, 2, 3, 8, 3, 0, False),
    (1000, 50, 1, 6, 8, 2, 0, False),
    (384, 384, 1, 4, 8, 4, 128, True),
    (200, 300, 6, 2, 8, 5, 0, False),
    (480, 120, 24, 4, 8, 4, 0, False),
    (350, 90, 1, 8, 8, 3, 0, False),
    (1200, 32, 3, 5, 8, 4, 0, False),
    (144, 420, 1, 7, 8, 4, 0, False),
    (520, 256, 1, 4, 4, 4, 0, False),
    (260, 180, 12, 3, 6, 4, 0, False),
    (900, 72, 1, 4, 8, 4, 64, True),
    (128, 650, 2, 4, 8, 4, 0, False),
    (160, 560, 1, 6, 8, 4, 0, False),
    (700, 110, 1, 2, 8, 4, 0, False),
)
"""Held out at first; one of them (384 x 384) then showed what a pause in fetching does."""

HELD_OUT: tuple[Fields, ...] = (
    (320, 310, 1, 4, 8, 4, 64, True),
    (448, 150, 4, 6, 8, 4, 0, False),
    (900, 80, 1, 8, 8, 2, 0, False),
    (250, 230, 16, 4, 8, 5, 0, False),
    (512, 336, 1, 3, 8, 3, 0, False),
    (760, 100, 2, 8, 8, 4, 0, False),
    (380, 200, 8, 2, 8, 4, 0, False),
    (600, 600, 1, 4, 8, 4, 0, False),
    (128, 500, 1, 7, 8, 4, 0, False),
    (1100, 60, 1, 5, 8, 3, 0, False),
    (420, 260, 3, 4, 8, 4, 60, True),
    (333, 410, 1, 6, 8, 4, 0, False),
)
"""More of the same kind, which nothing was fitted, chosen or changed on."""


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


def tiles(seed: int = 1, shapes: Sequence[Fields] = TILES) -> list[Tile]:
    """The tiles of `shapes` with normally distributed operands, quantized to their widths."""
    random = np.random.default_rng(seed)
    return [_tile(random, *fields) for fields in shapes]


def _tile(
    random: np.random.Generator,
    k: int,
    n: int,
    batch: int,
    wbits: int,
    abits: int,
    nbw: int,
    group_size: int,
    scaled: bool,
) -> Tile:
    most = 2 ** (abits - 1) - 1
    x = np.clip(np.rint(random.normal(0, most / 3, (batch, k))), -most - 1, most)
    codes = random.integers(0, 2**wbits, (k, n)).astype(np.uint8)
    scales = None
    if scaled:
        blocks = -(-k // group_size)
        scales = Scales(
            random.uniform(0.001, 0.1, (blocks, n)).astype(np.float16),
            random.uniform(0.001, 0.1, batch).astype(np.float32),
        )
    return Tile(
        x=x.astype(np.int8 if abits <= 8 else np.int16),
        codes=codes,
        code=WeightCode.twos(wbits),
        abits=abits,
        nbw=nbw,
        group_size=group_size,
        scales=scales,
        name=f"{k}x{n} b{batch} w{wbits}a{abits} nbw{nbw}" + (f" g{group_size}" if scaled else ""),
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
        SailsimError: gem5 did not get to the end, or a tile was refused by it.
    """
    assert system.pim is not None
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Comparison] = []
    for substrate in substrates:
        choice = system.pim.substrate.model_copy(update={"value": substrate})
        machine = system.model_copy(update={"pim": system.pim.model_copy(update={"substrate": choice})})
        seen = [tile for tile in [*tiles(), *tiles(2, TUNED_TILES)] if _fits(machine, tile)]
        work = seen + [tile for tile in tiles(3, HELD_OUT) if _fits(machine, tile)]
        called = load_substrate(substrate).name  # a word for files: `substrate` may be a path
        trace = folder / f"{called}.trace"
        write_trace(trace, work)
        run = gem5.replay(
            machine,
            trace,
            folder / f"{called}-{streams}",
            units=len(work),
            window=1,
            streams=streams,
            stream_gb_s=stream_gb_s,
            timeout_s=timeout_s,
        )
        for index, (tile, row) in enumerate(zip(work, run.tiles(), strict=True)):
            if row["status"] != 1:
                raise SailsimError(
                    f"tile {tile.name} on {substrate} was refused with status {row['status']}."
                )
            phases = {phase: int(run.unit_stat(index, statistic)) for phase, statistic in PHASES.items()}
            engine = _engine_seconds(machine, tile, streams, stream_gb_s)
            found.append(
                Comparison(
                    substrate=substrate,
                    streams=streams,
                    tile=tile.name,
                    core_phases={phase: int(getattr(engine[1], phase)) for phase in PHASES},
                    gem5_phases=phases,
                    engine_cycles=engine[0] * system.pim.clock.si,
                    gem5_cycles=row["cycles"],
                    correct=bool(row["good"]),
                    held_out=index >= len(seen),
                    refreshes=_refreshes(system, row),
                )
            )
    return found


def _fits(system: System, tile: Tile) -> bool:
    """Whether table and staging rows fit the arrays; the unit refuses the others."""
    try:
        _core.plan_tile(system.slice_config(slices=1), *tile.shape)
    except ValueError:
        return False
    return True


def shared_bandwidth(
    system: System, units: int, streams: int, stream_gb_s: float, reach: float | None = None
) -> tuple[float, float]:
    """What PIM units that stream weights get together beside readers, and what those get, bytes/s.

    gem5's readers start at the same time with the same period, at addresses that differ by whole rows of all
    channels: their lines come to a channel together, so a burst has `streams` lines.

    Args:
        system: the machine.
        units: how many stream.
        streams: readers, each asking for `stream_gb_s`.
        reach: share of the peak that long reads get; default: all but refreshes, as gem5's DRAM has it.
    """
    limits, dram = memory(system, max(1, streams)), Dram(system.memory, system.llc.line.whole)
    window = limits.stream.window * units / system.llc.slices.value
    weights = Reader(units * memory_paths(system)[1].rate, window, limits.stream.latency, units)
    work = Reader(streams * stream_gb_s * 1e9, limits.cores.window, limits.cores.latency)
    capacity = limits.peak * (dram.reads(dram.lines_of_row) if reach is None else reach)
    queue = max(limits.queue, streams * dram.line_s)
    found = shares(capacity, queue, (weights, work) if streams else (weights,))
    return found[0], found[1] if streams else 0.0


def _engine_seconds(
    system: System, tile: Tile, streams: int, stream_gb_s: float
) -> tuple[float, _core.TileTiming]:
    """The engine's time of a tile alone on a unit, its data in memory, from descriptor to results."""
    units = PimUnits(system, substrate=None, convert="memory", prt=tile.prt, slices=1, operands="dram")
    timed = timed_tile(units, tile)
    rate, _ = shared_bandwidth(system, 1, streams, stream_gb_s)
    seconds = timed.throttled(inf, max(units.dram.latency, units.window / rate))
    return seconds - timed.edges.descriptor - timed.edges.record, timed.timing


def _refreshes(system: System, row: dict[str, int]) -> int:
    """Refreshes that begin while a tile is under way: gem5's ranks all start one every tREFI."""
    interval = system.memory.timing.trefi.si * 1e12
    return int(row["answered_ps"] // interval) - int(row["rung_ps"] // interval)


STREAMS: tuple[tuple[int, int, float], ...] = (
    (1, 0, 0.0),
    (4, 0, 0.0),
    (8, 0, 0.0),
    (16, 0, 0.0),
    (32, 0, 0.0),
    (1, 8, 4.0),
    (1, 16, 4.0),
    (1, 16, 8.0),
    (32, 16, 4.0),
    (32, 16, 8.0),
)
"""PIM units that stream weights, readers beside them, and GB/s that each reader asks for."""


def measure_streams(
    gem5: Gem5,
    system: System,
    folder: Path,
    cases: Sequence[tuple[int, int, float]] = STREAMS,
    timeout_s: float = 1800,
) -> Iterator[dict[str, Any]]:
    """Bandwidth of units that wait for nothing but weights, in gem5 and as the engine shares it.

    Every unit has a tile of 384 outputs of 8 bits, which the arrays work on four times as fast as one unit's
    lines come. The units' bandwidth is all weights over the time of the slowest.

    Yields:
        One row a case: `units`, `streams`, `stream_gb_s`; `gem5_gb_s` of the units and `gem5_beside_gb_s` of
        the readers; `engine_gb_s` and `error` with the share of the peak that is measured on a real machine,
        `closed_gb_s` and `closed_error` with all but refreshes, which is what gem5's DRAM can give.

    Raises:
        SailsimError: gem5 did not get to the end.
    """
    assert system.pim is not None
    random = np.random.default_rng(3)
    folder.mkdir(parents=True, exist_ok=True)
    for units, streams, each in cases:
        k = 1024 if units == 1 else 512
        work = [_tile(random, k, 384, 1, 8, 8, 4, 0, False) for _ in range(units)]
        trace = folder / f"streams-{units}.trace"
        write_trace(trace, work)
        run = gem5.replay(
            system,
            trace,
            folder / f"streams-{units}-{streams}-{each:g}",
            units=units,
            streams=streams,
            stream_gb_s=each or 1.0,
            timeout_s=timeout_s,
        )
        slowest = max(row["cycles"] for row in run.tiles()) / system.pim.clock.si
        found = units * k * 384 / slowest
        beside = sum(v for name, v in run.stats.items() if "streams" in name and name.endswith("bytesRead"))
        engine = shared_bandwidth(system, units, streams, each, system.memory.read_share.value)[0]
        closed = shared_bandwidth(system, units, streams, each)[0]
        yield {
            "units": units,
            "streams": streams,
            "stream_gb_s": each,
            "gem5_gb_s": round(found / 1e9, 2),
            "gem5_beside_gb_s": round(beside / run.ticks * 1e3, 2),
            "engine_gb_s": round(engine / 1e9, 2),
            "error": round(engine / found - 1, 4),
            "closed_gb_s": round(closed / 1e9, 2),
            "closed_error": round(closed / found - 1, 4),
        }


def measure_latencies(
    gem5: Gem5, system: System, kernels: Path, folder: Path, timeout_s: float = 3600
) -> list[dict[str, Any]]:
    """Load-to-use latencies of a pointer chase on one O3 core, beside those of the system file.

    Args:
        kernels: folder of the AArch64 programs.
        folder: for gem5's output.

    Returns:
        One row a level: `level`, `footprint_bytes`, `gem5_ns`, `published_ns` and `error`.

    Raises:
        SailsimError: the program is missing, or gem5 did not get to its end.
    """
    clock = system.cores.clock.si
    levels = (
        ("L1", 1 << 15, system.l1d.latency.value / clock),
        ("L2", 1 << 19, system.l2.latency.value / clock),
        ("LLC", 1 << 24, system.llc.latency.si),
        ("DRAM", 1 << 26, system.memory.latency.si),
    )
    rows = []
    for level, footprint, published in levels:
        program = [str(kernels / "pointer_chase"), "--min", str(footprint), "--max", str(footprint)]
        run = gem5.run(
            system, [*program, "--loads", "4000"], folder / f"latency-{level}", pim=False, timeout_s=timeout_s
        )
        measured = float(run.json_lines[-1]["ns_per_load"])
        rows.append(
            {
                "level": level,
                "footprint_bytes": footprint,
                "gem5_ns": round(measured, 3),
                "published_ns": round(published * 1e9, 3),
                "error": round(measured / (published * 1e9) - 1, 4),
            }
        )
    return rows
