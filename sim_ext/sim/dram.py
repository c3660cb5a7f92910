"""DRAM in closed forms: what a pattern of accesses gets of the pins, and how readers share what there is.

`docs/engine.md` has the equations and compares them with what was measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

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

    def rate(self, wait: float) -> float:
        """Bytes/s when every line waits for `wait` seconds (Little's law)."""
        time = self.latency + wait
        return min(self.demand, self.window / time) if time > 0 else self.demand


def waiting(queue: float, load: float) -> float:
    """Mean wait of a line behind those of others that take `load` (0..1) of the peak, in bursts of `queue`.

    A queue with batches of fixed work: load x queue / (2 (1 - load)).
    """
    return queue * load / (2 * (1 - min(load, 0.999)))


def alone(capacity: float, reader: Reader, load: float = 0.0) -> float:
    """What a reader gets, bytes/s, beside `load` bytes/s that give way to nobody, in bursts as its own."""
    most = max(0.0, min(reader.rate(0.0), capacity - load))
    others = 1 - 1 / reader.parts
    if reader.queue == 0 or (load == 0 and others == 0):
        return most
    low, high = 0.0, most  # its rate falls as what it takes grows, so there is one that fits
    for _ in range(50):
        rate = (low + high) / 2
        fits = reader.rate(waiting(reader.queue, (load + others * rate) / capacity)) >= rate
        low, high = (rate, high) if fits else (low, rate)
    return high if high == most else low


OPEN_LOAD = Quantity(
    value=0.9,
    unit="",
    low=0.85,
    high=0.95,
    source="gem5 24.0.0.1, analysis/data/gem5/dram.jsonl; tests/sim/gem5/test_validation.py fits it again",
    kind="fitted",
)
"""Load from which on a line waits no longer behind others' bursts. `waiting` is of a queue that anybody may
join at any time; readers with a bound on what is under way cannot make one so long."""


def shares(capacity: float, readers: Sequence[Reader]) -> list[float]:
    """What each of `readers` gets of `capacity`, both in bytes/s, served in the order of arrival.

    A line waits behind bursts of other readers, and of its own reader's other parts. Where readers that wait
    so want more than the capacity, all wait equally long at least: everybody gets in proportion to what is
    under way. Readers without a bound on that share max-min fair.
    """
    rates = [reader.rate(0.0) for reader in readers]
    if any(reader.window == inf for reader in readers):
        return max_min(capacity, rates)
    if sum(rate > 0 for rate in rates) == 1:
        return [alone(capacity, reader) if reader.demand > 0 else 0.0 for reader in readers]
    rates = _crowded(capacity, readers, [0.0] * len(readers))
    part, last = 0.5, inf
    for _ in range(100):
        waits = [_behind_bursts(capacity, readers, rates, place) for place in range(len(readers))]
        found = _crowded(capacity, readers, waits)
        step = max(abs(a - b) for a, b in zip(found, rates, strict=True))
        if step <= 1e-9 * capacity:
            break
        part, last = (part, step) if step < last else (part / 2, step)  # not to and fro for ever
        rates = [rate + part * (new - rate) for new, rate in zip(found, rates, strict=True)]
    return rates


def _behind_bursts(capacity: float, readers: Sequence[Reader], rates: Sequence[float], place: int) -> float:
    """Seconds that a line of one reader waits behind bursts, of others and of the reader's other parts."""
    own = rates[place] * (1 - 1 / readers[place].parts) / capacity
    load = work = 0.0
    for other, (reader, rate) in enumerate(zip(readers, rates, strict=True)):
        takes = own if other == place else rate / capacity
        load += 0.0 if reader.even else takes
        work += takes * reader.queue
    most = max(OPEN_LOAD.value, own)  # by itself a reader waits for its parts as `alone` has it
    return work / (2 * (1 - min(load, most, 0.999)))


def _crowded(capacity: float, readers: Sequence[Reader], waits: Sequence[float]) -> list[float]:
    """What readers get whose lines wait so long, or all as long as it takes for the capacity to suffice."""

    def rates(least: float) -> list[float]:
        return [reader.rate(max(wait, least)) for reader, wait in zip(readers, waits, strict=True)]

    found = rates(0.0)
    if sum(found) <= capacity:
        return found
    low, high = 0.0, sum(reader.window for reader in readers) / capacity
    for _ in range(60):
        least = (low + high) / 2
        low, high = (least, high) if sum(rates(least)) > capacity else (low, least)
    return rates(high)


def max_min(capacity: float, demands: Sequence[float]) -> list[float]:
    """Share `capacity` fairly: every demand is met or gets an equal share of what the smaller ones leave."""
    shared = [0.0] * len(demands)
    left = capacity
    order = sorted(range(len(demands)), key=demands.__getitem__)
    for served, i in enumerate(order):
        shared[i] = min(demands[i], left / (len(demands) - served))
        left -= shared[i]
    return shared
