"""Backends, which run a step on a machine: an accelerator, a server's cores or a GPU.

Backends are modules of `sailsim.sim.backends`, found by their names; `docs/systems.md` has how to add one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, NamedTuple

from sailsim.base.arguments import ShortRepr
from sailsim.base.errors import SailsimError
from sailsim.sim.machine.substrate import OPERATIONS, Charge
from sailsim.sim.machine.system import Gpu, System, backend_module, backend_modules
from sailsim.sim.point import Point
from sailsim.workloads.models.formats import WeightFormat
from sailsim.workloads.models.graph import Chunk
from sailsim.workloads.models.model import ModelSpec

Prefill = Literal["units", "cores", "auto"]
"""Resource that multiplies prompts: the units, the cores while the units decode, or the faster of both."""
Timer = Callable[[tuple[Chunk, ...]], float]
"""Function from the chunks of a step to its seconds. Raises SailsimError if the machine cannot do it."""
Kind = Literal["accelerator", "cores", "gpu"]
Machine = System | Gpu
RESERVED_SHARE = 0.05
"""Share of a GPU's memory that the driver, the context and the working buffers take (assumed, 0.03..0.1)."""


@dataclass(frozen=True)
class StepQuery:
    """Query for one step on a machine."""

    point: Point
    """Point as given, not resolved."""
    machine: Machine
    model: ModelSpec
    fmt: WeightFormat
    """Format of the weights."""
    software: str
    cores: int = 1
    """Working cores; a GPU has none."""
    packed: bool = False
    """Whether the fastest number of instances of the software share the cores."""
    hardware: str = ""
    """Name or file of the machine, if it is not the point's."""
    resolved: Point | None = None
    """Point with the choices of its own system filled in."""
    chunks: tuple[Chunk, ...] = ()
    """Pieces of a mixed step, which replace the point's phase, batch, prompt and context."""
    prefill: Prefill = "units"
    host_software: str = "llama.cpp"
    """Software whose fit times prompts on the cores; the machine's file has its other constants."""

    @property
    def prompts(self) -> bool:
        """Whether any token is from a prompt."""
        if self.chunks:
            return not all(chunk.decodes for chunk in self.chunks)
        return self.point.phase == "prefill"


COMPUTE = {operation: f"compute_{operation}_cycles" for operation in OPERATIONS}
"""Operation -> event that counts an array's cycles of it, for sums and look-ups."""
CONVERT = {operation: f"convert_{operation}_cycles" for operation in OPERATIONS}
"""Operation -> event that counts an array's cycles of it while converting."""
ACTIVITY = (
    "array_reads",
    "array_writes",
    *COMPUTE.values(),
    *CONVERT.values(),
    "unit_converts",
    "entry_add_bits",
    "accumulates",
    "patterns",
    "prt_searches",
    "prt_reads",
    "prt_writes",
    "port_bytes",
    "activation_bytes",
)
"""Events of all slices together.

array_reads, array_writes: one row of one array read or written; compute_..._cycles: cycles in which one array
computes in place, by operation (the table's sums and the look-ups of substrates that accumulate in the
array); convert_..._cycles: the same while converting; unit_converts: sums and results that floating-point
units at the DFMs scale; entry_add_bits: bits of table entries added beside the array; accumulates: table
entries, or another DFM's sums, added to sums in a DFM; patterns: patterns formed, by each DFM; prt_searches:
patterns looked for in a PRT; prt_reads, prt_writes: rows of one array's width read from and written to a PRT;
port_bytes: weights, results and activations read again through the slices' ports; activation_bytes:
activations brought to the units, each to every slice that has outputs.
"""


class EnergyShape(NamedTuple):
    """Inputs of a step's energy, except its events."""

    columns: int
    """Columns of an array, all read by a row access."""
    accumulator_bits: int
    """Width of the adders next to the arrays."""
    operations: Mapping[str, Charge]
    """Energy of a column of an array, by operation (`sailsim.sim.machine.substrate.Substrate.energy`)."""
    csram_mib: float
    """Size of the arrays that are not part of the server's own memory, which leak."""


@dataclass(frozen=True, repr=False)
class StepResult(ShortRepr):
    """Result of one step on any machine.

    `breakdown` has seconds by phase, which exclude each other and add up to `step_s`. `counts` are those of
    one unit summed over the tensors (a slice's DFM: docs/contract.md, section 2). `dram_bytes` are all bytes
    over DRAM, and `bytes_by_kind` splits them. `activity` has the events of all units (`ACTIVITY`), from
    which energy is computed. `notes` are assumptions, a sentence each.
    """

    tokens: int
    step_s: float
    breakdown: Mapping[str, float]
    dram_bytes: float
    bytes_by_kind: Mapping[str, float]
    counts: Mapping[str, int] = field(default_factory=dict)
    pim_cycles: int = 0
    """Cycles of the accelerator."""
    events: int = 0
    """Events of the schedule."""
    activity: Mapping[str, float] = field(default_factory=dict)
    point: Point | None = None
    """Point as the accelerator ran it, fully resolved; None for cores and GPUs."""
    chosen: Mapping[str, int] = field(default_factory=dict)
    """Number of tensors by kind and NBW ("attn_q 4"), if each tensor has its own NBW."""
    software: str = ""
    """Software that ran, if the backend chose it."""
    converted: str = ""
    """Place where sums became floating point (`Point.convert`); empty if there is no choice."""
    low: float | None = None
    high: float | None = None
    """Ends of the 90 % prediction interval in tokens/s; None if nothing is fitted."""
    instances: int | None = None
    """Processes of the software that share a server's cores; None for another kind."""
    notes: tuple[str, ...] = ()

    @property
    def tokens_per_s(self) -> float:
        """Tokens of all sequences per second."""
        return self.tokens / self.step_s


class MemoryNeed(NamedTuple):
    """Bytes that a step needs of a memory, and the memory's size."""

    needed: float
    limit: float | None
    """Size of the memory; None: unknown."""
    where: str
    """Owner of the memory, in words."""
    spared: float = 0.0
    """Bytes of the model that an accelerator's own memory spares the server's."""

    @property
    def fits(self) -> bool:
        """Whether the step fits, or the size is unknown."""
        return self.limit is None or self.needed <= self.limit

    def problem(self, model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> str:
        """Sentence that says why a step does not fit."""
        assert self.limit is not None
        return (
            f"{self.where}: {model.name} in {fmt.name} with batch {batch} and context {context} needs "
            f"{self.needed / 1e9:.1f} GB, allowed is {self.limit / 1e9:.1f} GB"
        )

    def check(self, model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> None:
        """Raise SailsimError if the step does not fit."""
        if not self.fits:
            raise SailsimError(self.problem(model, fmt, batch, context))


def memory_needed(model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> float:
    """Bytes of weights and KV cache."""
    return fmt.model_bytes(model) + model.kv_bytes(context) * batch


def usable_memory(gpu: Gpu) -> float:
    """Bytes of a GPU's memory that its software leaves to the model."""
    return float(gpu.memory_size.si * (1 - RESERVED_SHARE))


def memory_need(
    machine: Machine,
    model: ModelSpec,
    fmt: WeightFormat,
    batch: int,
    context: int,
    chunks: Sequence[Chunk] = (),
) -> MemoryNeed:
    """Memory of a server, or usable memory of a GPU, and the need of a batch or of the chunks' sequences."""
    needed = memory_needed(model, fmt, batch, context)
    if chunks:
        cached = sum(model.kv_bytes(chunk.tokens) * chunk.times for chunk in chunks)
        needed = fmt.model_bytes(model) + cached
    if isinstance(machine, Gpu):
        return MemoryNeed(needed, usable_memory(machine), f"GPU {machine.name}")
    size = machine.memory.size
    return MemoryNeed(needed, None if size is None else size.si, f"system {machine.name}")


def check_context(model: ModelSpec, point: Point) -> None:
    """Raise SailsimError for more tokens than the model's limit, unless the point allows them."""
    if point.beyond_limit or not 0 < model.max_context < point.context:
        return
    name = "context" if point.phase == "decode" else "prompt"
    raise SailsimError(
        f"{name} is {point.context}; allowed for {model.name} is at most {model.max_context}, which it was "
        "made for, unless beyond_limit asks for more (--beyond-limit; of a sweep --set beyond_limit=on)."
    )


class Backend(ABC):
    """Simulator of steps on a kind of machine."""

    kind: ClassVar[Kind]
    software: ClassVar[tuple[str, ...]]
    """Software that runs on it, the default first."""
    prefills: ClassVar[tuple[Prefill, ...]] = ("units",)
    """Resources that may multiply prompts; the default alone without units."""
    piecewise_linear: ClassVar[bool] = False
    """Whether seconds are piecewise linear in the number of rows."""

    @abstractmethod
    def step(self, query: StepQuery) -> StepResult:
        """Simulate the step. Raises SailsimError if the machine cannot do it."""

    def timer(self, query: StepQuery) -> Timer:
        """Timer of steps that differ only in their chunks, quicker than calling `step` for each."""
        return lambda chunks: self.step(replace(query, chunks=chunks)).step_s

    def check_prefill(self, query: StepQuery) -> None:
        """Raise SailsimError if the query's prefill is not in `prefills`."""
        if query.prefill not in self.prefills:
            raise SailsimError(
                f"prefill is {query.prefill!r}; allowed on {query.machine.name} with {query.software} is "
                f"{' or '.join(self.prefills)}."
            )

    def refusal(self, query: StepQuery) -> str | None:
        """Sentence that says why the machine does not run the software; None if it does."""
        return None

    def memory_need(self, query: StepQuery) -> MemoryNeed:
        """Need of weights and KV cache in the machine's memory."""
        point = query.point
        return memory_need(query.machine, query.model, query.fmt, point.batch, point.context, query.chunks)

    def priced_as(self, machine: Machine) -> tuple[str, ...]:
        """Machines whose price it may have: itself, then those that its file extends."""
        return (machine.name, *machine.extends)

    def llc_share(self, machine: System) -> float:
        """Share of the last-level cache that the cores cannot use, 0..1."""
        return 0.0

    def energy(self, system: System, choices: Mapping[str, Any]) -> EnergyShape | None:
        """Inputs of a step's energy; None if the energy is not modelled.

        ``choices``: values of the point by its fields' names.
        """
        return None


def load_backend(name: str) -> Backend:
    """Load a backend by its name in `backend_modules`."""
    backend = backend_module(name).BACKEND
    assert isinstance(backend, Backend)
    return backend


def backend_of(machine: Machine, kind: Kind | None = None) -> Backend:
    """Backend of a kind on a machine; by default its GPU, its accelerator if it has one, or its cores.

    Raises SailsimError if the machine does not have the accelerator.
    """
    if isinstance(machine, Gpu):
        return load_backend("roofline")
    if kind == "accelerator" and machine.backend is None:
        machine.require_pim()
    return load_backend("cores" if kind == "cores" else machine.backend or "cores")


def software_of(kind: Kind) -> tuple[str, ...]:
    """Software that runs on a kind of machine."""
    every = map(load_backend, backend_modules())
    return tuple(software for backend in every if backend.kind == kind for software in backend.software)
