"""A cache that multiplies and accumulates on its bit lines, a bit a cycle: Neural Cache, without tables.

Weights lie transposed, one above the other, on a bit line, which multiplies them in turn by its inputs and
adds up the products. Some neighbouring bit lines share a sum and add theirs up at its end, in a tree. All
arrays work in lockstep. Cycles are the paper's formulas and figures (Eckert et al., ISCA 2018); how a
matrix of a language model lies on the bit lines is derived from its rules for filters: docs/systems.md.
"""

from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Annotated, Any, Literal, NamedTuple

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Quantity, QuantityRule
from sailsim.sim.machine.catalog import Bandwidth, BytesPerCycle, Clock, Cycles
from sailsim.sim.machine.dram import MemorySystem
from sailsim.sim.machine.system import AcceleratorSpec, System, server_memory
from sailsim.sim.point import Point
from sailsim.sim.step.engine import Accelerator
from sailsim.sim.step.jobs import ClosedFormUnits, Gemm, GemvTime
from sailsim.sim.step.parts import StepParts, scalar_codes
from sailsim.workloads.models.graph import Op

PHASES = ("load", "inputs", "multiply", "reduce", "write_back")
COUNTS = ("loads", "rounds", "multiplications", "reductions")

NOT_MODELLED = (
    "not modelled: what the cores lose while their last-level cache computes, switching between the two, the "
    "ring that takes activations to all slices, and the sums of activations that formats with a minimum need"
)


class BitSerialCacheSpec(AcceleratorSpec):
    """The arrays of one slice of the last-level cache, and what they need for an operation."""

    backend: Literal["bit_serial_cache"]
    arrays: Annotated[Quantity, QuantityRule("arrays", least=1, whole=True)]
    """Of a slice, that compute; the others hold what goes in and comes out."""
    rows: Annotated[Quantity, QuantityRule("rows", least=8, whole=True)]
    cols: Annotated[Quantity, QuantityRule("columns", least=1, whole=True)]
    """Bit lines of an array."""
    clock: Clock
    """While computing; the bus of a slice has the same."""
    fill: Bandwidth
    """What weights come from DRAM by at most: that of who reads them, a core or all."""
    bus: BytesPerCycle
    """What a slice's arrays are written and read by, all together; inputs reach all of them at once."""
    bank: Annotated[Quantity, QuantityRule("arrays", least=1, whole=True)]
    """That share a port; all banks of a slice are written at once, by what the bus brings for them."""
    port: BytesPerCycle
    """Of a bank: a bit line is a bit of a row, and rows are written and read in words of this width."""
    weight_rows: Annotated[Quantity, QuantityRule("rows", least=8, whole=True)]
    """Of an array, that weights may take."""
    accumulator: Annotated[Quantity, QuantityRule("bits", least=8, most=128, whole=True)]
    span: Annotated[Quantity, QuantityRule("columns", least=1, whole=True)]
    """Bit lines that can share a sum."""
    multiply_bit: Cycles
    """Of a bit of the narrower operand, beside one for each bit of the wider."""
    multiply_saved: Cycles
    """What the first and the last bit of a multiplication save together."""
    accumulate: Cycles
    """Adding a product to the sum of its bit line."""
    reduce: Cycles
    """A level of the tree: half of the sums move beside the others and are added."""


class BitLineMapping(NamedTuple):
    """How a product lies on the bit lines of all slices, which work in lockstep."""

    lanes: int
    """Bit lines of a sum."""
    length: int
    """Weights of a sum."""
    steps: int
    """Of them on a bit line, one after the other."""
    blocks: int
    """Sums of an output: one a scale, more where the weights of a scale do not fit at once."""
    loads: int
    """Times that the arrays are filled with weights."""
    rounds: int
    """Times that all bit lines work through their weights; rows of a batch lie side by side if they fit."""
    inputs: int
    """Inputs that the slice's bus brings for a round."""
    sums: int
    """Sums that a slice gives in a round."""
    slices: int
    """With a part of the product."""


def multiply_cycles(section: BitSerialCacheSpec, wbits: int, abits: int) -> int:
    """Of a product of two whole numbers: for n bits each n^2 + 5n - 2, as published.

    For two widths the same steps, one for each bit of the narrower number.
    """
    narrow, wide = sorted((wbits, abits))
    cycles = narrow * (wide + section.multiply_bit.whole) - section.multiply_saved.whole
    return max(1, cycles)


def cache_job(section: BitSerialCacheSpec, slices: int, request: Gemm) -> GemvTime:
    """One product on the arrays: the fastest of the mappings with the fewest sums, which the cores add up.

    Weights come before the arrays compute, so that the slower of DRAM and arrays adds to the rest.
    """
    _check(section, request)
    mapping, phases = best_mapping(section, slices, request)
    clock = section.clock.si
    load, *computing = seconds = tuple(cycles / clock for cycles in phases)
    levels = mapping.lanes.bit_length() - 1
    return GemvTime(
        bytes=request.stored,
        seconds=sum(phases) / clock,
        throttled=lambda rate: max(load, request.stored / rate) + sum(computing),
        slices=mapping.slices,
        blocks=mapping.blocks,
        cycles=sum(phases),
        counts=(mapping.loads, mapping.rounds, mapping.rounds * mapping.steps, mapping.rounds * levels),
        numbers=seconds,
    )


def best_mapping(
    section: BitSerialCacheSpec, slices: int, request: Gemm
) -> tuple[BitLineMapping, tuple[int, ...]]:
    """The mapping of a product and its cycles by `PHASES`. Raises SailsimError where no sum has room."""
    mappings = _mappings(section, slices, request)
    if not mappings:
        raise SailsimError(
            f"accelerator.accumulator is {section.accumulator}; allowed for {request.wbits} times "
            f"{request.abits} bits is more."
        )
    return min(
        ((m, _cycles(section, slices, request, m)) for m in mappings),
        key=lambda each: (each[0].blocks, sum(each[1])),
    )


def _check(section: BitSerialCacheSpec, request: Gemm) -> None:
    """Raise SailsimError where widths do not fit an array's rows."""
    wbits, abits, sums = request.wbits, request.abits, section.accumulator.whole
    # Beside the weights a bit line holds an input, their product and the sum.
    needed = section.weight_rows.whole + abits + (wbits + abits) + sums
    if needed > section.rows.whole or wbits > section.weight_rows.whole:
        raise SailsimError(
            f"accelerator.rows is {section.rows}, but weights of {wbits} bits beside inputs of {abits} take "
            f"{needed} with their products and sums; allowed are narrower ones, or more rows."
        )


def _mappings(section: BitSerialCacheSpec, slices: int, request: Gemm) -> list[BitLineMapping]:
    """Every number of bit lines that a sum may take, a power of two each, as the tree needs it.

    A sum may not have more bits than its rows.
    """
    mappings, lanes = [], 1
    bits = section.accumulator.whole - request.wbits - request.abits
    while lanes <= min(section.span.whole, section.arrays.whole * section.cols.whole):
        mapping = _mapping(section, slices, request, lanes)
        if bits >= 0 and mapping.length <= 1 << bits:
            mappings.append(mapping)
        lanes *= 2
    return mappings


def _mapping(section: BitSerialCacheSpec, slices: int, request: Gemm, lanes: int) -> BitLineMapping:
    """The product with `lanes` bit lines a sum."""
    held = section.weight_rows.whole // request.wbits * lanes
    group = min(request.group or request.k, request.k)
    parts = ceil(group / held)
    length = ceil(group / parts)
    blocks = ceil(request.k / group) * parts
    cols, arrays = section.cols.whole, section.arrays.whole
    slice_sums = cols // lanes * arrays if lanes <= cols else arrays // ceil(lanes / cols)
    all_sums = request.n * blocks
    loads = ceil(all_sums / (slices * slice_sums))
    # Where all weights lie in the arrays at once they may lie there several times, for rows of the batch.
    copies = min(request.batch, slices * slice_sums // all_sums) if loads == 1 else 1
    busy = min(slice_sums, ceil(all_sums * copies / slices))
    return BitLineMapping(
        lanes=lanes,
        length=length,
        steps=ceil(length / lanes),
        blocks=blocks,
        loads=loads,
        rounds=loads * ceil(request.batch / copies),
        inputs=ceil(busy / request.n) * length,
        sums=busy,
        slices=min(slices, ceil(all_sums * copies / busy)),
    )


def _cycles(
    section: BitSerialCacheSpec, slices: int, request: Gemm, mapping: BitLineMapping
) -> tuple[int, ...]:
    """By `PHASES`.

    What moves takes the longer of two ways: over the slice's bus, each bit once, and through the ports of the
    banks, each row of each array that takes part.
    """
    bus, bits = 8 * section.bus.value, section.accumulator.whole
    row = _row_cycles(section, mapping)
    # Copies of the weights in one slice are written together.
    share = min(1.0, mapping.sums / (request.n * mapping.blocks)) if mapping.loads == 1 else 1 / slices
    weights = request.k * request.n * request.wbits * share
    load = max(ceil(weights / bus), mapping.loads * mapping.steps * request.wbits * row)
    inputs = max(ceil(mapping.inputs * request.abits / bus), mapping.steps * request.abits * row)
    multiply = multiply_cycles(section, request.wbits, request.abits) + section.accumulate.whole
    levels = mapping.lanes.bit_length() - 1
    written = max(ceil(mapping.sums * bits / bus), bits * row)
    each = (inputs, mapping.steps * multiply, levels * section.reduce.whole, written)
    return (load, *(mapping.rounds * cycles for cycles in each))


def _row_cycles(section: BitSerialCacheSpec, mapping: BitLineMapping) -> int:
    """To write or read a row of all arrays that a slice works with, spread over its banks."""
    cols, arrays, bank = section.cols.whole, section.arrays.whole, section.bank.whole
    lines = mapping.sums * mapping.lanes
    busy = ceil(lines / cols) if mapping.lanes <= cols else mapping.sums * ceil(mapping.lanes / cols)
    width = min(cols, lines)
    return ceil(busy / ceil(arrays / bank)) * ceil(width / 8 / section.port.value)


class CacheUnits(ClosedFormUnits):
    """The arrays of all slices of a machine."""

    phases = PHASES
    counts = COUNTS
    not_modelled = NOT_MODELLED

    def requests(self, point: Point, parts: StepParts) -> Callable[[Op], Gemm]:
        """Codes as whole numbers: a codebook's values, which lie on the bit lines."""

        def request(op: Op) -> Gemm:
            bits, group = scalar_codes(op)
            return Gemm(op.k, op.n, op.batch, bits, point.abits, group, op.weight_bytes)

        return request

    def memory(self, threads: int) -> MemorySystem:
        """Weights come from the server's DRAM, as fast as they are read and the slices' buses take them."""
        section = _section(self.system)
        limit = min(section.fill.si, self.system.llc.slices.value * section.bus.value * section.clock.si)
        return server_memory(self.system, threads, stream_limit=limit)


class BitSerialCache(Accelerator):
    """`[accelerator] backend = "bit_serial_cache"`."""

    software = ("bit-serial-macs",)

    def make_units(self, system: System, *choices: Any) -> CacheUnits:
        """The arrays of the machine's slices."""
        return CacheUnits(system, partial(cache_job, _section(system), system.llc.slices.whole))

    def llc_share(self, machine: System) -> float:
        """The arrays that compute."""
        section = _section(machine)
        cells = section.arrays.whole * section.rows.whole * section.cols.whole
        return min(1.0, cells / 8 / machine.llc.slice_size.si)


def _section(system: System) -> BitSerialCacheSpec:
    assert isinstance(system.accelerator, BitSerialCacheSpec)
    return system.accelerator


BACKEND = BitSerialCache()
SPEC = BitSerialCacheSpec
