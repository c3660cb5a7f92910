"""What runs a step on a machine: an accelerator, a server's cores or a GPU, each a `Backend`.

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
"""Who multiplies the prompts of a machine with units: they, the cores while units decode, or the faster."""
Timer = Callable[[tuple[Chunk, ...]], float]
"""From the pieces of a step to its seconds. Raises SailsimError where there is no such step."""
Kind = Literal["accelerator", "cores", "gpu"]
Machine = System | Gpu
RESERVED_SHARE = 0.05
"""Share of a GPU's memory that the driver, the context and the working buffers take (assumed, 0.03..0.1)."""


@dataclass(frozen=True)
class StepQuery:
    """A step that a machine is asked for."""

    point: Point
    """As it was asked."""
    machine: Machine
    model: ModelSpec
    fmt: WeightFormat
    """Of the weights."""
    software: str
    cores: int = 1
    """Cores that work; a GPU has none."""
    packed: bool = False
    """Whether as many instances of the software share the cores as are the fastest."""
    hardware: str = ""
    """The machine by name or file, where it is another one than the point's."""
    resolved: Point | None = None
    """The point with everything filled that its own system decides."""
    pieces: tuple[Chunk, ...] = ()
    """Of a mixed step, in the place of the point's phase, batch, prompt and context."""
    prefill: Prefill = "units"
    around: str = "llama.cpp"
    """Software of the cores around units: that of their prompts; the machine has its other constants."""

    @property
    def prompts(self) -> bool:
        """Whether any of its tokens is a prompt's."""
        if self.pieces:
            return not all(piece.decodes for piece in self.pieces)
        return self.point.phase == "prefill"


COMPUTE = {operation: f"compute_{operation}_cycles" for operation in OPERATIONS}
"""Operation -> event: cycles in which one array does it in place, for sums and look-ups."""
CONVERT = {operation: f"convert_{operation}_cycles" for operation in OPERATIONS}
"""The same while converting."""
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
    """What the energy of a step depends on beside its events."""

    columns: int
    """Of an array: what a row access reads."""
    accumulator_bits: int
    """Of the adders beside the arrays."""
    operations: Mapping[str, Charge]
    """Of a column of an array, by operation (`sailsim.sim.machine.substrate.Substrate.energy`)."""
    csram_mib: float
    """Of arrays beyond the server's own memory, which leak."""


@dataclass(frozen=True, repr=False)
class StepResult(ShortRepr):
    """One step, on whatever runs it.

    `breakdown` has seconds by phase, which exclude each other and add up to `step_s`. `counts` are those of
    one unit summed over the tensors (a slice's DFM: docs/contract.md, section 2). `dram_bytes` is everything
    moved, `bytes_by_kind` splits it. `activity` has the events of all units,
    what energy is reckoned from (`ACTIVITY`). `notes` say what the numbers rest on.
    """

    tokens: int
    step_s: float
    breakdown: Mapping[str, float]
    dram_bytes: float
    bytes_by_kind: Mapping[str, float]
    counts: Mapping[str, int] = field(default_factory=dict)
    pim_cycles: int = 0
    """Of the accelerator."""
    events: int = 0
    """Of the schedule."""
    activity: Mapping[str, float] = field(default_factory=dict)
    point: Point | None = None
    """As the accelerator ran it, with everything filled; None of cores and GPUs."""
    chosen: Mapping[str, int] = field(default_factory=dict)
    """Where the point leaves the NBW to each tensor: how many of a kind have which ("attn_q 4")."""
    software: str = ""
    """What ran, where it was chosen."""
    converted: str = ""
    """Where an accelerator's sums became floating point (`Point.convert`); empty of what has no choice."""
    low: float | None = None
    high: float | None = None
    """Tokens/s between which nine of ten measurements fall, of what is fitted; None where nothing is."""
    instances: int | None = None
    """Processes of the software side by side on a server's cores; None for another kind."""
    notes: tuple[str, ...] = ()

    @property
    def tokens_per_s(self) -> float:
        """Tokens of all sequences per second."""
        return self.tokens / self.step_s


class MemoryNeed(NamedTuple):
    """Bytes that a step needs of a memory, and what that has; None: not known."""

    needed: float
    limit: float | None
    where: str
    """Whose memory, in words."""

    @property
    def fits(self) -> bool:
        """Whether it does; so too where the memory's size is not known."""
        return self.limit is None or self.needed <= self.limit

    def problem(self, model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> str:
        """Why a step of so many sequences and tokens does not fit."""
        assert self.limit is not None
        return (
            f"{self.where}: {model.name} in {fmt.name} with batch {batch} and context {context} needs "
            f"{self.needed / 1e9:.1f} GB, allowed is {self.limit / 1e9:.1f} GB"
        )

    def check(self, model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> None:
        """Raise SailsimError where it does not fit."""
        if not self.fits:
            raise SailsimError(self.problem(model, fmt, batch, context))


def memory_needed(model: ModelSpec, fmt: WeightFormat, batch: int, context: int) -> float:
    """Bytes of weights and KV cache."""
    return fmt.model_bytes(model) + model.kv_bytes(context) * batch


def memory_of(gpu: Gpu) -> float:
    """Bytes of a GPU's memory that the software does not keep for itself."""
    return float(gpu.memory_size.si * (1 - RESERVED_SHARE))


def room_of(
    machine: Machine,
    model: ModelSpec,
    fmt: WeightFormat,
    batch: int,
    context: int,
    pieces: Sequence[Chunk] = (),
) -> MemoryNeed:
    """A server's memory as its file says; a GPU's, but what the software keeps of it; beside what a batch
    needs there, or the sequences of some pieces."""
    needed = memory_needed(model, fmt, batch, context)
    if pieces:
        cached = sum(model.kv_bytes(piece.tokens) * piece.times for piece in pieces)
        needed = fmt.model_bytes(model) + cached
    if isinstance(machine, Gpu):
        return MemoryNeed(needed, memory_of(machine), f"GPU {machine.name}")
    size = machine.memory.size
    return MemoryNeed(needed, None if size is None else size.si, f"system {machine.name}")


def check_context(model: ModelSpec, point: Point) -> None:
    """Raise SailsimError for more tokens than a model was made for, unless the point asks for them."""
    if point.beyond_limit or not 0 < model.max_context < point.context:
        return
    name = "context" if point.phase == "decode" else "prompt"
    raise SailsimError(
        f"{name} is {point.context}; allowed for {model.name} is at most {model.max_context}, which it was "
        "made for, unless beyond_limit asks for more (--beyond-limit; of a sweep --set beyond_limit=on)."
    )


class Backend(ABC):
    """What runs steps on a kind of machine."""

    kind: ClassVar[Kind]
    software: ClassVar[tuple[str, ...]]
    """What may run on it; the first where nothing else is said."""
    prefills: ClassVar[tuple[Prefill, ...]] = ("units",)
    """Who may multiply prompts; of what has no units, it itself."""
    smooth: ClassVar[bool] = False
    """Whether many rows take seconds that lie on lines between some numbers of rows."""

    @abstractmethod
    def step(self, asked: StepQuery) -> StepResult:
        """The step. Raises SailsimError where the machine cannot do it."""

    def timer(self, asked: StepQuery) -> Timer:
        """What a step takes by its pieces alone; quicker than `step`, where many are asked for."""

        def seconds(pieces: tuple[Chunk, ...]) -> float:
            return self.step(replace(asked, pieces=pieces)).step_s

        return seconds

    def check_prefill(self, asked: StepQuery) -> None:
        """Raise SailsimError where another than those in `prefills` is to multiply prompts."""
        if asked.prefill not in self.prefills:
            raise SailsimError(
                f"prefill is {asked.prefill!r}; allowed on {asked.machine.name} with {asked.software} is "
                f"{' or '.join(self.prefills)}."
            )

    def refusal(self, asked: StepQuery) -> str | None:
        """Why the machine does not run the software at all, None if it does."""
        return None

    def room(self, asked: StepQuery) -> MemoryNeed:
        """What the step needs of its memory: weights and KV cache in the machine's."""
        point = asked.point
        return room_of(asked.machine, asked.model, asked.fmt, point.batch, point.context, asked.pieces)

    def priced_as(self, machine: Machine) -> tuple[str, ...]:
        """The machines whose price it has: itself, then what its file extends."""
        return (machine.name, *machine.extends)

    def llc_share(self, machine: System) -> float:
        """Share of the last-level cache that it keeps from all cores: 0..1."""
        return 0.0

    def energy(self, system: System, choices: Mapping[str, Any]) -> EnergyShape | None:
        """What joules are reckoned from; None: the energy is not modelled.

        ``choices``: the point's, by the names of its fields.
        """
        return None


def load_backend(name: str) -> Backend:
    """The backend of a name of `backend_modules`."""
    backend = backend_module(name).BACKEND
    assert isinstance(backend, Backend)
    return backend


def backend_of(machine: Machine, kind: Kind | None = None) -> Backend:
    """What a machine's file alone stands for, a GPU, an accelerator or a server's cores; or of a kind.

    Raises SailsimError for an accelerator that the machine does not have.
    """
    if isinstance(machine, Gpu):
        return load_backend("roofline")
    if kind == "accelerator" and machine.backend is None:
        machine.require_pim()
    return load_backend("cores" if kind == "cores" else machine.backend or "cores")


def software_of(kind: Kind) -> tuple[str, ...]:
    """What may run on a kind of machine."""
    every = map(load_backend, backend_modules())
    return tuple(software for backend in every if backend.kind == kind for software in backend.software)
