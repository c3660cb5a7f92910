"""Area of what SAIL adds to a server, and the readings of the paper's "2 %".

Per slice: C-SRAM arrays, the lanes of the DFM (adder, shifter, accumulators), its buffer of activations, the
PRT, the command queue, the line buffers, the unit's small cache, floating-point units where they convert, and
control. Cells of SRAM are divided by the
share of an array that is cells; logic is gates of a standard-cell library over the share of a placed block
that is cells. Bases: LLC, LLC with cores, die (the LLC's share is a slice's too, all slices being alike).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from math import ceil, log2
from typing import Annotated, ClassVar, Literal, Self

from sailsim.analysis.costs.constants import Constants, End, charged
from sailsim.base.errors import SailsimError
from sailsim.base.quantity import Is
from sailsim.lut_gemv.descriptor import WBITS_MAX
from sailsim.sim.pim import Pim
from sailsim.sim.system import System


@dataclass(frozen=True)
class AreaConstants(Constants):
    """What the areas rest on; `data/constants/area.toml` says why."""

    FILE: ClassVar[str] = "area"

    cell_um2: Annotated[float, Is("um2", least=0)]
    array_efficiency: Annotated[float, Is("ratio", above=0, most=1)]
    llc_cell_um2: Annotated[float, Is("um2", least=0)]
    llc_efficiency: Annotated[float, Is("ratio", above=0, most=1)]
    core_mm2: Annotated[float, Is("mm2", least=0)]
    die_mm2: Annotated[float, Is("mm2", least=0)]
    flip_flop_um2: Annotated[float, Is("um2", least=0)]
    full_adder_um2: Annotated[float, Is("um2", least=0)]
    multiplexer_um2: Annotated[float, Is("um2", least=0)]
    comparator_um2: Annotated[float, Is("um2", least=0)]
    nand2_um2: Annotated[float, Is("um2", least=0)]
    utilisation: Annotated[float, Is("ratio", above=0, most=1)]
    accumulator_bit_um2: Annotated[float, Is("um2", least=0)]
    prt_data: Annotated[float, Is("ratio", least=0)]
    prt_bit_um2: Annotated[float, Is("um2", least=0)]
    fp_unit_um2: Annotated[float, Is("um2", least=0)]
    control_gates: Annotated[float, Is("gates", least=0)]

    @classmethod
    def extreme(cls, end: Literal["small", "large"]) -> Self:
        """The unit as small or as large as the ranges allow; the bases stay as they are."""
        found = cls.at("low" if end == "small" else "high")
        # More of a block being cells makes it smaller.
        other = cls.at("high" if end == "small" else "low")
        nominal = cls.default()
        return replace(
            found,
            array_efficiency=other.array_efficiency,
            utilisation=other.utilisation,
            llc_efficiency=nominal.llc_efficiency,
            core_mm2=nominal.core_mm2,
            die_mm2=nominal.die_mm2,
        )


@dataclass(frozen=True)
class UnitParts:
    """Square millimetres of one slice's unit, by part."""

    arrays: float
    lanes: float
    accumulators: float
    activations: float
    prt: float
    queue: float
    buffers: float
    cache: float
    converters: float
    control: float

    @property
    def total(self) -> float:
        """All parts, mm2."""
        return sum(self.as_dict().values())

    def of(self, counted: str) -> float:
        """The parts of one of `COUNTED`, mm2."""
        parts = self.as_dict()
        return sum(parts[name] for name in COUNTED[counted])

    def as_dict(self) -> dict[str, float]:
        """By part, mm2."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


PART_TITLES: Mapping[str, str] = {
    "arrays": "C-SRAM arrays",
    "lanes": "DFM: adders and shifters",
    "accumulators": "DFM: accumulators",
    "activations": "DFM: activation buffer",
    "prt": "PRT",
    "queue": "command queue",
    "buffers": "line buffers (MSHRs)",
    "cache": "unit cache",
    "converters": "floating-point units",
    "control": "control",
}


COUNTED: Mapping[str, tuple[str, ...]] = {
    "C-SRAM arrays": ("arrays",),
    "arrays, adders and shifters": ("arrays", "lanes"),
    "all of the unit": tuple(PART_TITLES),
    "all but the arrays (the LLC gives its own)": tuple(name for name in PART_TITLES if name != "arrays"),
}
"""What may be meant by the hardware that is added, by the parts that it counts."""
BASES = ("LLC", "LLC and cores", "die")
"""What the added area may be a share of."""


@dataclass(frozen=True)
class Area:
    """Square millimetres of the whole server: what is added, and the bases."""

    parts: UnitParts
    slices: int
    llc_mm2: float
    cores_mm2: float
    die_mm2: float

    @property
    def added_mm2(self) -> float:
        """Everything that the units of all slices take."""
        return self.parts.total * self.slices

    @property
    def bases(self) -> dict[str, float]:
        """What a share may be of, mm2, by `BASES`."""
        return dict(
            zip(BASES, (self.llc_mm2, self.llc_mm2 + self.cores_mm2, self.die_mm2), strict=True),
        )

    def share(self, counted: str, base: str) -> float:
        """What the units of all slices add, of one of `COUNTED`, over one of `BASES`."""
        return self.slices * self.parts.of(counted) / self.bases[base]


class AreaNotModelledError(SailsimError):
    """The substrate's file does not say what its area depends on."""


Size = Literal["small", "value", "large"]
"""The unit as small or as large as ranges allow, or nominal."""


def area(
    system: System, constants: AreaConstants | None = None, wbits: int = 4, size: Size = "value"
) -> Area:
    """Area of the units of a machine that has them, sized for weights of ``wbits`` bits.

    A substrate's own quantities are taken as ``size`` says; ``constants`` are to be of the same size.

    Raises AreaNotModelledError for a substrate that does not declare its area, SailsimError for a machine
    without PIM units and for widths outside 1..8.
    """
    pim = system.require_pim()
    if not 1 <= wbits <= WBITS_MAX:
        raise SailsimError(f"wbits is {wbits}, allowed is 1..{WBITS_MAX}")
    c = AreaConstants.default() if constants is None else constants
    return Area(
        parts=_unit(pim, c, wbits, size),
        slices=system.llc.slices.whole,
        llc_mm2=8 * system.llc.size * c.llc_cell_um2 / c.llc_efficiency * 1e-6,
        cores_mm2=system.cores.count.whole * c.core_mm2,
        die_mm2=c.die_mm2,
    )


# Of a quantity: the end that makes the unit so large, and that of one whose growth makes it smaller.
_ENDS: Mapping[Size, tuple[End, End]] = {
    "small": ("low", "high"),
    "value": ("value", "value"),
    "large": ("high", "low"),
}


def _sram(bits: float, c: AreaConstants) -> float:
    return bits * c.cell_um2 / c.array_efficiency * 1e-6


def _unit(pim: Pim, c: AreaConstants, wbits: int, size: Size) -> UnitParts:
    """The unit of one slice, mm2."""

    def logic(um2: float) -> float:
        return um2 / c.utilisation * 1e-6

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
        raise AreaNotModelledError(
            f"substrate {substrate.name} has no [area] table, allowed is one with it: area not modelled"
        )
    declared, (end, other) = substrate.area, _ENDS[size]
    cells = row_bits * pim.rows.whole * charged(declared.cell, c, end)
    behind = substrate.accumulate == "behind"  # else the sums are rows of the arrays
    beside = sum(charged(circuit, c, end) for circuit in declared.beside.values())
    return UnitParts(
        arrays=cells / charged(declared.efficiency, c, other) * 1e-6,
        lanes=logic(lanes * width * beside),
        accumulators=8 * pim.accumulator_buffer.si * c.accumulator_bit_um2 * 1e-6 if behind else 0.0,
        activations=_sram(dfms * 8 * pim.activation_buffer.si, c),
        prt=logic(dfms * entries * searched * (c.flip_flop_um2 + c.comparator_um2))
        + entries * row_bits * c.prt_data * c.prt_bit_um2 * 1e-6,
        queue=logic(queued * c.flip_flop_um2),
        buffers=logic(lines * c.flip_flop_um2),
        cache=_sram(8 * 1024 * float(pim.unit_cache.value), c),
        converters=pim.convert_units.whole * c.fp_unit_um2 * 1e-6 if pim.convert.value == "unit" else 0.0,
        control=logic(dfms * c.control_gates * c.nand2_um2),
    )


@dataclass(frozen=True)
class OverheadBasis:
    """One reading of the overhead: what counts, over what, and how many arrays a slice would give ``target``.

    ``arrays`` is None where even no array exceeds the target.
    """

    counted: str
    base: str
    share: float
    arrays: float | None


def overhead_bases(
    system: System,
    constants: AreaConstants | None = None,
    wbits: int = 4,
    target: float = 0.02,
    size: Size = "value",
) -> Iterator[OverheadBasis]:
    """Every reading of the paper's overhead for a machine; raises as `area`."""
    pim = system.pim
    whole = area(system, constants, wbits, size)
    assert pim is not None
    c = AreaConstants.default() if constants is None else constants

    def with_arrays(count: int) -> UnitParts:
        arrays = pim.arrays.model_copy(update={"value": count})
        return _unit(pim.model_copy(update={"arrays": arrays}), c, wbits, size)

    fixed, one = with_arrays(0), with_arrays(1)
    for counted in COUNTED:
        for base, mm2 in whole.bases.items():
            added, least, more = (parts.of(counted) * whole.slices for parts in (whole.parts, fixed, one))
            room = target * mm2 - least
            yield OverheadBasis(counted, base, added / mm2, None if room < 0 else room / (more - least))
