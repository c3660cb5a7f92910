"""What is counted while a tile runs (docs/contract.md, section 2), and the PRT's parameters."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sailsim.errors import SailsimError

PrtPolicy = Literal["lru", "fifo", "direct"]
PRT_POLICIES: tuple[PrtPolicy, ...] = ("lru", "fifo", "direct")


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

    @property
    def effective_entries(self) -> int:
        """Entries as the timing core takes them: 0 means that there is no PRT."""
        return self.entries if self.enabled else 0


DEFAULT_PRT = PrtConfig()


class Profile(Protocol):
    """What became of a tile's patterns, group by group, for one pass: three int32 arrays ``(G,)``."""

    @property
    def zero(self) -> NDArray[np.int32]:
        """Patterns that were zero: no access."""

    @property
    def hits(self) -> NDArray[np.int32]:
        """Patterns that the PRT held."""

    @property
    def misses(self) -> NDArray[np.int32]:
        """Patterns that were read from the table."""


@dataclass(frozen=True, eq=False)
class PatternProfile:
    """The reference's :class:`Profile`: per group, patterns that were zero, PRT hits and PRT misses."""

    zero: NDArray[np.int32]
    hits: NDArray[np.int32]
    misses: NDArray[np.int32]


@dataclass(frozen=True)
class Counts:
    """Events of one DFM over a tile, all passes included. Rows of arrays in lockstep count once."""

    lookups: int
    zero_patterns: int
    prt_hits: int
    prt_misses: int
    table_builds: int
    table_adds: int
    row_reads: int
    row_writes: int
    conversions: int

    def as_dict(self) -> dict[str, int]:
        """The counts under the contract's keys."""
        return asdict(self)

    def times(self, slices: int) -> Counts:
        """The total over ``slices`` DFMs, which all see the same patterns."""
        return Counts(**{key: slices * count for key, count in asdict(self).items()})
