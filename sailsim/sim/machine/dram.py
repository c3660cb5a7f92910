"""DRAM in closed forms: bandwidth of access patterns, and its division among readers.

`docs/engine.md` has the equations and compares them with measurements. The paths of units to the last-level
cache and to DRAM are in `system`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import Annotated, NamedTuple, Self

from pydantic import ConfigDict, Field, model_validator

from sailsim import _core
from sailsim.base.quantity import UNITS, Choice, ChoiceRule, FrozenModel, Quantity, QuantityRule
from sailsim.sim.machine.catalog import Bandwidth, Clock, Latency, Share


class DramTiming(FrozenModel):
    """Timing parameters of a DRAM device (JEDEC's names) that bound the bandwidth of access patterns."""

    tcl: Latency
    """Read command to data (tCL)."""
    tcwl: Latency
    """Write command to data (tCWL)."""
    trcd: Latency
    """Opening of a row to its first access (tRCD)."""
    trp: Latency
    """Time to close a row (tRP)."""
    tras: Latency
    """Least time that a row stays open (tRAS)."""
    tccd_l: Latency
    """Time between accesses to one bank group (tCCD_L); those to different groups follow without a gap."""
    trrd: Latency
    """Time between openings of rows in different bank groups (tRRD)."""
    tfaw: Latency
    """Window that has at most four openings of rows in a rank (tFAW)."""
    trtp: Latency
    """Read command to the closing of its row (tRTP)."""
    twtr: Latency
    """End of written data to a read command in the same bank group (tWTR)."""
    trfc: Latency
    """Duration of a refresh, during which a rank serves no access (tRFC)."""
    trefi: Latency
    """Time between refreshes (tREFI)."""

    @model_validator(mode="after")
    def _leaves_time_between_refreshes(self) -> Self:
        if self.trfc.value >= self.trefi.value:
            raise ValueError(f"trfc is {self.trfc}; allowed is less than trefi, {self.trefi}")
        return self


class Memory(FrozenModel):
    """DRAM shared by all slices and cores: lines are spread over all channels, as one pool of bandwidth."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    type: Annotated[
        Choice, ChoiceRule("ddr4-3200", "ddr4-2933", "ddr5-4800", "ddr5-5600", "lpddr5x-8533", "hbm3-6400")
    ]
    """Type of DRAM. For DDR5, LPDDR5X and HBM types clock, width, banks, row and timing ship (`dram_types`),
    and a file gives what differs; for DDR4 it gives everything."""
    channels: Annotated[Quantity, QuantityRule("channels", least=1, whole=True)]
    """Number of channels."""
    size: Annotated[Quantity, QuantityRule("GiB", above=0)] | None = None
    """Capacity of all channels, which weights and KV cache must fit; no limit if missing."""
    clock: Clock
    """Clock of a channel's data bus, which moves data on both edges."""
    width: Annotated[Quantity, QuantityRule("B", least=1, whole=True)]
    """Width of a channel's data bus."""
    ranks: Annotated[Quantity, QuantityRule("ranks", least=1, whole=True)]
    """Ranks of a channel."""
    banks: Annotated[Quantity, QuantityRule("banks", least=1, whole=True)]
    """Banks of a rank."""
    row: Annotated[Quantity, QuantityRule("KiB", above=0)]
    """Size of a bank's row, over the width of the channel."""
    timing: DramTiming
    """Timing parameters."""
    stated_peak: Bandwidth | None = Field(default=None, alias="peak_bandwidth")
    """Peak bandwidth of all channels, as a check; channels, clock and width determine it."""
    latency: Latency
    """Mean load-to-use latency of a core on an idle system, with refreshes."""
    read_share: Share
    """Share of the peak bandwidth that long streams of reads reach, from any reader."""
    core_share: Share
    """Share of the peak bandwidth that reads of the cores alone reach; the rest stays free for units."""
    write_share: Share
    """Share of the peak bandwidth that writes reach."""
    burst: Annotated[Quantity, QuantityRule("lines", least=1, most=64)]
    """Lines that arrive at a channel together, and so queue long before the bandwidth is exhausted."""
    write_batch: Annotated[Quantity, QuantityRule("lines", least=1)]
    """Lines that a controller writes before it turns to reads again (for comparison with closed forms)."""

    @property
    def _channel(self) -> float:
        """Bandwidth of a channel, in GB/s."""
        return 2 * self.clock.value * self.width.value

    @property
    def row_of_channels(self) -> int:
        """Bytes of one row over all channels, which lines alternate between."""
        return round(self.row.si * self.channels.value)

    @property
    def peak(self) -> float:
        """Peak bandwidth of all channels, in bytes/s."""
        return self.channels.value * self._channel * UNITS["GB/s"]

    @property
    def peak_bandwidth(self) -> Quantity:
        """Peak bandwidth as a quantity."""
        value, note = self.channels.value * self._channel, f"{self.channels} x {self._channel:g} GB/s"
        source = self.clock.source
        return Quantity.model_construct(value=value, unit="GB/s", source=source, kind="derived", note=note)

    @property
    def read_bandwidth(self) -> Quantity:
        """Bandwidth of reads by threads on all cores, as a quantity."""
        share, peak = self.read_share, self.peak_bandwidth
        note, value = f"{share.value:.3g} of {peak}", share.value * peak.value
        return peak.model_copy(update={"value": value, "source": share.source, "note": note})

    @property
    def refresh_share(self) -> float:
        """Share of the time that refreshes take."""
        return self.timing.trfc.si / self.timing.trefi.si

    def line_seconds(self, line: int) -> float:
        """Seconds that a line of ``line`` bytes takes on the pins of its channel."""
        return self.channels.value * line / self.peak

    def lines_per_row(self, line: int) -> float:
        """Lines of ``line`` bytes in a row of a channel."""
        return self.row.si / line

    def burst_seconds(self, line: int) -> float:
        """Seconds that the lines of a `burst`, of ``line`` bytes each, take on the pins of a channel."""
        return self.burst.value * self.line_seconds(line)

    def reads(self, line: int, run: float, banks: float = inf) -> float:
        """Share of the peak bandwidth for reads of ``run`` lines from each row that they open.

        Args:
            line: bytes of a line.
            run: lines read from a row before another row of its bank is opened; 1 for random lines.
            banks: banks of a channel that work at the same time; at most all.

        The bound is the slowest of the pins, the banks (open, `run` accesses, close) and the openings of rows
        that a rank allows, less refreshes.
        """
        timing, ranks, line_s = self.timing, self.ranks.value, self.line_seconds(line)
        cycle = max(timing.tras.si, timing.trcd.si + (run - 1) * timing.tccd_l.si + timing.trtp.si)
        bank = (cycle + timing.trp.si) / run / min(banks, ranks * self.banks.value)
        opening = max(timing.trrd.si, timing.tfaw.si / 4) / run / ranks
        return line_s / max(line_s, bank, opening) * (1 - self.refresh_share)

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
class MemoryReader:
    """Reader of DRAM; its bytes are in units of the peak bandwidth that they occupy."""

    demand: float
    """Largest demand, in bytes/s."""
    window: float = inf
    """Most bytes in flight."""
    latency: float = 0.0
    """Latency of one line without other readers, in seconds."""
    parts: int = 1
    """Number of equal parts that read by themselves and also wait for one another."""
    queue: float = 0.0
    """Time that a burst of its lines occupies a channel's pins (`Memory.burst_seconds`), in seconds."""
    even: bool = False
    """Whether its bursts are evenly spaced, so that none waits for another, or come at random times."""

    @property
    def fields(self) -> tuple[float, float, float, int, float, bool]:
        """Fields in the order of the C++ core."""
        return self.demand, self.window, self.latency, self.parts, self.queue, self.even


MAX_QUEUE_LOAD = Quantity(
    value=0.9,
    unit="",
    low=0.85,
    high=0.95,
    source="gem5 24.0.0.1, analysis/data/gem5/dram.jsonl; tests/sim/gem5/test_validation.py fits it again",
    kind="fitted",
)
"""Load from which on waiting times behind other readers' bursts no longer grow. Readers with a bound on bytes
in flight cannot build up longer queues."""


def bandwidth_shares(capacity: float, readers: Sequence[MemoryReader]) -> list[float]:
    """Bandwidth of each reader in bytes/s, of ``capacity`` bytes/s, served in order of arrival.

    A line waits behind bursts of other readers and of its own reader's other parts. If demand still exceeds
    the capacity, all lines wait equally long at least, and readers share in proportion to their bytes in
    flight. Readers without a bound on these share max-min fair.
    """
    return _core.shares(capacity, [reader.fields for reader in readers], MAX_QUEUE_LOAD.value)


UNBOUNDED = MemoryReader(inf)


@dataclass(frozen=True, slots=True)
class MemorySystem:
    """Memory system of a schedule; bandwidths in bytes/s, capacities in bytes."""

    peak: float
    """Peak bandwidth of DRAM."""
    read_share: float
    """Share of the peak that reads reach: r bytes/s occupy r / share of it."""
    write_share: float
    """Share of the peak that writes reach."""
    stream_limit: float
    """Largest bandwidth of the weight stream, by the units' ports and outstanding misses."""
    depth: int = 0
    """Number of tensors whose weights may be prefetched."""
    background: bool = False
    """Whether prefetched weights yield to the cores; otherwise accesses are served in order of arrival."""
    buffer: float = 0.0
    """Room in the LLC for prefetched weights."""
    stream: MemoryReader = UNBOUNDED
    """Weight stream as a reader; without bounds it and the cores share max-min fair."""
    cores: MemoryReader = UNBOUNDED
    """Cores as a reader."""


class MemoryPath(NamedTuple):
    """Path of a unit to memory; ``latency`` in seconds, ``port`` in bytes/s, ``line`` in bytes."""

    latency: float
    port: float
    mshrs: int
    line: int

    @property
    def rate(self) -> float:
        """Bandwidth of many lines in bytes/s, bound by the port or the MSHRs."""
        return min(self.port, self.mshrs * self.line / self.latency)

    def issue_seconds(self, size: float) -> float:
        """Seconds until the request for the last of ``size`` bytes.

        As many lines as there are MSHRs go through the port in turn; the next ones follow when these arrive.
        """
        earlier, each = max(0, ceil(size / self.line) - 1), self.line / self.port
        if self.mshrs * each >= self.latency:
            return earlier * each
        rounds, rest = divmod(earlier, self.mshrs)
        return rounds * self.latency + rest * each

    def seconds(self, size: float) -> float:
        """Seconds to move ``size`` bytes in whole lines."""
        return self.issue_seconds(size) + self.latency
