"""Runs: one record per point and runner, with the same columns whatever stands beside what.

`runs` asks every runner (`baselines.runners`) for its step. What compares runs - ratios, dollars, joules a
token - is no part of a record: `joins` reckons it from several. `evaluate` gives the records of a sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from sailsim.analysis.baselines.kinds import KINDS, Question, bandwidth_of
from sailsim.analysis.baselines.runners import OF_THE_POINT, Runner, shipped_runners
from sailsim.analysis.costs.constants import Span
from sailsim.analysis.costs.energy import (
    NOT_MODELLED,
    EnergyConstants,
    EnergyNotModelledError,
    borrowed,
    energy,
    gpu_bound_j_per_token,
    use_of,
)
from sailsim.base.errors import SailsimError
from sailsim.sim.files import as_system, load_system
from sailsim.sim.point import Point
from sailsim.sim.room import Room, check_context
from sailsim.sim.set_fields import SetField, set_values
from sailsim.sim.system import Gpu, System
from sailsim.workloads.activations import Activations
from sailsim.workloads.formats import WeightFormat, weight_format
from sailsim.workloads.load import load_model
from sailsim.workloads.model import ModelSpec

MAPS = ("phases", "counts", "events", "traffic", "chosen", "energy")
"""Columns that hold numbers by name: which names, the runner's kind decides."""


@dataclass(frozen=True)
class Run:
    """One runner at one point: a row of a store.

    Rates in tokens/s of the whole batch, times in seconds, memory in bytes, energy in joules of one step. A
    runner that cannot run the point has no numbers but memory, and `reason` says why. None: not known.
    """

    point: Point
    """With everything filled that its system decides."""
    model_title: str
    system_title: str
    patterns: str
    """Where the pattern counts come from, in a sentence."""
    runner: str
    title: str
    kind: str
    hardware: str
    """A name or a file."""
    software: str
    format: str
    """Of the weights, by its name."""
    types: str
    """Which types the matrices have, and how many: "q4_1 210 tensors, q8_0 1"."""
    cores: int | None
    """Cores that work; None for a card."""
    pays: str
    """used or whole: the part of its hardware that it pays for."""
    overhead: bool
    """Whether that costs more than its price says."""
    curves: bool
    """Whether figures by bits and by threads draw it."""
    priced_as: tuple[str, ...]
    """The machines whose price it has: the hardware, then what its file extends."""
    memory_bytes: float
    """Weights and KV cache."""
    memory_limit_bytes: float | None
    """What the hardware holds of them."""
    tokens_per_s: float | None = None
    low: float | None = None
    high: float | None = None
    """Nine of ten measurements fall between low and high; None where a rate has no band."""
    step_s: float | None = None
    ttft_s: float | None = None
    """Seconds from the prompt to the first token; None of a step of decoding."""
    dram_bytes: float | None = None
    bandwidth_share: float | None = None
    """Of what the hardware's memory gives, the part that the run takes: 0..1."""
    instances: int | None = None
    """Processes of the software side by side on a server's cores; None for another kind."""
    energy_j: float | None = None
    """The sum of `energy`; None for a card, which has a bound alone, `energy_high_j`."""
    energy_low_j: float | None = None
    energy_high_j: float | None = None
    """Every constant at one end of its range; of a card the board's power over the step."""
    phases: Mapping[str, float] = field(default_factory=dict)
    """Seconds; they exclude each other and sum to the step."""
    counts: Mapping[str, float] = field(default_factory=dict)
    """Of one slice's unit (docs/contract.md, section 2), and its cycles as `pim_cycles`."""
    events: Mapping[str, float] = field(default_factory=dict)
    """Of all units: what energy is reckoned from (`sailsim.sim.activity`)."""
    traffic: Mapping[str, float] = field(default_factory=dict)
    """Bytes from and to DRAM by kind: weights, read, written."""
    chosen: Mapping[str, float] = field(default_factory=dict)
    """Where the point leaves the NBW to each tensor: how many of a kind have which ("attn_q 4")."""
    energy: Mapping[str, float] = field(default_factory=dict)
    """Joules by cause."""
    reason: str = ""
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether weights and KV cache fit the hardware's memory; so too where its size is not known."""
        return self.memory_limit_bytes is None or self.memory_bytes <= self.memory_limit_bytes

    def as_record(self) -> dict[str, Any]:
        """The fields as one flat row, the point's first; lists and maps are columns of their own."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "point"}
        own |= {name: dict(own[name]) for name in MAPS}
        own |= {name: list(own[name]) for name in ("priced_as", "notes")}
        return self.point.as_dict() | own | {"fits": self.fits}


COLUMNS = tuple(
    [f.name for f in fields(Point)] + [f.name for f in fields(Run) if f.name != "point"] + ["fits"]
)
"""Of a record, in their order."""


def evaluate(
    point: Point, runners: Sequence[Runner] | None = None, fields: Sequence[SetField] = ()
) -> list[dict[str, Any]]:
    """The records of a point, a row a runner: what a sweep stores. See `runs`.

    ``fields``: values of the point's own machine that are columns too, behind the others.
    """
    records = [run.as_record() for run in runs(point, runners=runners)]
    columns = set_values(fields, point, load_system(point.system))
    return [record | columns for record in records]


def runs(
    point: Point,
    system: System | str | Path | None = None,
    runners: Sequence[Runner] | None = None,
    constants: Span[EnergyConstants] | None = None,
) -> list[Run]:
    """Every runner at a point, in the runners' order.

    ``system``, a machine or its name or path, takes the place of the point's; ``runners`` and the energy's
    ``constants`` those of what ships. Raises SailsimError for a point that its own system cannot run at all;
    a runner on hardware of its own that cannot has a reason instead of numbers.
    """
    context = _Context.of(*_on(point, system))
    patterns = _patterns(point.activations, context.model)
    joules = Span.of(EnergyConstants) if constants is None else constants
    who = shipped_runners() if runners is None else runners
    return [_run(runner, context, patterns, joules) for runner in who]


def problems(point: Point, runners: Sequence[Runner] | None = None) -> dict[str, str]:
    """Why runners do not even begin a point, by their names; empty: it begins. Nothing is simulated.

    Either the hardware does not run the software, or its memory does not hold weights and KV cache. Raises
    SailsimError as `runs`.
    """
    context = _Context.of(*_on(point, None))
    who = shipped_runners() if runners is None else runners
    return {runner.name: _room(runner, context)[2] for runner in who}


@dataclass(frozen=True)
class _Context:
    """What the runners of a point share."""

    point: Point
    resolved: Point
    system: System
    model: ModelSpec
    fmt: WeightFormat

    @classmethod
    def of(cls, point: Point, machine: System) -> _Context:
        """Of a point on its machine."""
        model = load_model(point.model).cached(point.kv_bits)
        check_context(model, point)
        return cls(point, point.resolved(machine, model), machine, model, point.formats(model))


def _on(point: Point, system: System | str | Path | None) -> tuple[Point, System]:
    """The point on another machine, if one is given, with the machine that it then names."""
    if system is None:
        return point, load_system(point.system)
    machine = as_system(system)
    name = machine.name if isinstance(system, System) else str(system)
    return replace(point, system=name), machine


def _room(runner: Runner, at: _Context) -> tuple[Question, Room, str]:
    """What a runner is asked at a point, what memory that takes, and why it does not even begin.

    Raises SailsimError where the point's own system does not run the runner's software.
    """
    own = runner.machine is None
    machine = at.system if runner.machine is None else runner.machine
    kind = KINDS[runner.kind]
    question = Question(
        point=at.point,
        resolved=at.resolved,
        machine=machine,
        hardware=at.point.system if own else runner.hardware,
        own=own,
        software=runner.software,
        cores=kind.cores(machine, at.point.threads, runner.threads == "all"),
        model=at.model,
        fmt=at.fmt if runner.format == OF_THE_POINT else weight_format(runner.format),
        packed=runner.instances == "best",
    )
    mismatch = kind.mismatch(question)
    if mismatch is not None and own and runner.kind == "accelerator":
        raise SailsimError(mismatch)  # the point asks its own machine for what it cannot do
    room = kind.room(question)
    if mismatch is None and not room.fits:
        mismatch = room.problem(at.model, question.fmt, at.point.batch, at.point.context)
    return question, room, mismatch or ""


def _run(runner: Runner, at: _Context, patterns: str, joules: Span[EnergyConstants]) -> Run:
    """One runner at a point."""
    question, room, problem = _room(runner, at)
    kind, machine = KINDS[runner.kind], question.machine
    empty = Run(
        point=at.resolved,
        model_title=at.model.title,
        system_title=at.system.title,
        patterns=patterns,
        runner=runner.name,
        title=runner.title,
        kind=runner.kind,
        hardware=question.hardware,
        software=runner.software,
        format=question.fmt.name,
        types=question.fmt.census_in_words(at.model),
        cores=question.cores,
        pays=runner.paid,
        overhead=runner.overhead,
        curves=runner.curves,
        priced_as=kind.priced_as(machine),
        memory_bytes=room.needed,
        memory_limit_bytes=room.limit,
    )
    if problem:
        return replace(empty, reason=problem)
    try:
        answer = kind.answer(question)
    except SailsimError as error:
        if question.own:
            raise  # the point asks its own system for what it cannot do
        return replace(empty, reason=str(error))
    # Of the memory's bandwidth, by the rate that is said beside it.
    share = answer.dram_bytes / at.point.tokens * answer.tokens_per_s / bandwidth_of(machine)
    answered = {f.name: getattr(answer, f.name) for f in fields(answer)}
    first = answer.step_s if at.point.phase == "prefill" else None
    filled = replace(empty, bandwidth_share=float(min(1.0, share)), ttft_s=first, **answered)
    return _with_energy(filled, machine, joules)


def _with_energy(run: Run, machine: System | Gpu, constants: Span[EnergyConstants]) -> Run:
    """The run with its joules: by cause, or a card's bound, or the note that they are not modelled."""
    assert run.step_s is not None
    if isinstance(machine, Gpu):
        return replace(run, energy_high_j=gpu_bound_j_per_token(machine, run.step_s, 1))
    try:
        use = use_of(machine, run.as_record())
    except EnergyNotModelledError as error:
        return replace(run, notes=(*run.notes, f"not modelled: {error}"))
    notes = (*run.notes, *borrowed(machine))
    if run.kind == "accelerator":
        notes = (*notes, NOT_MODELLED)
    found = energy(use, constants.nominal)
    return replace(
        run,
        notes=notes,
        energy=dict(found.by_cause),
        energy_j=found.joules,
        energy_low_j=energy(use, constants.low, "low").joules,
        energy_high_j=energy(use, constants.high, "high").joules,
    )


@lru_cache(maxsize=64)
def _patterns(activations: str, model: ModelSpec) -> str:
    """What the pattern counts come from, in one sentence."""
    captured = Activations.load(activations or None)
    said = f"Pattern statistics from {captured.meta['model']} activations"
    note = captured.note(model)
    # For another model's activations the note is this sentence; for the model's own it adds to it.
    return f"{said}." if note is None or note.lower() == said.lower() else f"{said}; {note}."
