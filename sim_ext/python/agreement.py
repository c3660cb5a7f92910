"""Does gem5's PIM unit take the time that the core says? Tiles through both, phase by phase and end to end.

What is compared, per tile of one slice and per substrate:

- *phases*: cycles of build, look-up, conversion and write-back, which must be equal: the unit drives the
  core's `TileSequencer`, and only when weights arrive is gem5's own;
- *end to end*: cycles from the descriptor's arrival to the last result (the completion record's `cycles`)
  against the fast engine's time of the tile, with two differences that are modelled here: the engine's tile
  starts with its activations at hand and ends in the arrays, so fetching them and writing the results is
  added (`edge_cycles`), and the latency that bounds a unit's weight stream is its own, not a core's
  (`unit_latency`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sailsim import _core
from sailsim.errors import SailsimError
from sailsim.lut_gemv import Scales, Tile, WeightCode, write_trace
from sailsim.sim.engine import Shape, Units
from sailsim.sim.gem5 import Gem5
from sailsim.sim.patterns import PROFILES
from sailsim.sim.system import System

SUBSTRATES = ("row_dfm", "bit_serial", "bit_parallel")
ROW_ACTIVATION_S = 13.75e-9
"""tRCD of DDR4-3200AA (JEDEC JESD79-4)."""
PHASES = {
    "build": "buildCycles",
    "lookup": "lookupCycles",
    "convert": "convertCycles",
    "write_back": "writeBackCycles",
}
"""Phases of the core's timing and the unit's statistic of each."""

# K, N, batch, wbits, abits, NBW, group size (0: one block), scaled. Widths 2..8, NBW 2..5, batch 1..32;
# some edges are ragged.
TILES: tuple[tuple[int, int, int, int, int, int, int, bool], ...] = (
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


@dataclass(frozen=True)
class Comparison:
    """One tile on one substrate; times in C-SRAM cycles."""

    substrate: str
    streams: int
    tile: str
    core_phases: dict[str, int]
    gem5_phases: dict[str, int]
    engine_cycles: float
    edge_cycles: float
    gem5_cycles: int
    correct: bool

    @property
    def phases_equal(self) -> bool:
        """Whether every phase takes the same number of cycles."""
        return self.core_phases == self.gem5_phases

    @property
    def error(self) -> float:
        """Of the modelled time, edges included, relative to gem5's."""
        return (self.engine_cycles + self.edge_cycles) / self.gem5_cycles - 1

    @property
    def engine_error(self) -> float:
        """Of the engine's time alone, relative to gem5's."""
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
            "edge_cycles": round(self.edge_cycles, 1),
            "gem5_cycles": self.gem5_cycles,
            "engine_error": round(self.engine_error, 4),
            "error": round(self.error, 4),
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


def tiles(seed: int = 1) -> list[Tile]:
    """The tiles of `TILES` with normally distributed operands, quantized to their widths."""
    random = np.random.default_rng(seed)
    return [_tile(random, *fields) for fields in TILES]


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
        work = [tile for tile in tiles() if _fits(machine, tile)]
        trace = folder / f"{substrate}.trace"
        write_trace(trace, work)
        run = gem5.replay(
            machine,
            trace,
            folder / f"{substrate}-{streams}",
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
            found.append(_compare(machine, substrate, streams, tile, row, phases))
    return found


def unit_latency(system: System) -> float:
    """Seconds from a unit's request for a line of its weight stream to the line.

    A core's load from memory also crosses its private caches, and it opens a DRAM row; a stream finds most
    rows open.
    """
    private = system.l2.latency.value / system.cores.clock.si
    return system.memory.latency.si - private - ROW_ACTIVATION_S


def _transfer(system: System, size: int, latency: float) -> float:
    """Seconds to move `size` bytes line by line, as many lines under way as a unit has MSHRs."""
    assert system.pim is not None
    lines = -(-size // system.llc.line.whole)
    return latency * (1 + (lines - 1) / system.pim.mshrs.value)


def _shape(tile: Tile) -> Shape:
    return Shape(
        tile.k,
        tile.n,
        tile.batch,
        tile.code.wbits,
        tile.code.value_bits,
        tile.abits,
        tile.nbw,
        tile.group_size,
    )


def _fits(system: System, tile: Tile) -> bool:
    """Whether table and staging rows fit the arrays; the unit refuses the others."""
    try:
        _core.plan_tile(system.slice_config(slices=1), *_shape(tile))
    except ValueError:
        return False
    return True


def _compare(
    system: System, substrate: str, streams: int, tile: Tile, row: dict[str, int], phases: dict[str, int]
) -> Comparison:
    pim, llc = system.pim, system.llc
    assert pim is not None
    units = Units(system, substrate=substrate, convert="memory", prt=tile.prt, slices=1)
    profile = PROFILES.scanned(tile.x, units.scan(tile.abits, tile.signed, tile.nbw, tile.group_size))
    stored = tile.k * -(-tile.n * tile.code.wbits // 8)
    if tile.scales is not None:
        stored += 2 * tile.blocks * tile.n
    timed = units.tile(_shape(tile), profile, stored, tile.scales is not None)
    # What one unit can ask for: its lines under way over the time that one takes.
    latency = unit_latency(system)
    limit = min(pim.port.value * pim.clock.si, pim.mshrs.value * llc.line.value / latency)
    operands = tile.x.nbytes + (4 * tile.batch if tile.scales is not None else 0)
    edges = _transfer(system, operands, latency) + _transfer(system, 4 * tile.batch * tile.n, llc.latency.si)
    return Comparison(
        substrate=substrate,
        streams=streams,
        tile=tile.name,
        core_phases={phase: int(getattr(timed.timing, phase)) for phase in PHASES},
        gem5_phases=phases,
        engine_cycles=timed.throttled(limit) * pim.clock.si,
        edge_cycles=edges * pim.clock.si,
        gem5_cycles=row["cycles"],
        correct=bool(row["good"]),
    )


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
