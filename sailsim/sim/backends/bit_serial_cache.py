"""Bit-serial multiply-accumulate in a cache, a bit a cycle on its bit lines: Neural Cache.

Weights lie transposed, one above the other, on a bit line, which multiplies them in turn by its inputs and
adds up the products. Neighbouring bit lines of a sum add up theirs at its end, in a tree. All arrays work in
lockstep. Cycles are the paper's formulas and figures (Eckert et al., ISCA 2018). The mapping of a language
model's matrices to bit lines is derived from its rules for filters: docs/systems.md.
"""

from functools import partial
from math import ceil
from typing import Annotated, Any, Literal, NamedTuple

from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Quantity, QuantityRule
from sailsim.sim.machine.catalog import Bandwidth, BytesPerCycle, Clock, Cycles
from sailsim.sim.machine.system import AcceleratorSpec, System
from sailsim.sim.point import Point
from sailsim.sim.step.engine import Accelerator
from sailsim.sim.step.gemv_times import ClosedFormUnits, Gemm, GemvTime
from sailsim.sim.step.parts import StepParts, scalar_codes
from sailsim.workloads.models.graph import Op

PHASES = ("load", "inputs", "multiply", "reduce", "write_back")
COUNTS = ("loads", "rounds", "multiplications", "reductions")

NOT_MODELLED = (
    "not modelled: what the cores lose while their last-level cache computes, switching between the two, the "
    "ring that takes activations to all slices, and the sums of activations that formats with a minimum need"
)


class BitSerialCacheSpec(AcceleratorSpec):
    """Arrays in each slice of the last-level cache, and their cycles of an operation."""

    backend: Literal["bit_serial_cache"]
    arrays: Annotated[Quantity, QuantityRule("arrays", least=1, whole=True)]
    """Arrays of a slice that compute; the others buffer inputs and results."""
    rows: Annotated[Quantity, QuantityRule("rows", least=8, whole=True)]
    cols: Annotated[Quantity, QuantityRule("columns", least=1, whole=True)]
    """Bit lines of an array."""
    clock: Clock
    """Clock of computing arrays and of a slice's bus."""
    fill: Bandwidth
    """Most bandwidth of weights from DRAM: that of their readers, one core or all."""
    bus: BytesPerCycle
    """Width of the bus to all arrays of a slice; inputs reach all of them at once."""
    bank: Annotated[Quantity, QuantityRule("arrays", least=1, whole=True)]
    """Arrays that share a port; all banks of a slice are written at once with their data from the bus."""
    port: BytesPerCycle
    """Width of a bank's port; a row has a bit for each bit line and passes in words of this width."""
    weight_rows: Annotated[Quantity, QuantityRule("rows", least=8, whole=True)]
    """Rows of an array that weights may take."""
    accumulator: Annotated[Quantity, QuantityRule("bits", least=8, most=128, whole=True)]
    span: Annotated[Quantity, QuantityRule("columns", least=1, whole=True)]
    """Bit lines that can share a sum."""
    multiply_bit: Cycles
    """Cycles for each bit of the narrower operand, besides one for each bit of the wider."""
    multiply_saved: Cycles
    """Cycles that the first and the last bit of a multiplication save together."""
    accumulate: Cycles
    """Cycles to add a product to the sum of its bit line."""
    reduce: Cycles
    """Cycles of a level of the tree: half of the sums move next to the others and are added."""


class BitLineMapping(NamedTuple):
    """Mapping of a product to the bit lines of all slices, which work in lockstep."""

    lanes: int
    """Bit lines of a sum."""
    length: int
    """Weights of a sum."""
    steps: int
    """Weights of a sum on one bit line, multiplied one after the other."""
    blocks: int
    """Sums of an output: one a scale, more where the weights of a scale do not fit at once."""
    loads: int
    """Times that the arrays are filled with weights."""
    rounds: int
    """Passes of all bit lines over their weights; rows of a batch lie side by side if they fit."""
    inputs: int
    """Inputs that the slice's bus brings for a round."""
    sums: int
    """Sums that a slice computes in a round."""
    slices: int
    """Slices with a part of the product."""


def multiply_cycles(spec: BitSerialCacheSpec, wbits: int, abits: int) -> int:
    """Cycles of a product of two whole numbers: n^2 + 5n - 2 for n bits each, as published.

    Two widths take the same steps, one for each bit of the narrower number.
    """
    narrow, wide = sorted((wbits, abits))
    cycles = narrow * (wide + spec.multiply_bit.whole) - spec.multiply_saved.whole
    return max(1, cycles)


def cache_time(spec: BitSerialCacheSpec, slices: int, gemm: Gemm) -> GemvTime:
    """Time of a product on the arrays: the fastest mapping with the fewest sums, which the cores add up.

    Weights come before the arrays compute: the slower of DRAM and of filling the arrays adds to the rest.
    Raises SailsimError where the operands' widths do not fit an array's rows.
    """
    wbits, abits = gemm.wbits, gemm.abits
    # A bit line holds the weights, an input, their product and the sum.
    needed = spec.weight_rows.whole + abits + (wbits + abits) + spec.accumulator.whole
    if needed > spec.rows.whole or wbits > spec.weight_rows.whole:
        raise SailsimError(
            f"accelerator.rows is {spec.rows}, but weights of {wbits} bits with inputs of {abits} take "
            f"{needed} with their products and sums; allowed are narrower ones, or more rows."
        )
    mapping, phases = best_mapping(spec, slices, gemm)
    clock = spec.clock.si
    load, *computing = seconds = tuple(cycles / clock for cycles in phases)
    levels = mapping.lanes.bit_length() - 1
    return GemvTime(
        bytes=gemm.stored,
        seconds=sum(phases) / clock,
        throttled=lambda rate: max(load, gemm.stored / rate) + sum(computing),
        slices=mapping.slices,
        blocks=mapping.blocks,
        cycles=sum(phases),
        counts=(mapping.loads, mapping.rounds, mapping.rounds * mapping.steps, mapping.rounds * levels),
        numbers=seconds,
    )


def best_mapping(spec: BitSerialCacheSpec, slices: int, gemm: Gemm) -> tuple[BitLineMapping, tuple[int, ...]]:
    """Mapping of a product and its cycles by `PHASES`. Raises SailsimError where no sum fits its rows.

    Each number of bit lines a sum is tried, in powers of two for the tree.
    """
    bits = spec.accumulator.whole - gemm.wbits - gemm.abits
    levels = min(spec.span.whole, spec.arrays.whole * spec.cols.whole).bit_length()
    every = (_mapping(spec, slices, gemm, 1 << level) for level in range(levels))
    mappings = [each for each in every if bits >= 0 and each.length <= 1 << bits]
    if not mappings:
        raise SailsimError(
            f"accelerator.accumulator is {spec.accumulator}; allowed for {gemm.wbits} times "
            f"{gemm.abits} bits is more."
        )
    costs = ((mapping, _cycles(spec, slices, gemm, mapping)) for mapping in mappings)
    return min(costs, key=lambda each: (each[0].blocks, sum(each[1])))


def _mapping(spec: BitSerialCacheSpec, slices: int, gemm: Gemm, lanes: int) -> BitLineMapping:
    """Mapping of the product with `lanes` bit lines a sum."""
    fitting = spec.weight_rows.whole // gemm.wbits * lanes
    group = min(gemm.group or gemm.k, gemm.k)
    parts = ceil(group / fitting)
    length = ceil(group / parts)
    blocks = ceil(gemm.k / group) * parts
    cols, arrays = spec.cols.whole, spec.arrays.whole
    slice_sums = cols // lanes * arrays if lanes <= cols else arrays // ceil(lanes / cols)
    all_sums = gemm.n * blocks
    loads = ceil(all_sums / (slices * slice_sums))
    # Where all weights lie in the arrays at once they may lie there several times, for rows of the batch.
    copies = min(gemm.batch, slices * slice_sums // all_sums) if loads == 1 else 1
    busy = min(slice_sums, ceil(all_sums * copies / slices))
    return BitLineMapping(
        lanes=lanes,
        length=length,
        steps=ceil(length / lanes),
        blocks=blocks,
        loads=loads,
        rounds=loads * ceil(gemm.batch / copies),
        inputs=ceil(busy / gemm.n) * length,
        sums=busy,
        slices=min(slices, ceil(all_sums * copies / busy)),
    )


def _cycles(spec: BitSerialCacheSpec, slices: int, gemm: Gemm, mapping: BitLineMapping) -> tuple[int, ...]:
    """Cycles by `PHASES`.

    A transfer takes the longer of two times: over the slice's bus, each bit once, and through the ports of
    the banks, each row of each array that takes part.
    """
    bus, bits = 8 * spec.bus.value, spec.accumulator.whole
    row = _row_cycles(spec, mapping)
    # Copies of the weights in one slice are written together.
    share = min(1.0, mapping.sums / (gemm.n * mapping.blocks)) if mapping.loads == 1 else 1 / slices
    weights = gemm.k * gemm.n * gemm.wbits * share
    load = max(ceil(weights / bus), mapping.loads * mapping.steps * gemm.wbits * row)
    inputs = max(ceil(mapping.inputs * gemm.abits / bus), mapping.steps * gemm.abits * row)
    multiply = multiply_cycles(spec, gemm.wbits, gemm.abits) + spec.accumulate.whole
    levels = mapping.lanes.bit_length() - 1
    written = max(ceil(mapping.sums * bits / bus), bits * row)
    each = (inputs, mapping.steps * multiply, levels * spec.reduce.whole, written)
    return (load, *(mapping.rounds * cycles for cycles in each))


def _row_cycles(spec: BitSerialCacheSpec, mapping: BitLineMapping) -> int:
    """Cycles to write or read a row of all arrays in use in a slice, which are spread over its banks."""
    cols, arrays, bank = spec.cols.whole, spec.arrays.whole, spec.bank.whole
    lines = mapping.sums * mapping.lanes
    busy = ceil(lines / cols) if mapping.lanes <= cols else mapping.sums * ceil(mapping.lanes / cols)
    width = min(cols, lines)
    return ceil(busy / ceil(arrays / bank)) * ceil(width / 8 / spec.port.value)


def _gemm(point: Point, parts: StepParts, op: Op) -> Gemm:
    """Product with weights as whole numbers: codes, or a codebook's values."""
    bits, group = scalar_codes(op)
    return Gemm(op.k, op.n, op.batch, bits, point.abits, group, op.weight_bytes)


class BitSerialCache(Accelerator):
    """Backend of `[accelerator] backend = "bit_serial_cache"`."""

    software = ("bit-serial-macs",)

    def make_units(self, system: System, *choices: Any) -> ClosedFormUnits:
        """The arrays of all slices; weights come from DRAM as fast as readers and buses allow."""
        spec, slices = _spec(system), system.llc.slices
        times, most = partial(cache_time, spec, slices.whole), slices.value * spec.bus.value * spec.clock.si
        limit = min(spec.fill.si, most)
        return ClosedFormUnits(system, (PHASES, COUNTS), times, _gemm, [NOT_MODELLED], stream_limit=limit)

    def llc_share(self, machine: System) -> float:
        """Share of the computing arrays in the cache."""
        spec = _spec(machine)
        cells = spec.arrays.whole * spec.rows.whole * spec.cols.whole
        return min(1.0, cells / 8 / machine.llc.slice_size.si)


def _spec(system: System) -> BitSerialCacheSpec:
    assert isinstance(system.accelerator, BitSerialCacheSpec)
    return system.accelerator


BACKEND = BitSerialCache()
SPEC = BitSerialCacheSpec
