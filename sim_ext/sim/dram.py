"""DRAM in closed forms: what a pattern of accesses gets of the pins, and how readers share what there is.

`docs/engine.md` has the equations and compares them with what was measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

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

    def rate(self, wait: float) -> float:
        """Bytes/s when every line waits for `wait` seconds (Little's law)."""
        time = self.latency + wait
        return min(self.demand, self.window / time) if time > 0 else self.demand


def waiting(queue: float, load: float) -> float:
    """Mean wait of a line behind those of others that take `load` (0..1) of the peak, in bursts of `queue`.

    A queue with batches of fixed work: load x queue / (2 (1 - load)).
    """
    return queue * load / (2 * (1 - min(load, 0.999)))


def alone(capacity: float, queue: float, reader: Reader, load: float = 0.0) -> float:
    """What a reader gets, bytes/s, beside `load` bytes/s that give way to nobody."""
    most = max(0.0, min(reader.rate(0.0), capacity - load))
    others = 1 - 1 / reader.parts
    if queue == 0 or (load == 0 and others == 0):
        return most
    low, high = 0.0, most  # its rate falls as what it takes grows, so there is one that fits
    for _ in range(50):
        rate = (low + high) / 2
        fits = reader.rate(waiting(queue, (load + others * rate) / capacity)) >= rate
        low, high = (rate, high) if fits else (low, rate)
    return high if high == most else low


def shares(capacity: float, queue: float, readers: Sequence[Reader]) -> list[float]:
    """What each of `readers` gets of `capacity`, both in bytes/s, served in the order of arrival.

    Below the capacity a reader's lines wait behind the others' bursts. Where they want more than the
    capacity, all lines wait equally long, so everybody gets in proportion to what they have under way.
    Readers without a bound on that share the rest max-min fair.
    """
    if any(reader.window == inf for reader in readers):
        return max_min(capacity, [reader.rate(0.0) for reader in readers])
    rates = [reader.rate(0.0) for reader in readers]
    if sum(rate > 0 for rate in rates) == 1:
        return [alone(capacity, queue, reader) if reader.demand > 0 else 0.0 for reader in readers]
    if sum(rates) > capacity:
        low, high = 0.0, sum(reader.window for reader in readers) / capacity
        for _ in range(60):
            wait = (low + high) / 2
            more = sum(reader.rate(wait) for reader in readers) > capacity
            low, high = (wait, high) if more else (low, wait)
        return [reader.rate(high) for reader in readers]
    if queue > 0:
        for _ in range(60):
            total = sum(rates)
            waits = [
                waiting(queue, (total - rate / reader.parts) / capacity)
                for reader, rate in zip(readers, rates, strict=True)
            ]
            slower = [reader.rate(wait) for reader, wait in zip(readers, waits, strict=True)]
            step = max(abs(a - b) for a, b in zip(slower, rates, strict=True))
            rates = [(a + b) / 2 for a, b in zip(slower, rates, strict=True)]
            if step <= 1e-9 * capacity:
                break
    return rates


def max_min(capacity: float, demands: Sequence[float]) -> list[float]:
    """Share `capacity` fairly: every demand is met or gets an equal share of what the smaller ones leave."""
    shared = [0.0] * len(demands)
    left = capacity
    order = sorted(range(len(demands)), key=demands.__getitem__)
    for served, i in enumerate(order):
        shared[i] = min(demands[i], left / (len(demands) - served))
        left -= shared[i]
    return shared
