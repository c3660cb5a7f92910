"""Does gem5's PIM unit take the time that the core says? Tiles through both, phase by phase and end to end.

What is compared, per tile of one slice and per substrate:

- *phases*: cycles of build, look-up, conversion and write-back, which must be equal: the unit drives the
  core's `TileSequencer`, and only when weights arrive is gem5's own;
- *end to end*: cycles from the descriptor's arrival to the last result (the completion record's `cycles`)
  against the fast engine's time of the tile without fetching descriptor and writing record.

Tiles are drawn at random, by a seed, or are those of a trace. The engine gives a mean over refreshes; a short
tile meets one or none, which `refreshes` counts.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

import numpy as np

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import sha256_of
from sailsim.lut_gemv.codes import WeightCode
from sailsim.lut_gemv.tile import Scales, Tile
from sailsim.lut_gemv.trace import Trace, decode_tile, read_trace, write_trace
from sailsim.sim.dram import Dram, memory, memory_paths, shares
from sailsim.sim.files import on_substrate
from sailsim.sim.gem5.binary import Gem5, Gem5Run
from sailsim.sim.gem5.records import run_or_load
from sailsim.sim.replay import timed_tile
from sailsim.sim.substrate import load_substrate, substrate_names
from sailsim.sim.system import System
from sailsim.sim.tiles import PimUnits

COMMAND = "validate"
"""What the column `command` of these records says."""
PHASES = {
    "build": "buildCycles",
    "lookup": "lookupCycles",
    "convert": "convertCycles",
    "write_back": "writeBackCycles",
}
"""Phases of the core's timing and the unit's statistic of each."""
UNITS = 48
"""Of a run at most; a tile each, of which so many are under way at a time as are compared together."""
STREAM_GB_S = 4.0
"""What each reader beside the units asks for."""
OFFSETS = (0, 1 << 20)
"""Where readers begin, in bytes: their rows lie in one half of gem5's banks and in the other."""

CODES: Mapping[str, Callable[[int], WeightCode]] = {
    "twos": WeightCode.twos,
    "offset": lambda wbits: WeightCode.offset(wbits, 1 << wbits - 1),
    "ternary": lambda wbits: WeightCode.ternary(),
    "iq4_nl": lambda wbits: WeightCode.iq4_nl(),
    "mxfp4": lambda wbits: WeightCode.mxfp4(),
    "nf4": lambda wbits: WeightCode.nf4(),
}
"""Codes by name, of so many bits where they have them to choose."""
WIDTHS: Mapping[str, Sequence[int]] = {
    **dict.fromkeys(("twos", "offset"), range(2, 9)),
    "ternary": (2,),
    **dict.fromkeys(("iq4_nl", "mxfp4", "nf4"), (4,)),
}
"""Bits of a code that a descriptor can tell, by its name."""


class Drawn(NamedTuple):
    """A tile's code and its shape: K, N, batch, wbits, abits, NBW, group size (0: one block), scaled."""

    code: str
    fields: tuple[int, int, int, int, int, int, int, bool]


def drawn(seed: int, count: int) -> list[Drawn]:
    """Small tiles of all kinds, drawn at random: K 8..700, N 4..360, batch 1..11, each as likely in every
    octave; half of them with scales."""
    random = np.random.default_rng(seed)
    octaves = ((3.0, 9.45), (2.0, 8.5), (0.0, 3.5))
    shapes = []
    for _ in range(count):
        k, n, batch = (int(2 ** random.uniform(*ends)) for ends in octaves)
        code = str(random.choice(list(CODES)))
        widths = (int(random.choice(WIDTHS[code])), int(random.integers(4, 9)), int(random.integers(2, 6)))
        scaled = bool(random.integers(2))
        group_size = int(random.integers(16, 129)) if scaled else 0
        shapes.append(Drawn(code, (k, n, batch, *widths, group_size, scaled)))
    return shapes


def drawn_tiles(shapes: Sequence[Drawn], seed: int) -> list[Tile]:
    """Tiles of some shapes with operands of a seed."""
    random = np.random.default_rng(seed)
    return [random_tile(random, *each.fields, code=each.code) for each in shapes]


def random_tile(
    random: np.random.Generator,
    k: int,
    n: int,
    batch: int,
    wbits: int,
    abits: int,
    nbw: int,
    group_size: int,
    scaled: bool,
    *,
    uniform: bool = False,
    code: str = "twos",
) -> Tile:
    """A tile with normally distributed activations, quantized to their width; ``uniform``: any as often.
    ``code``: one of `CODES`.

    Of equally often ones the scales are drawn first, and none is below 0.01: recorded statistics of gem5 are
    of tiles that were drawn so.
    """

    def draw_scales(lowest: float) -> Scales:
        blocks = -(-k // group_size)
        return Scales(
            random.uniform(lowest, 0.1, (blocks, n)).astype(np.float16),
            random.uniform(lowest, 0.1, batch).astype(np.float32),
        )

    most = 2 ** (abits - 1) - 1
    scales = draw_scales(0.01) if scaled and uniform else None
    if uniform:
        x = random.integers(-most - 1, most + 1, (batch, k))
    else:
        x = np.clip(np.rint(random.normal(0, most / 3, (batch, k))), -most - 1, most)
    weights = CODES[code](wbits)
    codes = random.integers(0, weights.legal_codes, (k, n)).astype(np.uint8)
    if scaled and not uniform:
        scales = draw_scales(0.001)
    return Tile(
        x=x.astype(np.int8 if abits <= 8 else np.int16),
        codes=codes,
        code=weights,
        abits=abits,
        nbw=nbw,
        group_size=group_size,
        scales=scales,
        name=f"{k}x{n} b{batch} w{wbits}a{abits} nbw{nbw}"
        + (f" g{group_size}" if scaled else "")
        + (f" {code}" if code != "twos" else ""),
    )


Times = Literal["in-step", "random"]
"""When readers ask: a line each period, all at once; or after a time of 0 to 2 periods, each for itself."""


def shared_bandwidth(
    system: System,
    units: int,
    streams: int,
    stream_gb_s: float = STREAM_GB_S,
    reach: float | None = None,
    times: Times = "in-step",
) -> tuple[float, float]:
    """What PIM units that stream weights get together beside readers, and what those get, bytes/s.

    gem5's readers that are in step start at the same time with the same period, at addresses that differ by
    whole rows of all channels: their lines come to a channel together, so a burst has `streams` lines, and
    bursts come evenly. Those that ask at random times come in the bursts of a step, `memory.burst`.

    Args:
        system: the machine.
        units: how many stream.
        streams: readers, each asking for `stream_gb_s`.
        reach: share of the peak that long reads get; default: all but refreshes, as gem5's DRAM has it.
        times: when the readers ask.
    """
    limits, dram = memory(system, max(1, streams)), Dram(system.memory, system.llc.line.whole)
    window = limits.stream.window * units / system.llc.slices.value
    weights = replace(limits.stream, demand=units * memory_paths(system)[1].rate, window=window, parts=units)
    queue = max(dram.queue, streams * dram.line_s) if times == "in-step" else dram.queue
    work = replace(limits.cores, demand=streams * stream_gb_s * 1e9, queue=queue, even=times == "in-step")
    capacity = limits.peak * (dram.reads(dram.lines_of_row) if reach is None else reach)
    rates = shares(capacity, (weights, work) if streams else (weights,))
    return rates[0], rates[1] if streams else 0.0


@dataclass(frozen=True)
class Load:
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


ALONE = Load()


@dataclass(frozen=True)
class Comparison:
    """One tile on one substrate; times in C-SRAM cycles. Of tiles that ran at the same time, the slowest."""

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


def summaries(comparisons: Sequence[Comparison]) -> list[tuple[Load, Summary]]:
    """A summary of each load."""
    loads = dict.fromkeys(each.load for each in comparisons)
    return [(load, summarise([each for each in comparisons if each.load == load])) for load in loads]


@dataclass(frozen=True)
class Validation:
    """What is to be compared on a machine: tiles drawn by a seed, or those of a trace.

    A drawn tile runs alone on the machine's substrate, the first third of them alone on every other one,
    and on `together` units at a time (of one shape, with other numbers) and beside `streams` readers. Tiles
    of a trace run alone and, in the trace's order, `together` at a time.

    Attributes:
        machine: the system as the user named it.
        system: the same, with PIM units.
        tiles: how many are drawn.
        together: units that begin together, 1..`UNITS`.
    """

    machine: str
    system: System
    seed: int = 1
    tiles: int = 204
    streams: int = 16
    together: int = 5
    trace: Path | None = None

    def loads(self) -> list[tuple[str, Load]]:
        """Substrates and loads, in the order in which they are compared."""
        own = str(self.system.require_pim().substrate.value)
        together = (own, Load(self.together))
        if self.trace is not None:
            return list(dict.fromkeys([(own, ALONE), together]))
        beside = [
            (own, Load(units, self.streams, offset)) for units in (1, self.together) for offset in OFFSETS
        ]
        alone = [(substrate, ALONE) for substrate in (own, *substrate_names())]
        return list(dict.fromkeys([*alone, *beside, together]))

    def run(
        self, gem5: Gem5, out: Path, timeout_s: float = 1800, tell: Callable[[str], None] = lambda text: None
    ) -> list[Comparison]:
        """All comparisons, from the folder where it holds them.

        Args:
            gem5: with the module.
            out: folder of the results; gem5's own output goes below it.
            timeout_s: of one run of gem5.
            tell: called with what is under way.

        Raises:
            SailsimError: no PIM units, gem5 did not get to the end, or a tile was refused by it.
        """
        comparisons: list[Comparison] = []
        for substrate, load in self.loads():
            tell(f"tiles on {substrate}, {load}")
            comparisons += self._compared(gem5, substrate, load, out, timeout_s)
        return comparisons

    def _compared(
        self, gem5: Gem5, substrate: str, load: Load, out: Path, timeout_s: float
    ) -> list[Comparison]:
        """Those of a substrate and a load; a third of the draw where these are not the first."""
        count = self.tiles if (substrate, load) == self.loads()[0] else -(-self.tiles // 3)
        tiles = (
            {"trace": sha256_of(self.trace, "trace")} if self.trace else {"seed": self.seed, "tiles": count}
        )
        point = {"command": COMMAND, "system": self.machine, "substrate": substrate, **tiles, **asdict(load)}
        system = on_substrate(self.system, substrate, "sailsim gem5 validate")

        def simulate() -> dict[str, Any]:
            row = 0
            if self.trace:
                groups, row = traced_groups(system, load.units, read_trace(self.trace))
            else:
                groups = drawn_groups(system, load.units, self.seed, count)
            compared = compare(gem5, system, out / COMMAND, groups, load, timeout_s, row)
            return {"comparisons": [json.dumps(asdict(each)) for each in compared]}

        return comparisons_of(run_or_load(out, point, self.system, gem5, simulate))


def comparisons_of(record: Mapping[str, Any]) -> list[Comparison]:
    """What a stored record of a validation holds."""
    rows = [json.loads(text) for text in record["comparisons"]]
    return [Comparison(**row | {"load": Load(**row["load"])}) for row in rows]


def drawn_groups(system: System, units: int, seed: int, count: int) -> list[list[Tile]]:
    """Every shape of a draw that fits the machine's arrays, with other numbers for each of some units."""
    shapes = drawn(seed, count)
    of_all = [drawn_tiles(shapes, seed + 1000 * (unit + 1)) for unit in range(units)]
    return [list(alike) for alike in zip(*of_all, strict=True) if _fits(system, alike[0])]


def traced_groups(system: System, units: int, trace: Trace) -> tuple[list[list[Tile]], int]:
    """The tiles of a trace in its order, some at a time; and `row` of `write_trace`, as the trace lies."""
    named = zip(trace.header["tiles"], (decode_tile(trace, at) for at in range(len(trace))), strict=True)
    tiles = [replace(tile, name=name) for name, tile in named]
    rows, rest = np.divmod(np.diff(trace.descriptors["weights"]), system.memory.row_of_channels)
    apart = len(rows) > 0 and not rest.any() and bool((rows % 2 == 1).all())
    groups = [tiles[at : at + units] for at in range(0, len(tiles), units)]
    return groups, system.memory.row_of_channels if apart else 0


def _fits(system: System, tile: Tile) -> bool:
    """Whether table and staging rows fit the arrays; the unit refuses the others."""
    try:
        _core.plan_tile(system.slice_config(slices=1), *tile.shape, tile.scales is not None)
    except ValueError:
        return False
    return True


def compare(
    gem5: Gem5,
    system: System,
    folder: Path,
    groups: Sequence[Sequence[Tile]],
    load: Load = ALONE,
    timeout_s: float = 1800,
    row: int = 0,
) -> list[Comparison]:
    """Groups of tiles that begin together, each tile on a unit of its own; the next when all have ended.

    Args:
        gem5: with the module.
        system: a machine with PIM units.
        folder: for traces and gem5's output.
        groups: of at most `load.units` tiles.
        load: units, 1..`UNITS`, and readers.
        timeout_s: of one run of gem5.
        row: where the tiles' weights lie, as `write_trace` takes it.

    Raises:
        SailsimError: no PIM units, a number of units that is not allowed, gem5 did not get to the end, or a
            tile was refused by it.
    """
    if not 1 <= load.units <= UNITS:
        raise SailsimError(f"units is {load.units}; allowed: 1..{UNITS}.")
    substrate = load_substrate(
        str(system.require_pim().substrate.value)
    ).name  # a word; what is named may be a path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        comparisons: list[Comparison] = []
        at_once = UNITS // load.units
        for first in range(0, len(groups), at_once):
            part = groups[first : first + at_once]
            name = f"{substrate}-{load.units}-{load.streams}-{load.stream_offset}-{first}"
            write_trace(folder / f"{name}.trace", [tile for group in part for tile in group], row=row)
            words = ["--phase-ends", ",".join(map(str, itertools.accumulate(map(len, part))))]
            words += ["--stream", str(load.streams), "--stream-gb-s", str(STREAM_GB_S)]
            words += ["--stream-offset", str(load.stream_offset)]
            run = gem5.replay(
                system,
                folder / f"{name}.trace",
                folder / name,
                units=sum(map(len, part)),
                timeout_s=timeout_s,
                extra=words,
            )
            (folder / f"{name}.trace").unlink()  # as large as the weights, and made again in a moment
            rows = enumerate(run.tiles())
            for group in part:
                compared = [_compared(system, tile, run, *next(rows), load) for tile in group]
                comparisons.append(_slowest(compared))
    except OSError as error:
        raise SailsimError(f"folder {folder} cannot be written: {error.strerror}.") from None
    return comparisons


def _compared(
    system: System, tile: Tile, run: Gem5Run, unit: int, row: Mapping[str, int], load: Load
) -> Comparison:
    """One tile of a run, by its unit and its row."""
    substrate = str(system.require_pim().substrate.value)
    if row["status"] != 1:
        raise SailsimError(f"tile {tile.name} on {substrate} was refused with status {row['status']}.")
    engine_s, timing = engine_seconds(system, tile, load)
    # gem5's ranks all start a refresh every tREFI.
    first, last = (row[name] // (system.memory.timing.trefi.si * 1e12) for name in ("rung_ps", "answered_ps"))
    return Comparison(
        substrate=substrate,
        load=load,
        tile=tile.name,
        core_phases={phase: int(getattr(timing, phase)) for phase in PHASES},
        gem5_phases={phase: int(run.unit_stat(unit, name)) for phase, name in PHASES.items()},
        engine_cycles=engine_s * system.require_pim().clock.si,
        gem5_cycles=row["cycles"],
        correct=bool(row["good"]),
        refreshes=int(last - first),
    )


def engine_seconds(system: System, tile: Tile, load: Load) -> tuple[float, _core.TileTiming]:
    """The engine's time of a tile on each of the units, its data in memory, from descriptor to results."""
    units = PimUnits(
        system, substrate=None, convert=system.unit_convert, prt=tile.prt, slices=1, operands="dram"
    )
    timed = timed_tile(units, tile)
    rate = shared_bandwidth(system, load.units, load.streams)[0] / load.units
    seconds = timed.throttled(inf, max(units.dram.latency, units.window / rate))
    return seconds - timed.edges.descriptor - timed.edges.record, timed.timing


def _slowest(compared: Sequence[Comparison]) -> Comparison:
    """Tiles that ran at the same time as one: the slowest in gem5 and in the engine, unless phases differ."""
    shown = next(
        (each for each in compared if not each.phases_equal), max(compared, key=lambda each: each.gem5_cycles)
    )
    return replace(
        shown,
        engine_cycles=max(each.engine_cycles for each in compared),
        correct=all(each.correct for each in compared),
    )
