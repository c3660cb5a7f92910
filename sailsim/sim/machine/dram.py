"""DRAM in closed forms: what a pattern of accesses gets of the pins, and how readers share what there is.

`system` has a unit's paths to the last-level cache and to DRAM. `docs/engine.md` has the equations and
compares them with what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Annotated, NamedTuple, Self

from pydantic import ConfigDict, Field, model_validator

from sailsim import _core
from sailsim.base.quantity import UNITS, Choice, ChoiceRule, Frozen, Quantity, QuantityRule
from sailsim.sim.machine.catalog import Bandwidth, Clock, Latency, Share


class DramTiming(Frozen):
    """Times of a DRAM device that bound what a pattern of accesses gets (JEDEC's names)."""

    tcl: Latency
    """Read command to data."""
    tcwl: Latency
    """Write command to data."""
    trcd: Latency
    """Opening a row to its first access."""
    trp: Latency
    """Closing a row."""
    tras: Latency
    """A row stays open at least."""
    tccd_l: Latency
    """Between accesses to one group of banks; to different ones a line's transfer follows the other."""
    trrd: Latency
    """Between openings of rows in different groups of banks."""
    tfaw: Latency
    """Window for four openings in a rank."""
    trtp: Latency
    """Read to closing its row."""
    twtr: Latency
    """End of written data to a read command, same group of banks."""
    trfc: Latency
    """A refresh, in which a rank does nothing else."""
    trefi: Latency
    """Between refreshes."""

    @model_validator(mode="after")
    def _leaves_time_between_refreshes(self) -> Self:
        if self.trfc.value >= self.trefi.value:
            raise ValueError(f"trfc is {self.trfc}; allowed is less than trefi, {self.trefi}")
        return self


class Memory(Frozen):
    """DRAM behind all slices and cores: channels that all lines are spread over, one pool of bandwidth."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    type: Annotated[
        Choice,
        ChoiceRule("ddr4-3200", "ddr4-2933", "ddr5-4800", "ddr5-5600", "lpddr5x-8533", "hbm3-6400"),
    ]
    """Of the DDR5, LPDDR5X and HBM types clock, width, banks, row and timing ship (`dram_types`); a file says
    what is different, or everything."""
    channels: Annotated[Quantity, QuantityRule("channels", least=1, whole=True)]
    size: Annotated[Quantity, QuantityRule("GiB", above=0)] | None = None
    """Of all channels: what weights and KV cache must fit. A file that leaves it out says no limit."""
    clock: Clock
    """Of a channel's data bus, which moves data on both edges."""
    width: Annotated[Quantity, QuantityRule("B", least=1, whole=True)]
    """Of a channel's data bus."""
    ranks: Annotated[Quantity, QuantityRule("ranks", least=1, whole=True)]
    """Of a channel."""
    banks: Annotated[Quantity, QuantityRule("banks", least=1, whole=True)]
    """Of a rank."""
    row: Annotated[Quantity, QuantityRule("KiB", above=0)]
    """Of a bank, over the channel's width."""
    timing: DramTiming
    stated_peak: Bandwidth | None = Field(default=None, alias="peak_bandwidth")
    """All channels, on the pins: channels, clock and width give it. A file may state it as a check."""
    latency: Latency
    """Load to use on an idle machine, refreshes included."""
    read_share: Share
    """Share of the peak that long streams of reads get, whoever reads."""
    core_share: Share
    """Share of the peak that the cores' own reads reach: a limit of the cores, what they leave is free."""
    write_share: Share
    """Share of the peak that written bytes get."""
    burst: Annotated[Quantity, QuantityRule("lines", least=1, most=64)]
    """Lines that come to a channel at the same time: they queue long before the bandwidth is used up."""
    write_batch: Annotated[Quantity, QuantityRule("lines", least=1)]
    """Lines that a controller writes before it turns to reads again; for closed forms to compare with."""

    @property
    def _channel(self) -> float:
        """GB/s of one."""
        return 2 * self.clock.value * self.width.value

    @property
    def row_of_channels(self) -> int:
        """Bytes of a row over all channels, which take lines in turn: the next bytes are another bank's."""
        return round(self.row.si * self.channels.value)

    @property
    def peak(self) -> float:
        """Bytes/s of all channels, on the pins."""
        return self.channels.value * self._channel * UNITS["GB/s"]

    @property
    def peak_bandwidth(self) -> Quantity:
        """`peak`, with where it comes from."""
        return Quantity.model_construct(
            value=self.channels.value * self._channel,
            unit="GB/s",
            source=self.clock.source,
            kind="derived",
            note=f"{self.channels} x {self._channel:g} GB/s",
        )

    @property
    def read_bandwidth(self) -> Quantity:
        """What reading threads on all cores reach together."""
        share, peak = self.read_share, self.peak_bandwidth
        note = f"{share.value:.3g} of {peak}"
        return peak.model_copy(
            update={"value": share.value * peak.value, "source": share.source, "note": note}
        )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        rate = 2000 * self.clock.value
        name = str(self.type.value)
        if not math.isclose(rate, float(name.partition("-")[2]), rel_tol=1e-3):
            raise ValueError(
                f"clock is {self.clock}, which is {rate:g} MT/s; allowed is what type says, {name}"
            )
        stated, peak = self.stated_peak, self.peak_bandwidth
        if stated is not None and not math.isclose(stated.si, peak.si, rel_tol=1e-3):
            each = peak.value / self.channels.value
            raise ValueError(
                f"peak_bandwidth is {stated}, but channels is {self.channels} of {each:g} GB/s, which are "
                f"{peak}; allowed is that, or to leave peak_bandwidth out"
            )
        return self


@dataclass(frozen=True, slots=True)
class Dram:
    """A machine's DRAM; times in seconds, bandwidths in bytes/s."""

    memory: Memory
    line: int
    """Bytes of a cache line."""

    @property
    def line_s(self) -> float:
        """A line on the pins of its channel."""
        return self.memory.channels.value * self.line / self.memory.peak

    @property
    def lines_of_row(self) -> float:
        """Lines of an open row of a channel."""
        return self.memory.row.si / self.line

    @property
    def refreshing(self) -> float:
        """Share of the time that refreshes take."""
        timing = self.memory.timing
        return timing.trfc.si / timing.trefi.si

    def reads(self, run: float, banks: float = inf) -> float:
        """Share of the peak for reads that find `run` lines in a row they opened.

        Args:
            run: lines read from a row before another row of its bank is asked for; 1 is random lines.
            banks: of each channel that work at the same time; at most all.

        The bound is the slowest of the pins, the banks (open, `run` accesses, close) and the openings of rows
        that a rank allows, less refreshes.
        """
        memory, timing = self.memory, self.memory.timing
        ranks = memory.ranks.value
        cycle = max(timing.tras.si, timing.trcd.si + (run - 1) * timing.tccd_l.si + timing.trtp.si)
        bank = (cycle + timing.trp.si) / run / min(banks, ranks * memory.banks.value)
        opening = max(timing.trrd.si, timing.tfaw.si / 4) / run / ranks
        return self.line_s / max(self.line_s, bank, opening) * (1 - self.refreshing)

    @property
    def queue(self) -> float:
        """Seconds of the pins that come to a channel at once: `burst` lines."""
        return self.memory.burst.value * self.line_s


@dataclass(frozen=True, slots=True)
class MemoryReader:
    """Somebody who reads; bytes count for what they occupy of the peak."""

    demand: float
    """Bytes/s, at most."""
    window: float = inf
    """Bytes under way, at most."""
    latency: float = 0.0
    """Of one line while nobody else reads."""
    parts: int = 1
    """How many it is that read, each alike; they wait for one another too."""
    queue: float = 0.0
    """Seconds of a channel's pins that lines of it which come together take (`Dram.queue`)."""
    even: bool = False
    """Whether these bursts come evenly, so that none waits for another; else at random times."""

    @property
    def fields(self) -> tuple[float, float, float, int, float, bool]:
        """As the C++ core takes them."""
        return self.demand, self.window, self.latency, self.parts, self.queue, self.even


OPEN_LOAD = Quantity(
    value=0.9,
    unit="",
    low=0.85,
    high=0.95,
    source="gem5 24.0.0.1, analysis/data/gem5/dram.jsonl; tests/sim/gem5/test_validation.py fits it again",
    kind="fitted",
)
"""Load from which on a line waits no longer behind others' bursts. Its wait is that in a queue which anybody
may join at any time; readers with a bound on what is under way cannot make one so long."""


def shares(capacity: float, readers: Sequence[MemoryReader]) -> list[float]:
    """What each of `readers` gets of `capacity`, both in bytes/s, served in the order of arrival.

    A line waits behind bursts of other readers, and of its own reader's other parts. Where readers that wait
    so want more than the capacity, all wait equally long at least: everybody gets in proportion to what is
    under way. Readers without a bound on that share max-min fair.
    """
    return _core.shares(capacity, [reader.fields for reader in readers], OPEN_LOAD.value)


UNBOUNDED = MemoryReader(inf)


@dataclass(frozen=True, slots=True)
class MemorySystem:
    """What the schedule needs to know of a machine; bandwidths in bytes/s, capacities in bytes.

    `read_share` and `write_share` are the shares of the DRAM peak that a kind of access can reach: moving r
    bytes/s occupies r / share of the peak.
    """

    peak: float
    read_share: float
    write_share: float
    stream_limit: float
    """What the units' ports and outstanding misses let the weight stream draw."""
    depth: int
    background: bool
    """Whether weights that no slice works on yet give way to the cores; else all are served as they come."""
    buffer: float
    """Room in the LLC for weights that wait; `depth` is how many tensors ahead they may be."""
    stream: MemoryReader = UNBOUNDED
    """What the weight stream has under way, and a line's latency; without bounds both share max-min fair."""
    cores: MemoryReader = UNBOUNDED
    """The same of the cores."""


class MemoryPath(NamedTuple):
    """A unit's way to memory: `latency` seconds for a line, `port` bytes/s, `mshrs` lines under way."""

    latency: float
    port: float
    mshrs: int
    line: int

    @property
    def rate(self) -> float:
        """Bytes/s of many lines: what the port allows, or all MSHRs."""
        return min(self.port, self.mshrs * self.line / self.latency)

    def asking(self, size: float) -> float:
        """Seconds until the last of `size` bytes is asked for: as many lines as there are MSHRs one behind
        the other through the port, the next when those before have come."""
        behind, each = max(0, ceil(size / self.line) - 1), self.line / self.port
        if self.mshrs * each >= self.latency:
            return behind * each
        rounds, rest = divmod(behind, self.mshrs)
        return rounds * self.latency + rest * each

    def seconds(self, size: float) -> float:
        """To move `size` bytes, whole lines."""
        return self.asking(size) + self.latency
