"""DRAM in closed forms: what a pattern of accesses gets of the pins, and how readers share what there is.

`docs/engine.md` has the equations and compares them with what was measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from sailsim import _core
from sailsim.base.quantity import Quantity
from sailsim.sim.memory import Memory


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

    def random(self, lines: float, latency: float) -> float:
        """Share of the peak for random lines, `lines` of them under way for `latency` seconds each."""
        return min(self.reads(1), lines * self.line / latency / self.memory.peak)

    def mixed(self, read: float, written: float) -> float:
        """Share of the peak when every `read` lines are followed by `written` ones, in open rows.

        Turning to writes leaves the pins idle for two clocks, turning back for tWTR and tCL.
        """
        timing = self.memory.timing
        work = (read + written) * self.line_s
        idle = 2 / self.memory.clock.si + timing.twtr.si + timing.tcl.si if read and written else 0.0
        return work / (work + idle) * (1 - self.refreshing)

    @property
    def stores(self) -> float:
        """Share of the peak that stored bytes get when every line is read before it is written."""
        batch = self.memory.write_batch.value
        return self.mixed(batch, batch) / 2

    @property
    def queue(self) -> float:
        """Seconds of the pins that come to a channel at once: `burst` lines."""
        return self.memory.burst.value * self.line_s


@dataclass(frozen=True, slots=True)
class Reader:
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


def alone(capacity: float, reader: Reader, load: float = 0.0) -> float:
    """What a reader gets, bytes/s, beside `load` bytes/s that give way to nobody, in bursts as its own."""
    return _core.alone(capacity, reader.fields, load)


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


def shares(capacity: float, readers: Sequence[Reader]) -> list[float]:
    """What each of `readers` gets of `capacity`, both in bytes/s, served in the order of arrival.

    A line waits behind bursts of other readers, and of its own reader's other parts. Where readers that wait
    so want more than the capacity, all wait equally long at least: everybody gets in proportion to what is
    under way. Readers without a bound on that share max-min fair.
    """
    return _core.shares(capacity, [reader.fields for reader in readers], OPEN_LOAD.value)
