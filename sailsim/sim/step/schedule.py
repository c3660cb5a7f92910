"""Event-driven schedule of a step: cores, PIM units and one pool of DRAM bandwidth.

Two resources work through their queues in order: the **cores** (one task at a time, on all threads) and the
**PIM units** (one tensor at a time, on all slices). A third, the **weight stream**, brings weights from DRAM
in the order of the tensors. Between two events all rates are constant; the C++ core steps from event to event
(`sim_ext/pim/schedule.cc`). `docs/engine.md` has the equations. `HostCores` makes the tasks of the cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil, inf
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from sailsim import _core
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Quantity
from sailsim.sim.machine.dram import MAX_QUEUE_LOAD, MemorySystem
from sailsim.sim.machine.system import HostSoftware, ProgramAttention, System
from sailsim.workloads.models.formats import FLOATS
from sailsim.workloads.models.graph import Op
from sailsim.workloads.models.model import ModelSpec


class CoreTask(NamedTuple):
    """Task of the host's cores.

    `needs` counts the tensors that the PIM units must have finished before it starts. It takes at least
    `seconds`, and moves `read` and `written` bytes over DRAM, at most `rate` bytes/s together. `sync` marks
    waiting and hand-over instead of computing.
    """

    name: str
    needs: int
    seconds: float
    read: float = 0.0
    written: float = 0.0
    rate: float = inf
    sync: bool = False


class ScheduledGemv(NamedTuple):
    """One GEMV on the PIM units.

    `needs` counts the core tasks that must be done before it starts (its submission is the last of them).
    It takes `seconds` with its weights on chip, and `throttled(r)` when they come just in time at r bytes/s.
    `bytes` of weights are streamed from DRAM, 0 where they lie elsewhere.
    """

    name: str
    needs: int
    bytes: float
    seconds: float
    throttled: Callable[[float], float]


StepTimeline = _core.ScheduleTimeline
"""Result of a schedule: seconds by cause (exclusive, they add up to `end`) and bytes over DRAM."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Segments of a schedule with equal tasks, such as a model's blocks, whose tensors differ in their times.

    `needs` of tasks and tensors count from the start of their segment. A row of `bytes` and `seconds` is a
    segment, a column a tensor; `throttled(tensor, rate)` are the seconds of a column at `rate` bytes/s.
    """

    tasks: Sequence[CoreTask]
    needs: Sequence[int]
    """Tasks that each tensor needs."""
    bytes: NDArray[np.float64]
    seconds: NDArray[np.float64]
    throttled: Callable[[int, float], NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.bytes)

    @classmethod
    def one(cls, tasks: Sequence[CoreTask], tensors: Sequence[ScheduledGemv] = ()) -> Self:
        """Make a single segment."""
        return cls(
            tasks,
            [tensor.needs for tensor in tensors],
            np.array([[tensor.bytes for tensor in tensors]], dtype=float),
            np.array([[tensor.seconds for tensor in tensors]], dtype=float),
            lambda tensor, rate: np.array([tensors[tensor].throttled(rate)], dtype=float),
        )

    def tensors(self, at: int) -> list[ScheduledGemv]:
        """Tensors of one segment."""
        columns = zip(self.needs, self.bytes[at].tolist(), self.seconds[at].tolist(), strict=True)
        return [
            ScheduledGemv(f"{column}", *numbers, partial(self._throttled, at, column))
            for column, numbers in enumerate(columns)
        ]

    def _throttled(self, at: int, column: int, rate: float) -> float:
        return float(self.throttled(column, rate)[at])


def unrolled(
    kinds: Iterable[Segments], order: Iterable[int] = (0,)
) -> tuple[list[CoreTask], list[ScheduledGemv]]:
    """Tasks and tensors of all segments in the given order, as those of one."""
    segments = [(kind.tasks, kind.tensors(at)) for kind in kinds for at in range(len(kind))]
    tasks: list[CoreTask] = []
    tensors: list[ScheduledGemv] = []
    for place in order:
        before = (len(tasks), len(tensors))
        tasks += [task._replace(needs=task.needs + before[1]) for task in segments[place][0]]
        tensors += [tensor._replace(needs=tensor.needs + before[0]) for tensor in segments[place][1]]
    return tasks, tensors


def play(machine: MemorySystem, kinds: Sequence[Segments], order: Sequence[int] = (0,)) -> StepTimeline:
    """Play segments one after the other; `order` has their numbers, which count over all `kinds`.

    Raises:
        RuntimeError: the needs of tasks and tensors can never be met.
        ValueError: a time, a size or a bandwidth is negative, or 0 where nothing would ever end; or a number
            in `order` has no segment.
    """
    return _core.run_schedule(
        [([task[1:] for task in kind.tasks], kind.needs, kind.bytes, kind.seconds) for kind in kinds],
        order,
        lambda kind, tensor, rate: kinds[kind].throttled(tensor, rate),
        peak=machine.peak,
        read_share=machine.read_share,
        write_share=machine.write_share,
        stream_limit=machine.stream_limit,
        depth=machine.depth,
        background=machine.background,
        buffer=machine.buffer,
        open_load=MAX_QUEUE_LOAD.value,
        stream=machine.stream.fields,
        cores=machine.cores.fields,
    )


Floats = NDArray[np.float64]
Many = Floats | float | int


@dataclass(frozen=True)
class CpuSheet:
    """Rates of a server's cores in SI units; scalars or arrays, which broadcast.

    The cores run all of a step (`backends.cores`), or the operations that units do not (`HostCores`).
    """

    clock: Floats
    read_bandwidth: Floats
    core_bandwidth: Floats
    """Most bytes/s of one core: MSHRs * line / latency (Little's law)."""
    bare_metal: Floats = field(default_factory=lambda: np.asarray(0.0))
    """Seconds lost by every product on bare metal."""

    @classmethod
    def of(cls, system: System) -> Self:
        """Read the rates from a system file."""
        in_flight = system.l2.mshrs.value * system.l2.line.value
        lost = system.host.bare_metal
        return cls(
            clock=np.asarray(system.cores.clock.si, dtype=float),
            read_bandwidth=np.asarray(system.memory.read_bandwidth.si, dtype=float),
            core_bandwidth=np.asarray(in_flight / system.memory.latency.si, dtype=float),
            bare_metal=np.asarray(0.0 if lost is None else lost.si),
        )

    def bandwidth(self, threads: Floats | int, share: Floats | float, most: Floats | float) -> Floats:
        """Bytes/s read by the threads: each at this share of `core_bandwidth`, together at most ``most``."""
        return np.minimum(threads * share * self.core_bandwidth, most)

    def multiplying(self, macs: Floats | int, threads: Floats | int, rate: Floats | float) -> Floats:
        """Seconds of MACs on threads that each do `rate` MAC/cycle."""
        return macs / (threads * self.clock * rate)


CODE_BITS = 8
"""Bits of keys and values that cores multiply by dot products without widening them."""


@dataclass(frozen=True)
class AttentionModel:
    """Attention of the program `decode`, in cycles of its busiest thread.

    `rate` in MAC/cycle over floats; `codes`: keys and values have `CODE_BITS` bits. Arrays broadcast.
    """

    program: ProgramAttention
    rate: float
    codes: bool

    @classmethod
    def of(cls, host: HostSoftware, kv_bits: int) -> Self | None:
        """Model of cores that run the program; None for other software."""
        if host.program is None:
            return None
        return cls(host.program, float(host.attention_rate.value), kv_bits == CODE_BITS)

    @property
    def barriers(self) -> int:
        """Number of barriers within attention, before the one at its end."""
        return (self.program.codes_barriers if self.codes else self.program.barriers).whole

    def phases(
        self, macs: Many, key_heads: Many, heads: Many, size: Many, threads: Many
    ) -> list[tuple[Floats, float]]:
        """Cycles from barrier to barrier, each with the share of the KV cache that is read meanwhile.

        `macs` products of `heads` query heads over all rows, with `key_heads` key heads of `size` numbers.
        """
        p, scores, shared = self.program, macs / (2 * np.asarray(size)), heads / np.asarray(key_heads)
        runs = key_heads * np.ceil(scores / heads / p.positions.value - NEARLY)
        keys, queries = _busiest(runs, threads), _busiest(heads, threads)
        if not self.codes:
            widened = macs / shared * p.widening.value
            return [(np.asarray((macs / self.rate + widened) * keys + heads * p.head.value * queries), 1.0)]
        pieces = key_heads * np.ceil(size / p.codes_outputs.value)
        of_keys = _shared(p.codes_keys, p.codes_keys_shared, shared)
        of_values = _shared(p.codes_values, p.codes_values_shared, shared)
        score = p.softmax.value + p.codes_score.value
        between = (scores * score + heads * p.codes_head.value) * queries
        start = pieces * threads * p.codes_start.value
        values = (macs / 2 * of_values + start) * _busiest(pieces, threads)
        return [(macs / 2 * of_keys * keys, 0.5), (between, 0.0), (values, 0.5)]

    def between(self, scores: Many, heads: Many, threads: Many) -> Floats:
        """Cycles between both products on units: scores of `heads` query heads are copied, then softmax."""
        p = self.program
        return np.asarray(scores * (p.score_copy.value + p.softmax.value) * _busiest(heads, threads))


NEARLY = 1e-9
"""Largest rounding error of a quotient of two whole numbers."""


def _shared(alone: Quantity, by_four: Quantity, heads: Floats) -> Floats:
    """Cycles of a product whose key or value serves `heads` query heads."""
    most, least = 1 / alone.value, 1 / by_four.value
    return np.asarray(least + (most - least) * (1 / heads - 1 / 4) / (1 - 1 / 4))


def _busiest(items: Many, threads: Many) -> Floats:
    """Share of equal items on the thread that has the most of them."""
    return np.asarray(np.ceil(items / threads - NEARLY) / items)


class HostCores:
    """Rates and costs of `threads` of a machine's cores, SI units.

    Raises SailsimError for more threads than cores.
    """

    def __init__(self, system: System, threads: int) -> None:
        if threads > system.cores.count.whole:
            raise SailsimError(
                f"threads is {threads}; allowed on {system.name} is at most {system.cores.count.whole}."
            )
        cores, host = system.cores, system.host
        self.threads, self.host, self.clock = threads, host, cores.clock.si
        peak = threads * cores.clock.si * cores.fp32_flops.value
        self.flops = peak * host.simd_share.value
        self.sheet = CpuSheet.of(system)
        self.attention_rate = host.attention_rate.value
        self.ahead = host.attention_ahead.value if host.attention_ahead is not None else 0.0
        self.llc = threads * cores.clock.si * system.llc.core_bandwidth.value
        lines, most = host.lines_share, system.memory.core_share.value * system.memory.peak
        self.dram = float(self.sheet.bandwidth(threads, 1.0 if lines is None else lines.value, most))
        self.barrier = threads * host.barrier.si
        self.submit = host.submit.si
        lost, metal = host.product_overhead.si, float(self.sheet.bare_metal)
        self.product_overhead = lost + metal
        self.hand_over = host.hand_over_share.value * lost + metal
        self.poll = host.poll.si
        self.queue = system.pim.queue.value if system.pim is not None else inf
        """Descriptors in a unit's queue."""
        self.copy = 0.0 if host.result_copy is None else host.result_copy.value / cores.clock.si
        self.convert = host.convert_cycles.value / (threads * cores.clock.si)
        self.system = system.name
        rates = {"float_rate": host.float_rate, "grid_rate": host.grid_rate}
        self.products = {name: q.value for name, q in rates.items() if q is not None}

    def seconds(self, flops: float, llc_bytes: float) -> float:
        """Seconds of work on cached data; arithmetic and loads overlap."""
        return max(flops / self.flops, llc_bytes / self.llc)

    def work(self, op: Op, model: ModelSpec, needs: int, by_sequence: bool = False) -> list[CoreTask]:
        """Tasks of an operation that is no GEMV, with the barrier at its end.

        With `by_sequence`, attention has tasks and a barrier for each sequence.
        """
        if op.kind == "attention":
            pieces = op.batch if by_sequence else 1
            return pieces * self._attend(_one_sequence(op) if by_sequence else op, model, needs)
        seconds = self.seconds(op.flops, op.act_bytes)
        if op.kind == "softmax" and (program := AttentionModel.of(self.host, CODE_BITS)) is not None:
            seconds = float(program.between(op.n, op.k, self.threads)) / self.clock
        if op.kind == "cache":  # each thread writes the heads that it has rotated: no barrier between
            return [CoreTask(op.name, needs, seconds, op.weight_bytes, op.kv_bytes, self.dram)]
        return [CoreTask(op.name, needs, seconds, op.weight_bytes, 0.0, self.dram), self.meet(op.name, needs)]

    def _attend(self, op: Op, model: ModelSpec, needs: int) -> list[CoreTask]:
        """Attention of the CPU baseline's software on the same cores, at its fitted rate.

        It reads the cache, then computes, on at most one thread a head; a share of the computing overlaps
        with reading. This project's program divides the work otherwise (`AttentionModel`), and reads ahead.
        """
        written = model.cached_bytes * op.batch
        read = op.kv_bytes - written
        if (program := AttentionModel.of(self.host, model.kv_bits)) is not None:
            size = (model.d_query + model.d_attn) / (2 * model.n_heads)
            heads = model.n_kv_heads * op.batch, model.n_heads * op.batch
            tasks = [
                CoreTask(op.name, needs, float(cycles) / self.clock, share * read, share * written, self.dram)
                for cycles, share in program.phases(op.macs, *heads, size, self.threads)
            ]
            barriers = self.barrier * (1 + program.barriers)
            return [*tasks, CoreTask(f"{op.name} barrier", needs, barriers, sync=True)]
        width = min(self.threads, model.n_heads * op.batch)
        work = float(self.sheet.multiplying(op.macs, width, self.attention_rate))
        work += self.seconds(op.flops, op.act_bytes)
        meanwhile = self.ahead * work
        return [
            CoreTask(f"{op.name} cache", needs, meanwhile, read, written, self.dram),
            CoreTask(op.name, needs, work - meanwhile),
            self.meet(op.name, needs),
        ]

    def product(self, op: Op, needs: int) -> list[CoreTask]:
        """Tasks of a GEMV on the cores, for weights without scalar codes: read, then compute."""
        return [
            CoreTask(f"{op.name} weights", needs, 0.0, op.weight_bytes, 0.0, self.dram),
            CoreTask(op.name, needs, self._multiplying(op)),
            self.meet(op.name, needs),
        ]

    def product_seconds(self, op: Op) -> float:
        """Seconds of `product` on an idle machine."""
        return op.weight_bytes / self.dram + self._multiplying(op) + self.barrier

    def _multiplying(self, op: Op) -> float:
        rate = self._product_rate(op)
        return float(self.sheet.multiplying(op.macs, self.threads, rate)) + self.product_overhead

    def _product_rate(self, op: Op) -> float:
        """MAC/cycle of a thread for the type of a GEMV's weights."""
        assert op.format is not None
        name = "float_rate" if op.format.name in FLOATS else "grid_rate"
        if name not in self.products:
            raise SailsimError(
                f"{op.name} is {op.format.name}, which has no scalar codes, and system {self.system} has no "
                f"host.{name}; allowed is a system that says how fast its cores multiply it."
            )
        return self.products[name]

    def submission(self, name: str, slices: int) -> CoreTask:
        """Task of the host software's overhead, and of submitting every slice's first descriptor."""
        seconds = self.hand_over + ceil(slices / self.threads) * self.submit
        return CoreTask(f"{name} submit", 0, seconds, sync=True)

    def meanwhile(self, op: Op, slices: int, rounds: float) -> list[CoreTask]:
        """Task of a thread during a product of several tiles a slice.

        It submits all of them, then polls and copies those that are not the last of their slice.
        """
        submitted, polled = max(0.0, rounds - 1), max(0.0, min(rounds, self.queue) - 1)
        if not submitted:
            return []
        seconds = ceil(slices / self.threads) * (submitted * self.submit + polled * self.poll)
        seconds += polled / rounds * self._copy_seconds(op, slices)
        return [CoreTask(f"{op.name} tiles", 0, seconds, sync=True)]

    def left(self, rounds: float) -> float:
        """Tiles of a slice that are polled only after the units are done.

        A thread submits all `rounds` tiles first, and waits for room in the units' queues.
        """
        return 1 + max(0.0, rounds - self.queue)

    def per_slice(self, slices: int) -> float:
        """Seconds of a product's descriptors and records, one of each for every slice."""
        return ceil(slices / self.threads) * (self.submit + self.poll)

    def polling(self, name: str, slices: int, needs: int, rounds: float = 1.0) -> CoreTask:
        """Task of polling the completion records of all slices, for the tiles that are `left`."""
        seconds = self.left(rounds) * ceil(slices / self.threads) * self.poll
        return CoreTask(f"{name} poll", needs, seconds, sync=True)

    def collecting(self, op: Op, slices: int, needs: int, rounds: float, last: bool) -> list[CoreTask]:
        """Tasks of polling and copying the results of tiles that are `left`.

        With `last`, the units finish a thread's tiles one after the other, in the order of submission, so it
        collects all but one while they work.
        """
        tiles, left = ceil(slices / self.threads), self.left(rounds)
        copy = self._copy_seconds(op, slices) / (tiles * max(1.0, rounds))
        before = tiles - 1 if last else 0
        after = left * tiles - before
        lag = before * max(0.0, self.poll + copy - self.submit)
        tasks = []
        for count, wait, after_tensors in ((before, 0.0, needs - 1), (after, lag, needs)):
            tasks += [
                CoreTask(f"{op.name} poll", after_tensors, count * self.poll + wait, sync=True),
                CoreTask(f"{op.name} copy", after_tensors, count * copy),
            ]
        return [task for task in tasks if task.seconds]

    def _copy_seconds(self, op: Op, slices: int) -> float:
        """Seconds of the busiest thread to copy a product's results, in whole tiles.

        Scores are copied by their softmax (`AttentionModel.between`).
        """
        if self.host.program is not None and op.name.endswith("attn_scores"):
            return 0.0
        return ceil(slices / self.threads) / slices * (op.macs / op.k) * self.copy

    def conversion(self, op: Op, blocks: int, needs: int) -> list[CoreTask]:
        """Tasks of converting the integer sums of every block to scaled fp32, with a barrier."""
        scales, sums = op.n * blocks, op.n * blocks * op.batch
        seconds = max(self.convert * (scales + sums), (4 * sums + 4 * op.n * op.batch) / self.llc)
        return [CoreTask(f"{op.name} convert", needs, seconds), self.meet(op.name, needs)]

    def meet(self, name: str, needs: int) -> CoreTask:
        """Task of the barrier after an operation."""
        return CoreTask(f"{name} barrier", needs, self.barrier, sync=True)


def _one_sequence(op: Op) -> Op:
    """Attention of one sequence; work is divided evenly."""
    return replace(
        op,
        batch=1,
        kv_bytes=op.kv_bytes / op.batch,
        act_bytes=op.act_bytes / op.batch,
        macs=op.macs // op.batch,
        flops=op.flops // op.batch,
        cache_flops=op.cache_flops // op.batch,
    )
