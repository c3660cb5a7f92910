"""What runs a point, behind one interface: accelerators, cores and cards.

A `Kind` answers what a runner of it does at a point: seconds, bytes, events and phases of a step.
Accelerators are the engine's (`sailsim.sim.engine`, whose backends are modules of their own), cores
and cards are this package's fitted predictions. `runners` and `results.runs` know kinds by name only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, cast

from sailsim.analysis.baselines.core_kinds import core_of
from sailsim.analysis.baselines.cpu import (
    cpu_tokens_per_s,
    packed_tokens_per_s,
    prompt_tokens_per_s,
    ubatches,
    without_prompts,
)
from sailsim.analysis.baselines.cpu_software import MEASURED, SIMULATED, SOFTWARE
from sailsim.analysis.baselines.fitted import fitted_constants
from sailsim.analysis.baselines.gpu import GPU_SOFTWARE, GpuSoftware, gpu_tokens_per_s
from sailsim.analysis.baselines.gpu_prompts import gpu_prompt_tokens_per_s, prompt_work, weight_reads
from sailsim.analysis.baselines.kernel_rates import Software, without_kernels, without_tables
from sailsim.analysis.baselines.prediction import Prediction, Work
from sailsim.base.errors import SailsimError
from sailsim.sim.backend import CHOICES, backend_of, software_stacks
from sailsim.sim.engine import simulate_step
from sailsim.sim.nbw import nbw_in_words
from sailsim.sim.point import Point
from sailsim.sim.room import Room, room_of
from sailsim.sim.system import Gpu, System
from sailsim.sim.system_choice import SystemChoice
from sailsim.workloads.formats import WeightFormat
from sailsim.workloads.graph import decode_step
from sailsim.workloads.model import ModelSpec

KindName = Literal["accelerator", "cores", "card"]
Machine = System | Gpu
FASTEST = "best"
"""Of the stacks on cores: whichever is the fastest at a point."""


@dataclass(frozen=True)
class Question:
    """What is asked of a runner: a step of a point's model on a machine."""

    point: Point
    """As it was asked, on the machine that it names."""
    resolved: Point
    """The same with everything filled that its own system decides."""
    machine: Machine
    hardware: str
    """The machine by name or file."""
    own: bool
    """Whether it is the point's own system."""
    software: str
    cores: int | None
    """Cores that work; None for a card."""
    model: ModelSpec
    fmt: WeightFormat
    packed: bool = False
    """Whether as many instances of the software share the cores as are the fastest."""


@dataclass(frozen=True)
class Answer:
    """One step: seconds, bytes, tokens/s of the whole batch; fields as of `results.runs.Run`."""

    tokens_per_s: float
    step_s: float
    dram_bytes: float
    phases: Mapping[str, float]
    traffic: Mapping[str, float]
    low: float | None = None
    high: float | None = None
    instances: int | None = None
    counts: Mapping[str, float] = field(default_factory=dict)
    events: Mapping[str, float] = field(default_factory=dict)
    chosen: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Kind(ABC):
    """A kind of runner."""

    @property
    @abstractmethod
    def software_stacks(self) -> tuple[str, ...]:
        """What runs on it."""

    @abstractmethod
    def software_of(self, machine: Machine) -> str:
        """What a machine's file alone stands for."""

    @abstractmethod
    def refusal(self, machine: Machine | None) -> str | None:
        """Why hardware is not of this kind, None if it is: what it is, and what is allowed.

        ``machine`` None is the point's own system.
        """

    def mismatch(self, question: Question) -> str | None:
        """Why the machine does not run the runner's software at all, None if it does."""
        return None

    @abstractmethod
    def answer(self, question: Question) -> Answer:
        """The step. Raises SailsimError where the runner cannot do it."""

    def cores(self, machine: Machine, threads: int, every: bool) -> int | None:
        """Cores that work where a point has `threads` or a runner takes `every` one."""
        assert isinstance(machine, System)
        return machine.cores.count.whole if every else threads

    def room(self, question: Question) -> Room:
        """What the point needs of its memory: weights and KV cache in the machine's."""
        point = question.point
        return room_of(question.machine, question.model, question.fmt, point.batch, point.context)

    def priced_as(self, machine: Machine) -> tuple[str, ...]:
        """The machines whose price it has: itself, then what its file extends."""
        return (machine.name, *machine.extends)


class Accelerator(Kind):
    """A server's accelerator does the matrix products, its cores the rest."""

    @property
    def software_stacks(self) -> tuple[str, ...]:
        """One a backend."""
        return software_stacks()

    def software_of(self, machine: Machine) -> str:
        """Its backend's."""
        assert isinstance(machine, System)
        return backend_of(machine).software

    def refusal(self, machine: Machine | None) -> str | None:
        """A server without an accelerator, or a card."""
        if isinstance(machine, Gpu):
            return "a GPU card; allowed is one that kind 'accelerator' has"
        if machine is not None and machine.backend is None:
            return "; allowed for an accelerator is one with PIM units"
        return None

    def mismatch(self, question: Question) -> str | None:
        """A machine with another accelerator than the runner's."""
        machine = question.machine
        assert isinstance(machine, System)
        its = backend_of(machine).software
        if its == question.software:
            return None
        return (
            f"system {machine.name} runs {its}, not {question.software}; allowed is to put it beside another "
            f"one, as in `--beside {question.hardware}`."
        )

    def answer(self, question: Question) -> Answer:
        """The engine's, without the choices of the point that it does not know."""
        machine, cores = question.machine, question.cores
        assert isinstance(machine, System)
        assert cores is not None
        backend = backend_of(machine)
        asked = replace(question.point, system=question.hardware, threads=cores)
        notes = []
        unknown = {name: value for name, value in CHOICES.items() if name not in backend.choices}
        ignored = [name for name, value in unknown.items() if getattr(asked, name) != value]
        if ignored and not question.own:
            asked = replace(asked, **{name: unknown[name] for name in ignored})
            notes.append(f"Runs without the point's {', '.join(ignored)}, which it does not know.")
        result = simulate_step(machine, question.model, asked)
        own = [name for name in ("nbw", "substrate", "convert") if name in backend.choices]
        other = [
            nbw_in_words(result.point.nbw) if name == "nbw" else f"{name} {getattr(result.point, name)}"
            for name in own
            if getattr(result.point, name) != getattr(question.resolved, name)
        ]
        if other:
            notes.append(f"Runs with {', '.join(other)}, as its own file says.")
        return Answer(
            tokens_per_s=result.tokens_per_s,
            step_s=result.step_s,
            dram_bytes=result.dram_bytes,
            phases=dict(result.breakdown),
            counts=dict(result.counts) | {"pim_cycles": result.pim_cycles},
            events=dict(result.activity),
            traffic=dict(result.bytes_by_kind),
            chosen=dict(result.chosen),
            notes=(*result.notes, *notes),
        )

    def room(self, question: Question) -> Room:
        """The accelerator's own memory where it has one, if the rest fits the server's; else the server's."""
        machine = question.machine
        assert isinstance(machine, System)
        stored = None
        if machine.backend is not None:
            stored = backend_of(machine).stored(machine, question.model, question.fmt)
        server = super().room(question)
        if stored is None:
            return server
        rest = replace(
            server, needed=server.needed - stored.spared, where=f"{server.where}, beside its accelerator"
        )
        own = Room(stored.needed, stored.limit, f"the accelerator of system {machine.name}")
        return rest if own.fits and not rest.fits else own

    def priced_as(self, machine: Machine) -> tuple[str, ...]:
        """What is bought beside the server has no price but its own: the server's does not pay for it."""
        assert isinstance(machine, System)
        if machine.backend is not None and not backend_of(machine).priced:
            varied = machine.extends[:1] if SystemChoice.parse(machine.name).changes else ()
            return (machine.name, *varied)
        return super().priced_as(machine)


class Cores(Kind):
    """A server's cores alone do everything."""

    @property
    def software_stacks(self) -> tuple[str, ...]:
        """Those that were fitted, and whichever of the measured ones is the fastest at a point."""
        return (*SOFTWARE, FASTEST)

    def software_of(self, machine: Machine) -> str:
        """The first."""
        return self.software_stacks[0]

    def mismatch(self, question: Question) -> str | None:
        """Weights or a core that the software has no kernels of its own for, or prompts not measured."""
        return _refused(question.software, question)

    def refusal(self, machine: Machine | None) -> str | None:
        """A card."""
        return "a GPU card; allowed is one that kind 'cores' has" if isinstance(machine, Gpu) else None

    def answer(self, question: Question) -> Answer:
        """The fitted cores."""
        point, cores = question.point, question.cores
        assert cores is not None

        def by(software: str) -> Prediction:
            return _cpu(_key(question.machine), question.model, question.fmt, software, cores,
                        point.phase, point.batch, point.context, question.packed)  # fmt: skip

        reads = ubatches(point.tokens)
        if question.software != FASTEST:
            return _predicted(by(question.software), question, reads)
        usable = [name for name in MEASURED if _refused(name, question) is None]
        found = {name: by(name) for name in usable}
        first = max(usable, key=lambda name: found[name].tokens_per_s)
        answer = _predicted(found[first], question, reads)
        return replace(answer, notes=(f"The fastest here is {SOFTWARE[first]}.", *answer.notes))


class Card(Kind):
    """A GPU card does everything."""

    @property
    def software_stacks(self) -> tuple[str, ...]:
        """Those that were fitted."""
        return tuple(GPU_SOFTWARE)

    def software_of(self, machine: Machine) -> str:
        """The first."""
        return self.software_stacks[0]

    def refusal(self, machine: Machine | None) -> str | None:
        """A server, and the point's own system."""
        if machine is None:
            return "; allowed for card is a name or a file of its kind"
        return "a CPU server; allowed is one that kind 'card' has" if isinstance(machine, System) else None

    def cores(self, machine: Machine, threads: int, every: bool) -> int | None:
        """A card has none."""
        return None

    def answer(self, question: Question) -> Answer:
        """The fitted roofline."""
        point = question.point
        found = _gpu(_key(question.machine), question.model, question.fmt, question.software, point.phase,
                     point.batch, point.context)  # fmt: skip
        if isinstance(found, str):
            raise SailsimError(found)
        return _predicted(found, question, weight_reads(question.fmt, point.tokens))


KINDS: Mapping[KindName, Kind] = {"accelerator": Accelerator(), "cores": Cores(), "card": Card()}
"""Every kind by its name in a runner's file."""


def kind_of(machine: Machine) -> KindName:
    """What a machine's file alone stands for: a card, an accelerator, or a server's cores."""
    if isinstance(machine, Gpu):
        return "card"
    return "cores" if machine.backend is None else "accelerator"


def bandwidth_of(machine: Machine) -> float:
    """What a machine's memory gives, bytes/s."""
    return (machine.memory_bandwidth if isinstance(machine, Gpu) else machine.memory.read_bandwidth).si


def _refused(software: str, question: Question) -> str | None:
    """Why a CPU software does not run a format on a machine, or has no prompts; None if it does."""
    assert isinstance(question.machine, System)
    core, known = core_of(question.machine), fitted_constants()
    if software in SOFTWARE and not known.knows(software, core):
        allowed = ", ".join(known.known_on(core))
        return f"software is {software}, which was not measured on {core}; allowed is one of {allowed}."
    refused = without_tables(question.fmt) if software == "t-mac" else None
    if software in SIMULATED:
        refused = without_kernels(question.fmt)
    if refused is None and question.point.phase == "prefill":
        return without_prompts(software)
    return refused


@dataclass(frozen=True)
class _Machine:
    """A machine as a key: equal where everything that it is is equal."""

    name: str
    digest: str
    machine: Machine = field(compare=False)


def _key(machine: Machine) -> _Machine:
    return _Machine(machine.name, machine.digest, machine)


def _predicted(found: Prediction, question: Question, reads: int) -> Answer:
    """A baseline's numbers; all its traffic is reads, of the weights by every instance.

    Prompts read the weights ``reads`` times.
    """
    point = question.point
    reads = reads if point.phase == "prefill" else 0
    weights, cached = _bytes(question.model, question.fmt, point.batch, point.context, reads)
    if found.instances > 1:
        of_one = -(-point.batch // found.instances)
        weights = found.instances * _bytes(question.model, question.fmt, of_one, point.context, reads)[0]
    return Answer(
        tokens_per_s=found.tokens_per_s,
        low=found.low,
        high=found.high,
        step_s=found.step_s,
        dram_bytes=weights + cached,
        instances=found.instances if isinstance(question.machine, System) else None,
        phases=dict(found.parts),
        traffic={"weights": weights, "read": cached},
        notes=found.notes,
    )


@lru_cache(maxsize=2048)
def _cpu(
    key: _Machine,
    model: ModelSpec,
    fmt: WeightFormat,
    software: str,
    threads: int,
    phase: str,
    batch: int,
    context: int,
    packed: bool,
) -> Prediction:
    assert isinstance(key.machine, System)
    named = cast(Software, software)
    if phase == "prefill":
        return prompt_tokens_per_s(key.machine, model, fmt, threads, context, batch, software=named)
    predict = packed_tokens_per_s if packed else cpu_tokens_per_s
    return predict(key.machine, model, fmt, threads, batch, context, software=named)


@lru_cache(maxsize=8192)
def _gpu(
    key: _Machine, model: ModelSpec, fmt: WeightFormat, software: str, phase: str, batch: int, context: int
) -> Prediction | str:
    """The prediction, or why there is none."""
    assert isinstance(key.machine, Gpu)
    named = cast(GpuSoftware, software)
    try:
        if phase == "prefill":
            return gpu_prompt_tokens_per_s(key.machine, model, fmt, context, batch, software=named)
        return gpu_tokens_per_s(key.machine, model, fmt, batch, context, software=named)
    except SailsimError as error:
        return str(error)


@lru_cache(maxsize=1024)
def _bytes(model: ModelSpec, fmt: WeightFormat, batch: int, context: int, reads: int) -> tuple[float, float]:
    """Weights and KV cache that a step reads, in prefill (``reads`` above 0) the weights so many times."""
    if reads:
        work = prompt_work(model, fmt, context, batch, reads)
    else:
        work = Work.of(model, decode_step(model, fmt, batch, context), batch)
    return float(work.weight_bytes), float(work.kv_bytes)
