"""The fast engine: one decode step of a model on a machine with PIM units.

It turns a step's operations into the tasks and tensors of `schedule`, with the timing of every tile from the
C++ core and the exact pattern counts of real activations. `docs/engine.md` has the model and its equations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from math import ceil, log2
from typing import Any

import numpy.typing as npt

from sailsim import _core
from sailsim.errors import SailsimError
from sailsim.sim.patterns import PROFILES
from sailsim.sim.point import Point
from sailsim.sim.schedule import CoreTask, Machine, Tensor, Timeline, run
from sailsim.sim.system import System
from sailsim.workloads import Activations, ModelSpec, Op, decode_step, prefill_step, uniform_format

PHASES = ("dram", "load", "build", "lookup", "convert", "write_back", "cores", "sync")
"""Where a step's time goes; exclusive, in the order of the figures.

dram: PIM units wait for weights; load: a slice's port is the limit, weights being on chip; build, lookup,
convert, write_back: phases of a tile; cores: only the cores compute; sync: hand-over while nobody computes.
"""

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

NOT_MODELLED = (
    "not modelled: bringing activations to the units, switching C-SRAM between storage and computing, and "
    "what the cores' data in the LLC loses to waiting weights"
)


@dataclass(frozen=True)
class StepResult:
    """One simulated step.

    `breakdown` has seconds by `PHASES` and adds up to `step_s`. `counts` are those of one slice's DFM summed
    over the tensors (docs/contract.md, section 2), `counts_total` those of all slices. `dram_bytes` is
    everything moved, `bytes_by_kind` splits it. `notes` say what the numbers rest on.
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
    ops = decode_step(model, uniform_format(point.wbits, point.group_size), point.batch, point.context)
    return _simulate(system, model, point, activations, ops, point.batch)


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
    ops = prefill_step(model, uniform_format(point.wbits, point.group_size), point.context, point.batch)
    return _simulate(system, model, point, activations, ops, rows)


@dataclass(frozen=True)
class Tile:
    """One GEMV as the PIM units see it.

    `timing` is that of the busiest slice with its weights on chip; `throttled(r)` gives the seconds when all
    slices together get r bytes/s of weights. `bytes` come from DRAM; `slices` have outputs to compute.
    """

    timing: "_core.TileTiming"
    seconds: float
    throttled: Callable[[float], float]
    bytes: float
    slices: int
    blocks: int


class Units:
    """The PIM units of a machine under the choices of a point; times tiles, equal ones once."""

    def __init__(self, system: System, point: Point) -> None:
        pim = system.pim
        if pim is None or not system.has_pim:
            raise SailsimError(f"system {system.name} has no enabled [pim] section; a SAIL step needs one.")
        overrides: dict[str, object] = {"convert_in_memory": point.convert == "memory"}
        if point.substrate is not None:
            overrides["substrate"] = point.substrate
        if not point.prt:
            overrides["prt_entries"] = 0
        self.config = system.slice_config(**overrides)
        self.clock = pim.clock.si
        self.prt_policy = str(pim.prt_policy.value)
        self._tiles: dict[tuple[object, ...], Tile] = {}

    def tile(
        self,
        x: npt.NDArray[Any],
        n: int,
        *,
        wbits: int,
        value_bits: int,
        abits: int,
        signed: bool,
        nbw: int,
        group_size: int,
        weight_bytes: float,
        scaled: bool,
    ) -> Tile:
        """Time x (B, K) times a (K, n) matrix.

        Raises:
            SailsimError: the tile does not fit the arrays, or a width is out of range.
        """
        batch, k = x.shape
        try:
            key, profile = PROFILES.get(
                x,
                abits=abits,
                signed=signed,
                nbw=nbw,
                group_size=group_size,
                prt_entries=self.config.prt_entries,
                prt_policy=self.prt_policy,
            )
            known = (key, n, wbits, value_bits, scaled)
            if known not in self._tiles:
                shape = (k, n, batch, wbits, value_bits, abits, nbw, group_size)
                self._tiles[known] = self._timed(shape, profile, scaled, weight_bytes)
            return self._tiles[known]
        except SailsimError:
            raise
        except ValueError as error:
            raise SailsimError(f"a {k} x {n} tile cannot run: {error}.") from None

    def _timed(
        self, shape: tuple[int, ...], profile: "_core.PatternProfile", scaled: bool, weight_bytes: float
    ) -> Tile:
        config, clock = self.config, self.clock
        k, n, _, wbits = shape[:4]
        plan = _core.plan_tile(config, *shape)
        timing = _core.time_tile(config, *shape, profile, scaled)
        # The core's share counts codes only; scales ride along in the stream.
        code_bytes = k * ceil(n * wbits / 8)
        per_slice = code_bytes / weight_bytes / config.slices / clock

        @lru_cache(maxsize=32)
        def throttled(rate: float) -> float:
            slow = _core.time_tile(config, *shape, profile, scaled, rate * per_slice)
            return float(slow.total) / clock

        return Tile(
            timing=timing,
            seconds=timing.total / clock,
            throttled=throttled,
            # A batch that is worked in chunks reads its weights once for each.
            bytes=weight_bytes * plan.batch_chunks,
            slices=ceil(n / plan.owned),
            blocks=plan.blocks,
        )


class Host:
    """Rates and costs of `threads` of a machine's cores, SI units."""

    def __init__(self, system: System, threads: int) -> None:
        if threads > system.cores.count.whole:
            raise SailsimError(
                f"threads is {threads}; allowed on {system.name} is at most {system.cores.count.whole}."
            )
        cores, l2, host = system.cores, system.l2, system.host
        self.threads = threads
        self.flops = threads * cores.clock.si * cores.fp32_flops.value * host.simd_share.value
        self.llc = threads * cores.clock.si * system.llc.core_bandwidth.value
        # Little's law: the lines that a core has under way, over the time one takes.
        self.dram = threads * l2.mshrs.value * l2.line.value / system.memory.latency.si
        self.barrier = ceil(log2(threads)) * host.barrier.si
        self.submit = host.submit.si
        self.poll = host.poll.si
        self.convert_flops = host.convert_flops.value

    def seconds(self, flops: float, llc_bytes: float) -> float:
        """Work on cached data: arithmetic and loads overlap."""
        return max(flops / self.flops, llc_bytes / self.llc)

    def work(self, op: Op, model: ModelSpec, needs: int) -> list[CoreTask]:
        """An operation that is no GEMV, and the barrier at its end."""
        written = 2 * model.d_kv * model.kv_bits / 8 * op.batch if op.kind == "attention" else 0.0
        seconds = self.seconds(op.flops + 2 * op.macs, op.act_bytes)
        read = op.weight_bytes + op.kv_bytes - written
        return [CoreTask(op.name, needs, seconds, read, written, self.dram), self._meet(op.name, needs)]

    def submission(self, name: str, slices: int) -> CoreTask:
        """Handing a tensor's descriptors, one a slice, to the units."""
        return CoreTask(f"{name} submit", 0, ceil(slices / self.threads) * self.submit, sync=True)

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


def memory(system: System) -> Machine:
    """DRAM, the units' access to it and the room for waiting weights, as the schedule takes them."""
    pim, dram, llc = system.pim, system.memory, system.llc
    assert pim is not None
    slices = llc.slices.whole
    return Machine(
        peak=dram.peak_bandwidth.si,
        stream_share=dram.stream_share.value,
        read_share=dram.core_share.value,
        write_share=dram.write_share.value,
        stream_limit=slices
        * min(pim.port.value * pim.clock.si, pim.mshrs.value * llc.line.value / dram.latency.si),
        depth=pim.prefetch_depth.whole,
        buffer=pim.prefetch_share.value * llc.size,
    )


def _simulate(
    system: System,
    model: ModelSpec,
    point: Point,
    activations: Activations | None,
    ops: Sequence[Op],
    tokens: int,
) -> StepResult:
    point = point.resolved(system)
    captured = activations if activations is not None else Activations.load(point.activations or None)
    units, host = Units(system, point), Host(system, point.threads)
    assert point.nbw is not None

    tasks: list[CoreTask] = []
    tensors: list[Tensor] = []
    tiles: list[Tile] = []
    for group in _shared_inputs(ops):
        if group[0].kind != "gemv":
            tasks += host.work(group[0], model, len(tensors))
            continue
        first = group[0]
        assert first.role is not None
        x = captured.quantized(
            first.role, first.layer, model.n_layers, first.k, first.batch, point.seed, abits=point.abits
        )
        finished: list[CoreTask] = []
        for op in group:
            tile = units.tile(
                x,
                op.n,
                wbits=point.wbits,
                value_bits=point.wbits,
                abits=point.abits,
                signed=True,
                nbw=point.nbw,
                group_size=point.group_size,
                weight_bytes=op.weight_bytes,
                scaled=True,
            )
            tasks.append(host.submission(op.name, tile.slices))
            tensors.append(Tensor(op.name, len(tasks), tile.bytes, tile.seconds, tile.throttled))
            tiles.append(tile)
            if point.convert == "cores":
                finished.append(host.completion(op.name, tile.slices, len(tensors)))
                finished += host.conversion(op, tile.blocks, len(tensors))
        if point.convert == "memory":
            finished.append(host.completion(first.name, tile.slices, len(tensors)))
        tasks += finished

    line = run(memory(system), tasks, tensors)
    return _result(point, tokens, units, line, tiles, _notes(model, captured))


def _shared_inputs(ops: Sequence[Op]) -> list[list[Op]]:
    """Runs of GEMVs that read the same input; every other operation by itself."""
    return [
        list(run_of)
        for _, run_of in groupby(
            ops, key=lambda op: (op.layer, op.role) if op.kind == "gemv" else (op.layer, op.name)
        )
    ]


def _result(
    point: Point, tokens: int, units: Units, line: Timeline, tiles: Sequence[Tile], notes: list[str]
) -> StepResult:
    cycle = 1 / units.clock
    breakdown = dict.fromkeys(PHASES, 0.0)
    breakdown.update(dram=sum(line.stalled), cores=line.cores, sync=line.sync)
    counts, totals = dict.fromkeys(COUNTS, 0), dict.fromkeys(COUNTS, 0)
    for tile in tiles:
        for phase in ("load", "build", "lookup", "convert", "write_back"):
            breakdown[phase] += getattr(tile.timing, phase) * cycle
        for name in COUNTS:
            value = int(getattr(tile.timing, name))
            counts[name] += value
            totals[name] += value * tile.slices
    moved = {"weights": line.streamed, "read": line.read, "written": line.written}
    return StepResult(
        point=point,
        tokens=tokens,
        step_s=line.end,
        breakdown=breakdown,
        counts=counts,
        counts_total=totals,
        dram_bytes=sum(moved.values()),
        bytes_by_kind=moved,
        pim_cycles=sum(int(tile.timing.total) for tile in tiles),
        events=line.events,
        notes=notes,
    )


def _notes(model: ModelSpec, activations: Activations) -> list[str]:
    borrowed = activations.note(model)
    return [*([borrowed] if borrowed else []), NOT_MODELLED]
