"""Event counts of a tile (docs/contract.md, section 2), and the PRT's parameters."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, cast

from sailsim import _core
from sailsim.base.errors import SailsimError

TILE_PHASES = ("load", "build", "lookup", "convert", "write_back")
"""Phases of a tile's cycles, in the order of a group; `load` is the part that computing does not hide."""

PrtPolicy = Literal["lru", "fifo", "direct"]
PRT_POLICIES: tuple[PrtPolicy, ...] = ("lru", "fifo", "direct")


def cycles_by_phase(timing: _core.TileTiming) -> dict[str, int]:
    """Cycles of a tile by `TILE_PHASES`; they add up to its total."""
    return {phase: int(getattr(timing, phase)) for phase in TILE_PHASES}


@dataclass(frozen=True)
class PrtConfig:
    """Pattern reuse table of a DFM.

    Attributes:
        entries: capacity in patterns. 32 is the paper's (design notes: reviews of arXiv 2509.25853).
        policy: ``lru``; ``fifo``, in which a hit does not renew an entry; or ``direct``, in which a pattern
            can only be in entry ``pattern % entries``. Keys are exact: patterns are never confused.
        enabled: without a PRT every pattern but zero is a miss.
    """

    entries: int = 32
    policy: PrtPolicy = "lru"
    enabled: bool = True

    def __post_init__(self) -> None:
        if self.entries < 1:
            raise SailsimError(f"prt entries is {self.entries}; allowed is 1 or more.")
        if self.policy not in PRT_POLICIES:
            raise SailsimError(f"prt policy is {self.policy!r}; allowed are {', '.join(PRT_POLICIES)}.")

    @classmethod
    def of(cls, unit: _core.SliceConfig) -> PrtConfig:
        """PRT of a unit."""
        if unit.prt_entries == 0:
            return cls(enabled=False)
        return cls(unit.prt_entries, cast(PrtPolicy, unit.prt_policy))

    @property
    def effective_entries(self) -> int:
        """Number of entries for the timing core; 0 without a PRT."""
        return self.entries if self.enabled else 0


DEFAULT_PRT = PrtConfig()


@dataclass(frozen=True)
class TileCounts:
    """Events over all passes of a tile, of one DFM, or of all DFMs that share the groups.

    Rows of arrays in lockstep count once.
    """

    lookups: int
    zero_patterns: int
    prt_hits: int
    prt_misses: int
    table_builds: int
    table_adds: int
    row_reads: int
    row_writes: int
    conversions: int
    merges: int = 0

    def as_dict(self) -> dict[str, int]:
        """Counts under the contract's keys."""
        return asdict(self)

    def times(self, slices: int) -> TileCounts:
        """Total over ``slices``, which all have the same patterns."""
        return TileCounts(**{key: slices * count for key, count in asdict(self).items()})
