"""Area of what SAIL adds to a server, and the readings of the paper's "2 %".

Per slice: C-SRAM arrays, the lanes of the DFM (adder, shifter, accumulators), its buffer of activations, the
PRT, the command queue, the line buffers, the unit's small cache and control. Cells of SRAM are divided by the
share of an array that is cells; logic is gates of a standard-cell library over the share of a placed block
that is cells. Bases: LLC, LLC with cores, die (the LLC's share is a slice's too, all slices being alike).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from math import ceil, log2
from typing import ClassVar, Literal, Self

from sailsim.analysis.costs.constants import Constants
from sailsim.base.errors import SailsimError
from sailsim.sim import Quantity, System
from sailsim.sim.system import Pim

_ASAP7 = (
    "ASAP7, a predictive 7 nm library: github.com/The-OpenROAD-Project/asap7sc7p5t_28, commit f970bd3, "
    "LEF/asap7sc7p5t_28_R_1x_220121a.lef"
)

CELL = Quantity(
    value=0.027,
    unit="um2",
    source="TSMC, 256 Mb SRAM in 7 nm, ISSCC 2017, paper 12.1, as WikiChip's page on 7 nm quotes it",
    kind="paper",
    low=0.027,
    high=0.04,
    note="high: cells with the wider word lines that computing on bit lines needs",
)
LLC_CELL = Quantity(
    value=0.027,
    unit="um2",
    source="TSMC, 256 Mb SRAM in 7 nm, ISSCC 2017, paper 12.1, as WikiChip's page on 7 nm quotes it",
    kind="paper",
)
ARRAY_EFFICIENCY = Quantity(
    value=0.4,
    unit="ratio",
    source="here",
    kind="assumed",
    low=0.25,
    high=0.7,
    note="share of an array that is cells; CACTI 7 gives 0.61 for a plain array of 256 x 256 (cacti.csv), "
    "and computing on bit lines adds a second decoder and logic at the sense amplifiers",
)
LLC_EFFICIENCY = Quantity(
    value=0.4,
    unit="ratio",
    source="here",
    kind="assumed",
    low=0.2,
    high=0.7,
    note="cells of the data over all of a slice, tags and directory included; CACTI 7 gives 0.62 for 1 MiB "
    "of data alone (cacti.csv), and shipped caches reach a third of that (16.8 mm2 for 16 MiB of AMD Zen 2 "
    "L3, quoted from memory, is 0.22)",
)
CORE = Quantity(
    value=1.4,
    unit="mm2",
    source="AnandTech 16640, 2021: an N1 core with 1 MiB of L2 takes about 1.4 mm2 in TSMC's 7 nm (Arm, "
    "2019)",
    kind="paper",
    low=1.2,
    high=1.5,
)
DIE = Quantity(
    value=456.96,
    unit="mm2",
    source="WikiChip, AWS Graviton2 (22.4 mm x 20.4 mm)",
    kind="paper",
    low=400,
    high=500,
    note="a measured outline of one chip; the range is for other N1 servers of 64 to 80 cores",
)
FLIP_FLOP = Quantity(
    value=0.2916, unit="um2", source=f"{_ASAP7}: DFFHQNx1, 1.08 um x 0.27 um", kind="derived"
)
FULL_ADDER = Quantity(value=0.20412, unit="um2", source=f"{_ASAP7}: FAx1, 0.756 um x 0.27 um", kind="derived")
MULTIPLEXER = Quantity(
    value=0.13122,
    unit="um2",
    source=f"{_ASAP7}: AO22x1, 0.486 um x 0.27 um, as a two-way multiplexer of one bit",
    kind="derived",
)
COMPARATOR = Quantity(
    value=0.13122,
    unit="um2",
    source=f"{_ASAP7}: XOR2xp5, 0.486 um x 0.27 um: one bit of a search",
    kind="derived",
)
NAND2 = Quantity(value=0.05832, unit="um2", source=f"{_ASAP7}: NAND2xp5, 0.216 um x 0.27 um", kind="derived")
UTILISATION = Quantity(
    value=0.7,
    unit="ratio",
    source="here",
    kind="assumed",
    low=0.5,
    high=0.85,
    note="share of a placed and routed block that is cells, as designers plan it",
)
ACCUMULATOR_ROWS = Quantity(
    value=8,
    unit="rows",
    source="here",
    kind="assumed",
    low=1,
    high=32,
    note="batch rows whose sums a DFM holds; not published. More rows need more passes, which the timing "
    "does not charge",
)
ACCUMULATOR_BIT = Quantity(
    value=0.0675,
    unit="um2",
    source="here",
    kind="assumed",
    low=0.039,
    high=0.42,
    note="a bit of the accumulators: a cell of a small SRAM (0.027 over 0.4); low: of a dense one (over "
    "0.7); high: a flip-flop over its utilisation",
)
ACTIVATION_BUFFER = Quantity(
    value=4,
    unit="KiB",
    source="here",
    kind="assumed",
    low=0.25,
    high=96,
    note="activations that a DFM holds: one row of 4096 in 8 bits; low a block of 256, high eight rows of "
    "11008",
)
PRT_DATA = Quantity(
    value=1,
    unit="ratio",
    source="here",
    kind="assumed",
    low=0,
    high=1,
    note="1: an entry holds the row of all arrays, which a hit needs if it is to spare the access, as "
    "reviews describe; 0: it holds only what the pattern was",
)
PRT_BIT = Quantity(
    value=0.0675,
    unit="um2",
    source="here",
    kind="assumed",
    low=0.039,
    high=0.31,
    note="a bit of an entry's data, as ACCUMULATOR_BIT; high: a latch of that library (0.219) over its "
    "utilisation",
)
CONTROL = Quantity(
    value=20000,
    unit="gates",
    source="here",
    kind="assumed",
    low=5000,
    high=60000,
    note="NAND2 equivalents of a unit's sequencer, address generation and port; a small microcontroller has "
    "about as many",
)


@dataclass(frozen=True)
class AreaConstants(Constants):
    """What the areas rest on; units of the quantities of the same name."""

    cell_um2: float
    array_efficiency: float
    llc_cell_um2: float
    llc_efficiency: float
    core_mm2: float
    die_mm2: float
    flip_flop_um2: float
    full_adder_um2: float
    multiplexer_um2: float
    comparator_um2: float
    nand2_um2: float
    utilisation: float
    accumulator_rows: float
    accumulator_bit_um2: float
    activation_buffer_kib: float
    prt_data: float
    prt_bit_um2: float
    control_gates: float

    QUANTITIES: ClassVar[Mapping[str, Quantity]] = {
        "cell_um2": CELL,
        "array_efficiency": ARRAY_EFFICIENCY,
        "llc_cell_um2": LLC_CELL,
        "llc_efficiency": LLC_EFFICIENCY,
        "core_mm2": CORE,
        "die_mm2": DIE,
        "flip_flop_um2": FLIP_FLOP,
        "full_adder_um2": FULL_ADDER,
        "multiplexer_um2": MULTIPLEXER,
        "comparator_um2": COMPARATOR,
        "nand2_um2": NAND2,
        "utilisation": UTILISATION,
        "accumulator_rows": ACCUMULATOR_ROWS,
        "accumulator_bit_um2": ACCUMULATOR_BIT,
        "activation_buffer_kib": ACTIVATION_BUFFER,
        "prt_data": PRT_DATA,
        "prt_bit_um2": PRT_BIT,
        "control_gates": CONTROL,
    }

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

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("array_efficiency", "llc_efficiency", "utilisation"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise SailsimError(f"AreaConstants.{name} is {value!r}, allowed is above 0 and at most 1")


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
    control: float

    @property
    def total(self) -> float:
        """All parts, mm2."""
        return sum(self.as_dict().values())

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
    "control": "control",
}


@dataclass(frozen=True)
class Area:
    """Square millimetres of the whole server: what is added, and the bases."""

    parts: UnitParts
    slices: int
    llc_mm2: float
    cores_mm2: float
    die_mm2: float

    @property
    def csram_mm2(self) -> float:
        """The arrays of all slices."""
        return self.parts.arrays * self.slices

    @property
    def added_mm2(self) -> float:
        """Everything that the units of all slices take."""
        return self.parts.total * self.slices

    @property
    def bases(self) -> dict[str, float]:
        """What a share may be of, mm2: the LLC, the LLC with the cores, the die."""
        return {
            "LLC": self.llc_mm2,
            "LLC and cores": self.llc_mm2 + self.cores_mm2,
            "die": self.die_mm2,
        }

    @property
    def of_llc(self) -> float:
        """Share of the last-level cache's area that the arrays are."""
        return self.csram_mm2 / self.llc_mm2

    @property
    def of_chip(self) -> float:
        """The arrays over cores with L2 and last-level cache; mesh, controllers and I/O are left out."""
        return self.csram_mm2 / (self.llc_mm2 + self.cores_mm2)


class AreaNotModelledError(SailsimError):
    """The substrate's file does not say what its area depends on."""


def area(system: System, constants: AreaConstants | None = None, wbits: int = 4) -> Area:
    """Area of the units of a machine that has them, sized for weights of ``wbits`` bits.

    Raises AreaNotModelledError for a substrate that does not declare its area, SailsimError for a machine
    without PIM units and for widths outside 1..8.
    """
    pim = system.pim
    if pim is None:
        raise SailsimError(f"system {system.name} has no [pim] section, allowed is one with PIM units")
    if not 1 <= wbits <= 8:
        raise SailsimError(f"wbits is {wbits}, allowed is 1..8")
    c = AreaConstants.default() if constants is None else constants
    return Area(
        parts=_unit(pim, c, wbits),
        slices=system.llc.slices.whole,
        llc_mm2=8 * system.llc.size * c.llc_cell_um2 / c.llc_efficiency * 1e-6,
        cores_mm2=system.cores.count.whole * c.core_mm2,
        die_mm2=c.die_mm2,
    )


def _sram(bits: float, c: AreaConstants) -> float:
    return bits * c.cell_um2 / c.array_efficiency * 1e-6


def _unit(pim: Pim, c: AreaConstants, wbits: int) -> UnitParts:
    """The unit of one slice, mm2."""

    def logic(um2: float) -> float:
        return um2 / c.utilisation * 1e-6

    width = pim.accumulator.whole
    entry = wbits + ceil(log2(max(pim.nbw.whole, 1)))
    lanes = pim.arrays.whole * (pim.cols.whole // entry)
    # The entry is shifted by one of 16 bit positions and added; sums are stored beside.
    lane = width * (c.full_adder_um2 + 4 * c.multiplexer_um2)
    row_bits = pim.arrays.whole * pim.cols.whole
    entries = pim.prt_entries.whole
    searched = pim.nbw.whole + 1  # the pattern and whether the entry is valid; flushed with the table
    queued = pim.queue.whole * 64 * 8
    lines = pim.mshrs.whole * (64 * 8 + 48)  # a line and its address
    substrate = pim.load_substrate()
    if substrate.area is None:
        raise AreaNotModelledError(
            f"substrate {substrate.name} has no [area] table, allowed is one with it: area not modelled"
        )
    behind = substrate.area.sums.value == "dfm"  # else the arrays have the adders in them
    return UnitParts(
        arrays=_sram(pim.arrays.whole * pim.rows.whole * pim.cols.whole, c),
        lanes=logic(lanes * lane) if behind else 0.0,
        accumulators=lanes * width * c.accumulator_rows * c.accumulator_bit_um2 * 1e-6 if behind else 0.0,
        activations=_sram(8 * 1024 * c.activation_buffer_kib, c),
        prt=logic(entries * searched * (c.flip_flop_um2 + c.comparator_um2))
        + entries * row_bits * c.prt_data * c.prt_bit_um2 * 1e-6,
        queue=logic(queued * c.flip_flop_um2),
        buffers=logic(lines * c.flip_flop_um2),
        cache=_sram(8 * 1024 * float(pim.unit_cache.value), c),
        control=logic(c.control_gates * c.nand2_um2),
    )


@dataclass(frozen=True)
class Reading:
    """One reading of the overhead: what counts, over what, and how many arrays a slice would give ``target``.

    ``arrays`` is None where even no array exceeds the target.
    """

    counted: str
    base: str
    share: float
    arrays: float | None


COUNTED: Mapping[str, tuple[str, ...]] = {
    "C-SRAM arrays": ("arrays",),
    "arrays, adders and shifters": ("arrays", "lanes"),
    "all of the unit": tuple(PART_TITLES),
    "all but the arrays (the LLC gives its own)": tuple(name for name in PART_TITLES if name != "arrays"),
}
"""What may be meant by the hardware that is added, by the parts that it counts."""


def readings(
    system: System, constants: AreaConstants | None = None, wbits: int = 4, target: float = 0.02
) -> Iterator[Reading]:
    """Every reading of the paper's overhead for a machine; raises as `area`."""
    pim = system.pim
    whole = area(system, constants, wbits)
    assert pim is not None
    c = AreaConstants.default() if constants is None else constants

    def with_arrays(count: int) -> UnitParts:
        arrays = pim.arrays.model_copy(update={"value": count})
        return _unit(pim.model_copy(update={"arrays": arrays}), c, wbits)

    fixed, one = with_arrays(0), with_arrays(1)
    for counted, names in COUNTED.items():
        for base, mm2 in whole.bases.items():
            added, least, more = (
                sum(parts.as_dict()[name] for name in names) * whole.slices
                for parts in (whole.parts, fixed, one)
            )
            room = target * mm2 - least
            yield Reading(counted, base, added / mm2, None if room < 0 else room / (more - least))
