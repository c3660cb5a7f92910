"""Validation of gem5's PIM unit against the core and the fast engine, tile by tile.

Two things are compared for each tile of a slice on each substrate:

- *phases*: cycles of build, look-up, conversion and write-back. They must be equal, because the unit drives
  the core's `TileSequencer`; only the arrival of weights is gem5's own.
- *end to end*: cycles from the descriptor's arrival to the last result (the completion record's `cycles`),
  against the fast engine's time of the tile without fetching the descriptor and writing the record.

Tiles are drawn at random from a seed, or come from a trace. The engine's time is a mean over refreshes. A
short tile meets one or none, which `refreshes` counts.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from math import inf
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

import numpy as np

from sailsim import _core
from sailsim.base.input_file import sha256_of
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.tile import Scales, Tile
from sailsim.lut_gemv.trace_file import Trace, decode_tile, read_trace
from sailsim.sim.gem5.binary import Gem5, Gem5Run
from sailsim.sim.gem5.cached_runs import run_or_load
from sailsim.sim.gem5.replay import replay_tiles
from sailsim.sim.gem5.stored import ALONE, STREAM_GB_S, VALIDATE, NeighbourLoad, Row, load_of, rows_of
from sailsim.sim.machine.dram import bandwidth_shares
from sailsim.sim.machine.substrate import load_substrate, substrate_names
from sailsim.sim.machine.system import System, memory_paths, memory_system
from sailsim.sim.machine.system_files import with_substrate
from sailsim.sim.step.tile_time import timed_tile
from sailsim.sim.step.tiles import PimUnits

PHASES = {
    "build": "buildCycles",
    "lookup": "lookupCycles",
    "convert": "convertCycles",
    "write_back": "writeBackCycles",
}
"""Phases of the core's timing, with the unit's statistic for each."""
UNITS = 48
"""Most units of a run. Each has one tile; only the tiles of a group run at the same time."""
OFFSETS = (0, 1 << 20)
"""Offsets of the readers' first address, in bytes: one for each half of gem5's banks."""

CODES: Mapping[str, tuple[Callable[[int], WeightCode], Sequence[int]]] = {
    "twos": (WeightCode.twos, range(2, 9)),
    "offset": (lambda wbits: WeightCode.offset(wbits, 1 << wbits - 1), range(2, 9)),
    "ternary": (lambda wbits: WeightCode.ternary(), (2,)),
    "iq4_nl": (lambda wbits: WeightCode.iq4_nl(), (4,)),
    "mxfp4": (lambda wbits: WeightCode.mxfp4(), (4,)),
    "nf4": (lambda wbits: WeightCode.nf4(), (4,)),
}
"""Weight codes by name, with the widths that a descriptor can express."""


class DrawnTile(NamedTuple):
    """Shape and number formats of a random tile; a group size of 0 means one block without scales."""

    k: int
    n: int
    batch: int
    wbits: int
    abits: int
    nbw: int
    group_size: int = 0
    code: str = "twos"


def drawn(seed: int, count: int) -> list[DrawnTile]:
    """Draw small tiles of all kinds: K 8..700, N 4..360 and batch 1..11, log-uniformly; half have scales."""
    random = np.random.default_rng(seed)
    octaves = ((3.0, 9.45), (2.0, 8.5), (0.0, 3.5))
    shapes = []
    for _ in range(count):
        k, n, batch = (int(2 ** random.uniform(*ends)) for ends in octaves)
        code = str(random.choice(list(CODES)))
        widths = (int(random.choice(CODES[code][1])), int(random.integers(4, 9)), int(random.integers(2, 6)))
        group_size = int(random.integers(16, 129)) if random.integers(2) else 0
        shapes.append(DrawnTile(k, n, batch, *widths, group_size, code))
    return shapes


def drawn_tiles(shapes: Sequence[DrawnTile], seed: int) -> list[Tile]:
    """Tiles of some shapes with random operands."""
    random = np.random.default_rng(seed)
    return [random_tile(random, shape) for shape in shapes]


def random_tile(random: np.random.Generator, shape: DrawnTile) -> Tile:
    """A tile with normally distributed activations, quantized to their width."""
    k, n, batch, wbits, abits, nbw, group_size, code = shape
    most = 2 ** (abits - 1) - 1
    x = np.clip(np.rint(random.normal(0, most / 3, (batch, k))), -most - 1, most)
    weights = CODES[code][0](wbits)
    codes = random.integers(0, weights.legal_codes, (k, n)).astype(np.uint8)
    scales = None
    if group_size:
        blocks = -(-k // group_size)
        scales = Scales(
            random.uniform(0.001, 0.1, (blocks, n)).astype(np.float16),
            random.uniform(0.001, 0.1, batch).astype(np.float32),
        )
    return Tile(
        x=x.astype(np.int8 if abits <= 8 else np.int16),
        codes=codes,
        code=weights,
        abits=abits,
        nbw=nbw,
        group_size=group_size,
        scales=scales,
        name=f"{k}x{n} b{batch} w{wbits}a{abits} nbw{nbw}"
        + (f" g{group_size}" if group_size else "")
        + (f" {code}" if code != "twos" else ""),
    )


Times = Literal["in-step", "random"]
"""Arrival of the readers' requests: all at once, a line each period; or each after 0 to 2 periods."""


def shared_bandwidth(
    system: System,
    units: int,
    streams: int,
    stream_gb_s: float = STREAM_GB_S,
    reach: float | None = None,
    times: Times = "in-step",
) -> tuple[float, float]:
    """Bandwidth of units that stream weights and of readers next to them, each in total, in bytes/s.

    gem5's readers in step start together with the same period, at addresses that differ by whole rows of all
    channels. Their lines reach a channel together, so a burst has `streams` lines, and bursts come evenly.
    Readers at random times come in the bursts of a step, `memory.burst`.

    Args:
        system: the machine.
        units: number of units that stream.
        streams: number of readers, each asking for `stream_gb_s`.
        reach: share of the peak that long reads get; default: all but refreshes, as in gem5's DRAM.
        times: arrival of the readers' requests.
    """
    limits, dram, line = memory_system(system, max(1, streams)), system.memory, system.llc.line.whole
    window = limits.stream.window * units / system.llc.slices.value
    weights = replace(limits.stream, demand=units * memory_paths(system)[1].rate, window=window, parts=units)
    queue = dram.burst_seconds(line)
    queue = max(queue, streams * dram.line_seconds(line)) if times == "in-step" else queue
    work = replace(limits.cores, demand=streams * stream_gb_s * 1e9, queue=queue, even=times == "in-step")
    capacity = limits.peak * (dram.reads(line, dram.lines_per_row(line)) if reach is None else reach)
    rates = bandwidth_shares(capacity, (weights, work) if streams else (weights,))
    return rates[0], rates[1] if streams else 0.0


def summaries(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Summaries (`summary`) of the rows of each load."""
    return [
        {"load": str(load), **summary([row for row in rows if load_of(row) == load])}
        for load in dict.fromkeys(map(load_of, rows))
    ]


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Agreement of all results and phases, and the median and worst absolute end-to-end errors."""
    worst = max(rows, key=lambda row: abs(row["error"]))
    return {
        "tiles": len(rows),
        "all_correct": all(row["correct"] for row in rows),
        "all_phases_equal": all(row["phases_equal"] for row in rows),
        "median_error": median(abs(row["error"]) for row in rows),
        "worst_error": abs(worst["error"]),
        "worst_tile": f"{worst['tile']} on {worst['substrate']}, {load_of(worst)}",
    }


def validate(
    gem5: Gem5, machine: str, system: System, out: Path, *,
    seed: int = 1, tiles: int = 204, streams: int = 16, units: int = 5, trace: Path | None = None,
    timeout_s: float = 1800, tell: Callable[[str], None] = lambda text: None,
) -> list[Row]:  # fmt: skip
    """Compare tiles on a machine under several loads; comparisons in the folder are not repeated.

    Drawn tiles run alone on the machine's substrate. The first third of them also run alone on every other
    substrate, with `units` at a time (one shape, different operands) and next to `streams` readers. Tiles of
    a trace run alone and, in the trace's order, `units` at a time.

    Args:
        gem5: with the module.
        machine: the system as the user named it.
        system: the same, with PIM units.
        out: folder of the results; gem5's own output goes below it.
        seed: seed of the drawn tiles.
        tiles: number of drawn tiles.
        units: tiles that start together, 1..`UNITS`.
        trace: trace of the tiles, in place of drawn ones.
        timeout_s: limit for one run of gem5.
        tell: called with the description of each comparison.

    Raises:
        SailsimError: no PIM units, gem5 did not get to the end, or it refused a tile.
    """
    own = str(system.require_pim().substrate.value)
    loads = [(own, ALONE)]
    if trace is None:
        loads += [(substrate, ALONE) for substrate in substrate_names()]
        loads += [(own, NeighbourLoad(each, streams, at)) for each in (1, units) for at in OFFSETS]
    rows: list[Row] = []
    for at, (substrate, load) in enumerate(dict.fromkeys([*loads, (own, NeighbourLoad(units))])):
        tell(f"tiles on {substrate}, {load}")
        varied = with_substrate(system, substrate, "sailsim gem5 validate")
        count = -(-tiles // 3) if at else tiles
        source: Row = {"trace": sha256_of(trace, "trace")} if trace else {"seed": seed, "tiles": count}
        point = {"command": VALIDATE, "system": machine, "substrate": substrate, **source, **asdict(load)}

        def simulate(system: System = varied, load: NeighbourLoad = load, count: int = count) -> Row:
            if trace:
                groups, row = traced_groups(system, load.units, read_trace(trace))
            else:
                groups, row = drawn_groups(system, load.units, seed, count), 0
            compared = compare(gem5, system, out / VALIDATE, groups, load, timeout_s, row)
            return {"comparisons": [json.dumps(each) for each in compared]}

        rows += rows_of(run_or_load(out, point, system, gem5, simulate))
    return rows


def drawn_groups(system: System, units: int, seed: int, count: int) -> list[list[Tile]]:
    """Drawn tiles that fit the machine's arrays, in groups of one shape with different operands per unit."""
    shapes = drawn(seed, count)
    by_unit = [drawn_tiles(shapes, seed + 1000 * (unit + 1)) for unit in range(units)]
    return [list(group) for group in zip(*by_unit, strict=True) if _fits(system, group[0])]


def traced_groups(system: System, units: int, trace: Trace) -> tuple[list[list[Tile]], int]:
    """Groups of a trace's tiles in its order, and the trace's placement as `row` of `write_trace`."""
    tiles = [replace(decode_tile(trace, at), name=name) for at, name in enumerate(trace.header["tiles"])]
    rows, rest = np.divmod(np.diff(trace.descriptors["weights"]), system.memory.row_of_channels)
    apart = len(rows) > 0 and not rest.any() and bool((rows % 2 == 1).all())
    groups = [tiles[at : at + units] for at in range(0, len(tiles), units)]
    return groups, system.memory.row_of_channels if apart else 0


def _fits(system: System, tile: Tile) -> bool:
    """Whether table and staging rows fit the arrays; the unit refuses other tiles."""
    try:
        _core.plan_tile(system.slice_config(slices=1), tile.shape, tile.scales is not None)
    except ValueError:
        return False
    return True


def compare(
    gem5: Gem5,
    system: System,
    folder: Path,
    groups: Sequence[Sequence[Tile]],
    load: NeighbourLoad = ALONE,
    timeout_s: float = 1800,
    row: int = 0,
) -> list[Row]:
    """Compare groups of tiles. The tiles of a group start together, each on its own unit; then the next
    group.

    Args:
        gem5: with the module.
        system: a machine with PIM units.
        folder: for gem5's output.
        groups: of at most `load.units` tiles.
        load: units, 1..`UNITS`, and readers.
        timeout_s: limit for one run of gem5.
        row: placement of the tiles' weights, as `write_trace` takes it.

    Returns:
        A row for each group, of its slowest tile: `substrate`, `units`, `streams`, `stream_offset`, `tile`,
        the cycles of each of `PHASES` as ``core_build`` and ``gem5_build``, `phases_equal`, `correct`,
        `engine_cycles`, `gem5_cycles`, `error` of the engine's relative to gem5's, and `refreshes`.

    Raises:
        SailsimError: no PIM units, gem5 did not get to the end, or a tile was refused by it.
    """
    # Used in file names; the system may name its substrate by a path.
    substrate = load_substrate(str(system.require_pim().substrate.value)).name
    compared: list[Row] = []
    at_once = UNITS // load.units
    for first in range(0, len(groups), at_once):
        part = groups[first : first + at_once]
        name = f"{substrate}-{load.units}-{load.streams}-{load.stream_offset}-{first}"
        words = ["--phase-ends", ",".join(map(str, itertools.accumulate(map(len, part))))]
        words += ["--streams", f"{load.streams}:{STREAM_GB_S}:in-step:{load.stream_offset}"]
        tiles = [tile for group in part for tile in group]
        run = replay_tiles(gem5, system, tiles, folder / name, row=row, timeout_s=timeout_s, extra=words)
        records = enumerate(run.tiles())
        for group in part:
            compared.append(_slowest([_compared(system, tile, run, *next(records), load) for tile in group]))
    return compared


def _compared(
    system: System, tile: Tile, run: Gem5Run, unit: int, record: Mapping[str, int], load: NeighbourLoad
) -> Row:
    pim = system.require_pim()
    engine_s, timing = engine_seconds(system, tile, load)
    core = {f"core_{phase}": int(getattr(timing, phase)) for phase in PHASES}
    simulated = {f"gem5_{phase}": int(run.unit_stat(unit, name)) for phase, name in PHASES.items()}
    # All ranks of gem5 start a refresh every tREFI.
    interval_ps = system.memory.timing.trefi.si * 1e12
    first, last = (record[name] // interval_ps for name in ("rung_ps", "answered_ps"))
    return {
        "substrate": str(pim.substrate.value),
        **asdict(load),
        "tile": tile.name,
        **core,
        **simulated,
        "phases_equal": [*core.values()] == [*simulated.values()],
        "correct": bool(record["good"]),
        "engine_cycles": engine_s * pim.clock.si,
        "gem5_cycles": record["cycles"],
        "refreshes": int(last - first),
    }


def engine_seconds(system: System, tile: Tile, load: NeighbourLoad) -> tuple[float, _core.TileTiming]:
    """Seconds of a tile in the engine under a load, from descriptor to results, and its timing. Its data are
    in memory."""
    units = PimUnits.alone(system, tile.prt)
    timed = timed_tile(units, tile)
    rate = shared_bandwidth(system, load.units, load.streams)[0] / load.units
    seconds = float(timed.throttled(inf, max(units.dram.latency, units.window / rate))[0])
    return seconds - timed.kind.overheads["descriptor"] - timed.kind.overheads["record"], timed.timings[0]


def _slowest(compared: Sequence[Row]) -> Row:
    """One row for tiles that ran together: the slowest in gem5, or the first whose phases differ, against the
    slowest in the engine."""
    differing = [row for row in compared if not row["phases_equal"]]
    shown = (differing or sorted(compared, key=lambda row: -row["gem5_cycles"]))[0]
    engine = max(row["engine_cycles"] for row in compared)
    return {
        **shown,
        "correct": all(row["correct"] for row in compared),
        "engine_cycles": engine,
        "error": engine / shown["gem5_cycles"] - 1,
    }
