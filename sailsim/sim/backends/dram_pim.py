"""DRAM that multiplies in its banks: bank-level MACs as in GDDR6-AiM, with weights in its own memory.

All banks of a channel work in lockstep on different outputs. A piece of the input lies in the channel's
buffer; each bank opens a row of weights, and every access to a column of it is multiplied by the buffer and
added up. Either a piece stays while all outputs pass, or the sums of some outputs stay in registers while all
pieces pass. Weights are numbers of one width, whatever a file's codes are: they are expanded when they are
stored. Accesses follow the commands of AiM (Lee et al., ISSCC 2022) in closed form: docs/systems.md.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import model_validator

from sailsim.base.quantity import Choice, ChoiceRule, Quantity, QuantityRule
from sailsim.sim.machine.catalog import Bandwidth
from sailsim.sim.machine.system import AcceleratorSpec, System
from sailsim.sim.point import Point
from sailsim.sim.step.engine import Accelerator, StoredBytes
from sailsim.sim.step.jobs import ClosedFormUnits, Gemm, GemvTime
from sailsim.sim.step.parts import StepParts
from sailsim.workloads.inference.activation_file import Activations
from sailsim.workloads.models.formats import WeightFormat
from sailsim.workloads.models.graph import Op, decode_step
from sailsim.workloads.models.model import ModelSpec

Wait = Annotated[Quantity, QuantityRule("ns", least=0)]

PHASES = ("link", "buffer", "rows", "multiply", "results")
COUNTS = ("rows_opened", "accesses", "results_read")

NOT_MODELLED = "not modelled: writing the weights into the accelerator's memory, and rounding to its numbers"


class DramPimSpec(AcceleratorSpec):
    """Channels of memory with a unit of multipliers in every bank, and the link to the server."""

    backend: Literal["dram_pim"]
    channels: Annotated[Quantity, QuantityRule("channels", least=1, whole=True)]
    banks: Annotated[Quantity, QuantityRule("banks", least=1, whole=True)]
    """Of a channel, in lockstep."""
    bank_size: Annotated[Quantity, QuantityRule("MiB", above=0)]
    """What a bank holds of weights."""
    row: Annotated[Quantity, QuantityRule("B", least=1, whole=True)]
    """Of a bank."""
    access: Annotated[Quantity, QuantityRule("B", least=1, whole=True)]
    """What an access to a column brings to a bank's multipliers."""
    element: Annotated[Quantity, QuantityRule("bits", least=1, most=64, whole=True)]
    """Of a weight and of an input, as the multipliers take them."""
    buffer: Annotated[Quantity, QuantityRule("B", least=1, whole=True)]
    """Of a channel, for a piece of the input."""
    registers: Annotated[Quantity, QuantityRule("registers", least=0, whole=True)]
    """Whose sums a bank keeps while all pieces of an input pass; 0: a piece stays while all outputs pass."""
    lanes: Annotated[Quantity, QuantityRule("lanes", least=1, whole=True)]
    """Of an output that a bank gives: one if it adds up what an access brings."""
    result: Annotated[Quantity, QuantityRule("bits", least=1, most=64, whole=True)]
    """Of a sum that a bank gives."""
    sums: Annotated[Choice, ChoiceRule("device", "cores")]
    """Who adds up the sums of an output, over lanes and pieces of its input."""
    open: Wait
    """Opening a row of every bank, to the first access with its product."""
    tccd: Annotated[Quantity, QuantityRule("ns", above=0)]
    """Between accesses to columns of an open row."""
    compute: Wait
    """Between them for the multipliers' sake; they take the slower."""
    close: Wait
    """From the last access to the row's closing, and that."""
    cycle: Wait
    """Between openings of rows of a bank, at least."""
    write: Wait
    """Of an access's bytes into the buffer."""
    read: Wait
    """Of the sums of an output of every bank out of a channel."""
    refresh: Wait
    """In which a channel does nothing else."""
    refresh_interval: Annotated[Quantity, QuantityRule("ns", above=0)]
    link: Bandwidth
    """Between the server and all channels; a row of inputs goes to all of them at once."""
    link_latency: Wait
    """Of a product on the way there and of its results on the way back, together."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.refresh.si >= self.refresh_interval.si:
            raise ValueError(
                f"refresh is {self.refresh}; allowed is less than refresh_interval, {self.refresh_interval}"
            )
        for name in ("row", "buffer"):
            if 8 * getattr(self, name).whole < self.element.whole:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed is an element of {self.element}")
        if self.access.whole > self.row.whole:
            raise ValueError(f"access is {self.access}; allowed is {self.row}, the row, at most")
        return self

    @property
    def piece(self) -> int:
        """Inputs that the buffer and a row of weights hold."""
        return min(self.buffer.whole, self.row.whole) * 8 // self.element.whole

    @property
    def accesses(self) -> int:
        """To the columns of a row."""
        return self.row.whole // self.access.whole

    @property
    def outputs(self) -> int:
        """That are worked on at a time: one a bank."""
        return self.channels.whole * self.banks.whole


class BankTile(NamedTuple):
    """Weights that lie one after the other in rows of a bank: a piece of the input for some outputs.

    There is more than one output only if their sums stay in registers.
    """

    times: int
    outputs: int
    accesses: int
    """Of an output's piece."""

    def rows(self, section: DramPimSpec) -> int:
        """It begins a row of its own."""
        return ceil(self.outputs * self.accesses / section.accesses)


def blocks(section: DramPimSpec, k: int, n: int) -> list[BankTile]:
    """What a bank holds of a (k, n) matrix: outputs are dealt to the banks, inputs cut into pieces."""
    together = max(1, section.registers.whole)
    owned = ceil(n / section.outputs)
    held = []
    for pieces, length in _cut(k, section.piece):
        each = ceil(length * section.element.whole / 8 / section.access.whole)
        held += [BankTile(pieces * times, outputs, each) for times, outputs in _cut(owned, together)]
    return held


def _cut(whole: int, size: int) -> list[tuple[int, int]]:
    """(times, size) of equal parts and, if there is one, of the smaller last."""
    full, rest = divmod(whole, size)
    return [(times, part) for times, part in ((full, size), (1, rest)) if times and part]


def _in_rows(section: DramPimSpec, held: Sequence[BankTile]) -> tuple[float, float]:
    """Seconds in which a bank opens and closes rows, and in which it passes from access to access."""
    interval = max(section.tccd.si, section.compute.si)
    opened = multiplied = 0.0
    for block in held:
        for often, inside in _cut(block.outputs * block.accesses, section.accesses):
            passing = (inside - 1) * interval
            whole = max(section.open.si + passing + section.close.si, section.cycle.si)
            opened += block.times * often * (whole - passing)
            multiplied += block.times * often * passing
    return opened, multiplied


def bank_job(section: DramPimSpec, request: Gemm) -> GemvTime:
    """One product: outputs are dealt to the banks, pieces of the input take turns in the buffer.

    Nothing of it comes from the server's memory: the weights lie in the banks.
    """
    k, n, batch = request.k, request.n, request.batch
    owned, turns = ceil(n / section.outputs), ceil(k / section.piece)
    stay = section.registers.whole > 0
    held = blocks(section, k, n)
    pieces = held if stay else blocks(section, k, 1)
    opened, multiplied = _in_rows(section, held)
    results = owned if stay else turns * owned
    given = 1 if section.sums.value == "device" else section.lanes.whole * (1 if stay else turns)
    carried = k * section.element.whole / 8 + n * given * section.result.whole / 8
    linked = section.link_latency.si + batch * carried / section.link.si
    slower = batch / (1 - section.refresh.si / section.refresh_interval.si)
    written = sum(block.times * block.accesses for block in pieces) * section.write.si
    banks = tuple(slower * part for part in (written, opened, multiplied, results * section.read.si))
    seconds = sum((linked, *banks))
    rows = sum(block.times * block.rows(section) for block in held)
    accesses = sum(block.times * block.outputs * block.accesses for block in held)
    return GemvTime(
        bytes=0.0,
        seconds=seconds,
        throttled=lambda rate: seconds,
        slices=1,  # the device is handed a product as a whole
        blocks=given,
        cycles=ceil(sum(banks) / section.tccd.si),
        counts=(batch * rows, batch * accesses, batch * results),
        numbers=(linked, *banks),
    )


class BankUnits(ClosedFormUnits):
    """The channels of a machine's device."""

    phases = PHASES
    counts = COUNTS

    not_modelled = NOT_MODELLED

    def requests(self, point: Point, parts: StepParts) -> Callable[[Op], Gemm]:
        """Sizes alone: weights have the width of the multipliers."""
        return lambda op: Gemm(op.k, op.n, op.batch)

    def notes(self, model: ModelSpec, activations: Activations) -> list[str]:
        """In which numbers it computes, and what is left out."""
        element = _section(self.system).element
        own = f"multiplies weights and inputs of {element} in its memory, whatever the point's are"
        return [own, *super().notes(model, activations)]


def _section(system: System) -> DramPimSpec:
    assert isinstance(system.accelerator, DramPimSpec)
    return system.accelerator


class DramPim(Accelerator):
    """`[accelerator] backend = "dram_pim"`."""

    software = ("bank-macs",)
    priced = False

    def make_units(self, system: System, *choices: Any) -> BankUnits:
        """The channels of the machine's device."""
        units, section = BankUnits(system, partial(bank_job, _section(system))), _section(system)
        units.cores_convert = section.sums.value == "cores"
        return units

    def takes(self, op: Op) -> bool:
        """Every product: weights of any type are stored in the multipliers' format."""
        return True

    def stored(self, system: System, model: ModelSpec, fmt: WeightFormat) -> StoredBytes:
        """All matrices, each output's weights in rows of its bank; the cores' own look-ups stay theirs."""
        section = _section(system)
        step = decode_step(model, fmt, 1, 1)
        ops = [op for op in step if op.kind == "gemv"]
        shared = {op.weights_key for op in step if op.kind != "gemv"}
        spared = float(sum(_stored_bytes(op) for op in ops if op.weights_key not in shared))
        rows = sum(b.times * b.rows(section) * op.matrices for op in ops for b in blocks(section, op.k, op.n))
        of_all = float(section.outputs)
        return StoredBytes(of_all * rows * section.row.whole, of_all * section.bank_size.si, spared)


def _stored_bytes(op: Op) -> int:
    """Of an operation's weights, of all experts."""
    assert op.format is not None
    return op.matrices * op.format.bytes(op.k, op.n)


BACKEND = DramPim()
SPEC = DramPimSpec
