"""DRAM with a small processor in every bank: products by multiplying, or by looking up packed products.

Each processor (DPU) holds a tile of the weights in its bank and works in its scratchpad. With tables,
p weights and p activations select one sum of p products. A whole table may stay in the scratchpad. Else it
lies in the bank, and the slice of p activations is brought for all outputs of a tile. Sorted activations need
fewer slices (`tables` "sorted"); a second table then puts the weights into their order: docs/systems.md.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import ceil, comb, factorial
from typing import Annotated, Any, Literal, NamedTuple

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Choice, ChoiceRule, Quantity, QuantityRule
from sailsim.sim.machine.catalog import Bandwidth
from sailsim.sim.machine.system import AcceleratorSpec, System
from sailsim.sim.point import Point
from sailsim.sim.step.engine import Accelerator, StoredBytes
from sailsim.sim.step.jobs import ClosedFormUnits, Gemm, GemvTime
from sailsim.sim.step.parts import StepParts, has_codes, scalar_codes
from sailsim.workloads.models.formats import WeightFormat
from sailsim.workloads.models.graph import Op, decode_step
from sailsim.workloads.models.model import ModelSpec

Cycles = Annotated[Quantity, QuantityRule("cycles", least=0)]
Share = Annotated[Quantity, QuantityRule("ratio", above=0, most=1)]

PHASES = ("link", "slices", "multiply")
COUNTS = ("sums",)

SUM_BYTES = 4
"""Of a sum on the way to the server: the registers have 32 bits."""
NOT_MODELLED = (
    "not modelled: writing weights and tables into the accelerator's memory, and sorting activations"
)


class DpuSpec(AcceleratorSpec):
    """The processors, their two memories, and the way to the server."""

    backend: Literal["dpu"]
    units: Annotated[Quantity, QuantityRule("units", least=1, whole=True)]
    """Processors, a bank each."""
    clock: Annotated[Quantity, QuantityRule("GHz", above=0)]
    scratchpad: Annotated[Quantity, QuantityRule("B", least=1, whole=True)]
    bank: Annotated[Quantity, QuantityRule("MiB", above=0)]
    table_room: Share
    """Of the scratchpad, and of the bank, what tables may take."""
    dma: Annotated[Quantity, QuantityRule("B/cycle", above=0)]
    """From the bank to the scratchpad."""
    dma_start: Cycles
    """Of a transfer, before its first byte."""
    dma_most: Annotated[Quantity, QuantityRule("B", least=1, whole=True)]
    """Of a transfer."""
    multiply: Cycles
    """Of a product and its sum, with enough threads; one instruction each."""
    lookup: Cycles
    """Of a look-up and its sum."""
    reorder: Cycles
    """Of the look-up that puts weights into the order of sorted activations."""
    tables: Annotated[Choice, ChoiceRule("none", "plain", "sorted")]
    inputs: Bandwidth
    """From the server to all processors, bytes that each of them gets."""
    results: Bandwidth
    """Back."""
    launch: Annotated[Quantity, QuantityRule("us", least=0)]
    """Starting a product on all processors and waiting for it."""


class Packing(NamedTuple):
    """Products that one access gives."""

    products: int
    cycles: float
    loaded: int
    """Bytes that are brought once a product."""
    slice: int
    """Bytes that are brought for every p activations; 0: the whole table stays."""


def packings(section: DpuSpec, wbits: int, abits: int) -> Iterator[Packing]:
    """Multiplying, or every table that has room. Raises SailsimError where none has."""
    if section.tables.value == "none":
        yield Packing(1, section.multiply.value, 0, 0)
        return
    near = section.table_room.value * section.scratchpad.value
    far = section.table_room.value * section.bank.si
    p = 0
    while found := [*_tables(section, p + 1, wbits, abits, near, far)]:
        yield from found
        p += 1
    if p == 0:
        raise SailsimError(
            f"accelerator.scratchpad is {section.scratchpad}; allowed for tables of {wbits} times {abits} "
            "bits is more."
        )


def _tables(section: DpuSpec, p: int, wbits: int, abits: int, near: float, far: float) -> Iterator[Packing]:
    """Those of p products that have room, by the bytes for tables in the scratchpad and in the bank."""
    weights, cycles = 1 << wbits * p, section.lookup.value
    entry, place = ceil((wbits + abits + (p - 1).bit_length()) / 8), ceil(wbits * p / 8)
    if (plain := (weights << abits * p) * entry) <= near:
        yield Packing(p, cycles, plain, 0)
    if section.tables.value == "sorted" and p > 1:
        slices = comb((1 << abits) + p - 1, p)  # of sorted activations
        whole, cycles = weights * (slices * entry + factorial(p) * place), cycles + section.reorder.value
        if whole <= near:
            yield Packing(p, cycles, whole, 0)
        elif whole <= far and (piece := weights * (entry + place)) <= near:
            yield Packing(p, cycles, 0, piece)


def dma_cycles(section: DpuSpec, size: float) -> float:
    """To bring some bytes from the bank, in as few transfers as there can be."""
    return ceil(size / section.dma_most.value) * section.dma_start.value + size / section.dma.value


def product_job(section: DpuSpec, request: Gemm) -> GemvTime:
    """One product: the fastest of all packings and ways to deal k and the batch to the units.

    Raises SailsimError where no table has room.
    """
    units, most = section.units.whole, min(request.copies, request.batch)
    jobs = [
        _job(section, request, packing, 1 << cut, 1 << copies)
        for packing in packings(section, request.wbits, request.abits)
        for copies in range(min(most, units).bit_length())
        for cut in range(min(request.k, units >> copies).bit_length())
    ]
    return min(jobs, key=lambda job: job.seconds)


def _job(section: DpuSpec, request: Gemm, packing: Packing, cut: int, copies: int) -> GemvTime:
    """The product with k in so many parts on so many copies; outputs are dealt to the units of each."""
    k, n, wbits, abits, group = request.k, request.n, request.wbits, request.abits, request.group
    outputs, part = ceil(n / (section.units.whole // (cut * copies))), ceil(k / cut)
    rows = ceil(request.batch / copies)
    used, looks = copies * cut * ceil(n / outputs), rows * ceil(part / packing.products)
    weights = rows * dma_cycles(section, outputs * part * wbits / 8)
    computing = max(looks * outputs * packing.cycles, weights)  # other threads wait for the bank meanwhile
    # All threads need the slice, so that they wait for it together.
    brought = dma_cycles(section, packing.loaded) + looks * dma_cycles(section, packing.slice)
    blocks = max(cut, ceil(k / group) if group else 1)
    carried = used * rows * part * abits / 8 / section.inputs.si
    carried += n * request.batch * blocks * SUM_BYTES / section.results.si
    seconds = (section.launch.si + carried, brought / section.clock.si, computing / section.clock.si)
    return GemvTime(
        bytes=0.0,
        seconds=sum(seconds),
        throttled=lambda rate: sum(seconds),
        slices=1,  # the device is handed a product as a whole
        blocks=blocks,
        cycles=ceil(brought + computing),
        counts=(looks * outputs,),
        numbers=seconds,
    )


def weight_bytes(ops: Sequence[Op]) -> float:
    """Of all matrices that the units take."""
    return float(sum(op.matrices * op.weight_bytes for op in ops if op.kind == "gemv" and has_codes(op)))


def room(section: DpuSpec) -> float:
    """Bytes of the banks that tables leave to weights."""
    left = 1.0 if section.tables.value == "none" else 1 - section.table_room.value
    return float(left * section.units.value * section.bank.si)


class DpuUnits(ClosedFormUnits):
    """The processors of a machine."""

    phases = PHASES
    counts = COUNTS
    not_modelled = NOT_MODELLED

    def requests(self, point: Point, parts: StepParts) -> Callable[[Op], Gemm]:
        """Codes as whole numbers, on as many copies of the weights as the banks hold."""
        needed = weight_bytes([op for part in parts.parts for op in part.ops])
        copies = max(1, int(room(_section(self.system)) // max(needed, 1)))

        def request(op: Op) -> Gemm:
            bits, group = scalar_codes(op)
            return Gemm(op.k, op.n, op.batch, bits, point.abits, group, copies=copies)

        return request


class Dpu(Accelerator):
    """`[accelerator] backend = "dpu"`."""

    software = ("dpu-kernels",)
    priced = False

    def make_units(self, system: System, *choices: Any) -> DpuUnits:
        """The processors of the machine's device."""
        return DpuUnits(system, partial(product_job, _section(system)))

    def stored(self, system: System, model: ModelSpec, fmt: WeightFormat) -> StoredBytes:
        """The weights of all matrices that it takes, in what tables leave of the banks."""
        needed = weight_bytes(decode_step(model, fmt, 1, 1))
        return StoredBytes(needed, room(_section(system)), needed)


def _section(system: System) -> DpuSpec:
    assert isinstance(system.accelerator, DpuSpec)
    return system.accelerator


BACKEND = Dpu()
SPEC = DpuSpec
