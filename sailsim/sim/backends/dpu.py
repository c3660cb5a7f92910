"""DRAM with a processor (DPU) in every bank: products by multiplying, or by look-up of packed products.

Each processor has a tile of the weights in its bank and works in its scratchpad. With tables, p weights and p
activations select one sum of p products. A table may stay in the scratchpad as a whole. Otherwise it lies in
the bank, and the slice of p activations is fetched for all outputs of a tile. Sorted activations need fewer
slices (`tables` "sorted"); a second table then puts the weights into their order: docs/systems.md.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from math import ceil, comb, factorial
from typing import Annotated, Any, Literal, NamedTuple

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Choice, ChoiceRule, Quantity, QuantityRule
from sailsim.sim.backend import MemoryNeed
from sailsim.sim.machine.catalog import Bandwidth
from sailsim.sim.machine.system import AcceleratorSpec, System
from sailsim.sim.point import Point
from sailsim.sim.step.engine import Accelerator
from sailsim.sim.step.gemv_times import ClosedFormUnits, Gemm, GemvTime
from sailsim.sim.step.parts import StepParts, has_codes, scalar_codes
from sailsim.workloads.models.formats import WeightFormat
from sailsim.workloads.models.graph import Op, decode_step
from sailsim.workloads.models.model import ModelSpec

Cycles = Annotated[Quantity, QuantityRule("cycles", least=0)]
Share = Annotated[Quantity, QuantityRule("ratio", above=0, most=1)]

PHASES = ("link", "slices", "multiply")
COUNTS = ("sums",)

SUM_BYTES = 4
"""Bytes of a sum on the way to the server: the registers have 32 bits."""
NOT_MODELLED = (
    "not modelled: writing weights and tables into the accelerator's memory, and sorting activations"
)


class DpuSpec(AcceleratorSpec):
    """Processors, their two memories, and the link to the server."""

    backend: Literal["dpu"]
    units: Annotated[Quantity, QuantityRule("units", least=1, whole=True)]
    """Processors, a bank each."""
    clock: Annotated[Quantity, QuantityRule("GHz", above=0)]
    scratchpad: Annotated[Quantity, QuantityRule("B", least=1, whole=True)]
    bank: Annotated[Quantity, QuantityRule("MiB", above=0)]
    table_room: Share
    """Share of the scratchpad, and of the bank, that tables may take."""
    dma: Annotated[Quantity, QuantityRule("B/cycle", above=0)]
    """Transfer rate from the bank to the scratchpad."""
    dma_start: Cycles
    """Cycles of a transfer before its first byte."""
    dma_most: Annotated[Quantity, QuantityRule("B", least=1, whole=True)]
    """Most bytes of a transfer."""
    multiply: Cycles
    """Cycles of a multiplication and its addition, with enough threads for one instruction a cycle."""
    lookup: Cycles
    """Cycles of a look-up and its addition."""
    reorder: Cycles
    """Cycles of the look-up that puts weights into the order of sorted activations."""
    tables: Annotated[Choice, ChoiceRule("none", "plain", "sorted")]
    inputs: Bandwidth
    """Bandwidth from the server to all processors together."""
    results: Bandwidth
    """Bandwidth from all processors to the server."""
    launch: Annotated[Quantity, QuantityRule("us", least=0)]
    """Time to start a product on all processors and to wait for its end."""


class Packing(NamedTuple):
    """Products of weights and activations that one access computes."""

    products: int
    cycles: float
    loaded: int
    """Bytes of tables fetched once for a matrix product."""
    slice: int
    """Bytes of tables fetched for every p activations; 0: the whole table stays."""


def packings(spec: DpuSpec, wbits: int, abits: int) -> Iterator[Packing]:
    """Multiplication, or every table that fits. Raises SailsimError where none fits."""
    if spec.tables.value == "none":
        yield Packing(1, spec.multiply.value, 0, 0)
        return
    near = spec.table_room.value * spec.scratchpad.value
    far = spec.table_room.value * spec.bank.si
    p = 1
    while fitting := [*_tables(spec, p, wbits, abits, near, far)]:
        yield from fitting
        p += 1
    if p == 1:
        raise SailsimError(
            f"accelerator.scratchpad is {spec.scratchpad}; allowed for tables of {wbits} times {abits} "
            "bits is more."
        )


def _tables(spec: DpuSpec, p: int, wbits: int, abits: int, near: float, far: float) -> Iterator[Packing]:
    """Tables of p products that fit ``near`` bytes in the scratchpad or ``far`` bytes in the bank."""
    weights, cycles = 1 << wbits * p, spec.lookup.value
    entry, place = ceil((wbits + abits + (p - 1).bit_length()) / 8), ceil(wbits * p / 8)
    if (plain := (weights << abits * p) * entry) <= near:
        yield Packing(p, cycles, plain, 0)
    if spec.tables.value == "sorted" and p > 1:
        slices = comb((1 << abits) + p - 1, p)  # of sorted activations
        whole, cycles = weights * (slices * entry + factorial(p) * place), cycles + spec.reorder.value
        if whole <= near:
            yield Packing(p, cycles, whole, 0)
        elif whole <= far and (piece := weights * (entry + place)) <= near:
            yield Packing(p, cycles, 0, piece)


def dma_cycles(spec: DpuSpec, size: float) -> float:
    """Cycles to fetch ``size`` bytes from the bank, in as few transfers as possible."""
    return ceil(size / spec.dma_most.value) * spec.dma_start.value + size / spec.dma.value


def dpu_time(spec: DpuSpec, gemm: Gemm) -> GemvTime:
    """Time of a product: the fastest of all packings and splits of k and of the batch over the units.

    Raises SailsimError where no table fits.
    """
    units, most = spec.units.whole, min(gemm.copies, gemm.batch)
    times = [
        _split_time(spec, gemm, packing, 1 << cut, 1 << copies)
        for packing in packings(spec, gemm.wbits, gemm.abits)
        for copies in range(min(most, units).bit_length())
        for cut in range(min(gemm.k, units >> copies).bit_length())
    ]
    return min(times, key=lambda time: time.seconds)


def _split_time(spec: DpuSpec, gemm: Gemm, packing: Packing, cut: int, copies: int) -> GemvTime:
    """Time with k cut into parts on copies of the weights; outputs are divided among the units of each."""
    k, n, wbits, abits, group = gemm.k, gemm.n, gemm.wbits, gemm.abits, gemm.group
    outputs, part = ceil(n / (spec.units.whole // (cut * copies))), ceil(k / cut)
    rows = ceil(gemm.batch / copies)
    used, accesses = copies * cut * ceil(n / outputs), rows * ceil(part / packing.products)
    weights = rows * dma_cycles(spec, outputs * part * wbits / 8)
    computing = max(accesses * outputs * packing.cycles, weights)  # other threads wait for the bank meanwhile
    # All threads need the slice, so that they wait for it together.
    fetching = dma_cycles(spec, packing.loaded) + accesses * dma_cycles(spec, packing.slice)
    blocks = max(cut, ceil(k / group) if group else 1)
    link = used * rows * part * abits / 8 / spec.inputs.si
    link += n * gemm.batch * blocks * SUM_BYTES / spec.results.si
    seconds = (spec.launch.si + link, fetching / spec.clock.si, computing / spec.clock.si)
    return GemvTime(
        bytes=0.0,
        seconds=sum(seconds),
        throttled=lambda rate: sum(seconds),
        slices=1,  # the device takes a product as a whole
        blocks=blocks,
        cycles=ceil(fetching + computing),
        counts=(accesses * outputs,),
        numbers=seconds,
    )


def weight_bytes(ops: Sequence[Op]) -> float:
    """Bytes of all matrices that the units multiply."""
    return float(sum(op.matrices * op.weight_bytes for op in ops if op.kind == "gemv" and has_codes(op)))


def weight_capacity(spec: DpuSpec) -> float:
    """Bytes of the banks that tables leave to weights."""
    left = 1.0 if spec.tables.value == "none" else 1 - spec.table_room.value
    return float(left * spec.units.value * spec.bank.si)


def _gemm(spec: DpuSpec, point: Point, parts: StepParts, op: Op) -> Gemm:
    """Product with codes as whole numbers, on as many copies of the weights as fit the banks."""
    needed = weight_bytes([op for _, ops in parts.parts for op in ops])
    copies = max(1, int(weight_capacity(spec) // max(needed, 1)))
    bits, group = scalar_codes(op)
    return Gemm(op.k, op.n, op.batch, bits, point.abits, group, copies=copies)


class Dpu(Accelerator):
    """Backend of `[accelerator] backend = "dpu"`."""

    software = ("dpu-kernels",)
    priced = False

    def make_units(self, system: System, *choices: Any) -> ClosedFormUnits:
        """The processors of the machine's device."""
        spec = _spec(system)
        times, gemms = partial(dpu_time, spec), partial(_gemm, spec)
        return ClosedFormUnits(system, (PHASES, COUNTS), times, gemms, [NOT_MODELLED])

    def stored(self, system: System, model: ModelSpec, fmt: WeightFormat) -> MemoryNeed:
        """Bytes of the weights that it multiplies, in the part of the banks without tables."""
        needed = weight_bytes(decode_step(model, fmt, 1, 1))
        where = f"the accelerator of system {system.name}"
        return MemoryNeed(needed, weight_capacity(_spec(system)), where, needed)


def _spec(system: System) -> DpuSpec:
    assert isinstance(system.accelerator, DpuSpec)
    return system.accelerator


BACKEND = Dpu()
SPEC = DpuSpec
