"""The fast engine: one decode step of a model on a machine with PIM units.

It turns a step's operations into the tasks and tensors of `schedule`, with the timing of every tile from the
C++ core and the exact pattern counts of real activations. `docs/engine.md` has the model and its equations.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import ceil, inf
from typing import Literal, NamedTuple

import numpy as np

from sailsim import _core
from sailsim.errors import SailsimError
from sailsim.sim.activity import ACTIVITY, activity
from sailsim.sim.dram import Dram, Reader
from sailsim.sim.parts import Part, Same, block_sizes, has_codes, inputs_of, layout, on_cores, parts_of
from sailsim.sim.patterns import PROFILES, Profile, Scan
from sailsim.sim.point import Point
from sailsim.sim.schedule import CoreTask, Machine, Tensor, Timeline
from sailsim.sim.segments import Segment, play
from sailsim.sim.system import System
from sailsim.workloads import (
    FLOATS,
    Activations,
    ModelSpec,
    Op,
    UniformFormat,
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

TILE_PHASES = ("load", "build", "lookup", "convert", "write_back")
"""Of them, the phases of a tile that the C++ core reports."""

COUNTS = (
    "lookups",
    "zero_patterns",
    "prt_hits",
    "prt_misses",
    "table_builds",
    "table_adds",
    "row_reads",
    "row_writes",
    "conversions",
)

KEPT_TILES = 1 << 10
"""How many tiles the units of a machine remember."""

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


class Shape(NamedTuple):
    """A tile's shape and widths, in the order in which the C++ core takes them."""

    k: int
    n: int
    batch: int
    wbits: int
    value_bits: int
    abits: int
    nbw: int
    group_size: int


class Way(NamedTuple):
    """A unit's way to memory: `latency` seconds for a line, `rate` bytes/s with all its MSHRs in use."""

    latency: float
    rate: float
    line: int

    def seconds(self, size: float) -> float:
        """To move `size` bytes, whole lines: the first takes the latency, the others follow at the rate."""
        return self.latency + max(0, ceil(size / self.line) - 1) * self.line / self.rate


class Edges(NamedTuple):
    """What surrounds a tile's groups, seconds: none of it overlaps with them."""

    descriptor: float
    """Fetching the descriptor."""
    operands: float
    """Activations, their scales and the codebook, which every slice reads for itself."""
    results: float
    """Results to the LLC."""
    record: float
    """The completion record, written when they have arrived."""


class Tile:
    """One GEMV as the PIM units see it.

    `timing` is that of the busiest slice with its weights on chip, `seconds` is that and the `edges`,
    `phases` the same by `TILE_PHASES`, `counts` those of `COUNTS`, `activity` that of `ACTIVITY`; `numbers`
    are phases and activity in their orders. `bytes` come from DRAM; `slices` have outputs to compute.
    """

    def __init__(
        self,
        units: "Units",
        shape: Shape,
        profile: Profile,
        weight_bytes: float,
        scaled: bool,
        minimum: bool,
        codebook: int,
    ) -> None:
        config, self._units = units.config, units
        plan = _core.plan_tile(config, *shape)
        self._timed = partial(
            _core.time_supplied_tile, config, *shape, profile.counts, scaled=scaled, minimum=minimum
        )
        # The core asks for a slice's codes; scales ride along in the stream.
        self._codes = shape.k * ceil(shape.n * shape.wbits / 8) / weight_bytes
        self._again = lines_again(shape.k, plan.owned, plan.lanes, shape.wbits, units.line)
        self._throttled: dict[tuple[float, float], float] = {}
        words = 1 if shape.abits <= 8 else 2
        operands = shape.batch * (shape.k * words + (4 if scaled else 0)) + codebook
        self.edges = Edges(
            units.chip.latency,
            units.operands.seconds(operands),
            units.chip.seconds(4 * shape.batch * plan.owned),
            units.chip.latency,
        )
        timing = self.timing = self._supplied(inf, units.chip.latency)
        self.seconds = timing.total / units.clock + sum(self.edges)
        load, *computing, write_back = (getattr(timing, phase) / units.clock for phase in TILE_PHASES)
        self.phases = (
            load + self.edges.descriptor + self.edges.operands,
            *computing,
            write_back + self.edges.results + self.edges.record,
        )
        self.counts: tuple[int, ...] = tuple(getattr(timing, name) for name in COUNTS)
        # A batch that is worked in chunks reads its weights once for each.
        self.bytes = weight_bytes * plan.batch_chunks
        self.slices = ceil(shape.n / plan.owned)
        self.blocks = plan.blocks
        self.activity = activity(
            config,
            plan,
            self.timing,
            n=shape.n,
            k=shape.k,
            batch=shape.batch,
            value_bits=shape.value_bits,
            abits=shape.abits,
        )
        self.numbers = (*self.phases, *self.activity.values())

    def _supplied(self, rate: float, latency: float) -> _core.TileTiming:
        """The tile when each slice's weights come at `rate` bytes/s, a line `latency` s after its request.

        They are asked for behind the operands, so that one latency has passed when the tile starts. A unit
        has only so many lines under way; those that it asks for again are on chip.
        """
        units = self._units
        own = units.window / (latency + self._again * units.chip.latency)
        rate = min(rate, own, units.port / (1 + self._again))
        return self._timed(
            bytes_per_cycle=rate * self._codes / units.clock,
            latency=latency * units.clock,
            lead=units.operands.latency * units.clock,
            ahead=units.ahead * self._codes,
        )

    def throttled(self, rate: float, latency: float | None = None) -> float:
        """Seconds when all slices together get `rate` bytes/s of weights, just in time.

        Args:
            rate: bytes/s.
            latency: s from asking for a line to having it; default: that of an idle machine's DRAM.
        """
        units = self._units
        key = (rate, units.dram.latency if latency is None else latency)
        if key not in self._throttled:
            slow = self._supplied(rate / units.config.slices, key[1])
            self._throttled[key] = max(self.seconds, slow.total / units.clock + sum(self.edges))
        return self._throttled[key]


@lru_cache(maxsize=1024)
def lines_again(k: int, outputs: int, lanes: int, wbits: int, line: int) -> float:
    """Lines of weights that a slice asks for more than once, over all lines of its tile.

    Every pass takes `lanes` of the `outputs` of each of `k` rows, in whole lines.
    """
    row = ceil(outputs * wbits / 8)
    starts = np.arange(k, dtype=np.int64) * row
    fetched = 0
    for first in range(0, outputs, lanes):
        end = min(first + lanes, outputs)
        from_line = (starts + first * wbits // 8) // line
        to_line = (starts + ceil(end * wbits / 8) - 1) // line
        shared = np.count_nonzero(from_line[1:] == to_line[:-1])  # with the row before
        fetched += int((to_line - from_line + 1).sum()) - int(shared)
    return fetched / ceil(k * row / line) - 1


class Units:
    """The PIM units of a machine under the choices of a point; equal tiles are timed once."""

    def __init__(
        self,
        system: System,
        *,
        substrate: str | None,
        convert: str | None,
        prt: bool,
        slices: int | None = None,
        operands: Literal["llc", "dram"] = "llc",
    ) -> None:
        """Units of `system`; arguments that are None are the system's choice.

        Args:
            slices: that the outputs are cut over.
            operands: where activations are: a step's cores have just made them, a trace's lie in memory.

        Raises:
            SailsimError: the machine has no PIM units.
        """
        pim = system.pim
        if pim is None or not system.has_pim:
            raise SailsimError(f"system {system.name} has no enabled [pim] section; a SAIL step needs one.")
        overrides: dict[str, object] = {}
        if convert is not None:
            overrides["convert_in_memory"] = convert == "memory"
        if substrate is not None:
            overrides["substrate"] = substrate
        if not prt:
            overrides["prt_entries"] = 0
        if slices is not None:
            overrides["slices"] = slices
        self.config = system.slice_config(**overrides)
        self.clock = pim.clock.si
        self.chip, self.dram = ways(system)
        self.operands = self.chip if operands == "llc" else self.dram
        self.line = system.llc.line.whole
        self.port = pim.port.value * pim.clock.si
        self.window = pim.mshrs.value * self.line
        self.ahead = pim.fetch_ahead.value * self.window
        self._tiles: dict[tuple[object, ...], Tile] = {}

    def scan(self, abits: int, signed: bool, nbw: int, group_size: int) -> Scan:
        """How these units scan activations of the given widths."""
        return Scan(abits, signed, nbw, group_size, self.config.prt_entries, self.config.prt_policy)

    def tile(
        self,
        shape: Shape,
        profile: Profile,
        weight_bytes: float,
        scaled: bool = True,
        minimum: bool = False,
        codebook: int = 0,
    ) -> Tile:
        """Time a tile of which `weight_bytes` are stored, scales included, and `codebook` bytes beside them.

        Raises:
            SailsimError: the tile does not fit the arrays, or a width is out of range.
        """
        key = (shape, profile.key, weight_bytes, scaled, minimum, codebook)
        if key not in self._tiles:
            if len(self._tiles) >= KEPT_TILES:
                self._tiles.clear()
            try:
                self._tiles[key] = Tile(self, shape, profile, weight_bytes, scaled, minimum, codebook)
            except ValueError as error:
                raise SailsimError(f"a {shape.k} x {shape.n} tile cannot run: {error}.") from None
        return self._tiles[key]


def ways(system: System) -> tuple[Way, Way]:
    """A unit's ways to the LLC and, in long streams, to DRAM.

    The published latencies are a core's: a unit has no private caches to cross, and a stream finds its DRAM
    row open. Refreshes are part of a mean latency; they block, so what is faster between them is so by
    1 / (1 - their share).
    """
    pim, llc, dram = system.pim, system.llc, Dram(system.memory, system.llc.line.whole)
    assert pim is not None
    port, window = pim.port.value * pim.clock.si, pim.mshrs.value * llc.line.value
    private = system.l2.latency.value / system.cores.clock.si
    chip = max(llc.latency.si - private, llc.line.value / port)
    saved = private + system.memory.timing.trcd.si
    far = max(system.memory.latency.si - saved / (1 - dram.refreshing), chip)
    return (
        Way(chip, min(port, window / chip), llc.line.whole),
        Way(far, min(port, window / far), llc.line.whole),
    )


class Host:
    """Rates and costs of `threads` of a machine's cores, SI units."""

    def __init__(self, system: System, threads: int) -> None:
        if threads > system.cores.count.whole:
            raise SailsimError(
                f"threads is {threads}; allowed on {system.name} is at most {system.cores.count.whole}."
            )
        cores, host = system.cores, system.host
        self.threads = threads
        self.flops = threads * cores.clock.si * cores.fp32_flops.value * host.simd_share.value
        self.attention = cores.clock.si * host.attention_rate.value
        self.llc = threads * cores.clock.si * system.llc.core_bandwidth.value
        # Little's law: the lines that a core has under way, over the time one takes.
        latency_bound = threads * window(system) / system.memory.latency.si
        self.dram = min(latency_bound, system.memory.core_share.value * system.memory.peak_bandwidth.si)
        self.barrier = threads * host.barrier.si
        self.submit = host.submit.si
        self.product_overhead = host.product_overhead.si
        self.hand_over = host.hand_over_share.value * self.product_overhead
        self.poll = host.poll.si
        self.convert_flops = host.convert_flops.value
        self.system = system.name
        rates = {"float_rate": host.float_rate, "grid_rate": host.grid_rate}
        self.products = {name: cores.clock.si * q.value for name, q in rates.items() if q is not None}

    def seconds(self, flops: float, llc_bytes: float) -> float:
        """Work on cached data: arithmetic and loads overlap."""
        return max(flops / self.flops, llc_bytes / self.llc)

    def work(self, op: Op, model: ModelSpec, needs: int) -> list[CoreTask]:
        """An operation that is no GEMV, and the barrier at its end."""
        if op.kind == "attention":
            return self._attend(op, model, needs)
        seconds = self.seconds(op.flops, op.act_bytes)
        return [
            CoreTask(op.name, needs, seconds, op.weight_bytes, 0.0, self.dram),
            self._meet(op.name, needs),
        ]

    def _attend(self, op: Op, model: ModelSpec, needs: int) -> list[CoreTask]:
        """Attention as the CPU baseline's software does it on the same cores, at its fitted rate.

        It reads the cache, then computes, on one thread a head at most.
        """
        written = 2 * model.d_kv * model.kv_bits / 8 * op.batch
        width = min(self.threads, model.n_heads * op.batch)
        return [
            CoreTask(f"{op.name} cache", needs, 0.0, op.kv_bytes - written, written, self.dram),
            CoreTask(
                op.name, needs, op.macs / (width * self.attention) + self.seconds(op.flops, op.act_bytes)
            ),
            self._meet(op.name, needs),
        ]

    def product(self, op: Op, needs: int) -> list[CoreTask]:
        """A GEMV whose weights have no scalar codes, on the cores: they read it, then compute."""
        return [
            CoreTask(f"{op.name} weights", needs, 0.0, op.weight_bytes, 0.0, self.dram),
            CoreTask(op.name, needs, self._multiplying(op)),
            self._meet(op.name, needs),
        ]

    def product_seconds(self, op: Op) -> float:
        """What `product` takes on an idle machine."""
        return op.weight_bytes / self.dram + self._multiplying(op) + self.barrier

    def _multiplying(self, op: Op) -> float:
        """Seconds of a GEMV's products and of what it loses beside them."""
        return op.macs / (self.threads * self._product_rate(op)) + self.product_overhead

    def _product_rate(self, op: Op) -> float:
        """MAC/s of a thread for the type of a GEMV's weights."""
        assert op.format is not None
        name = "float_rate" if op.format.name in FLOATS else "grid_rate"
        if name not in self.products:
            raise SailsimError(
                f"{op.name} is {op.format.name}, which has no scalar codes, and system {self.system} has no "
                f"host.{name}; allowed is a system that says how fast its cores multiply it."
            )
        return self.products[name]

    def submission(self, name: str, slices: int) -> CoreTask:
        """The software's work around a product, and its descriptors, one a slice, to the units."""
        seconds = self.hand_over + ceil(slices / self.threads) * self.submit
        return CoreTask(f"{name} submit", 0, seconds, sync=True)

    def completion(self, name: str, slices: int, needs: int) -> CoreTask:
        """Seeing the completion records of all slices, and the barrier after it."""
        seconds = ceil(slices / self.threads) * self.poll + self.barrier
        return CoreTask(f"{name} poll", needs, seconds, sync=True)

    def conversion(self, op: Op, blocks: int, needs: int) -> list[CoreTask]:
        """Integer sums of every block to scaled fp32 on the cores, and the barrier after it."""
        sums = op.n * op.batch * blocks
        seconds = self.seconds(self.convert_flops * sums, 4 * sums + 4 * op.n * op.batch)
        return [CoreTask(f"{op.name} convert", needs, seconds), self._meet(op.name, needs)]

    def _meet(self, name: str, needs: int) -> CoreTask:
        return CoreTask(f"{name} barrier", needs, self.barrier, sync=True)


def window(system: System) -> float:
    """Bytes that one core has under way to DRAM."""
    return system.l2.mshrs.value * system.l2.line.value


def memory(system: System, threads: int = 1) -> Machine:
    """DRAM, what `threads` cores and the units have under way to it and the room for waiting weights."""
    pim, llc, dram = system.pim, system.llc, Dram(system.memory, system.llc.line.whole)
    assert pim is not None
    way = ways(system)[1]
    reads = min(system.memory.read_share.value, dram.reads(dram.lines_of_row))
    return Machine(
        peak=system.memory.peak_bandwidth.si,
        read_share=reads,
        write_share=system.memory.write_share.value,
        stream_limit=llc.slices.value * way.rate,
        depth=pim.prefetch_depth.whole,
        background=pim.prefetch_priority.value == "background",
        buffer=pim.prefetch_share.value * llc.size,
        stream=Reader(
            inf, llc.slices.value * pim.mshrs.value * llc.line.value, way.latency, llc.slices.whole
        ),
        cores=Reader(inf, threads * window(system), system.memory.latency.si),
        queue=dram.queue,
    )


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

    around: dict[int, tuple[list[_Ask], list[CoreTask]]] = {}  # GEMVs of one kind differ in their patterns
    segments: list[Segment] = []
    often: Counter[Tile] = Counter()
    for (at, at_input), times in zip(found.different, found.times, strict=True):
        kind, ops = parts[at]
        if ops[0].kind != "gemv":
            segments.append(Segment(host.work(ops[0], model, 0)))
            continue
        asks, tasks = around.get(kind) or ([_ask(op, point) for op in ops if has_codes(op)], [])
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
def _units(system: Same[System], substrate: str | None, convert: str | None, prt: bool) -> "Units":
    """Units of machines that were asked for last, with the tiles that they have timed."""
    return Units(system.it, substrate=substrate, convert=convert, prt=prt)


@lru_cache(maxsize=64)
def _host(system: Same[System], threads: int) -> Host:
    return Host(system.it, threads)


@lru_cache(maxsize=64)
def _memory(system: Same[System], threads: int) -> Machine:
    return memory(system.it, threads)


class _Ask(NamedTuple):
    """What is asked of the units for a GEMV, as `Units.tile` takes it beside the patterns."""

    shape: Shape
    weight_bytes: float
    minimum: bool
    codebook: int


def _ask(op: Op, point: Point) -> _Ask:
    """A GEMV in the units' format: codes, their scales and minima, and a codebook."""
    fmt = op.format
    assert fmt is not None
    assert fmt.code is not None
    assert point.nbw is not None
    code, uniform = fmt.code, isinstance(fmt, UniformFormat)
    value_bits = code.wbits if uniform else code.value_bits
    shape = Shape(op.k, op.n, op.batch, code.wbits, value_bits, point.abits, point.nbw, fmt.group_size)
    # What a file packs denser than codes of whole bits (TQ1_0) comes to the units unpacked.
    stored = max(op.weight_bytes, op.k * ceil(op.n * code.wbits / 8))
    return _Ask(shape, stored, fmt.minimum, 2 << code.wbits if code.kind == "book" and not uniform else 0)


def _around(host: Host, ops: Sequence[Op], tiles: Sequence[Tile], convert: bool) -> list[CoreTask]:
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


def _cores_note(parts: Sequence[Part], host: Host, step_s: float) -> list[str]:
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
    point: Point, tokens: int, units: Units, line: Timeline, tiles: Mapping[Tile, int], notes: list[str]
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
