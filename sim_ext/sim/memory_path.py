"""A unit's ways to the last-level cache and to DRAM, and what a schedule has to know of memory."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, inf
from typing import TYPE_CHECKING, NamedTuple

from sailsim.sim.dram import Dram, Reader, alone
from sailsim.sim.schedule import MemorySystem

if TYPE_CHECKING:  # a system asks how fast weights come to its units
    from sailsim.sim.system import System


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


def memory_paths(system: System) -> tuple[MemoryPath, MemoryPath]:
    """A unit's ways to the LLC and, in long streams, to DRAM.

    The published latencies are a core's: a unit has no private caches to cross, and a stream finds its DRAM
    row open. Refreshes are part of a mean latency; they block, so what is faster between them is so by
    1 / (1 - their share).
    """
    pim, llc, dram = system.pim, system.llc, Dram(system.memory, system.llc.line.whole)
    assert pim is not None
    port, line = pim.port.value * pim.clock.si, llc.line.whole
    private = system.l2.latency.value / system.cores.clock.si
    chip = max(llc.latency.si - private, line / port)
    saved = private + system.memory.timing.trcd.si
    far = max(system.memory.latency.si - saved / (1 - dram.refreshing), chip)
    return (
        MemoryPath(chip, port, pim.mshrs.whole, line),
        MemoryPath(far, port, pim.mshrs.whole, line),
    )


def weights_rate(system: System, slices: int) -> float:
    """Bytes/s of weights that memory brings each of `slices` that read by themselves: its share of DRAM, or
    what its port and its lines under way let it have."""
    share, stream = _streamed_share(system), _stream(system, slices)
    asked = slices * memory_paths(system)[1].rate
    reader = replace(stream, demand=asked / share, window=stream.window / share)
    return alone(system.memory.peak, reader) * share / slices


def window(system: System) -> float:
    """Bytes that one core has under way to DRAM."""
    share = system.host.lines_share
    return system.l2.mshrs.value * system.l2.line.value * (share.value if share is not None else 1.0)


def server_memory(system: System, threads: int, stream_limit: float = inf) -> MemorySystem:
    """A server's DRAM beside `threads` cores and a stream of weights that waits nowhere on chip.

    The stream asks for `stream_limit` bytes/s at most and shares DRAM with the cores max-min fair.
    """
    dram = Dram(system.memory, system.llc.line.whole)
    return MemorySystem(
        peak=system.memory.peak,
        read_share=_streamed_share(system),
        write_share=system.memory.write_share.value,
        stream_limit=stream_limit,
        depth=0,
        background=False,
        buffer=0.0,
        cores=Reader(inf, threads * window(system), system.memory.latency.si, queue=dram.queue),
    )


def _streamed_share(system: System) -> float:
    """Share of the DRAM peak that streams of reads get: as measured, or what the device's times allow."""
    dram = Dram(system.memory, system.llc.line.whole)
    return min(system.memory.read_share.value, dram.reads(dram.lines_of_row))


def memory(system: System, threads: int = 1) -> MemorySystem:
    """DRAM, what `threads` cores and the units have under way to it and the room for waiting weights."""
    pim, llc = system.pim, system.llc
    assert pim is not None
    way, slices = memory_paths(system)[1], llc.slices
    room = pim.prefetch_share.value * llc.size
    server = server_memory(system, threads, stream_limit=slices.value * way.rate)
    return replace(
        server,
        depth=pim.prefetch_depth.whole,
        background=pim.prefetch_priority.value == "background",
        buffer=room if room >= llc.line.value else 0.0,  # what holds no line holds nothing
        stream=_stream(system, slices.whole),
    )


def _stream(system: System, slices: int) -> Reader:
    """The weight stream to some slices."""
    pim, line = system.pim, system.llc.line
    assert pim is not None
    under_way = slices * pim.mshrs.value * line.value
    queue = Dram(system.memory, line.whole).queue
    return Reader(inf, under_way, memory_paths(system)[1].latency, slices, queue)
