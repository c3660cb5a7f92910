"""Time of a descriptor's tile alone on one unit."""

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
from sailsim.sim.step.tiles import PimUnits, TileRequest, TileShape, TileTable, fastest_times

Memory = Literal["port", "chip", "dram"]


@dataclass(frozen=True)
class TileTime:
    """Time of a tile on one unit, in cycles of the C-SRAM clock.

    Attributes:
        memory: place of the weights (`time_tile`).
        phases: cycles of `load`, `build`, `lookup`, `convert` and `write_back` with the weights at hand;
            `load` is the part that computing does not hide.
        waiting: cycles that the arrays wait for weights beyond that.
        overheads: cycles of `descriptor`, `operands`, `results` and `record`, before and after the groups;
            empty for `port`.
        clock_hz: clock rate of the C-SRAM.
    """

    memory: Memory
    phases: Mapping[str, int]
    waiting: float
    overheads: Mapping[str, float]
    clock_hz: float

    @property
    def working(self) -> float:
        """Cycles from the first group's load to the last one's results."""
        return sum(self.phases.values()) + self.waiting

    @property
    def cycles(self) -> float:
        """All cycles, overheads included."""
        return self.working + sum(self.overheads.values())

    @property
    def seconds(self) -> float:
        """Seconds of all cycles."""
        return self.cycles / self.clock_hz


def time_tile(system: System, tile: Tile, memory: Memory = "dram") -> TileTime:
    """Time a tile alone on one unit of a machine, which has all its outputs.

    Args:
        system: a machine with PIM units, which use their own substrate and conversion in memory.
        tile: operands and widths; its counts are those of its own activations.
        memory: place of the weights.
            ``port``: as fast as the port takes them, without overheads. These are the cycles of
            docs/contract.md, section 4, that `sailsim gemv` and `sailsim replay` print.
            ``chip``: in the LLC, a line after its latency; with descriptor, operands, results and record.
            ``dram``: in DRAM, fetched ahead, alone on the machine; with the same overheads. Without
            descriptor and record these cycles are compared with gem5's (`sailsim gem5 validate`).

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
    overheads = {name: each * units.clock for name, each in timed.kind.overheads.items()}
    phases = cycles_by_phase(timed.timings[0])
    waiting = float(seconds[0] - timed.seconds[0]) * units.clock
    return TileTime(memory, phases, waiting, overheads, units.clock)


def timed_tile(unit: PimUnits, tile: Tile) -> TileTable:
    """Time a descriptor's tile on `unit`, as a table of one row.

    Raises:
        SailsimError: the tile does not fit the arrays.
    """
    request, profiles = _request(unit, tile)
    return unit.table(request, profiles(request.shape))


def fastest_nbw(system: System) -> Callable[[Tile], int]:
    """Function from a trace's tile to its fastest NBW on one unit of a machine."""
    units = PimUnits(system, substrate=None, convert=None, prt=True, slices=1, operands="dram")
    return lambda tile: int(fastest_times(units.every_nbw(*_request(units, tile)), units.weights_rate).nbw[0])


def _request(unit: PimUnits, tile: Tile) -> tuple[TileRequest, Callable[[TileShape], list[PatternProfile]]]:
    def profiles(shape: TileShape) -> list[PatternProfile]:
        scan = unit.scan(tile.abits, tile.signed, shape.nbw, tile.group_size)
        return [PROFILES.scanned(tile.x, scan)]

    codebook = 2 << tile.code.wbits if tile.code.kind == "book" else 0
    options = (tile.scales is not None, tile.has_minimum, codebook)
    return TileRequest(TileShape(*tile.shape), tile.stored_bytes(), *options), profiles
