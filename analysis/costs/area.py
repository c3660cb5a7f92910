"""Area of what SAIL adds to a server, and the readings of the paper's "2 %".

Per slice: C-SRAM arrays, the lanes of the DFM (adder, shifter, accumulators), its buffer of activations, the
PRT, the command queue, the line buffers, the unit's small cache, floating-point units where they convert, and
control. Cells of SRAM are divided by the
share of an array that is cells; logic is gates of a standard-cell library over the share of a placed block
that is cells. Bases: LLC, LLC with cores, die (the LLC's share is a slice's too, all slices being alike).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import ceil, log2
from typing import Annotated, ClassVar

from sailsim.analysis.costs.constants import ConstantSet, NotModelledError, charged
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import QuantityRule
from sailsim.lut_gemv.descriptor import WBITS_MAX
from sailsim.sim.machine.system import System


@dataclass(frozen=True)
class AreaConstants(ConstantSet):
    """What the areas rest on; `data/constants/area.toml` says why."""

    FILE: ClassVar[str] = "area"

    cell_um2: Annotated[float, QuantityRule("um2", least=0)]
    array_efficiency: Annotated[float, QuantityRule("ratio", above=0, most=1)]
    llc_cell_um2: Annotated[float, QuantityRule("um2", least=0)]
    llc_efficiency: Annotated[float, QuantityRule("ratio", above=0, most=1)]
    core_mm2: Annotated[float, QuantityRule("mm2", least=0)]
    die_mm2: Annotated[float, QuantityRule("mm2", least=0)]
    flip_flop_um2: Annotated[float, QuantityRule("um2", least=0)]
    full_adder_um2: Annotated[float, QuantityRule("um2", least=0)]
    lane_gates: Annotated[float, QuantityRule("ratio", least=0)]
    multiplexer_um2: Annotated[float, QuantityRule("um2", least=0)]
    comparator_um2: Annotated[float, QuantityRule("um2", least=0)]
    nand2_um2: Annotated[float, QuantityRule("um2", least=0)]
    utilisation: Annotated[float, QuantityRule("ratio", above=0, most=1)]
    accumulator_bit_um2: Annotated[float, QuantityRule("um2", least=0)]
    prt_data: Annotated[float, QuantityRule("ratio", least=0)]
    prt_bit_um2: Annotated[float, QuantityRule("um2", least=0)]
    fp_unit_um2: Annotated[float, QuantityRule("um2", least=0)]
    control_gates: Annotated[float, QuantityRule("gates", least=0)]


PARTS = (
    *("arrays", "lanes", "accumulators", "activations", "prt", "queue", "buffers", "cache", "converters"),
    "control",
)
"""Of a unit."""
COUNTED: Mapping[str, tuple[str, ...]] = {
    "C-SRAM arrays": ("arrays",),
    "arrays, adders and shifters": ("arrays", "lanes"),
    "all of the unit": PARTS,
    "all but the arrays (the LLC gives its own)": tuple(name for name in PARTS if name != "arrays"),
}
"""What may be meant by the hardware that is added, by the parts that it counts."""
BASES = ("LLC", "LLC and cores", "die")
"""What the added area may be a share of."""


@dataclass(frozen=True)
class Area:
    """Square millimetres of the whole server: what is added, and the bases."""

    parts: Mapping[str, float]
    """Of one slice's unit, by `PARTS`."""
    slices: int
    bases: Mapping[str, float]
    """What a share may be of, by `BASES`."""

    def added_mm2(self, counted: str = "all of the unit") -> float:
        """What the units of all slices take, of one of `COUNTED`."""
        return self.slices * sum(self.parts[name] for name in COUNTED[counted])

    def share(self, counted: str, base: str) -> float:
        """What the units of all slices add, of one of `COUNTED`, over one of `BASES`."""
        return self.added_mm2(counted) / self.bases[base]


def area(system: System, constants: AreaConstants | None = None, wbits: int = 4) -> Area:
    """Area of the units of a machine that has them, sized for weights of ``wbits`` bits.

    Raises NotModelledError for a substrate that does not declare its area, SailsimError for a machine
    without PIM units and for widths outside 1..8.
    """
    pim = system.require_pim()
    if not 1 <= wbits <= WBITS_MAX:
        raise SailsimError(f"wbits is {wbits}, allowed is 1..{WBITS_MAX}")
    c = AreaConstants.default() if constants is None else constants
    llc = 8 * system.llc.size * c.llc_cell_um2 / c.llc_efficiency * 1e-6
    cores = system.cores.count.whole * c.core_mm2
    bases = dict(zip(BASES, (llc, llc + cores, c.die_mm2), strict=True))

    def logic(um2: float) -> float:
        return um2 / c.utilisation * 1e-6

    def sram(bits: float) -> float:
        return bits * c.cell_um2 / c.array_efficiency * 1e-6

    width = pim.accumulator.whole
    entry = wbits + ceil(log2(pim.widest_nbw))
    lanes = pim.arrays.whole * (pim.cols.whole // entry)
    row_bits = pim.arrays.whole * pim.cols.whole
    entries = pim.prt_entries.whole
    dfms = pim.dfms.whole  # each with a search and control of its own, and entries of its own arrays' rows
    searched = pim.widest_nbw + 1  # the pattern and whether the entry is valid; flushed with the table
    queued = pim.queue.whole * 64 * 8
    lines = pim.mshrs.whole * (64 * 8 + 48)  # a line and its address
    substrate = pim.load_substrate()
    if substrate.area is None:
        raise NotModelledError(
            f"substrate {substrate.name} has no [area] table, allowed is one with it: area not modelled"
        )
    declared = substrate.area
    cells = row_bits * pim.rows.whole * charged(declared.cell, c)
    behind = substrate.accumulate == "behind"  # else the sums are rows of the arrays
    beside = sum(charged(circuit, c) for circuit in declared.beside.values())
    parts = {
        "arrays": cells / charged(declared.efficiency, c) * 1e-6,
        "lanes": logic(lanes * width * beside * c.lane_gates),
        "accumulators": 8 * pim.accumulator_buffer.si * c.accumulator_bit_um2 * 1e-6 if behind else 0.0,
        "activations": sram(dfms * 8 * pim.activation_buffer.si),
        "prt": logic(dfms * entries * searched * (c.flip_flop_um2 + c.comparator_um2))
        + entries * row_bits * c.prt_data * c.prt_bit_um2 * 1e-6,
        "queue": logic(queued * c.flip_flop_um2),
        "buffers": logic(lines * c.flip_flop_um2),
        "cache": sram(8 * 1024 * float(pim.unit_cache.value)),
        "converters": pim.convert_units.whole * c.fp_unit_um2 * 1e-6 if pim.convert.value == "unit" else 0.0,
        "control": logic(dfms * c.control_gates * c.nand2_um2),
    }
    return Area(parts, system.llc.slices.whole, bases)


@dataclass(frozen=True)
class OverheadBasis:
    """One reading of the overhead: what counts, over what, and how many arrays a slice would give ``target``.

    ``arrays`` is None where even no array exceeds the target.
    """

    counted: str
    base: str
    share: float
    arrays: float | None


def overhead_bases(system: System, wbits: int = 4, target: float = 0.02) -> Iterator[OverheadBasis]:
    """Every reading of the paper's overhead for a machine; raises as `area`."""
    pim = system.require_pim()

    def with_arrays(count: int) -> Area:
        arrays = pim.arrays.model_copy(update={"value": count})
        other = pim.model_copy(update={"arrays": arrays})
        return area(system.model_copy(update={"pim": other}), wbits=wbits)

    whole, none, one = area(system, wbits=wbits), with_arrays(0), with_arrays(1)
    for counted, base in product(COUNTED, BASES):
        least = none.added_mm2(counted)
        room = target * whole.bases[base] - least
        arrays = None if room < 0 else room / (one.added_mm2(counted) - least)
        yield OverheadBasis(counted, base, whole.share(counted, base), arrays)
