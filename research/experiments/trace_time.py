"""A trace on a whole machine: its descriptors over all PIM units, cores and DRAM.

`simulate_trace(load_system("sail-n1"), read_trace("my.trace"))`
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from sailsim.lut_gemv.counts import TILE_PHASES
from sailsim.lut_gemv.trace_file import Trace, decode_tile
from sailsim.sim.machine.system import System, memory_system
from sailsim.sim.step.engine import PHASES
from sailsim.sim.step.schedule import CoreTask, HostCores, ScheduledGemv, Segments, play
from sailsim.sim.step.tile_time import timed_tile
from sailsim.sim.step.tiles import COUNTS, PimUnits, TileTable


@dataclass(frozen=True)
class TraceResult:
    """A simulated trace.

    `rounds` counts the groups of tiles that ran side by side. `breakdown` has seconds by `PHASES` and adds up
    to `seconds`. `counts` are summed over all units (docs/contract.md, section 2).
    """

    tiles: int
    rounds: int
    seconds: float
    breakdown: dict[str, float]
    counts: dict[str, int]
    dram_bytes: float
    pim_cycles: int


def simulate_trace(system: System, trace: Trace, threads: int = 1) -> TraceResult:
    """Simulate a trace's descriptors in order on `system`, submitted by `threads` cores.

    Consecutive descriptors with the same activations and widths are parts of one tensor: up to one a unit,
    they run side by side, and the next round starts when all are done. Only time is simulated;
    `sailsim.lut_gemv.trace_file` computes the results.

    Raises:
        SailsimError: a descriptor that a unit would refuse, or a tile that does not fit its arrays.
    """
    host = HostCores(system, threads)
    units = {prt: PimUnits.alone(system, prt) for prt in (False, True)}
    tasks: list[CoreTask] = []
    tensors: list[ScheduledGemv] = []
    slowest: list[TileTable] = []
    counts = dict.fromkeys(COUNTS, 0)
    for descriptors in _rounds(trace, system.llc.slices.whole):
        read = map(partial(decode_tile, trace), descriptors)
        tiles = [timed_tile(units[tile.prt], tile) for tile in read]
        name = f"descriptor {descriptors[0]}"
        total = sum(tile.kind.bytes for tile in tiles)
        last = max(tiles, key=lambda tile: tile.seconds[0])
        tasks.append(host.submission(name, len(tiles)))
        seconds = float(last.seconds[0])
        tensors.append(ScheduledGemv(name, len(tasks), total, seconds, partial(_throttled, tiles, total)))
        tasks += [host.polling(name, len(tiles), len(tensors)), host.meet(name, len(tensors))]
        slowest.append(last)
        for tile in tiles:
            for count in COUNTS:
                counts[count] += getattr(tile.timings[0], count)
    line = play(memory_system(system, threads), [Segments.one(tasks, tensors)])
    breakdown = dict.fromkeys(PHASES, 0.0)
    breakdown.update(dram=sum(line.stalled), cores=line.cores, sync=line.sync)
    for tile in slowest:
        for phase, seconds in zip(TILE_PHASES, tile.numbers[0].tolist(), strict=False):
            breakdown[phase] += seconds
    return TraceResult(
        tiles=len(trace),
        rounds=len(tensors),
        seconds=line.end,
        breakdown=breakdown,
        counts=counts,
        dram_bytes=line.streamed,
        pim_cycles=sum(tile.timings[0].total for tile in slowest),
    )


def _rounds(trace: Trace, units: int) -> Iterator[list[int]]:
    """Indices of the descriptors that run side by side."""
    together = ("activations", "k", "batch", "abits", "nbw", "flags", "group_size")
    for _, alike in groupby(range(len(trace)), lambda at: [trace.descriptors[at][name] for name in together]):
        every = list(alike)
        yield from (every[at : at + units] for at in range(0, len(every), units))


def _throttled(tiles: Sequence[TileTable], total: float, rate: float) -> float:
    """Seconds of a round whose units share `rate` bytes/s in proportion to what each has to load."""
    return max(float(tile.throttled(rate * tile.kind.bytes / total)[0]) for tile in tiles)
