"""Fast engine: one step of a model, decoding or prefill, on a machine with an accelerator.

It turns a step's operations into the tasks and tensors of `schedule`. Accelerators time the matrix products
(`gemv_times`). `docs/engine.md` has the model and its equations.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from itertools import accumulate, chain
from math import ceil, inf
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sailsim.base.arguments import check_type
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.counts import TILE_PHASES
from sailsim.sim import backend
from sailsim.sim.backend import Backend, Machine, MemoryNeed, StepQuery, StepResult, Timer
from sailsim.sim.machine.catalog import FileReference
from sailsim.sim.machine.pim import AUTO, PER_TENSOR, format_nbw
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import lenient_reference, load_system
from sailsim.sim.point import SEEDS, Point
from sailsim.sim.step import schedule
from sailsim.sim.step.gemv_times import MAX_UNITS, AcceleratorStep, GemvTimes, Units, accelerator_step
from sailsim.sim.step.parts import EVERY, chunks_of, has_codes, prompt_chunk, step_parts
from sailsim.sim.step.schedule import CoreTask, HostCores, ScheduledGemv, Segments, StepTimeline
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import WeightFormat
from sailsim.workloads.models.graph import Chunk, Op, step_notes
from sailsim.workloads.models.model import ModelSpec

PHASES = ("dram", *TILE_PHASES, "cores", "sync")
"""Phases of a step with SAIL's units; exclusive, in the order of the figures.

dram: PIM units wait for weights; load: they wait for descriptors, activations, or weights that are on chip;
build, lookup, convert, write_back: phases of a tile, the last with the results' way to the LLC; cores: only
the cores compute; sync: hand-over while nobody computes. Another accelerator has its own phases between the
first and the last two (`Units.phases`).
"""
CHOICES: Mapping[str, Any] = {
    **{"nbw": None, "substrate": None, "convert": None, "prt": True},
    **{"attention": "cores", "overlap": False},
}
"""Fields of a point that are choices of an accelerator, with their defaults."""
GRAIN_S = 2e-4
"""Longest uninterrupted task of a prompt on the cores, in seconds, for which decoding waits (assumed,
0.5e-4..1e-3: some tens of a thread's chunks of a product)."""
FEW_LAYERS = 4
"""Layers with activations of their own for a timer of many steps; new rows then take a tenth of the time."""
NOTED_SHARE = 0.01
"""Share of a step from which a note says how long descriptors and records take."""
_CACHE = ("size", "ways", "line", "latency", "mshrs")
NOT_READ = (
    *(f"cores.{name}" for name in ("fetch_width", "issue_width", "rob", "iq", "lq", "sq", "mispredict")),
    *(f"cores.{name}_registers" for name in ("int", "vector")),
    *(f"cores.{name}_latency" for name in ("load", "vector_load", "fma", "table")),
    *("cores.simd_width", "cores.int8_macs"),
    *(f"{cache}.{name}" for cache in ("l1i", "l1d") for name in _CACHE),
    *("l2.ways", "llc.ways", "llc.clock", "llc.mshrs", "pim.queue"),
)
"""Fields of a system on which neither a step nor a baseline depends. Most are read by gem5's cores, caches
and units; the others only inform the reader."""


class Accelerator(Backend):
    """Server whose accelerator does the matrix products and whose cores do the rest."""

    kind = "accelerator"
    choices: ClassVar[tuple[str, ...]] = ()
    """Fields of `CHOICES` that it supports."""
    priced: ClassVar[bool] = True
    """Whether the server's price and an overhead cover it; a separate device has no price."""

    def __init__(self) -> None:
        self._cached_units = lru_cache(maxsize=MAX_UNITS)(self._make_units)
        # Units of machines that differ only in their cores, say, are equal and share what they have timed.
        self._first_of_equal = lru_cache(maxsize=MAX_UNITS)(lambda units: units)
        # Points that differ only in their cores need the same steps, intervals included.
        self.time_gemvs = lru_cache(maxsize=MAX_UNITS)(partial(accelerator_step, self.takes))

    def units_of(self, system: System, point: Point) -> Units:
        """Units of a machine; recent ones come from a cache, with all that they have timed.

        Raises:
            SailsimError: the machine has none, or does not support a choice of the point.
        """
        return self._cached_units(system, *self.unit_choices(system, point))

    def _make_units(self, system: System, *choices: Any) -> Units:
        first: Units = self._first_of_equal(self.make_units(system, *choices))
        return first

    def unit_choices(self, system: System, point: Point) -> tuple[Hashable, ...]:
        """Choices of a point on which its units depend."""
        return ()

    @abstractmethod
    def make_units(self, system: System, *choices: Any) -> Units:
        """Make the units of a machine under some `unit_choices`."""

    def alternatives(self, system: System, point: Point) -> tuple[Point, ...]:
        """Points of which a step takes the fastest, of equals the first: the point itself, and its variants.

        There are variants where the point leaves a choice to the accelerator; all but the first may be
        refused.
        """
        return (point,)

    def takes(self, op: Op) -> bool:
        """Whether the accelerator multiplies the operation's matrix, and not the cores.

        By default it multiplies whole numbers: weights that have scalar codes.
        """
        return has_codes(op)

    def stored(self, system: System, model: ModelSpec, fmt: WeightFormat) -> MemoryNeed | None:
        """Need of the accelerator's own memory; None if weights lie in the server's."""
        return None

    def check_choices(self, point: Point, name: str) -> None:
        """Raise SailsimError if the accelerator of system `name` does not support a choice of the point."""
        for wrong in self._unsupported(point):
            raise SailsimError(
                f"{wrong} is {getattr(point, wrong)!r}, which the accelerator of system {name} does not "
                "know; allowed is to leave it out."
            )

    def _unsupported(self, point: Point) -> list[str]:
        return [
            name for name, default in CHOICES.items()
            if name not in self.choices and getattr(point, name) != default
        ]  # fmt: skip

    def refusal(self, query: StepQuery) -> str | None:
        """Sentence if the machine has another accelerator than the runner's, else None."""
        if query.software in self.software:
            return None
        return (
            f"system {query.machine.name} runs {self.software[0]}, not {query.software}; allowed is to "
            f"compare it with another one, as in `--against {query.hardware or query.point.system}`."
        )

    def point_of(self, query: StepQuery) -> Point:
        """Point as this accelerator runs it; on other hardware without unsupported choices."""
        point = query.point.having(system=query.hardware or query.point.system, threads=query.cores)
        ignored = self._unsupported(point) if query.hardware else []
        return replace(point, **{name: CHOICES[name] for name in ignored}) if ignored else point

    def step(self, query: StepQuery) -> StepResult:
        """Simulate the step at `point_of` the query."""
        assert isinstance(query.machine, System)
        self.check_prefill(query)
        point = self.point_of(query)
        ignored = self._unsupported(query.point) if query.hardware else []
        result = simulate_step(query.machine, query.model, point, chunks=query.chunks)
        run, notes = result.point, []
        if ignored:
            notes.append(f"Runs without the point's {', '.join(ignored)}, which it does not know.")
        other = [
            format_nbw(getattr(run, name)) if name == "nbw" else f"{name} {getattr(run, name)}"
            for name in ("nbw", "substrate", "convert")
            if name in self.choices and getattr(run, name) != getattr(query.resolved or run, name)
        ]
        if other:
            notes.append(f"Runs with {', '.join(other)}, as its own file says.")
        return replace(result, notes=(*result.notes, *notes))

    def timer(self, query: StepQuery) -> Timer:
        """Timer with activations of few layers."""
        system, point = query.machine, self.point_of(query)
        assert isinstance(system, System)
        activations = Activations.load(point.activations or None)

        own = system, query.model, point, (), FEW_LAYERS, activations
        return lambda chunks: time_step(*own, chunks).step_s

    def memory_need(self, query: StepQuery) -> MemoryNeed:
        """Need of the accelerator's own memory if it has one and the rest fits the server's; else of that."""
        server = super().memory_need(query)
        assert isinstance(query.machine, System)
        own = self.stored(query.machine, query.model, query.fmt)
        if own is None:
            return server
        rest = server._replace(
            needed=server.needed - own.spared, where=f"{server.where}, next to its accelerator"
        )
        return rest if own.fits and not rest.fits else own

    def priced_as(self, machine: Machine) -> tuple[str, ...]:
        """Machines whose price it may have; the server's price does not cover a separate device."""
        if self.priced:
            return super().priced_as(machine)
        return (machine.name, *(machine.extends[:1] if FileReference.parse(machine.name).changes else ()))


def accelerator_of(system: System) -> Accelerator:
    """Accelerator that does a machine's matrix products.

    Raises:
        SailsimError: the machine has none.
    """
    accelerator = backend.backend_of(system, "accelerator")
    assert isinstance(accelerator, Accelerator)
    return accelerator


def simulate(point: Point) -> StepResult:
    """Simulate one step of SAIL at a point, decoding or prefill, on the point's machine and model.

    Raises:
        SailsimError: as `simulate_step`; also if weights and KV cache do not fit the server's memory.
        ArgumentTypeError: the argument is no point.
    """
    check_type("point", point, Point, "is a Point")
    system, model = load_system(point.system), load_model(point.model).with_kv_bits(point.kv_bits)
    backend.check_context(model, point)
    step = (model, point.formats(model), point.batch, point.context)
    backend.memory_need(system, *step).check(*step)
    return simulate_step(system, model, point)


def simulate_step(
    system: System,
    model: ModelSpec,
    point: Point,
    activations: Activations | None = None,
    chunks: tuple[Chunk, ...] = (),
    background: Sequence[CoreTask] = (),
) -> StepResult:
    """Simulate one step: a token for each sequence in decoding, or all prompts in one batch in prefill.

    Args:
        system: a machine with an accelerator.
        model: the model, in place of the point's.
        point: all other inputs; a step's `tokens` are those that it works on.
        activations: a capture that was read before; default: the point's.
        chunks: new tokens of a mixed step, in place of the point's phase, batch, prompt and context.
        background: other tasks of the cores, in order, which run whenever nothing of the step needs them.

    Raises:
        SailsimError: the machine has no accelerator or too few cores, does not know a choice of the point, or
            a product does not fit it; prompts of more rows than a descriptor can carry; a mixed step with
            attention on the units or in two halves.
    """
    return _fastest(_SimulatedStep(system, model, point, activations, EVERY, chunks, background)).result()


def time_step(
    system: System,
    model: ModelSpec,
    point: Point,
    counted: Sequence[str] = (),
    captured_layers: int = EVERY,
    activations: Activations | None = None,
    chunks: tuple[Chunk, ...] = (),
) -> StepResult:
    """Simulate a step as `simulate_step`, without phases and notes, for studies of many machines.

    `counted`: names of the `Units.counts` in the result; `captured_layers`: number of layers with activations
    of their own, which take most of the time on a new machine. Raises SailsimError as `simulate_step`.
    """
    step = _fastest(_SimulatedStep(system, model, point, activations, captured_layers, chunks))
    seconds, moved = step.timeline.end, step.moved
    all_counts = dict(zip(step.units.counts, step.counts.tolist(), strict=True)) if counted else {}
    counts = {name: all_counts[name] for name in counted}
    total = sum(moved.values())
    return StepResult(step.tokens, seconds, {}, total, moved, counts, pim_cycles=step.cycles)


def _fastest(step: _SimulatedStep) -> _SimulatedStep:
    system, point, accelerator = step.system, step.base, step.accelerator
    accelerator.check_choices(point, system.name)
    if step.chunks and (point.attention == "units" or point.overlap):
        raise SailsimError(
            "attention units or overlap is asked for in a mixed step; allowed there is attention on the "
            "cores, and one batch."
        )
    model = step.model.with_kv_bits(point.kv_bits)
    base = point.resolved(system, model)
    best, *others = (
        replace(step, model=model, base=base, variant=variant)
        for variant in accelerator.alternatives(system, base)
    )
    end = best.timeline.end
    for other in others:
        with suppress(SailsimError):  # a choice that not all tensors can have
            if other.busy > end * (1 + 1e-9):  # beyond rounding: it cannot be the fastest
                continue
            if other.timeline.end < end:
                best, end = other, other.timeline.end
    return best


@dataclass(eq=False)
class _SimulatedStep:
    """A step, its GEMVs on the units, and its schedule; each is computed when first read."""

    system: System
    model: ModelSpec
    base: Point
    """Point before the accelerator's choices."""
    activations: Activations | None = None
    """Capture that was read before; None: the point's."""
    captured_layers: int = EVERY
    """Number of layers with activations of their own."""
    chunks: tuple[Chunk, ...] = ()
    """Pieces of a mixed step."""
    background: Sequence[CoreTask] = ()
    """Other tasks of the cores."""
    variant: Point | None = None
    """One of the accelerator's alternatives to `base`."""

    @cached_property
    def point(self) -> Point:
        return self.variant or self.base

    @cached_property
    def accelerator(self) -> Accelerator:
        return accelerator_of(self.system)

    @cached_property
    def captured(self) -> Activations:
        return self.activations or Activations.load(self.point.activations or None)

    @cached_property
    def units(self) -> Units:
        return self.accelerator.units_of(self.system, self.point)

    @cached_property
    def gemvs(self) -> list[AcceleratorStep]:
        """GEMVs on the units of all rows, or of each half of them."""
        steps, captured = [], self.captured
        units = self.units
        for rows in halves_of(self.point):
            parts = step_parts(self.system, self.model, rows, self.captured_layers, self.chunks)
            steps.append(self.accelerator.time_gemvs(units, rows.having(threads=1), parts, captured))
        return steps

    @property
    def tokens(self) -> int:
        return sum(chunk.new * chunk.times for chunk in self.chunks or chunks_of(self.point))

    @property
    def busy(self) -> float:
        """Seconds of the units' own work, one product after the other: a lower bound of the step."""
        return sum(gemvs.seconds for gemvs in self.gemvs)

    @cached_property
    def host(self) -> HostCores:
        """Cores that work with the units. Raises SailsimError for more threads than there are cores."""
        return _cores_of(self.system, self.point.threads)

    @cached_property
    def timeline(self) -> StepTimeline:
        schedules = [(list(self._segments(gemvs)), gemvs.order) for gemvs in self.gemvs]
        memory = self.units.memory(self.point.threads)
        if not self.point.overlap and not self.background:
            return schedule.play(memory, *schedules[0])
        first, second = (*(schedule.unrolled(*each) for each in schedules), (self.background, ()))[:2]
        order = taking_turns(first, second, memory.stream_limit, in_order=bool(self.background))
        return schedule.play(memory, [Segments.one(*order)])

    @property
    def cycles(self) -> int:
        return sum(gemvs.cycles for gemvs in self.gemvs)

    @property
    def counts(self) -> NDArray[np.int64]:
        none = np.zeros(len(self.units.counts), dtype=np.int64)
        return sum((gemvs.counts for gemvs in self.gemvs if gemvs.times), none)

    @property
    def moved(self) -> dict[str, float]:
        line, cache = self.timeline, sum(gemvs.cache_bytes for gemvs in self.gemvs)
        moved = {"weights": line.streamed - cache, "read": line.read, "written": line.written}
        return moved | ({"cache": cache} if cache else {})

    def result(self) -> StepResult:
        units, line, moved = self.units, self.timeline, self.moved
        # Zeros first, as a step may have no GEMV on the units.
        sums = np.zeros(len(units.phases) + len(units.events))
        for each in chain.from_iterable(gemvs.numbers for gemvs in self.gemvs):
            sums += each
        numbers = sums.tolist()
        spent = dict(zip(units.phases, numbers, strict=False))
        return StepResult(
            point=self.base,
            tokens=self.tokens,
            step_s=line.end,
            breakdown={"dram": sum(line.stalled), **spent, "cores": line.cores, "sync": line.sync},
            counts=dict(zip(units.counts, self.counts.tolist(), strict=True)),
            dram_bytes=sum(moved.values()),
            bytes_by_kind=moved,
            pim_cycles=self.cycles,
            events=line.events,
            activity=dict(zip(units.events, numbers[len(units.phases) :], strict=True)),
            chosen=self._chosen(),
            converted=self.point.convert or "",
            notes=tuple(self._notes()),
        )

    def _segments(self, gemvs: AcceleratorStep) -> Iterator[Segments]:
        """Segments of each group of parts; attention by sequence if the two halves take turns."""
        for (group, products), (sizes, seconds) in zip(gemvs.groups, gemvs.columns, strict=True):
            if group.ops[0].kind != "gemv":
                yield Segments.one(self.host.work(group.ops[0], self.model, 0, self.point.overlap))
                continue
            tasks = _host_tasks(self.host, group.ops, products, self.units.cores_convert)
            throttled = partial(_throttled, list(products.values()))
            yield Segments(tasks, range(1, len(products) + 1), sizes, seconds, throttled)

    @cached_property
    def _products(self) -> list[tuple[Op, int]]:
        groups = (group for gemvs in self.gemvs for group, _ in gemvs.groups)
        return [(op, int(group.times.sum())) for group in groups for op in group.ops if op.kind == "gemv"]

    def _chosen(self) -> dict[str, int]:
        """Number of tensors by kind and NBW ("attn_q 4"), if each tensor has its own NBW."""
        if self.base.nbw != PER_TENSOR:
            return {}
        counted: Counter[str] = Counter()
        for group, products in self.gemvs[0].groups:
            for i, times in products.items():
                name = group.ops[i].name.rpartition(".")[2]
                for nbw, count in zip(times.nbw.tolist(), group.times.tolist(), strict=True):
                    counted[f"{name} {nbw}"] += count
        return dict(sorted(counted.items()))

    def _notes(self) -> Iterator[str]:
        point, model, units = self.point, self.model, self.units
        yield from self._weights_notes()
        yield from self._slices_note()
        if point.overlap:
            yield (
                "The batch is two halves: each builds its own tables and reads all weights from memory, also "
                "where those of the other half have just been on chip"
            )
        if self.base.convert == AUTO:
            yield f"Sums become floating point where the step is the fastest: convert {point.convert}"
        if point.attention == "units":
            yield from _attention_notes(prompt_chunk(self.system, model, point))
        elif model.kv_scale_bits:
            yield (
                f"The cores round new keys and values to {model.kv_bits} bits and unpack all that attention "
                "reads on their vector units, beside attention at the rate of fp16"
            )
        on_cores = [(op, count) for op, count in self._products if not self.accelerator.takes(op)]
        if on_cores:
            types: Counter[str] = Counter()
            for op, count in on_cores:
                types[op.format.name if op.format is not None else ""] += count
            seconds = sum(count * self.host.product_seconds(op) for op, count in on_cores)
            named = ", ".join(f"{name} {count} tensors" for name, count in types.most_common())
            yield (
                f"On the cores, as their types have no scalar codes: {named}; they take "
                f"{min(1.0, seconds / self.timeline.end):.0%} of the step's time there, at an assumed rate "
                "(host.float_rate, host.grid_rate)"
            )
        experts = (
            op for op, _ in self._products if op.spread and not op.side_by_side
        )  # no heads of attention
        if units.shares_slices and any(map(self.accelerator.takes, experts)):
            yield (
                "Experts share the slices, as many at a time as are the fastest: in a last round some slices "
                "are idle, in every other all are taken to have as much to do, and one more row can cost a "
                "round more"
            )
        yield from units.notes(model, self.captured)
        unread = [name for name in lenient_reference(point.system).changes if name in NOT_READ]
        if unread:
            yield f"not modelled: what another {', '.join(unread)} would change; only `sailsim gem5` can tell"
        yield from step_notes(model, self.tokens)

    def _weights_notes(self) -> Iterator[str]:
        """Notes on weights that are read several times, and on products whose sums do not fit."""
        every = ((op, count) for op, count in self._products if not op.side_by_side)
        weights = sum(count * op.weight_bytes for op, count in every if self.accelerator.takes(op))
        streamed = self.moved["weights"]
        prompts = any(not each.decodes for each in self.chunks)
        if prompts or (self.point.phase == "prefill" and not self.chunks):
            if streamed and weights:
                yield (
                    "All rows of the prompts go through a matrix before the next one: the units hold the "
                    f"sums of some of them at a time, and read {weights / 1e9:.3g} GB of weights "
                    f"{streamed / weights:.1f} times"
                )
            return
        products = [
            (times.crowded(), int(count.sum())) for gemvs in self.gemvs for times, count in gemvs.times
        ]
        crowded = sum(count for is_crowded, count in products if is_crowded)
        if crowded and weights:
            yield (
                f"The sums of all rows have no room in the units in {crowded} of "
                f"{sum(count for _, count in products)} products, which take more passes, and weights are "
                f"read {streamed / weights:.2f} times in the mean: one more row can cost more than it "
                "brings, and more bandwidth too, as a layout is chosen before patterns are known"
            )

    def _slices_note(self) -> Iterator[str]:
        """Note on the time of descriptors and records, if more slices could cost more than they save."""
        seconds = sum(
            float(count.sum()) * times.rounds * self.host.per_slice(times.slices)
            for gemvs in self.gemvs
            for times, count in gemvs.times
        )
        if seconds >= NOTED_SHARE * self.timeline.end:
            yield (
                f"Up to {min(1.0, seconds / self.timeline.end):.0%} of the step are descriptors and "
                f"completion records, one for every slice, which {self.host.threads} threads write and poll: "
                "more slices can take longer"
            )


_cores_of = lru_cache(maxsize=MAX_UNITS)(HostCores)


def _throttled(products: Sequence[GemvTimes], column: int, rate: float) -> NDArray[np.float64]:
    return products[column].throttled(rate)


def _attention_notes(chunk: int) -> Iterator[str]:
    """Assumptions of attention on the units; `chunk`: tokens multiplied with the keys together."""
    yield (
        "Units do attention's products on whole numbers: queries and weighted probabilities were not "
        "captured, and patterns of what attention gives (attn_out) stand for them, those of a head for all"
    )
    if chunk > 1:
        yield (
            f"Up to {chunk} tokens of each prompt look together at all keys that the last of them sees: what "
            "the others must not see is computed too, and left out by the cores"
        )


def _host_tasks(
    host: HostCores, ops: Sequence[Op], products: dict[int, GemvTimes], convert: bool
) -> list[CoreTask]:
    """Tasks of the cores for GEMVs that share an input: submit them, poll them, and with `convert` convert.

    Meanwhile they multiply the products that the accelerator does not take.
    """
    submitted = [(ops[i], times) for i, times in products.items()]
    tasks = [host.submission(op.name, times.slices) for op, times in submitted]
    tasks += chain.from_iterable(host.meanwhile(op, times.slices, times.rounds) for op, times in submitted)
    for i, op in enumerate(ops):
        if i not in products:
            tasks += host.product(op, 0)
    for done, (op, times) in enumerate(submitted, 1):
        if convert:
            tasks += [host.polling(op.name, times.slices, done, times.rounds), host.meet(op.name, done)]
            tasks += host.conversion(op, times.blocks, done)
        else:
            tasks += host.collecting(op, times.slices, done, times.rounds, done == len(submitted))
    if submitted and not convert:
        tasks.append(host.meet(submitted[-1][0].name, len(submitted)))
    return tasks


# ---- Two half-batches -------------------------------------------------------------------------------------
# While the cores work for one half, the units work for the other. Each half has its own tasks and tensors,
# which keep their order. `taking_turns` interleaves the two halves on the cores and on the units, from the
# time that each task and tensor takes by itself. The schedule then computes the time of all of them together.

Schedule = tuple[Sequence[CoreTask], Sequence[ScheduledGemv]]
"""Tasks of the cores and tensors of the units, in order."""


def halves_of(point: Point) -> tuple[Point, ...]:
    """The point itself, or with `overlap` its two halves, each with activations of its own."""
    if not point.overlap:
        return (point,)
    half, other = point.batch // 2, (point.seed + 1) % SEEDS
    return (
        point.having(batch=point.batch - half, overlap=False),
        point.having(batch=half, overlap=False, seed=other),
    )


def taking_turns(
    first: Schedule, second: Schedule, bandwidth: float, in_order: bool = False
) -> tuple[list[CoreTask], list[ScheduledGemv]]:
    """Interleave two schedules.

    Whenever the cores are free, they work for the half with the least to do until it submits a tensor. With
    `in_order` they work for the first half if it is ready, and for the second in grains between its tasks.
    The units take tensors in the order of submission, with weights at `bandwidth` bytes/s. Tasks and tensors
    need only those of their own half.

    Raises:
        RuntimeError: the needs of a half's tasks and tensors can never be met.
    """
    halves = [_HalfSchedule(*first), _HalfSchedule(*second)]
    tasks: list[CoreTask] = []
    tensors: list[ScheduledGemv] = []
    now = free = 0.0
    while True:
        for half in halves:
            while (tensor := half.next_tensor) and tensor.needs <= half.done:
                free = max(now, free) + max(tensor.seconds, tensor.bytes / bandwidth)
                tensors.append(tensor._replace(needs=half.after_tasks[tensor.needs]))
                half.ends.append(free)
                half.after_tensors.append(len(tensors))
        unfinished = [half for half in halves if half.done < len(half.tasks)]
        if not unfinished:
            return tasks, tensors
        now = max(now, min(half.ready for half in unfinished))
        if now == inf:
            raise RuntimeError("tasks and tensors of a half wait for each other")
        ready = [half for half in unfinished if half.ready <= now]
        half = ready[0] if in_order else min(ready, key=lambda each: each.left)
        task, seconds = half.tasks[half.done], half.until[half.done + 1] - half.until[half.done]
        grains = count = 1
        if in_order and half is halves[1] and seconds:
            grains = ceil(seconds / GRAIN_S)
            left, wait = grains - half.gone, unfinished[0].ready - now
            # As many as begin before the first half can go on.
            count = ceil(min(left, wait / seconds * grains)) if wait > 0 else left
            half.gone = (half.gone + count) % grains
        part, needs = count / grains, half.after_tensors[task.needs]
        least, read, written = part * task.seconds, part * task.read, part * task.written
        tasks.append(task._replace(needs=needs, seconds=least, read=read, written=written))
        if not half.gone:
            half.after_tasks.append(len(tasks))
        now += part * seconds


class _HalfSchedule:
    """Schedule of a half, and its progress."""

    def __init__(self, tasks: Sequence[CoreTask], tensors: Sequence[ScheduledGemv]) -> None:
        self.tasks, self.tensors = tasks, tensors
        self.until = [0.0, *accumulate(max(t.seconds, (t.read + t.written) / t.rate) for t in tasks)]
        """Seconds until the end of each task by itself, from 0."""
        self.after_tasks, self.after_tensors = [0], [0]
        """Number of tasks, or tensors, of both halves that are done after each number of this half's."""
        self.gone = 0
        """Grains of the next task that are done."""
        self.ends = [0.0]
        """End of each submitted tensor on the units, from 0."""

    @property
    def done(self) -> int:
        return len(self.after_tasks) - 1

    @property
    def next_tensor(self) -> ScheduledGemv | None:
        submitted = len(self.ends) - 1
        return self.tensors[submitted] if submitted < len(self.tensors) else None

    @property
    def ready(self) -> float:
        """Time when the next task may begin; infinite if it waits for a tensor that is not submitted."""
        needs = self.tasks[self.done].needs
        return self.ends[needs] if needs < len(self.ends) else inf

    @property
    def left(self) -> float:
        """Seconds of the cores until the half submits its next tensor, or to the end."""
        end = len(self.tasks) if self.next_tensor is None else self.next_tensor.needs
        return self.until[end] - self.until[self.done]
