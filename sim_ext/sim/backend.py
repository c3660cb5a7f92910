"""What an accelerator is to a step: jobs, and nothing of how they come about.

A `Backend` is a kind of accelerator; its `Units` are those of one machine under the choices of a point; for
a step they give `StepJobs`, which turn each matrix product into a `Job`, those that differ in their inputs
alone side by side (`Jobs`). `engine` plays jobs.
docs/backends.md has the interface and how to add one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sailsim.base.errors import SailsimError
from sailsim.sim.accelerator import backend_module, backend_modules
from sailsim.sim.charges import Charge
from sailsim.sim.parts import Part
from sailsim.sim.patterns import InputRows
from sailsim.sim.point import Point
from sailsim.sim.same import Same
from sailsim.sim.schedule import MemorySystem
from sailsim.sim.system import System
from sailsim.workloads.activations import Activations
from sailsim.workloads.formats import WeightFormat
from sailsim.workloads.graph import Op
from sailsim.workloads.model import ModelSpec


class Job(Protocol):
    """One matrix product on an accelerator."""

    @property
    def bytes(self) -> float:
        """Of weights that come from the server's DRAM; 0 where they lie in the accelerator's own memory."""

    @property
    def seconds(self) -> float:
        """With all weights where the accelerator needs them, or on chip on the way there."""

    def throttled(self, rate: float) -> float:
        """Seconds when its weights come from DRAM at `rate` bytes/s, just in time."""

    @property
    def slices(self) -> int:
        """Units that have a part of it: each is handed a descriptor, and writes a record when it is done."""

    @property
    def blocks(self) -> int:
        """Sums of an output that the cores convert and scale, if that is theirs (`Units.cores_convert`)."""

    @property
    def cycles(self) -> int:
        """Of the accelerator's clock, of `seconds`' part on it."""

    @property
    def counts(self) -> Sequence[int]:
        """By `Units.counts`, of one unit."""

    @property
    def numbers(self) -> Sequence[float]:
        """Seconds by `Units.phases`, which add up to `seconds`, then events by `Units.events`."""


class Jobs(Protocol):
    """Products of one shape and format on different inputs, side by side: an element or a row each."""

    @property
    def slices(self) -> int:
        """As `Job`; the same for all."""

    @property
    def shares(self) -> float:
        """How many times a unit's `counts` all units have together; of tiles on all slices `slices`."""

    @property
    def blocks(self) -> int:
        """As `Job`; the same for all."""

    @property
    def crowded(self) -> bool:
        """Whether any takes chunks of rows, or fewer outputs at a time, for want of room for their sums."""

    @property
    def bytes(self) -> NDArray[np.float64]:
        """As `Job`, (jobs,)."""

    @property
    def seconds(self) -> NDArray[np.float64]:
        """As `Job`, (jobs,)."""

    @property
    def cycles(self) -> NDArray[np.int64]:
        """As `Job`, (jobs,)."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """As `Job`, (jobs, `Units.counts`)."""

    @property
    def numbers(self) -> NDArray[np.float64]:
        """As `Job`, (jobs, phases and events)."""

    def throttled(self, rate: float) -> NDArray[np.float64]:
        """As `Job`, (jobs,): each by itself at that rate."""

    def __getitem__(self, at: int) -> Job:
        """One of them."""


class JobList:
    """`Jobs` that were made one by one, at least one."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self.slices, self.blocks = jobs[0].slices, jobs[0].blocks
        self.shares = self.slices
        self.crowded = False
        self.bytes = np.array([job.bytes for job in jobs], dtype=np.float64)
        self.seconds = np.array([job.seconds for job in jobs], dtype=np.float64)
        cycles = [job.cycles for job in jobs]
        if max(cycles) >= 1 << 63:
            raise SailsimError(
                f"a product takes {max(cycles):.3g} cycles of the accelerator; allowed is a machine on which "
                "it takes less than 2^63."
            )
        self.cycles = np.array(cycles, dtype=np.int64)

    def __getitem__(self, at: int) -> Job:
        return self._jobs[at]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Of each."""
        return np.array([job.counts for job in self._jobs], dtype=np.int64)

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Of each."""
        return np.array([job.numbers for job in self._jobs], dtype=np.float64)

    def throttled(self, rate: float) -> NDArray[np.float64]:
        """Of each."""
        return np.array([job.throttled(rate) for job in self._jobs], dtype=np.float64)


class Product(NamedTuple):
    """A (batch, k) times (k, n) product of whole numbers, by itself."""

    k: int
    n: int
    batch: int
    wbits: int
    abits: int
    group_size: int
    """Weights along k that share a scale; 0: all."""


@runtime_checkable
class TimesProducts(Protocol):
    """Units that time a product without a model around it, which is how machines are validated."""

    def product(self, product: Product) -> Job:
        """Its job. Raises SailsimError for a product that they cannot do."""


class StepJobs(Protocol):
    """The jobs of one step."""

    @property
    def keys(self) -> Sequence[Hashable]:
        """Of each input of the step: equal where jobs that differ in their input alone are equal."""

    def request(self, op: Op) -> Any:
        """What of an operation decides its job beside its input; the same for operations that are alike."""

    def jobs(self, request: Any, inputs: Sequence[int]) -> Jobs:
        """The jobs of a request on some inputs, by their numbers in the step."""


@runtime_checkable
class SideBySide(Protocol):
    """Jobs of a step that may have matrices side by side, each with an input of its own."""

    def side_by_side(self, op: Op, inputs: Sequence[int]) -> Jobs:
        """Of an operation of such matrices, on some inputs that stand for that of each."""


class AlikeJobs:
    """`StepJobs` that do not depend on what the inputs are."""

    def __init__(self, request: Callable[[Op], Any], job: Callable[[Any], Job], inputs: int) -> None:
        """`job` of a `request` is asked for again and again: it should remember."""
        self.request, self._job = request, job
        self.keys = [""] * inputs

    def jobs(self, request: Any, inputs: Sequence[int]) -> JobList:
        """The same one for every input."""
        return JobList([self._job(request)] * len(inputs))


class Units(ABC):
    """The units of a machine under the choices of a point."""

    phases: ClassVar[tuple[str, ...]]
    """Where a job's seconds go."""
    counts: ClassVar[tuple[str, ...]]
    """What a unit counts."""
    events: ClassVar[tuple[str, ...]]
    """What all units do together, which energy is reckoned from."""
    cores_convert: bool
    """Whether the cores convert and scale the integer sums of blocks."""
    shares_slices: ClassVar[bool] = False
    """Whether parts of the slices can work on products of different inputs at the same time, which experts
    are; a product of one input n times as wide then takes as long as n of different ones."""

    @abstractmethod
    def step(
        self,
        point: Point,
        parts: Same[tuple[Part, ...]],
        inputs: Same[tuple[InputRows, ...]],
        activations: Activations,
    ) -> StepJobs:
        """The jobs of a step. `point` has everything filled (`Point.resolved`)."""

    def chosen(self, job: Any) -> int | None:
        """What was chosen for a product where the point leaves a choice to each (`Backend.alternatives`)."""
        return None

    @abstractmethod
    def memory(self, threads: int) -> MemorySystem:
        """What the schedule has to know of the machine's memory beside `threads` working cores."""

    @abstractmethod
    def notes(self, model: ModelSpec, activations: Activations) -> list[str]:
        """What the numbers of a step rest on, in sentences."""


@dataclass(frozen=True)
class EnergyShape:
    """What the energy of a step depends on beside its events."""

    columns: int
    """Of an array: what a row access reads."""
    accumulator_bits: int
    """Of the adders beside the arrays."""
    operations: Mapping[str, Charge]
    """Of a column of an array, by operation (`sailsim.sim.substrate.Substrate.energy`)."""
    csram_mib: float
    """Of arrays beyond the server's own memory, which leak."""


@dataclass(frozen=True)
class Stored:
    """What an accelerator's own memory must hold, and what it can, bytes."""

    needed: float
    limit: float
    spared: float
    """Of the model as it is stored, what the server's memory need not hold."""


class Backend(ABC):
    """A kind of accelerator."""

    software: ClassVar[str]
    """What a runner of it is said to run, for example "lut-gemv"."""
    choices: ClassVar[tuple[str, ...]] = ()
    """The fields of a point, of `CHOICES`, that it knows."""
    priced: ClassVar[bool] = True
    """Whether the server's price and an overhead pay for it; what is bought beside it has no price."""

    @abstractmethod
    def units(self, system: System, point: Point) -> Units:
        """The units of a machine. Equal questions should find the same ones, with what they have timed.

        Raises:
            SailsimError: the machine has none, or cannot do what the point asks.
        """

    def alternatives(self, point: Point) -> tuple[Point, ...]:
        """The points of which a step takes the fastest: the point itself, and what else is as good an answer.

        More than one where the point leaves a choice to the accelerator; all but the first may be refused.
        """
        return (point,)

    @abstractmethod
    def takes(self, op: Op) -> bool:
        """Whether it multiplies the matrix of an operation; the cores do where it does not."""

    def energy(self, system: System, choices: Mapping[str, Any]) -> EnergyShape | None:
        """What joules are reckoned from; None: the energy is not modelled.

        ``choices``: the point's, by the names of its fields.
        """
        return None

    def stored(self, system: System, model: ModelSpec, fmt: WeightFormat) -> Stored | None:
        """What must fit its own memory; None where weights lie in the server's."""
        return None

    def check_choices(self, point: Point, name: str) -> None:
        """Raise SailsimError for a point that asks for what this accelerator does not know."""
        asked = {field: getattr(point, field) for field in CHOICES if field not in self.choices}
        wrong = next((field for field, value in asked.items() if value != CHOICES[field]), None)
        if wrong is not None:
            raise SailsimError(
                f"{wrong} is {asked[wrong]!r}, which the accelerator of system {name} does not know; allowed "
                f"is to leave it out."
            )


CHOICES: dict[str, Any] = {
    **{"nbw": None, "substrate": None, "convert": None, "prt": True},
    **{"attention": "cores", "overlap": False},
}
"""Fields of a point that choose something of an accelerator, and what they are where nothing is chosen."""


def backend_names() -> tuple[str, ...]:
    """Every backend there is."""
    return backend_modules()


def load_backend(name: str) -> Backend:
    """The backend of a name of `backend_names`."""
    found = backend_module(name).BACKEND
    assert isinstance(found, Backend)
    return found


def backend_of(system: System) -> Backend:
    """The backend that runs a machine's matrix products.

    Raises:
        SailsimError: the machine has no accelerator.
    """
    if system.backend is None:
        system.require_pim()
    assert system.backend is not None
    return load_backend(system.backend)


def software_stacks() -> tuple[str, ...]:
    """What accelerators run, by the names of their backends."""
    return tuple(load_backend(name).software for name in backend_names())
