"""The fast engine: one step of a model, decoding or prefill, on a machine with an accelerator.

It turns a step's operations into the tasks and tensors of `schedule`. What becomes of a matrix product is the
machine's backend's to say (`backend`): the engine knows jobs only. `docs/engine.md` has the model and its
equations.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain

import numpy as np

from sailsim.base.errors import SailsimError
from sailsim.lut_gemv.counts import TILE_PHASES
from sailsim.sim.backend import Backend, Units, backend_of
from sailsim.sim.expert_jobs import ExpertJobs
from sailsim.sim.halves import rows_of, taking_turns
from sailsim.sim.host import HostCores
from sailsim.sim.parts import Part, inputs_of
from sailsim.sim.point import Point
from sailsim.sim.same import Same
from sailsim.sim.schedule import CoreTask, MemorySystem, Segments, StepTimeline, play, unrolled
from sailsim.sim.step_notes import (
    attention_note,
    cache_note,
    cores_note,
    experts_note,
    overlap_note,
    prompt_note,
    rows_note,
    slices_note,
    unread_note,
)
from sailsim.sim.step_parts import prompt_chunk, step_parts
from sailsim.sim.step_work import Asked, Products, Work, step_work
from sailsim.sim.system import System
from sailsim.workloads.activations import Activations
from sailsim.workloads.experts import EXPECTED, Routing
from sailsim.workloads.graph import Op, step_notes
from sailsim.workloads.model import ModelSpec

PHASES = ("dram", *TILE_PHASES, "cores", "sync")
"""Where the time of a step with SAIL's units goes; exclusive, in the order of the figures.

dram: PIM units wait for weights; load: they wait for descriptors, activations, or weights that are on chip;
build, lookup, convert, write_back: phases of a tile, the last with the results' way to the LLC; cores: only
the cores compute; sync: hand-over while nobody computes. Another accelerator has its own phases between the
first and the last two (`backend.Units.phases`).
"""


@dataclass(frozen=True)
class StepResult:
    """One simulated step.

    `breakdown` has seconds by `PHASES`, or another accelerator's, and adds up to `step_s`. `counts` are those
    of one unit summed over the tensors (a slice's DFM: docs/contract.md, section 2), `counts_total` those of
    all. `dram_bytes` is everything moved, `bytes_by_kind` splits it. `activity` has the events of all units,
    what energy is reckoned from (`sailsim.sim.activity`). `notes` say what the numbers rest on.
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
    chosen: dict[str, int] = field(default_factory=dict)
    """Where the point leaves the NBW to each tensor: how many of a kind have which ("attn_q 4")."""
    notes: list[str] = field(default_factory=list)

    @property
    def tokens_per_s(self) -> float:
        """Tokens of all sequences per second."""
        return self.tokens / self.step_s


def simulate_step(
    system: System,
    model: ModelSpec,
    point: Point,
    activations: Activations | None = None,
    routing: Routing = EXPECTED,
) -> StepResult:
    """Simulate one step: a token for each of `point.batch` sequences of `point.context` tokens, or in prefill
    as many prompts of `point.prompt` tokens, all rows in one batch. Where the model has experts, they choose
    by `routing`.

    `tokens` counts those of the step (`Point.tokens`).

    Raises:
        SailsimError: the machine has no accelerator or too few cores, does not know a choice of the point, or
            a product does not fit it; prompts of more rows than a descriptor can carry.
    """
    model = model.cached(point.kv_bits)
    return _result(_play(system, model, point, activations, routing))


@dataclass(frozen=True)
class StepTime:
    """How long a step takes and what it moves, in units of `StepResult`."""

    tokens_per_s: float
    step_s: float
    pim_cycles: int
    dram_bytes: float
    counts: Mapping[str, int]


def time_step(system: System, model: ModelSpec, point: Point, counted: Sequence[str] = ()) -> StepTime:
    """`simulate_step` without all that is only looked at, for studies of many machines. Raises as it.

    `counted`: names of `Units.counts` that are wanted.
    """
    model = model.cached(point.kv_bits)
    played = _play(system, model, point, None, EXPECTED)
    seconds = played.line.end
    counts = {}
    for name in counted:
        at = played.units.counts.index(name)
        counts[name] = sum(work.counted(at) for work in played.works)
    return StepTime(played.tokens / seconds, seconds, played.cycles, sum(played.moved.values()), counts)


def simulate_prefill(
    system: System, model: ModelSpec, point: Point, activations: Activations | None = None
) -> StepResult:
    """`simulate_step` of the point with its context as the prompt. Raises as it."""
    return simulate_step(system, model, point.prefilling(), activations)


@dataclass(frozen=True)
class _Played:
    """A step that has been played."""

    point: Point
    tokens: int
    units: Units
    line: StepTimeline
    works: tuple[Work, ...]
    """What the units do: for all rows, or for each half of them."""
    chosen: Callable[[], dict[str, int]]
    notes: Callable[[], list[str]]

    @property
    def cycles(self) -> int:
        """Of the accelerator."""
        return sum(work.cycles for work in self.works)

    @property
    def moved(self) -> dict[str, float]:
        """Bytes over DRAM by kind."""
        line, cache = self.line, sum(work.cache_bytes for work in self.works)
        found = {"weights": line.streamed - cache, "read": line.read, "written": line.written}
        return found | ({"cache": cache} if cache else {})


def _play(
    system: System, model: ModelSpec, point: Point, activations: Activations | None, routing: Routing
) -> _Played:
    backend = backend_of(system)
    backend.check_choices(point, system.name)
    point = point.resolved(system, model)
    captured = activations if activations is not None else Activations.load(point.activations or None)
    own, *others = backend.alternatives(point)
    best = _played(_worked(backend, system, model, own, captured, routing), bool(others))
    for other in others:
        with suppress(SailsimError):  # what not all tensors can have
            worked = _worked(backend, system, model, other, captured, routing)
            if worked.busy > best.line.end * (1 + 1e-9):  # beyond rounding: it cannot be the fastest
                continue
            played = _played(worked, True)
            if played.line.end < best.line.end:
                best = played
    return replace(best, point=point) if others else best


@dataclass(frozen=True)
class _Worked:
    """A step whose jobs are known, before it is played."""

    backend: Backend
    system: System
    model: ModelSpec
    point: Point
    captured: Activations
    units: Units
    parts: list[tuple[Part, ...]]
    works: list[Work]
    """As the parts: for all rows, or for each half of them."""

    @property
    def busy(self) -> float:
        """Seconds of the units' own work, which take one product at a time: a step takes no less."""
        return sum(work.seconds for work in self.works)


def _worked(
    backend: Backend,
    system: System,
    model: ModelSpec,
    point: Point,
    captured: Activations,
    routing: Routing,
) -> _Worked:
    """What the units do in a step of a point itself."""
    units = backend.units(system, point)
    of_each = [step_parts(system, model, rows, routing) for rows in rows_of(point)]
    works = []
    for rows, parts in zip(rows_of(point), of_each, strict=True):
        inputs = inputs_of(Same(parts), model.n_layers, rows.seed)
        works.append(step_work(backend, Same(units), Asked(rows), Same(parts), Same(inputs), Same(captured)))
    return _Worked(backend, system, model, point, captured, units, of_each, works)


def _played(worked: _Worked, several: bool) -> _Played:
    """The step; it says what is chosen where that is one of `several` ways."""
    backend, model, point, units = worked.backend, worked.model, worked.point, worked.units
    host = _host(Same(worked.system), point.threads)
    of_each, works, captured = worked.parts, worked.works, worked.captured
    schedules = [(_segments(host, model, units, work, point.overlap), work.layout.order) for work in works]
    memory = _memory(Same(units), point.threads)
    if point.overlap:
        first, second = (unrolled(*each) for each in schedules)
        tasks, tensors = taking_turns(first, second, memory.stream_limit)
        line = play(memory, [Segments.one(tasks, tensors)])
    else:
        line = play(memory, *schedules[0])
    parts = tuple(chain.from_iterable(of_each)) if point.overlap else of_each[0]

    chunk = prompt_chunk(worked.system, model, point)

    def notes() -> list[str]:
        streamed = line.streamed - sum(work.cache_bytes for work in works)
        return [
            *(
                prompt_note(parts, backend, streamed)
                if point.phase == "prefill"
                else rows_note(works, parts, backend, streamed)
            ),
            *slices_note(works, host, line.end),
            *(overlap_note() if point.overlap else []),
            *(cache_note(model) if point.attention == "cores" else attention_note(chunk)),
            *cores_note(parts, backend, host, line.end),
            *experts_note(parts, backend, units),
            *units.notes(model, captured),
            *unread_note(point.system),
            *step_notes(model, point.tokens),
        ]

    def chosen() -> dict[str, int]:
        return _chosen(units, of_each[0], works[0]) if several else {}

    return _Played(point, point.tokens, units, line, tuple(works), chosen, notes)


def _segments(
    host: HostCores, model: ModelSpec, units: Units, work: Work, by_sequence: bool
) -> list[Segments]:
    """The schedule of each kind of part; attention sequence by sequence where it is to be interrupted."""
    return [
        Segments.of_cores(host.work(alike.ops[0], model, 0, by_sequence))
        if products is None
        else Segments(
            _around(host, alike.ops, products, units.cores_convert),
            range(1, len(products.ops) + 1),
            products.bytes,
            products.seconds,
            products.throttled,
        )
        for alike, products in zip(work.layout.kinds, work.products, strict=True)
    ]


def _chosen(units: Units, parts: Sequence[Part], work: Work) -> dict[str, int]:
    """How many tensors of a kind have which choice: "attn_q 4"."""
    found: Counter[str] = Counter()
    for alike, products in zip(work.layout.kinds, work.products, strict=True):
        if products is None:
            continue
        for at, (place, times) in enumerate(zip(alike.places, alike.times.tolist(), strict=True)):
            for i, jobs in zip(products.ops, products.jobs, strict=True):
                name = parts[place].ops[i].name.rpartition(".")[2]
                found[f"{name} {units.chosen(jobs[at])}"] += times
    return dict(sorted(found.items()))


@lru_cache(maxsize=64)
def _host(system: Same[System], threads: int) -> HostCores:
    return HostCores(system.it, threads)


@lru_cache(maxsize=8)  # each keeps its units, with the tiles that they have timed
def _memory(units: Same[Units], threads: int) -> MemorySystem:
    return units.it.memory(threads)


def _around(host: HostCores, ops: Sequence[Op], products: Products, convert: bool) -> list[CoreTask]:
    """What the cores do for GEMVs that share an input: hand them over, see them done, maybe convert.

    Those that the accelerator does not take they multiply themselves, beside its units.
    """
    handed = [(ops[i], jobs) for i, jobs in zip(products.ops, products.jobs, strict=True)]
    # Of experts so many groups are handed over one after the other, of heads all together.
    times = [jobs.rounds if isinstance(jobs, ExpertJobs) else 1.0 for _, jobs in handed]
    tasks = [host.submission(op.name, jobs.slices, n) for (op, jobs), n in zip(handed, times, strict=True)]
    for i, op in enumerate(ops):
        if i not in products.ops:
            tasks += host.product(op, 0)
    if not convert:
        if handed:
            op, jobs = handed[-1]
            tasks.append(host.completion(ops[0].name, jobs.slices, len(handed)))
            tasks += host.copying(op, jobs.slices, len(handed))
        return tasks
    for done, (op, jobs) in enumerate(handed, 1):
        tasks += [host.completion(op.name, jobs.slices, done), *host.conversion(op, jobs.blocks, done)]
    return tasks


def _result(played: _Played) -> StepResult:
    """All that is known of a step."""
    units, line, moved = played.units, played.line, played.moved
    # Zeros first, as a step may have no job at all.
    sums = np.zeros(len(units.phases) + len(units.events))
    counts = np.zeros(len(units.counts), dtype=np.int64)
    totals = counts.copy()
    for jobs, times in chain.from_iterable(work.jobs for work in played.works):
        sums += times @ jobs.numbers
        counted = times @ jobs.counts
        counts += counted
        totals += np.rint(jobs.shares * counted).astype(np.int64)
    numbers = sums.tolist()
    spent = dict(zip(units.phases, numbers, strict=False))
    return StepResult(
        point=played.point,
        tokens=played.tokens,
        step_s=line.end,
        breakdown={"dram": sum(line.stalled), **spent, "cores": line.cores, "sync": line.sync},
        counts=dict(zip(units.counts, counts.tolist(), strict=True)),
        counts_total=dict(zip(units.counts, totals.tolist(), strict=True)),
        dram_bytes=sum(moved.values()),
        bytes_by_kind=moved,
        pim_cycles=played.cycles,
        events=line.events,
        activity=dict(zip(units.events, numbers[len(units.phases) :], strict=True)),
        chosen=played.chosen(),
        notes=played.notes(),
    )
