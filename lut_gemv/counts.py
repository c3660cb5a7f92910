"""What is counted while a tile runs (docs/contract.md, section 2), and the PRT's parameters."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

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

    @property
    def effective_entries(self) -> int:
        """Entries as the timing core takes them: 0 means that there is no PRT."""
        return self.entries if self.enabled else 0


DEFAULT_PRT = PrtConfig()

PrtHash = Literal["modulo", "fold", "multiply"]
PRT_HASHES: tuple[PrtHash, ...] = ("modulo", "fold", "multiply")


@dataclass(frozen=True)
class PrtKey:
    """By what a PRT finds an entry, to measure what other keys would do. The default is the unit's key.

    Attributes:
        hash: the one place of a pattern p in E entries: ``modulo`` p mod E, which is the policy ``direct``;
            ``fold`` (p xor p // E) mod E; ``multiply`` the top of p times 2**32 over the golden ratio
            (multiplicative hashing). None: the policy finds it a place.
        tagged: an entry knows its whole pattern; without it is taken for every pattern of its place.
        flushed: emptied when the table changes; else the key lacks the group, and an entry read from an
            earlier table is found too.
    """

    hash: PrtHash | None = None
    tagged: bool = True
    flushed: bool = True

    def __post_init__(self) -> None:
        if self.hash is not None and self.hash not in PRT_HASHES:
            raise SailsimError(f"prt hash is {self.hash!r}; allowed are {', '.join(PRT_HASHES)} and None.")
        if self.hash is None and not self.tagged:
            raise SailsimError(
                "prt tagged is False without a hash; allowed is so with a hash, which gives one place."
            )

    def places(self, entries: int, nbw: int) -> tuple[int, ...]:
        """The place of every pattern, ``2**nbw`` of them in ``0..entries - 1``; empty without a hash."""
        if self.hash is None or entries == 0:
            return ()
        if self.hash == "multiply":
            return tuple(((p * 2654435769 & 0xFFFFFFFF) * entries) >> 32 for p in range(1 << nbw))
        above = entries if self.hash == "fold" else 1 << nbw
        return tuple((p ^ p // above) % entries for p in range(1 << nbw))


DEFAULT_KEY = PrtKey()


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

    def times(self, slices: int) -> Counts:
        """The total over ``slices``, which all see the same patterns."""
        return Counts(**{key: slices * count for key, count in asdict(self).items()})
