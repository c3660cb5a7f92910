"""Runs: one record per point and runner, with the same columns whatever stands beside what.

`runs` asks every runner (`baselines.runners`) for its step. What compares runs - ratios, dollars, joules a
token - is no part of a record: `joins` reckons it from several. `evaluate` gives the records of a sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from sailsim.analysis.baselines.cpu import Software, cpu_tokens_per_s
from sailsim.analysis.baselines.gpu import RESERVED_SHARE, GpuSoftware, gpu_tokens_per_s, memory_needed
from sailsim.analysis.baselines.prediction import Prediction, Work
from sailsim.analysis.baselines.runners import OF_THE_POINT, Runner, shipped_runners
from sailsim.analysis.costs.constants import Span
from sailsim.analysis.costs.energy import (
    NOT_MODELLED,
    EnergyConstants,
    EnergyNotModelledError,
    Use,
    cpu_use,
    energy,
    gpu_bound_j_per_token,
    sail_use,
)
from sailsim.base.errors import SailsimError
from sailsim.sim import Gpu, Point, System, as_system, load_system, simulate_step
from sailsim.workloads import (
    Activations,
    ModelSpec,
    WeightFormat,
    decode_step,
    load_model,
    weight_format,
)

MAPS = ("phases", "counts", "events", "traffic", "energy")
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
    dram_bytes: float | None = None
    bandwidth_share: float | None = None
    """Of what the hardware's memory gives, the part that the run takes: 0..1."""
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


def census_in_words(fmt: WeightFormat, model: ModelSpec) -> str:
    """Which types a model's matrices have, most weights first: "q4_1 210 tensors, q8_0 1"."""
    first, *others = [(found.name, tensors) for found, tensors, _ in fmt.census(model)]
    return ", ".join([f"{first[0]} {first[1]} tensors", *(f"{name} {count}" for name, count in others)])


def evaluate(point: Point, runners: Sequence[Runner] | None = None) -> list[dict[str, Any]]:
    """The records of a point, a row a runner: what a sweep stores. See `runs`."""
    return [run.as_record() for run in runs(point, runners=runners)]


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
    point, machine = _on(point, system)
    model = load_model(point.model)
    context = _Context(
        point, point.resolved(machine), machine, model, point.formats(model),
        _patterns(point.activations, model), Span.of(EnergyConstants) if constants is None else constants,
    )  # fmt: skip
    return [_run(runner, context) for runner in (shipped_runners() if runners is None else runners)]


@dataclass(frozen=True)
class _Context:
    """What the runners of a point share."""

    point: Point
    resolved: Point
    system: System
    model: ModelSpec
    fmt: WeightFormat
    patterns: str
    joules: Span[EnergyConstants]


@dataclass(frozen=True)
class _Machine:
    """A machine as a key: equal where everything that it is is equal."""

    name: str
    digest: str
    machine: System | Gpu = field(compare=False)

    @classmethod
    def of(cls, machine: System | Gpu) -> _Machine:
        return cls(machine.name, machine.digest, machine)


def _on(point: Point, system: System | str | Path | None) -> tuple[Point, System]:
    """The point on another machine, if one is given, with the machine that it then names."""
    if system is None:
        return point, load_system(point.system)
    machine = as_system(system)
    name = machine.name if isinstance(system, System) else str(system)
    return replace(point, system=name), machine


def _run(runner: Runner, at: _Context) -> Run:
    """One runner at a point."""
    machine = at.system if runner.machine is None else runner.machine
    fmt = at.fmt if runner.format == OF_THE_POINT else weight_format(runner.format)
    empty = Run(
        point=at.resolved,
        model_title=at.model.title,
        system_title=at.system.title,
        patterns=at.patterns,
        runner=runner.name,
        title=runner.title,
        kind=runner.kind,
        hardware=at.point.system if runner.machine is None else runner.hardware,
        software=runner.software,
        format=fmt.name,
        types=census_in_words(fmt, at.model),
        cores=_cores(runner, machine, at.point),
        pays=runner.paid,
        overhead=runner.overhead,
        curves=runner.curves,
        priced_as=(machine.name, *machine.extends),
        memory_bytes=memory_needed(at.model, fmt, at.point.batch, at.point.context),
        memory_limit_bytes=memory_limit(machine),
    )
    if not empty.fits:
        return replace(empty, reason=_too_small(empty, machine, at))
    step = {"accelerator": _accelerator, "cores": _on_cores, "card": _on_card}[runner.kind]
    try:
        return step(empty, machine, fmt, at)
    except SailsimError as error:
        if runner.machine is None:
            raise  # the point asks its own system for what it cannot do
        return replace(empty, reason=str(error))


def _too_small(run: Run, machine: System | Gpu, at: _Context) -> str:
    """Why a point does not fit a machine's memory."""
    assert run.memory_limit_bytes is not None
    what = "card" if isinstance(machine, Gpu) else "system"
    return (
        f"{what} {machine.name}: {at.model.name} in {run.format} with batch {at.point.batch} and context "
        f"{at.point.context} needs {run.memory_bytes / 1e9:.1f} GB, allowed is "
        f"{run.memory_limit_bytes / 1e9:.1f} GB"
    )


def memory_limit(machine: System | Gpu) -> float | None:
    """Bytes of weights and KV cache that a machine holds; None where its file does not say."""
    if isinstance(machine, Gpu):
        return float(machine.memory_size.si * (1 - RESERVED_SHARE))
    return None if machine.memory.size is None else machine.memory.size.si


def _cores(runner: Runner, machine: System | Gpu, point: Point) -> int | None:
    if isinstance(machine, Gpu):
        return None
    return machine.cores.count.whole if runner.threads == "all" else point.threads


def _accelerator(run: Run, machine: System | Gpu, fmt: WeightFormat, at: _Context) -> Run:
    """PIM units do the matrix products, the cores the rest."""
    assert isinstance(machine, System)
    assert run.cores is not None
    asked = replace(at.point, system=run.hardware, threads=run.cores)
    result = simulate_step(machine, at.model, asked)
    notes = [*result.notes, NOT_MODELLED]
    choices = ("nbw", "substrate", "convert")
    other = [f"{name} {getattr(result.point, name)}" for name in choices
             if getattr(result.point, name) != getattr(at.resolved, name)]  # fmt: skip
    if other:
        notes.append(f"Runs with {', '.join(other)}, as its own file says.")
    try:
        run = _with_energy(run, sail_use(machine, result), at.joules)
    except EnergyNotModelledError:
        notes.append(f"not modelled: the energy of substrate {result.point.substrate}")
    return replace(
        run,
        tokens_per_s=result.tokens_per_s,
        step_s=result.step_s,
        dram_bytes=result.dram_bytes,
        bandwidth_share=_share(result.dram_bytes, result.tokens_per_s, at.point, machine),
        phases=dict(result.breakdown),
        counts=dict(result.counts) | {"pim_cycles": result.pim_cycles},
        events=dict(result.activity),
        traffic=dict(result.bytes_by_kind),
        notes=tuple(notes),
    )


def _on_cores(run: Run, machine: System | Gpu, fmt: WeightFormat, at: _Context) -> Run:
    """The cores alone do everything."""
    assert isinstance(machine, System)
    assert run.cores is not None
    key = _Machine.of(machine)
    batch, context = at.point.batch, at.point.context
    found = _cpu(key, at.model, fmt, run.software, run.cores, batch, context)
    filled = _predicted(run, found, at, fmt, machine)
    assert filled.dram_bytes is not None
    use = cpu_use(machine, run.cores, batch, found.step_s, filled.dram_bytes)
    return _with_energy(filled, use, at.joules)


def _on_card(run: Run, machine: System | Gpu, fmt: WeightFormat, at: _Context) -> Run:
    """A GPU card does everything."""
    assert isinstance(machine, Gpu)
    batch, context = at.point.batch, at.point.context
    found = _gpu(_Machine.of(machine), at.model, fmt, run.software, batch, context)
    if isinstance(found, str):
        return replace(run, reason=found)
    bound = gpu_bound_j_per_token(machine, found.step_s, 1)
    return replace(_predicted(run, found, at, fmt, machine), energy_high_j=bound)


def _predicted(run: Run, found: Prediction, at: _Context, fmt: WeightFormat, machine: System | Gpu) -> Run:
    """The run with a baseline's numbers; all its traffic is reads."""
    weights, cached = _bytes(at.model, fmt, at.point.batch, at.point.context)
    return replace(
        run,
        tokens_per_s=found.tokens_per_s,
        low=found.low,
        high=found.high,
        step_s=found.step_s,
        dram_bytes=weights + cached,
        bandwidth_share=_share(weights + cached, found.tokens_per_s, at.point, machine),
        phases=dict(found.parts),
        traffic={"weights": weights, "read": cached},
        notes=found.notes,
    )


def _with_energy(run: Run, use: Use, constants: Span[EnergyConstants]) -> Run:
    found = energy(use, constants.nominal)
    return replace(
        run,
        energy=dict(found.by_cause),
        energy_j=found.joules,
        energy_low_j=energy(use, constants.low).joules,
        energy_high_j=energy(use, constants.high).joules,
    )


def _share(moved: float, rate: float, point: Point, machine: System | Gpu) -> float:
    """The part of the memory's bandwidth that a run takes."""
    bandwidth = machine.memory_bandwidth if isinstance(machine, Gpu) else machine.memory.read_bandwidth
    return float(min(1.0, moved / point.batch * rate / bandwidth.si))


@lru_cache(maxsize=2048)
def _cpu(
    key: _Machine, model: ModelSpec, fmt: WeightFormat, software: str, threads: int, batch: int, context: int
) -> Prediction:
    assert isinstance(key.machine, System)
    named = cast(Software, software)
    return cpu_tokens_per_s(key.machine, model, fmt, threads, batch, context, software=named)


@lru_cache(maxsize=8192)
def _gpu(
    key: _Machine, model: ModelSpec, fmt: WeightFormat, software: str, batch: int, context: int
) -> Prediction | str:
    """The prediction, or why there is none."""
    assert isinstance(key.machine, Gpu)
    named = cast(GpuSoftware, software)
    try:
        return gpu_tokens_per_s(key.machine, model, fmt, batch, context, software=named)
    except SailsimError as error:
        return str(error)


@lru_cache(maxsize=1024)
def _bytes(model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> tuple[float, float]:
    """Weights and KV cache that a step reads."""
    work = Work.of(model, decode_step(model, fmt, batch, context), batch)
    return float(work.weight_bytes), float(work.kv_bytes)


@lru_cache(maxsize=64)
def _patterns(activations: str, model: ModelSpec) -> str:
    """What the pattern counts come from, in one sentence."""
    captured = Activations.load(activations or None)
    said = f"Pattern statistics from {captured.meta['model']} activations"
    note = captured.note(model)
    # For another model's activations the note is this sentence; for the model's own it adds to it.
    return f"{said}." if note is None or note.lower() == said.lower() else f"{said}; {note}."
