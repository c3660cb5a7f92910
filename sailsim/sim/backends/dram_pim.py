"""DRAM with multipliers in its banks: bank-level MACs as in GDDR6-AiM, with weights in its own memory.

All banks of a channel work in lockstep on different outputs. A piece of the input lies in the channel's
buffer; each bank opens a row of weights, and every access to a column of it is multiplied by the buffer and
added up. Either a piece stays while all outputs pass, or the sums of some outputs stay in registers while all
pieces pass. Weights are numbers of one width, to which a file's codes are expanded when they are stored.
Accesses follow the commands of AiM (Lee et al., ISSCC 2022) in closed form: docs/systems.md.
"""

from collections.abc import Sequence
from functools import partial
from math import ceil
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import model_validator

from sailsim.base.quantity import Choice, ChoiceRule, Quantity, QuantityRule
from sailsim.sim.backend import MemoryNeed
from sailsim.sim.machine.catalog import Bandwidth
from sailsim.sim.machine.system import AcceleratorSpec, System
from sailsim.sim.step.engine import Accelerator
from sailsim.sim.step.gemv_times import ClosedFormUnits, Gemm, GemvTime
from sailsim.workloads.models.formats import WeightFormat
from sailsim.workloads.models.graph import Op, decode_step
from sailsim.workloads.models.model import ModelSpec

Wait = Annotated[Quantity, QuantityRule("ns", least=0)]

PHASES = ("link", "buffer", "rows", "multiply", "results")
COUNTS = ("rows_opened", "accesses", "results_read")

NOT_MODELLED = "not modelled: writing the weights into the accelerator's memory, and rounding to its numbers"


class DramPimSpec(AcceleratorSpec):
    """Memory channels with multipliers in every bank, and the link to the server."""

    backend: Literal["dram_pim"]
    channels: Annotated[Quantity, QuantityRule("channels", least=1, whole=True)]
    banks: Annotated[Quantity, QuantityRule("banks", least=1, whole=True)]
    """Banks of a channel, which work in lockstep."""
    bank_size: Annotated[Quantity, QuantityRule("MiB", above=0)]
    """Capacity of a bank for weights."""
    row: Annotated[Quantity, QuantityRule("B", least=1, whole=True)]
    """Bytes of a bank's row."""
    access: Annotated[Quantity, QuantityRule("B", least=1, whole=True)]
    """Bytes that a column access brings to a bank's multipliers."""
    element: Annotated[Quantity, QuantityRule("bits", least=1, most=64, whole=True)]
    """Width of a weight and of an input at the multipliers."""
    buffer: Annotated[Quantity, QuantityRule("B", least=1, whole=True)]
    """Bytes of a channel's buffer for a piece of the input."""
    registers: Annotated[Quantity, QuantityRule("registers", least=0, whole=True)]
    """Sums that a bank keeps while all pieces of an input pass; 0: a piece stays while all outputs pass."""
    lanes: Annotated[Quantity, QuantityRule("lanes", least=1, whole=True)]
    """Partial sums that a bank returns for an output: one if it adds up the products of an access."""
    result: Annotated[Quantity, QuantityRule("bits", least=1, most=64, whole=True)]
    """Width of a sum that a bank returns."""
    sums: Annotated[Choice, ChoiceRule("device", "cores")]
    """Place where the sums of an output are added up, over lanes and pieces of its input."""
    open: Wait
    """Time from opening a row of every bank to the first access with its product."""
    tccd: Annotated[Quantity, QuantityRule("ns", above=0)]
    """Time between column accesses to an open row."""
    compute: Wait
    """Time that the multipliers need between accesses; the slower of this and `tccd` counts."""
    close: Wait
    """Time from the last access until the row is closed."""
    cycle: Wait
    """Least time between openings of rows of a bank."""
    write: Wait
    """Time to write the bytes of an access into the buffer."""
    read: Wait
    """Time to read the sums of one output of every bank from a channel."""
    refresh: Wait
    """Time of a refresh, in which a channel does nothing else."""
    refresh_interval: Annotated[Quantity, QuantityRule("ns", above=0)]
    link: Bandwidth
    """Bandwidth between the server and all channels; a row of inputs goes to all of them at once."""
    link_latency: Wait
    """Latency of sending a product and of receiving its results, together."""

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
        """Inputs that fit both the buffer and a row of weights."""
        return min(self.buffer.whole, self.row.whole) * 8 // self.element.whole

    @property
    def accesses(self) -> int:
        """Column accesses of a row."""
        return self.row.whole // self.access.whole

    @property
    def outputs(self) -> int:
        """Outputs computed at a time, one a bank."""
        return self.channels.whole * self.banks.whole


class BankTile(NamedTuple):
    """Weights that lie one after the other in rows of a bank: a piece of the input for some outputs.

    A tile has more than one output only if their sums stay in registers.
    """

    times: int
    outputs: int
    accesses: int
    """Column accesses of one output."""

    def rows(self, spec: DramPimSpec) -> int:
        """Rows of the tile, which begins a new one."""
        return ceil(self.outputs * self.accesses / spec.accesses)


def bank_tiles(spec: DramPimSpec, k: int, n: int) -> list[BankTile]:
    """Tiles of a (k, n) matrix in a bank: outputs are divided among the banks, inputs cut into pieces."""
    together = max(1, spec.registers.whole)
    bank_outputs = ceil(n / spec.outputs)
    tiles = []
    for pieces, length in _cut(k, spec.piece):
        each = ceil(length * spec.element.whole / 8 / spec.access.whole)
        tiles += [BankTile(pieces * times, outputs, each) for times, outputs in _cut(bank_outputs, together)]
    return tiles


def _cut(whole: int, size: int) -> list[tuple[int, int]]:
    """Number and size of the equal parts of a whole and, if there is a rest, of the smaller last one."""
    full, rest = divmod(whole, size)
    return [(times, part) for times, part in ((full, size), (1, rest)) if times and part]


def _row_times(spec: DramPimSpec, tiles: Sequence[BankTile]) -> tuple[float, float]:
    """Seconds in which a bank opens and closes rows, and seconds between its column accesses."""
    interval = max(spec.tccd.si, spec.compute.si)
    opened = multiplied = 0.0
    for tile in tiles:
        for often, inside in _cut(tile.outputs * tile.accesses, spec.accesses):
            passing = (inside - 1) * interval
            whole = max(spec.open.si + passing + spec.close.si, spec.cycle.si)
            opened += tile.times * often * (whole - passing)
            multiplied += tile.times * often * passing
    return opened, multiplied


def bank_time(spec: DramPimSpec, gemm: Gemm) -> GemvTime:
    """Time of a product: outputs are divided among the banks, pieces of the input take turns in the buffer.

    The weights lie in the banks: none come from the server's memory.
    """
    k, n, batch = gemm.k, gemm.n, gemm.batch
    bank_outputs, turns = ceil(n / spec.outputs), ceil(k / spec.piece)
    stay = spec.registers.whole > 0
    tiles = bank_tiles(spec, k, n)
    pieces = tiles if stay else bank_tiles(spec, k, 1)
    opened, multiplied = _row_times(spec, tiles)
    results = bank_outputs if stay else turns * bank_outputs
    sums = 1 if spec.sums.value == "device" else spec.lanes.whole * (1 if stay else turns)
    moved = k * spec.element.whole / 8 + n * sums * spec.result.whole / 8
    link = spec.link_latency.si + batch * moved / spec.link.si
    slower = batch / (1 - spec.refresh.si / spec.refresh_interval.si)
    written = sum(tile.times * tile.accesses for tile in pieces) * spec.write.si
    banks = tuple(slower * part for part in (written, opened, multiplied, results * spec.read.si))
    seconds = sum((link, *banks))
    rows = sum(tile.times * tile.rows(spec) for tile in tiles)
    accesses = sum(tile.times * tile.outputs * tile.accesses for tile in tiles)
    return GemvTime(
        bytes=0.0,
        seconds=seconds,
        throttled=lambda rate: seconds,
        slices=1,  # the device takes a product as a whole
        blocks=sums,
        cycles=ceil(sum(banks) / spec.tccd.si),
        counts=(batch * rows, batch * accesses, batch * results),
        numbers=(link, *banks),
    )


def _spec(system: System) -> DramPimSpec:
    assert isinstance(system.accelerator, DramPimSpec)
    return system.accelerator


class DramPim(Accelerator):
    """Backend of `[accelerator] backend = "dram_pim"`."""

    software = ("bank-macs",)
    priced = False

    def make_units(self, system: System, *choices: Any) -> ClosedFormUnits:
        """The channels of the machine's device; weights have the width of the multipliers."""
        spec = _spec(system)
        width = f"multiplies weights and inputs of {spec.element} in its memory, whatever the point's are"
        return ClosedFormUnits(
            system,
            (PHASES, COUNTS),
            partial(bank_time, spec),
            lambda point, parts, op: Gemm(op.k, op.n, op.batch),
            [width, NOT_MODELLED],
            cores_convert=spec.sums.value == "cores",
        )

    def takes(self, op: Op) -> bool:
        """Accept every product: weights of any type are stored in the multipliers' format."""
        return True

    def stored(self, system: System, model: ModelSpec, fmt: WeightFormat) -> MemoryNeed:
        """Bytes of all matrices in rows of the banks; tensors that the cores also read stay with the
        server."""
        spec = _spec(system)
        step = decode_step(model, fmt, 1, 1)
        ops = [op for op in step if op.kind == "gemv"]
        shared = {op.weights_key for op in step if op.kind != "gemv"}
        spared = float(sum(_stored_bytes(op) for op in ops if op.weights_key not in shared))
        rows = sum(t.times * t.rows(spec) * op.matrices for op in ops for t in bank_tiles(spec, op.k, op.n))
        banks = float(spec.outputs)
        where = f"the accelerator of system {system.name}"
        return MemoryNeed(banks * rows * spec.row.whole, banks * spec.bank_size.si, where, spared)


def _stored_bytes(op: Op) -> int:
    """Bytes of an operation's weights in the file, all experts together."""
    assert op.format is not None
    return op.matrices * op.format.bytes(op.k, op.n)


BACKEND = DramPim()
SPEC = DramPimSpec
