"""A descriptor's tile alone on one unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from sailsim import _core
from sailsim.base.arguments import check_type
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.counts import cycles_by_phase
from sailsim.lut_gemv.tile import Tile
from sailsim.sim.machine.system import System
from sailsim.sim.step.patterns import PROFILES, PatternProfile
from sailsim.sim.step.tiles import FastestTiles, PimUnits, TileRequest, TileShape, TileTable

Memory = Literal["port", "chip", "dram"]


@dataclass(frozen=True)
class TileTime:
    """The time of a tile on one unit, in cycles of the C-SRAM clock.

    Attributes:
        memory: where the weights are (`time_tile`).
        phases: cycles of `load`, `build`, `lookup`, `convert` and `write_back` with the weights at hand;
            `load` is what computing does not hide.
        waiting: cycles that the arrays wait for weights beyond that.
        around: cycles of `descriptor`, `operands`, `results` and `record`, which come before and after; none
            for `port`.
        clock_hz: of the cycles.
    """

    memory: Memory
    phases: Mapping[str, int]
    waiting: float
    around: Mapping[str, float]
    clock_hz: float

    @property
    def working(self) -> float:
        """Cycles from the first group's load to the last one's results."""
        return sum(self.phases.values()) + self.waiting

    @property
    def cycles(self) -> float:
        """All cycles, those around the groups too."""
        return self.working + sum(self.around.values())

    @property
    def seconds(self) -> float:
        """All of it in seconds."""
        return self.cycles / self.clock_hz


def time_tile(system: System, tile: Tile, memory: Memory = "dram") -> TileTime:
    """Time a tile alone on one unit of a machine; its outputs are all that unit's.

    Args:
        system: with PIM units; their own substrate and conversion in memory.
        tile: operands and widths; its counts are those of its own activations.
        memory: where the unit finds the weights.
            ``port``: as fast as the port takes them, and nothing around the tile. The cycles of
            docs/contract.md, section 4, that `sailsim gemv` and `sailsim replay` print.
            ``chip``: in the LLC, a line after its latency; with descriptor, operands, results and record.
            ``dram``: in DRAM, asked for ahead of need, alone on the machine; with the same around it. Less
            descriptor and record it is what gem5's cycles are compared with (`sailsim gem5 validate`).

    Raises:
        SailsimError: the machine has no PIM units, or the tile does not fit its arrays.
    """
    check_type("system", system, System, "is a System, as load_system reads it")
    check_type("tile", tile, Tile, "is a Tile")
    if memory not in get_args(Memory):
        raise SailsimError(f"memory is {memory!r}; allowed is one of {', '.join(get_args(Memory))}.")
    units = PimUnits.alone(system, tile.prt)
    timed = timed_tile(units, tile)
    if memory == "port":
        profile = PROFILES.scanned(tile.x, units.scan(tile.abits, tile.signed, tile.nbw, tile.group_size))
        timer = _core.TileTimer(units.config, tile.shape, tile.scales is not None, tile.has_minimum)
        timing = timer.time([profile.counts])[0]
        return TileTime(memory, cycles_by_phase(timing), 0.0, {}, units.clock)
    seconds = timed.seconds if memory == "chip" else timed.throttled(units.dram.rate)
    around = {name: each * units.clock for name, each in timed.kind.edges._asdict().items()}
    phases = cycles_by_phase(timed.timings[0])
    waiting = float(seconds[0] - timed.seconds[0]) * units.clock
    return TileTime(memory, phases, waiting, around, units.clock)


def timed_tile(unit: PimUnits, tile: Tile) -> TileTable:
    """A descriptor's tile as `unit`'s machine times it: a table of one.

    Raises:
        SailsimError: the tile does not fit the arrays.
    """
    request, profiles = _asked(unit, tile)
    return unit.table(request, profiles(request.shape))


def fastest_nbw(system: System) -> Callable[[Tile], int]:
    """What chooses the NBW of a trace's tiles: the fastest on one unit of a machine as its file has it."""
    units = PimUnits(system, substrate=None, convert=None, prt=True, slices=1, operands="dram")
    return lambda tile: FastestTiles(units.every_nbw(*_asked(units, tile)), units.weights_rate).nbw(0)


def _asked(unit: PimUnits, tile: Tile) -> tuple[TileRequest, Callable[[TileShape], list[PatternProfile]]]:
    """A tile as a unit takes it, and its patterns for a shape that may have another NBW."""

    def profiles(shape: TileShape) -> list[PatternProfile]:
        scan = unit.scan(tile.abits, tile.signed, shape.nbw, tile.group_size)
        return [PROFILES.scanned(tile.x, scan)]

    codebook = 2 << tile.code.wbits if tile.code.kind == "book" else 0
    form = (tile.scales is not None, tile.has_minimum, codebook)
    return TileRequest(TileShape(*tile.shape), tile.stored_bytes(), *form), profiles
