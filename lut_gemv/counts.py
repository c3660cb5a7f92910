"""What is counted while a tile runs (docs/contract.md, section 2), and the PRT's parameters."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, cast

from sailsim import _core
from sailsim.base.errors import SailsimError

TILE_PHASES = ("load", "build", "lookup", "convert", "write_back")
"""What a tile's cycles are of, in the order of a group; `load` is what computing does not hide."""

PrtPolicy = Literal["lru", "fifo", "direct"]
PRT_POLICIES: tuple[PrtPolicy, ...] = ("lru", "fifo", "direct")


def cycles_by_phase(timing: _core.TileTiming) -> dict[str, int]:
    """A tile's cycles by `TILE_PHASES`; they add up to its total."""
    return {phase: int(getattr(timing, phase)) for phase in TILE_PHASES}


@dataclass(frozen=True)
class PrtConfig:
    """The pattern reuse table of a DFM.

    Attributes:
        entries: patterns held at once. 32 is the paper's (design notes: reviews of arXiv 2509.25853).
        policy: ``lru``; ``fifo``, where a hit does not renew; or ``direct``, where a pattern has the one
            place ``pattern % entries``. The key is exact: two patterns are never taken for each other.
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
        """That of a unit."""
        if unit.prt_entries == 0:
            return cls(enabled=False)
        return cls(unit.prt_entries, cast(PrtPolicy, unit.prt_policy))

    @property
    def effective_entries(self) -> int:
        """Entries as the timing core takes them: 0 means that there is no PRT."""
        return self.entries if self.enabled else 0


DEFAULT_PRT = PrtConfig()


@dataclass(frozen=True)
class TileCounts:
    """Events over a tile, all passes included, of one DFM, or of all that share out the groups.

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
        """The counts under the contract's keys."""
        return asdict(self)

    def times(self, slices: int) -> TileCounts:
        """The total over ``slices``, which all see the same patterns."""
        return TileCounts(**{key: slices * count for key, count in asdict(self).items()})
