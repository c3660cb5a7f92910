"""Area that SAIL adds to a server, and the readings of the paper's "2 %".

Each slice gets C-SRAM arrays, the lanes of the DFM (adder, shifter, accumulators), its buffer of activations,
the PRT, the command queue, the line buffers, the unit's small cache, floating-point units where they convert,
and control. Area of SRAM is that of its cells over the share of an array that is cells. Area of logic is that
of its standard cells over the utilisation of a placed block. Bases are the LLC, the LLC with the cores, and
the die. All slices are alike, so the share of the LLC is also that of a slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import ceil, log2
from typing import Annotated, ClassVar

from sailsim.analysis.costs.constants import ConstantSet, NotModelledError, charge_value
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import QuantityRule
from sailsim.lut_gemv.descriptor import WBITS_MAX
from sailsim.sim.machine.system import System


@dataclass(frozen=True)
class AreaConstants(ConstantSet):
    """Areas of cells and blocks; sources are in `data/constants/area.toml`."""

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
"""Parts of a slice's unit."""
COUNTED: Mapping[str, tuple[str, ...]] = {
    "C-SRAM arrays": ("arrays",),
    "arrays, adders and shifters": ("arrays", "lanes"),
    "all of the unit": PARTS,
    "all but the arrays (the LLC gives its own)": tuple(name for name in PARTS if name != "arrays"),
}
"""Readings of "added hardware", each with the parts that it counts."""
BASES = ("LLC", "LLC and cores", "die")
"""Areas that the added area may be divided by."""


@dataclass(frozen=True)
class Area:
    """Added area and bases of a whole server, in mm2."""

    parts: Mapping[str, float]
    """Area of one slice's unit by `PARTS`, mm2."""
    slices: int
    bases: Mapping[str, float]
    """Areas by `BASES`, mm2."""

    def added_mm2(self, counted: str = "all of the unit") -> float:
        """Area of the units of all slices, by one of `COUNTED`."""
        return self.slices * sum(self.parts[name] for name in COUNTED[counted])

    def share(self, counted: str, base: str) -> float:
        """Area of the units of all slices by one of `COUNTED`, over one of `BASES`."""
        return self.added_mm2(counted) / self.bases[base]


def area(system: System, constants: AreaConstants | None = None, wbits: int = 4) -> Area:
    """Area of a server's PIM units, sized for weights of ``wbits`` bits.

    Raises NotModelledError for a substrate that does not declare its area, SailsimError for a server without
    PIM units and for widths outside 1..8.
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
    cells = row_bits * pim.rows.whole * charge_value(declared.cell, c)
    behind = substrate.accumulate == "behind"  # else the sums are rows of the arrays
    lane_um2 = sum(charge_value(circuit, c) for circuit in declared.beside.values())
    parts = {
        "arrays": cells / charge_value(declared.efficiency, c) * 1e-6,
        "lanes": logic(lanes * width * lane_um2 * c.lane_gates),
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


def area_overheads(
    system: System, wbits: int = 4, target: float = 0.02
) -> dict[tuple[str, str], tuple[float, float | None]]:
    """Every reading of the paper's area overhead for a server, by a key of `COUNTED` and one of `BASES`.

    A reading is the share of added area, and the arrays with which a slice would have the ``target`` share:
    None where the unit exceeds it without any. Raises as `area`.
    """
    pim = system.require_pim()

    def with_arrays(count: int) -> Area:
        arrays = pim.arrays.model_copy(update={"value": count})
        other = pim.model_copy(update={"arrays": arrays})
        return area(system.model_copy(update={"pim": other}), wbits=wbits)

    whole, none, one = area(system, wbits=wbits), with_arrays(0), with_arrays(1)
    overheads: dict[tuple[str, str], tuple[float, float | None]] = {}
    for counted, base in product(COUNTED, BASES):
        least = none.added_mm2(counted)
        spare = target * whole.bases[base] - least
        arrays = None if spare < 0 else spare / (one.added_mm2(counted) - least)
        overheads[counted, base] = whole.share(counted, base), arrays
    return overheads
