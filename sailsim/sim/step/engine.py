"""The fast engine: one step of a model, decoding or prefill, on a machine with an accelerator.

It turns a step's operations into the tasks and tensors of `schedule`. What becomes of a matrix product is the
accelerator's to say (`jobs`): the engine knows jobs only. `docs/engine.md` has the model and its equations.
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
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sailsim.base.arguments import check_type
from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.counts import TILE_PHASES
from sailsim.sim.backend import (
    Backend,
    Machine,
    MemoryNeed,
    StepQuery,
    StepResult,
    Timer,
    backend_of,
    check_context,
    room_of,
)
from sailsim.sim.machine.pim import AUTO, PER_TENSOR, nbw_in_words
from sailsim.sim.machine.system import IdentityKey, System
from sailsim.sim.machine.system_files import SystemReference, chosen_system, load_system
from sailsim.sim.point import SEEDS, Point
from sailsim.sim.step.jobs import KEPT_UNITS, AcceleratorStep, ProductTimes, Units, step_work
from sailsim.sim.step.parts import EVERY, has_codes, pieces_of, prompt_chunk, step_parts
from sailsim.sim.step.schedule import (
    CoreTask,
    HostCores,
    ScheduledGemv,
    Segments,
    StepTimeline,
    play,
    unrolled,
)
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.formats import WeightFormat
from sailsim.workloads.models.graph import Chunk, Op, step_notes
from sailsim.workloads.models.model import ModelSpec

PHASES = ("dram", *TILE_PHASES, "cores", "sync")
"""Where the time of a step with SAIL's units goes; exclusive, in the order of the figures.

dram: PIM units wait for weights; load: they wait for descriptors, activations, or weights that are on chip;
build, lookup, convert, write_back: phases of a tile, the last with the results' way to the LLC; cores: only
the cores compute; sync: hand-over while nobody computes. Another accelerator has its own phases between the
first and the last two (`Units.phases`).
"""
CHOICES: Mapping[str, Any] = {
    **{"nbw": None, "substrate": None, "convert": None, "prt": True},
    **{"attention": "cores", "overlap": False},
}
"""Fields of a point that choose something of an accelerator, and what they are where nothing is chosen."""
GRAIN_S = 2e-4
"""Longest task of a prompt on the cores that what decodes has to wait for (assumed, 0.5e-4..1e-3: some tens
of a thread's chunks of a product)."""
FEW_LAYERS = 4
"""Layers with activations of their own where many steps are timed: new rows then cost a tenth of the time."""
NOTED_SHARE = 0.01
"""Of a step, from which on it says what handing products to slices takes."""
_CACHE = ("size", "ways", "line", "latency", "mshrs")
NOT_READ = (
    *(f"cores.{name}" for name in ("fetch_width", "issue_width", "rob", "iq", "lq", "sq", "mispredict")),
    *(f"cores.{name}_registers" for name in ("int", "vector")),
    *(f"cores.{name}_latency" for name in ("load", "vector_load", "fma", "table")),
    *("cores.simd_width", "cores.int8_macs"),
    *(f"{cache}.{name}" for cache in ("l1i", "l1d") for name in _CACHE),
    *("l2.ways", "llc.ways", "llc.clock", "llc.mshrs", "pim.queue"),
)
"""Fields of a system that neither a step nor a baseline depends on: gem5's cores, caches and units have them,
and what is beside is there for the reader."""


class StoredBytes(NamedTuple):
    """What an accelerator's own memory must hold, and what it can, bytes."""

    needed: float
    limit: float
    spared: float
    """Of the model as it is stored, what the server's memory need not hold."""


class Accelerator(Backend):
    """A server's accelerator does the matrix products, its cores the rest."""

    kind = "accelerator"
    choices: ClassVar[tuple[str, ...]] = ()
    """The fields of a point, of `CHOICES`, that it knows."""
    priced: ClassVar[bool] = True
    """Whether the server's price and an overhead pay for it; what is bought beside it has no price."""

    def __init__(self) -> None:
        self._kept = lru_cache(maxsize=KEPT_UNITS)(self._make_units)
        # Equal ones of another machine have timed the same: of one that differs in its cores, say.
        self._first_of_equal = lru_cache(maxsize=KEPT_UNITS)(lambda units: units)
        # Points that differ in their cores alone ask for the work of the same units again, intervals
        # included.
        self.step_work = lru_cache(maxsize=KEPT_UNITS)(partial(step_work, self.takes))

    def units_of(self, system: System, point: Point) -> Units:
        """The units of a machine; of those that were asked for last the same ones, with what they have timed.

        Raises:
            SailsimError: the machine has none, or cannot do what the point asks.
        """
        return self._kept(IdentityKey(system), *self.unit_choices(system, point))

    def _make_units(self, of: IdentityKey, *choices: Any) -> Units:
        first: Units = self._first_of_equal(self.make_units(of.system, *choices))
        return first

    def unit_choices(self, system: System, point: Point) -> tuple[Hashable, ...]:
        """What of a point its units depend on."""
        return ()

    @abstractmethod
    def make_units(self, system: System, *choices: Any) -> Units:
        """The units of a machine under some `unit_choices`."""

    def alternatives(self, system: System, point: Point) -> tuple[Point, ...]:
        """The points of which a step on a machine takes the fastest, of equals the first: the point itself,
        and what else is as good an answer.

        More than one where the point leaves a choice to the accelerator; all but the first may be refused.
        """
        return (point,)

    def takes(self, op: Op) -> bool:
        """Whether it multiplies the matrix of an operation; the cores do where it does not. Unless a backend
        says otherwise, whole numbers alone: what has scalar codes."""
        return has_codes(op)

    def stored(self, system: System, model: ModelSpec, fmt: WeightFormat) -> StoredBytes | None:
        """What must fit its own memory; None where weights lie in the server's."""
        return None

    def check_choices(self, point: Point, name: str) -> None:
        """Raise SailsimError for a point that asks for what this accelerator does not know."""
        wrong = next(iter(self._unknown(point)), None)
        if wrong is not None:
            raise SailsimError(
                f"{wrong} is {getattr(point, wrong)!r}, which the accelerator of system {name} does not "
                "know; allowed is to leave it out."
            )

    def _unknown(self, point: Point) -> list[str]:
        """What a point chooses that it does not know."""
        return [
            name for name, nothing in CHOICES.items()
            if name not in self.choices and getattr(point, name) != nothing
        ]  # fmt: skip

    def refusal(self, asked: StepQuery) -> str | None:
        """A machine with another accelerator than the runner's."""
        if asked.software in self.software:
            return None
        return (
            f"system {asked.machine.name} runs {self.software[0]}, not {asked.software}; allowed is to put "
            f"it beside another one, as in `--against {asked.hardware or asked.point.system}`."
        )

    def point_of(self, asked: StepQuery) -> Point:
        """The point as this accelerator runs it: on other hardware than the point's, without its choices
        that are not known there."""
        point = asked.point.having(system=asked.hardware or asked.point.system, threads=asked.cores)
        ignored = self._unknown(point) if asked.hardware else []
        return replace(point, **{name: CHOICES[name] for name in ignored}) if ignored else point

    def step(self, asked: StepQuery) -> StepResult:
        """By the engine, at `point_of`."""
        assert isinstance(asked.machine, System)
        self.check_prefill(asked)
        point = self.point_of(asked)
        ignored = self._unknown(asked.point) if asked.hardware else []
        result = simulate_step(asked.machine, asked.model, point, pieces=asked.pieces)
        run, notes = result.point, []
        if ignored:
            notes.append(f"Runs without the point's {', '.join(ignored)}, which it does not know.")
        other = [
            nbw_in_words(getattr(run, name)) if name == "nbw" else f"{name} {getattr(run, name)}"
            for name in ("nbw", "substrate", "convert")
            if name in self.choices and getattr(run, name) != getattr(asked.resolved or run, name)
        ]
        if other:
            notes.append(f"Runs with {', '.join(other)}, as its own file says.")
        return replace(result, notes=(*result.notes, *notes))

    def timer(self, asked: StepQuery) -> Timer:
        """By the engine, with activations of few layers."""
        system, point = asked.machine, self.point_of(asked)
        assert isinstance(system, System)
        activations = Activations.load(point.activations or None)

        def seconds(pieces: tuple[Chunk, ...]) -> float:
            return time_step(system, asked.model, point, (), FEW_LAYERS, activations, pieces).step_s

        return seconds

    def room(self, asked: StepQuery) -> MemoryNeed:
        """The accelerator's own memory where it has one, if the rest fits the server's; else the server's."""
        system, server = asked.machine, super().room(asked)
        assert isinstance(system, System)
        stored = self.stored(system, asked.model, asked.fmt)
        if stored is None:
            return server
        rest = server._replace(
            needed=server.needed - stored.spared, where=f"{server.where}, beside its accelerator"
        )
        own = MemoryNeed(stored.needed, stored.limit, f"the accelerator of system {system.name}")
        return rest if own.fits and not rest.fits else own

    def priced_as(self, machine: Machine) -> tuple[str, ...]:
        """What is bought beside the server has no price but its own: the server's does not pay for it."""
        if self.priced:
            return super().priced_as(machine)
        return (machine.name, *(machine.extends[:1] if SystemReference.parse(machine.name).changes else ()))


def accelerator_of(system: System) -> Accelerator:
    """The accelerator that does a machine's matrix products.

    Raises:
        SailsimError: the machine has none.
    """
    accelerator = backend_of(system, "accelerator")
    assert isinstance(accelerator, Accelerator)
    return accelerator


def simulate(point: Point) -> StepResult:
    """Simulate one step of SAIL at a point, decoding or prefill: the machine and the model that it names.

    Raises:
        SailsimError: as `simulate_step`; also where weights and KV cache do not fit the server's memory.
        ArgumentTypeError: what is no point.
    """
    check_type("point", point, Point, "is a Point")
    system, model = load_system(point.system), load_model(point.model).with_kv_bits(point.kv_bits)
    check_context(model, point)
    step = (model, point.formats(model), point.batch, point.context)
    room_of(system, *step).check(*step)
    return simulate_step(system, model, point)


def simulate_step(
    system: System,
    model: ModelSpec,
    point: Point,
    activations: Activations | None = None,
    pieces: tuple[Chunk, ...] = (),
    beside: Sequence[CoreTask] = (),
) -> StepResult:
    """Simulate one step: a token for each of `point.batch` sequences of `point.context` tokens, or in prefill
    as many prompts of `point.prompt` tokens, all rows in one batch; with ``pieces``, theirs in the place of
    both. ``beside``: what the cores have to do besides without units, in order, whenever nothing of the step
    waits for them.

    `tokens` counts those that the step works on.

    Raises:
        SailsimError: the machine has no accelerator or too few cores, does not know a choice of the point, or
            a product does not fit it; prompts of more rows than a descriptor can carry; a mixed step with
            attention on the units or in two halves.
    """
    return _fastest(_SimulatedStep(system, model, point, activations, EVERY, pieces, beside)).result()


def time_step(
    system: System,
    model: ModelSpec,
    point: Point,
    counted: Sequence[str] = (),
    captured: int = EVERY,
    activations: Activations | None = None,
    pieces: tuple[Chunk, ...] = (),
) -> StepResult:
    """`simulate_step` without all that is only looked at, for studies of many machines. Raises as it.

    Seconds are not told by phase; `counted`: names of `Units.counts` that are wanted; `captured`: how many
    layers have activations of their own, which is most of the time of a new machine; `activations`: the
    point's, where they were read before.
    """
    step = _fastest(_SimulatedStep(system, model, point, activations, layers=captured, pieces=pieces))
    seconds, moved = step.line.end, step.moved
    all_counts = dict(zip(step.units.counts, step.counts.tolist(), strict=True)) if counted else {}
    counts = {name: all_counts[name] for name in counted}
    total = sum(moved.values())
    return StepResult(step.tokens, seconds, {}, total, moved, counts, pim_cycles=step.cycles)


def _fastest(step: _SimulatedStep) -> _SimulatedStep:
    """The step, of all the ways that its point leaves to the accelerator."""
    system, point, accelerator = step.system, step.asked, step.accelerator
    accelerator.check_choices(point, system.name)
    if step.pieces and (point.attention == "units" or point.overlap):
        raise SailsimError(
            "attention units or overlap is asked for in a mixed step; allowed there is attention on the "
            "cores, and one batch."
        )
    model = step.model.with_kv_bits(point.kv_bits)
    asked = point.resolved(system, model)
    best, *others = (
        replace(step, model=model, asked=asked, way=way) for way in accelerator.alternatives(system, asked)
    )
    end = best.line.end
    for other in others:
        with suppress(SailsimError):  # what not all tensors can have
            if other.busy > end * (1 + 1e-9):  # beyond rounding: it cannot be the fastest
                continue
            if other.line.end < end:
                best, end = other, other.line.end
    return best


@dataclass(eq=False)
class _SimulatedStep:
    """A step: what the units do in it, and how all of it plays."""

    system: System
    model: ModelSpec
    asked: Point
    activations: Activations | None = None
    """Read before; None: the point's."""
    layers: int = EVERY
    """That have activations of their own."""
    pieces: tuple[Chunk, ...] = ()
    """In the place of the point's."""
    beside: Sequence[CoreTask] = ()
    """What the cores do besides."""
    way: Point | None = None
    """Of those that the point leaves to the accelerator."""

    @cached_property
    def point(self) -> Point:
        """As it is played."""
        return self.way or self.asked

    @cached_property
    def accelerator(self) -> Accelerator:
        """The machine's."""
        return accelerator_of(self.system)

    @cached_property
    def captured(self) -> Activations:
        """What patterns are counted of."""
        return self.activations or Activations.load(self.point.activations or None)

    @cached_property
    def units(self) -> Units:
        """That multiply."""
        return self.accelerator.units_of(self.system, self.point)

    @cached_property
    def works(self) -> list[AcceleratorStep]:
        """What the units do: for all rows, or for each half of them."""
        found, captured = [], self.captured
        units = self.units
        for rows in halves_of(self.point):
            parts = step_parts(self.system, self.model, rows, self.layers, self.pieces)
            found.append(self.accelerator.step_work(units, rows.having(threads=1), parts, captured))
        return found

    @property
    def tokens(self) -> int:
        """Of all sequences and prompts."""
        return sum(piece.new * piece.times for piece in self.pieces or pieces_of(self.point))

    @property
    def busy(self) -> float:
        """Seconds of the units' own work, which take one product at a time: a step takes no less."""
        return sum(work.seconds for work in self.works)

    @cached_property
    def host(self) -> HostCores:
        """The cores around the units. Raises SailsimError for more threads than there are cores."""
        return _cores_of(IdentityKey(self.system), self.point.threads)

    @cached_property
    def line(self) -> StepTimeline:
        """How it plays."""
        schedules = [(list(self._segments(work)), work.layout.order) for work in self.works]
        memory = self.units.memory(self.point.threads)
        if not self.point.overlap and not self.beside:
            return play(memory, *schedules[0])
        first, second = (*(unrolled(*each) for each in schedules), (self.beside, ()))[:2]
        order = taking_turns(first, second, memory.stream_limit, in_order=bool(self.beside))
        return play(memory, [Segments.one(*order)])

    @property
    def cycles(self) -> int:
        """Of the accelerator."""
        return sum(work.cycles for work in self.works)

    @property
    def counts(self) -> NDArray[np.int64]:
        """By `Units.counts`, of one unit."""
        none = np.zeros(len(self.units.counts), dtype=np.int64)
        return sum((work.counts for work in self.works if work.jobs), none)

    @property
    def moved(self) -> dict[str, float]:
        """Bytes over DRAM by kind."""
        line, cache = self.line, sum(work.cache_bytes for work in self.works)
        moved = {"weights": line.streamed - cache, "read": line.read, "written": line.written}
        return moved | ({"cache": cache} if cache else {})

    def result(self) -> StepResult:
        """All that is known of it."""
        units, line, moved = self.units, self.line, self.moved
        # Zeros first, as a step may have no job at all.
        sums = np.zeros(len(units.phases) + len(units.events))
        for each in chain.from_iterable(work.numbers for work in self.works):
            sums += each
        numbers = sums.tolist()
        spent = dict(zip(units.phases, numbers, strict=False))
        return StepResult(
            point=self.asked,
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

    def _segments(self, work: AcceleratorStep) -> Iterator[Segments]:
        """The schedule of each kind of part; attention sequence by sequence where it is to be interrupted."""
        for kind, products in zip(work.layout.kinds, work.products, strict=True):
            if products is None:
                yield Segments.one(self.host.work(kind.ops[0], self.model, 0, self.point.overlap))
            else:
                tasks = _around(self.host, kind.ops, products, self.units.cores_convert)
                ends = range(1, len(products.ops) + 1)
                yield Segments(tasks, ends, products.bytes, products.seconds, products.throttled)

    @cached_property
    def _gemvs(self) -> list[tuple[Op, int]]:
        """The matrix products, with how many there are of each."""
        kinds = chain.from_iterable(work.layout.kinds for work in self.works)
        return [(op, int(kind.times.sum())) for kind in kinds for op in kind.ops if op.kind == "gemv"]

    def _chosen(self) -> dict[str, int]:
        """Where the NBW is each tensor's own, how many of a kind have which: "attn_q 4"."""
        if self.asked.nbw != PER_TENSOR:
            return {}
        counted: Counter[str] = Counter()
        work = self.works[0]
        for kind, products in zip(work.layout.kinds, work.products, strict=True):
            for i, jobs in zip(products.ops, products.jobs, strict=True) if products else ():
                name = kind.ops[i].name.rpartition(".")[2]
                for at, times in enumerate(kind.times.tolist()):
                    counted[f"{name} {jobs.nbw(at)}"] += times
        return dict(sorted(counted.items()))

    def _notes(self) -> Iterator[str]:
        """What must be said beside the step, in sentences."""
        point, model, units = self.point, self.model, self.units
        yield from self._weights_notes()
        yield from self._slices_note()
        if point.overlap:
            yield (
                "The batch is two halves: each builds its own tables and reads all weights from memory, also "
                "where those of the other half have just been on chip"
            )
        if self.asked.convert == AUTO:
            yield f"Sums become floating point where the step is the fastest: convert {point.convert}"
        if point.attention == "units":
            yield from _attention_notes(prompt_chunk(self.system, model, point))
        elif model.kv_scale_bits:
            yield (
                f"The cores round new keys and values to {model.kv_bits} bits and unpack all that attention "
                "reads on their vector units, beside attention at the rate of fp16"
            )
        there = [(op, times) for op, times in self._gemvs if not self.accelerator.takes(op)]
        if there:
            types: Counter[str] = Counter()
            for op, times in there:
                types[op.format.name if op.format is not None else ""] += times
            seconds = sum(times * self.host.product_seconds(op) for op, times in there)
            named = ", ".join(f"{name} {count} tensors" for name, count in types.most_common())
            yield (
                f"On the cores, as their types have no scalar codes: {named}; they take "
                f"{min(1.0, seconds / self.line.end):.0%} of the step's time there, at an assumed rate "
                "(host.float_rate, host.grid_rate)"
            )
        experts = (op for op, _ in self._gemvs if op.spread and not op.side_by_side)  # no heads of attention
        if units.shares_slices and any(map(self.accelerator.takes, experts)):
            yield (
                "Experts share the slices, as many at a time as are the fastest: in a last round some slices "
                "are idle, in every other all are taken to have as much to do, and one more row can cost a "
                "round more"
            )
        yield from units.notes(model, self.captured)
        unread = [name for name in chosen_system(point.system).changes if name in NOT_READ]
        if unread:
            yield f"not modelled: what another {', '.join(unread)} would change; only `sailsim gem5` can tell"
        yield from step_notes(model, self.tokens)

    def _weights_notes(self) -> Iterator[str]:
        """How often the accelerator reads its weights, and how many products have no room for all sums."""
        every = ((op, times) for op, times in self._gemvs if not op.side_by_side)
        weights = sum(times * op.weight_bytes for op, times in every if self.accelerator.takes(op))
        streamed = self.moved["weights"]
        prompts = any(not each.decodes for each in self.pieces)
        if prompts or (self.point.phase == "prefill" and not self.pieces):
            if streamed and weights:
                yield (
                    "All rows of the prompts go through a matrix before the next one: the units hold the "
                    f"sums of some of them at a time, and read {weights / 1e9:.3g} GB of weights "
                    f"{streamed / weights:.1f} times"
                )
            return
        jobs = [(jobs.crowded, int(times.sum())) for work in self.works for jobs, times in work.jobs]
        crowded = sum(times for short, times in jobs if short)
        if crowded and weights:
            yield (
                f"The sums of all rows have no room in the units in {crowded} of "
                f"{sum(times for _, times in jobs)} products, which take more passes, and weights are read "
                f"{streamed / weights:.2f} times in the mean: one more row can cost more than it brings, and "
                "more bandwidth too, as a layout is chosen before patterns are known"
            )

    def _slices_note(self) -> Iterator[str]:
        """What handing products to every slice takes, where more slices could cost more than they save."""
        seconds = sum(
            float(times.sum()) * jobs.rounds * self.host.per_slice(jobs.slices)
            for work in self.works
            for jobs, times in work.jobs
        )
        if seconds >= NOTED_SHARE * self.line.end:
            yield (
                f"Up to {min(1.0, seconds / self.line.end):.0%} of the step are descriptors and completion "
                f"records, one for every slice, which {self.host.threads} threads write and poll: more "
                "slices can take longer"
            )


@lru_cache(maxsize=KEPT_UNITS)
def _cores_of(machine: IdentityKey, threads: int) -> HostCores:
    return HostCores(machine.system, threads)


def _attention_notes(chunk: int) -> Iterator[str]:
    """What attention on the units rests on; `chunk`: tokens of a sequence that look at keys together."""
    yield (
        "Units do attention's products on whole numbers: queries and weighted probabilities were not "
        "captured, and patterns of what attention gives (attn_out) stand for them, those of a head for all"
    )
    if chunk > 1:
        yield (
            f"Up to {chunk} tokens of each prompt look together at all keys that the last of them sees: what "
            "the others must not see is computed too, and left out by the cores"
        )


def _around(host: HostCores, ops: Sequence[Op], products: ProductTimes, convert: bool) -> list[CoreTask]:
    """What the cores do for GEMVs that share an input: hand them over, see them done, maybe convert.

    Those that the accelerator does not take they multiply themselves, beside its units.
    """
    handed = [(ops[i], jobs) for i, jobs in zip(products.ops, products.jobs, strict=True)]
    tasks = [host.submission(op.name, jobs.slices) for op, jobs in handed]
    tasks += chain.from_iterable(host.meanwhile(op, jobs.slices, jobs.rounds) for op, jobs in handed)
    for i, op in enumerate(ops):
        if i not in products.ops:
            tasks += host.product(op, 0)
    for done, (op, jobs) in enumerate(handed, 1):
        if convert:
            tasks += [host.seen(op.name, jobs.slices, done, jobs.rounds), host.meet(op.name, done)]
            tasks += host.conversion(op, jobs.blocks, done)
        else:
            tasks += host.collecting(op, jobs.slices, done, jobs.rounds, done == len(handed))
    if handed and not convert:
        tasks.append(host.meet(handed[-1][0].name, len(handed)))
    return tasks


# ---- Two half-batches -------------------------------------------------------------------------------------
# While the cores work for one half, the units work for the other. Each half has its own tasks and tensors,
# which keep their order. What is decided here is the order between those of both on the cores and on the
# units, from how long each would take by itself; how long all of it takes together the schedule says.

Schedule = tuple[Sequence[CoreTask], Sequence[ScheduledGemv]]
"""What the cores and what the units have to do, in order."""


def halves_of(point: Point) -> tuple[Point, ...]:
    """The point itself; with `overlap` its two halves, each with activations of its own."""
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
    """Tasks and tensors of two schedules as those of one.

    Whenever the cores are free, the half goes on that has the least to do until it hands the units something;
    with `in_order` the first one if it can, and between its tasks the second in grains. The units take
    tensors as they are handed over, with weights at `bandwidth` bytes/s. What a task or a tensor needs, it
    needs of its own half alone.

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
    """A half's schedule, and how far it has come."""

    def __init__(self, tasks: Sequence[CoreTask], tensors: Sequence[ScheduledGemv]) -> None:
        self.tasks, self.tensors = tasks, tensors
        self.until = [0.0, *accumulate(max(t.seconds, (t.read + t.written) / t.rate) for t in tasks)]
        """Seconds of the first so many tasks."""
        self.after_tasks, self.after_tensors = [0], [0]
        """How many of both halves are through when the first so many of this one are."""
        self.gone = 0
        """Grains of the next task that are through."""
        self.ends = [0.0]
        """When the units will be through with the first so many tensors, of those handed over."""

    @property
    def done(self) -> int:
        """Tasks."""
        return len(self.after_tasks) - 1

    @property
    def next_tensor(self) -> ScheduledGemv | None:
        """The first that is not handed over."""
        handed = len(self.ends) - 1
        return self.tensors[handed] if handed < len(self.tensors) else None

    @property
    def ready(self) -> float:
        """When the next task may begin; infinite where it waits for what nobody has handed over."""
        needs = self.tasks[self.done].needs
        return self.ends[needs] if needs < len(self.ends) else inf

    @property
    def left(self) -> float:
        """Seconds of the cores until the units have something to do, or to the end."""
        end = len(self.tasks) if self.next_tensor is None else self.next_tensor.needs
        return self.until[end] - self.until[self.done]
