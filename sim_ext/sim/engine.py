"""The fast engine: one decode step of a model on a machine with PIM units.

It turns a step's operations into the tasks and tensors of `schedule`, with the timing of every tile from the
C++ core and the exact pattern counts of real activations. `docs/engine.md` has the model and its equations.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil
from typing import NamedTuple

import numpy as np

from sailsim.base.errors import SailsimError
from sailsim.sim.activity import ACTIVITY
from sailsim.sim.host import HostCores
from sailsim.sim.memory_path import memory
from sailsim.sim.parts import Part, Same, block_sizes, has_codes, inputs_of, layout, on_cores, parts_of
from sailsim.sim.patterns import PROFILES
from sailsim.sim.point import Point
from sailsim.sim.schedule import CoreTask, MemorySystem, StepTimeline, Tensor
from sailsim.sim.segments import Segment, play
from sailsim.sim.system import System
from sailsim.sim.tiles import COUNTS, TILE_PHASES, PimUnits, Shape, TimedTile
from sailsim.workloads import (
    Activations,
    ModelSpec,
    Op,
    WeightFormat,
    decode_step,
    prefill_step,
)

PHASES = ("dram", "load", "build", "lookup", "convert", "write_back", "cores", "sync")
"""Where a step's time goes; exclusive, in the order of the figures.

dram: PIM units wait for weights; load: they wait for descriptors, activations, or weights that are on chip;
build, lookup, convert, write_back: phases of a tile, the last with the results' way to the LLC; cores: only
the cores compute; sync: hand-over while nobody computes.
"""

NOT_MODELLED = (
    "not modelled: switching C-SRAM between storage and computing, and what the cores' data in the LLC loses "
    "to waiting weights"
)


@dataclass(frozen=True)
class StepResult:
    """One simulated step.

    `breakdown` has seconds by `PHASES` and adds up to `step_s`. `counts` are those of one slice's DFM summed
    over the tensors (docs/contract.md, section 2), `counts_total` those of all slices. `dram_bytes` is
    everything moved, `bytes_by_kind` splits it. `activity` has the events of all units by `ACTIVITY`, what
    energy is reckoned from. `notes` say what the numbers rest on.
    """

    point: Point
    tokens: int
    step_s: float
    breakdown: dict[str, float]
    counts: dict[str, int]
    counts_total: dict[str, int]
    dram_bytes: float
    bytes_by_kind: dict[str, float]
    pim_cycles: int
    events: int
    activity: dict[str, float]
    notes: list[str] = field(default_factory=list)

    @property
    def tokens_per_s(self) -> float:
        """Tokens of all sequences per second."""
        return self.tokens / self.step_s

    @property
    def dram_gb_s(self) -> float:
        """Mean DRAM bandwidth of the step, GB/s."""
        return self.dram_bytes / self.step_s / 1e9


def simulate_step(
    system: System, model: ModelSpec, point: Point, activations: Activations | None = None
) -> StepResult:
    """Simulate one decode step: a token for each of `point.batch` sequences of `point.context` tokens.

    Raises:
        SailsimError: the machine has no PIM units, too few cores, or a tile does not fit it.
    """
    parts = _decode_parts(model, point.formats(model), point.batch, point.context)
    return _simulate(system, model, point, activations, parts, point.batch)


@lru_cache(maxsize=64)
def _decode_parts(model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> tuple[Part, ...]:
    """The operations of a step; studies of machines ask for the same ones again and again."""
    return parts_of(decode_step(model, fmt, batch, context))


def simulate_prefill(
    system: System, model: ModelSpec, point: Point, activations: Activations | None = None
) -> StepResult:
    """Simulate the processing of `point.batch` prompts of `point.context` tokens, all rows in one batch.

    `tokens` counts the prompts' tokens.

    Raises:
        SailsimError: as `simulate_step`; also when the rows exceed what a descriptor can carry.
    """
    rows = point.batch * point.context
    if rows > 65535:
        raise SailsimError(f"batch x context is {rows}; allowed is at most 65535 rows of one prefill.")
    ops = prefill_step(model, point.formats(model), point.context, point.batch)
    return _simulate(system, model, point, activations, parts_of(ops), rows)


def _simulate(
    system: System,
    model: ModelSpec,
    point: Point,
    activations: Activations | None,
    parts: tuple[Part, ...],
    tokens: int,
) -> StepResult:
    point = point.resolved(system)
    captured = activations if activations is not None else Activations.load(point.activations or None)
    units = _units(Same(system), point.substrate, point.convert, point.prt)
    host = _host(Same(system), point.threads)
    assert point.nbw is not None
    inputs = inputs_of(Same(parts), model.n_layers, point.seed)
    profiles = {
        size: PROFILES.of_step(captured, inputs, units.scan(point.abits, True, point.nbw, size))
        for size in block_sizes(Same(parts))
    }
    patterns = ["".join(found[i].key for found in profiles.values()) for i in range(len(inputs))]
    found = layout(Same(parts), tuple(patterns))

    around: dict[int, tuple[list[GemvAsk], list[CoreTask]]] = {}  # GEMVs of one kind differ in their patterns
    segments: list[Segment] = []
    often: Counter[TimedTile] = Counter()
    for (at, at_input), times in zip(found.different, found.times, strict=True):
        kind, ops = parts[at]
        if ops[0].kind != "gemv":
            segments.append(Segment(host.work(ops[0], model, 0)))
            continue
        asks, tasks = around.get(kind) or ([gemv_ask(op, point) for op in ops if has_codes(op)], [])
        tiles = [
            units.tile(profile=profiles[ask.shape.group_size][at_input], **ask._asdict()) for ask in asks
        ]
        if kind not in around:
            tasks += _around(host, ops, tiles, point.convert == "cores")
            around[kind] = asks, tasks
        on_units = [op for op in ops if has_codes(op)]
        tensors = [
            Tensor(op.name, submitted, tile.bytes, tile.seconds, tile.throttled)
            for submitted, (op, tile) in enumerate(zip(on_units, tiles, strict=True), 1)
        ]
        segments.append(Segment(tasks, tensors))
        for tile in tiles:
            often[tile] += times
    line = play(_memory(Same(system), point.threads), segments, found.order)
    notes = [*_cores_note(parts, host, line.end), *_notes(model, captured)]
    return _result(point, tokens, units, line, often, notes)


@lru_cache(maxsize=8)
def _units(system: Same[System], substrate: str | None, convert: str | None, prt: bool) -> "PimUnits":
    """Units of machines that were asked for last, with the tiles that they have timed."""
    return PimUnits(system.it, substrate=substrate, convert=convert, prt=prt)


@lru_cache(maxsize=64)
def _host(system: Same[System], threads: int) -> HostCores:
    return HostCores(system.it, threads)


@lru_cache(maxsize=64)
def _memory(system: Same[System], threads: int) -> MemorySystem:
    return memory(system.it, threads)


class GemvAsk(NamedTuple):
    """What is asked of the units for a GEMV, as `PimUnits.tile` takes it beside the patterns."""

    shape: Shape
    weight_bytes: float
    minimum: bool
    codebook: int


def gemv_ask(op: Op, point: Point) -> GemvAsk:
    """A GEMV in the units' format: codes, their scales and minima, and a codebook."""
    fmt = op.format
    assert fmt is not None
    assert fmt.code is not None
    assert point.nbw is not None
    code = fmt.code
    widths = (code.wbits, code.value_bits, point.abits, point.nbw)
    shape = Shape(op.k, op.n, op.batch, *widths, fmt.group_size)
    # What a file packs denser than codes of whole bits (TQ1_0) comes to the units unpacked.
    stored = max(op.weight_bytes, op.k * ceil(op.n * code.wbits / 8))
    return GemvAsk(shape, stored, fmt.minimum, 2 << code.wbits if code.kind == "book" else 0)


def _around(host: HostCores, ops: Sequence[Op], tiles: Sequence[TimedTile], convert: bool) -> list[CoreTask]:
    """What the cores do for GEMVs that share an input: hand them over, see them done, maybe convert.

    Those whose weights have no scalar codes they multiply themselves, beside the units.
    """
    on_units = [op for op in ops if has_codes(op)]
    tasks = [host.submission(op.name, tile.slices) for op, tile in zip(on_units, tiles, strict=True)]
    for op in ops:
        if not has_codes(op):
            tasks += host.product(op, 0)
    if not convert:
        if on_units:
            tasks.append(host.completion(ops[0].name, tiles[-1].slices, len(on_units)))
        return tasks
    for done, (op, tile) in enumerate(zip(on_units, tiles, strict=True), 1):
        tasks += [host.completion(op.name, tile.slices, done), *host.conversion(op, tile.blocks, done)]
    return tasks


def _cores_note(parts: Sequence[Part], host: HostCores, step_s: float) -> list[str]:
    """Which matrices the cores multiply because their types have no scalar codes, and how long that takes."""
    there = on_cores(Same(parts))
    if not there:
        return []
    types = Counter(op.format.name for op in there if op.format is not None)
    seconds = sum(host.product_seconds(op) for op in there)
    named = ", ".join(f"{name} {count} tensors" for name, count in types.most_common())
    return [
        f"On the cores, as their types have no scalar codes: {named}; they take "
        f"{min(1.0, seconds / step_s):.0%} of the step's time there, at an assumed rate (host.float_rate, "
        "host.grid_rate)"
    ]


def _result(
    point: Point,
    tokens: int,
    units: PimUnits,
    line: StepTimeline,
    tiles: Mapping[TimedTile, int],
    notes: list[str],
) -> StepResult:
    """`tiles`: how many tensors each of them is."""
    # With their shapes, as a step may have no tile at all.
    times = np.array([*tiles.values()], dtype=np.int64)
    counts = np.array([tile.counts for tile in tiles], dtype=np.int64).reshape(-1, len(COUNTS))
    sums = np.array([tile.numbers for tile in tiles], dtype=float)
    numbers = (times @ sums.reshape(-1, len(TILE_PHASES) + len(ACTIVITY))).tolist()
    totals = (times * np.array([tile.slices for tile in tiles], dtype=np.int64)) @ counts
    breakdown = dict.fromkeys(PHASES, 0.0)
    breakdown.update(zip(TILE_PHASES, numbers, strict=False))
    breakdown.update(dram=sum(line.stalled), cores=line.cores, sync=line.sync)
    moved = {"weights": line.streamed, "read": line.read, "written": line.written}
    return StepResult(
        point=point,
        tokens=tokens,
        step_s=line.end,
        breakdown=breakdown,
        counts=dict(zip(COUNTS, (times @ counts).tolist(), strict=True)),
        counts_total=dict(zip(COUNTS, totals.tolist(), strict=True)),
        dram_bytes=sum(moved.values()),
        bytes_by_kind=moved,
        pim_cycles=sum(tile.timing.total * often for tile, often in tiles.items()),
        events=line.events,
        activity=dict(zip(ACTIVITY, numbers[len(TILE_PHASES) :], strict=True)),
        notes=notes,
    )


def _notes(model: ModelSpec, activations: Activations) -> list[str]:
    borrowed = activations.note(model)
    return [*([borrowed] if borrowed else []), NOT_MODELLED]
