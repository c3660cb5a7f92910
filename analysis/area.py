"""Area of the C-SRAM arrays against the server's cores and last-level cache.

Only cells and their array overhead: the DFM, the PRT, the bit-line logic and the command queue are not
modelled, so this is a lower bound of what the paper calls hardware overhead.
"""

from __future__ import annotations

from dataclasses import dataclass

from sailsim.errors import SailsimError
from sailsim.sim import Quantity, System

CELL = Quantity(
    value=0.027,
    unit="um2",
    source="TSMC, high-density six-transistor SRAM cell in 7 nm, ISSCC 2017, paper 12.1 (quoted from memory)",
    kind="paper",
    low=0.027,
    high=0.04,
    note="high: cells with the wider word lines that computing on bit lines needs",
)
ARRAY_EFFICIENCY = Quantity(
    value=0.4,
    unit="ratio",
    source="here",
    kind="assumed",
    low=0.25,
    high=0.7,
    note="share of an array that is cells: low for small arrays with compute periphery, high for caches",
)
CORE = Quantity(
    value=1.4,
    unit="mm2",
    source="Arm, Neoverse N1 with 1 MiB of L2 in 7 nm, Hot Chips 2019 (quoted from memory)",
    kind="paper",
    low=1.2,
    high=1.5,
)


@dataclass(frozen=True)
class Area:
    """Square millimetres, and the C-SRAM's share of three bases."""

    csram_mm2: float
    llc_mm2: float
    cores_mm2: float

    @property
    def of_llc(self) -> float:
        """Share of the last-level cache's area."""
        return self.csram_mm2 / self.llc_mm2

    @property
    def of_chip(self) -> float:
        """Share of cores with L2 and last-level cache; mesh, memory controllers and I/O are left out."""
        return self.csram_mm2 / (self.llc_mm2 + self.cores_mm2)


def area(system: System) -> Area:
    """Area of the arrays of a machine with PIM units. Raises SailsimError for one without."""
    pim = system.pim
    if pim is None:
        raise SailsimError(f"system {system.name} has no [pim] section, allowed is one with PIM units")

    def sram(bits: float) -> float:
        return bits * float(CELL.value) * 1e-6 / float(ARRAY_EFFICIENCY.value)

    bits = system.llc.slices.whole * pim.arrays.whole * pim.rows.whole * pim.cols.whole
    return Area(sram(bits), sram(8 * system.llc.size), system.cores.count.whole * float(CORE.value))
