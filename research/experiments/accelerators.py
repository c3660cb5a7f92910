"""Accelerators against what is published of them, and against simulators of the same machines.

`data/validation` holds machines as they were published, as system files, and the figures. Misses are rows
like all others.
"""

from __future__ import annotations

import csv
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file
from math import ceil
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from sailsim.analysis.costs.constants import data_file
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import UNITS, FrozenModel, Quantity, QuantityRule
from sailsim.sim.backends import bit_serial_cache, dram_pim
from sailsim.sim.machine.system import System
from sailsim.sim.machine.system_files import load_system
from sailsim.sim.point import Point
from sailsim.sim.step.engine import accelerator_of
from sailsim.sim.step.gemv_times import ClosedFormUnits, Gemm, GemvTime, Units
from sailsim.workloads.model_files.load import load_model
from sailsim.workloads.models.graph import decode_step

FOLDER = "validation"
NETWORK = "inception-v3.csv"
"""The layers that `products` names."""
MODEL = "llama-2-7b"
"""Whose matrices the simulators multiply."""
EVERY_LAYER = "all"


class Shape(FrozenModel):
    """A (batch, k) times (k, n) product."""

    k: Annotated[int, Field(ge=1)]
    n: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]


class Figure(FrozenModel):
    """One published figure, and what to ask the machine for."""

    what: str
    machine: str
    """A file of the folder, or the name of a system that ships."""
    products: str = ""
    """A layer of the network, or all of them."""
    product: Shape | None = None
    """One product instead."""
    reading: Literal["time", "rate", "speedup"] = "time"
    """Seconds; operations a second, two a product; or over reading the matrix at `pins`."""
    phases: tuple[str, ...]
    """That count; empty: all, and waiting for weights where `dram` is said."""
    wbits: int = 8
    abits: int = 8
    dram: Annotated[Quantity, QuantityRule("GB/s", above=0)] | None = None
    """Of the memory that weights come from; None: they are there."""
    pins: Annotated[Quantity, QuantityRule("GB/s", above=0)] | None = None
    share: Annotated[Quantity, QuantityRule("ratio", above=0, most=1)] | None = None
    """Of the machine that the figure is of."""
    published: Quantity
    fitted: bool = False
    """Whether the machine's file rests on the figure."""
    why: str

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if bool(self.products) == (self.product is not None):
            raise ValueError(f"{self.what}: allowed is one of products and product")
        if (self.reading == "speedup") != (self.pins is not None):
            raise ValueError(f"{self.what}: pins belongs to reading 'speedup'")
        return self


class Simulator(FrozenModel):
    """Another simulator, how its numbers were made, and the machine that stands for its own."""

    name: str
    """In `simulations.csv`."""
    title: str
    version: str
    options: str
    date: str
    machine: str
    wbits: int
    abits: int
    phases: tuple[str, ...]
    """That count as its commands."""
    comparable: bool
    """Whether both do the same work."""
    why: str


@dataclass(frozen=True)
class Checked:
    """A published figure beside ours, in the published unit."""

    figure: Figure
    machine: System
    ours: float

    @property
    def error(self) -> float:
        """Ours over the published one, less 1."""
        return self.ours / self.figure.published.value - 1


@dataclass(frozen=True)
class Simulated:
    """A product of the model on a simulator beside ours, seconds; `times` in one token."""

    shape: Shape
    times: int
    theirs: float
    copies: float | None
    """Copying the matrix and the results, which is no part of `theirs`; None: not simulated."""
    ours: float


@lru_cache(maxsize=1)
def figures() -> tuple[Figure, ...]:
    """The published figures, in the order of the file."""
    return TypeAdapter(tuple[Figure, ...]).validate_python(_file()["figure"], strict=False)


@lru_cache(maxsize=1)
def simulators() -> tuple[Simulator, ...]:
    """The simulators, in the order of the file."""
    return TypeAdapter(tuple[Simulator, ...]).validate_python(_file()["simulator"], strict=False)


def checked(figure: Figure) -> Checked:
    """One figure. Raises SailsimError for a machine or phases that there are not."""
    machine = load_validation_machine(figure.machine)
    shapes = _layers(figure.products) if figure.product is None else [figure.product]
    units = _units(machine)
    seconds = sum(_seconds(units, job, figure) for job in _jobs(units, shapes, figure.wbits, figure.abits))
    if figure.share is not None:
        seconds /= figure.share.value
    match figure.reading:
        case "time":
            found = seconds
        case "rate":
            found = sum(2 * s.k * s.n * s.batch for s in shapes) / seconds
        case "speedup":
            assert figure.pins is not None
            found = sum(s.k * s.n for s in shapes) * figure.wbits / 8 / figure.pins.si / seconds
    return Checked(figure, machine, found / UNITS[figure.published.unit])


def simulated(simulator: Simulator) -> list[Simulated]:
    """The products of a token of the model, as often as it has them."""
    often = Counter((op.k, op.n) for op in _matrices())
    units = _units(load_validation_machine(simulator.machine))
    found = []
    for row in _rows("simulations.csv"):
        if row["simulator"] != simulator.name:
            continue
        shape = Shape(k=int(row["k"]), n=int(row["n"]), batch=1)
        (job,) = _jobs(units, [shape], simulator.wbits, simulator.abits)
        found.append(
            Simulated(
                shape,
                often[shape.k, shape.n],
                float(row["ms"]) * 1e-3,
                float(row["copy_ms"]) * 1e-3 if row["copy_ms"] else None,
                _of_phases(units, job, simulator.phases),
            )
        )
    return found


def load_validation_machine(name: str) -> System:
    """A machine of the folder, or one that ships by its name."""
    if not name.endswith(".toml"):
        return load_system(name)
    with as_file(data_file(f"{FOLDER}/{name}")) as path:
        return load_system(path)


def _seconds(units: Units, job: GemvTime, figure: Figure) -> float:
    """Of the figure's phases, and of waiting for weights: the slower of DRAM and what the units take."""
    seconds = _of_phases(units, job, figure.phases)
    if figure.dram is None:
        return seconds
    rate = min(figure.dram.si, units.memory(threads=1).stream_limit)
    return seconds + job.throttled(rate) - job.seconds


def _of_phases(units: Units, job: GemvTime, phases: Sequence[str]) -> float:
    by_phase = dict(zip(units.phases, job.numbers, strict=False))
    unknown = [name for name in phases if name not in by_phase]
    if unknown:
        raise SailsimError(f"phase {unknown[0]!r} is unknown; allowed are {', '.join(by_phase)}.")
    return sum(by_phase[name] for name in phases or by_phase)


def _jobs(units: ClosedFormUnits, shapes: Sequence[Shape], wbits: int, abits: int) -> list[GemvTime]:
    """Of products of whole numbers by themselves, weights packed."""
    if units.phases == dram_pim.PHASES:
        return [units.time(Gemm(s.k, s.n, s.batch)) for s in shapes]
    return [units.time(Gemm(s.k, s.n, s.batch, wbits, abits, 0, s.k * ceil(s.n * wbits / 8))) for s in shapes]


def _units(machine: System) -> ClosedFormUnits:
    units = accelerator_of(machine).units_of(machine, Point())
    timed = isinstance(machine.accelerator, dram_pim.DramPimSpec | bit_serial_cache.BitSerialCacheSpec)
    if not (timed and isinstance(units, ClosedFormUnits)):
        raise SailsimError(
            f"system {machine.name} does not time products by themselves, allowed is one that does."
        )
    return units


def _matrices() -> list[Shape]:
    model = load_model(MODEL)
    ops = decode_step(model, Point(model=MODEL).formats(model), batch=1, context=1)
    return [Shape(k=op.k, n=op.n, batch=1) for op in ops if op.kind == "gemv"]


def _layers(name: str) -> list[Shape]:
    """The layers of the network by a name, or all."""
    found = [
        Shape(k=int(row["channels"]) * int(row["filter"]), n=int(row["filters"]), batch=int(row["places"]))
        for row in _rows(NETWORK)
        if name in (EVERY_LAYER, row["layer"])
    ]
    if not found:
        raise SailsimError(f"products is {name!r}; allowed are {EVERY_LAYER} and a layer of {NETWORK}.")
    return found


@lru_cache(maxsize=4)
def _rows(name: str) -> list[dict[str, str]]:
    lines = data_file(f"{FOLDER}/{name}").read_text("utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


@lru_cache(maxsize=1)
def _file() -> dict[str, Any]:
    return tomllib.loads(data_file(f"{FOLDER}/accelerators.toml").read_text("utf-8"))
