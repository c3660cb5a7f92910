"""What runs in the simulator: cases come through a socket, are played on the ports, and are answered."""

import os
import traceback
from multiprocessing.connection import Client

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly


@cocotb.test()
async def serve(dut):
    """Play case after case, each on one of the instances; None ends the simulation."""
    with Client(os.environ["BENCH_SOCKET"], "AF_UNIX") as link:
        while (message := link.recv()) is not None:
            instance, player, case = message
            module = getattr(dut, instance)
            clock = Clock(module.clk, 2, "step", impl="gpi")
            clock.start()
            try:
                await FallingEdge(module.clk)
                watch = getattr(dut, f"{instance}_watch", None)
                link.send(await PLAYERS[player](module, watch, **case))
                await FallingEdge(module.clk)
            except Exception:
                link.send(traceback.format_exc())
            clock.stop()


async def prt(unit, _watch, fed, gaps, stalls):
    """Feed patterns (None: none), some with a flush; in `gaps` nothing comes, in `stalls` nothing is taken.

    Answers: hit, pattern and slot of each, and the cycles from the first to the last.
    """
    unit.rst_n.value, unit.in_valid.value, unit.in_flush.value, unit.out_ready.value = 0, 0, 0, 1
    for _ in range(2):
        await FallingEdge(unit.clk)
    unit.rst_n.value = 1
    answers, at, cycle = [], 0, 0
    while len(answers) < sum(pattern is not None for pattern, _ in fed):
        pattern, flush = (None, False) if at == len(fed) or gaps[cycle % len(gaps)] else fed[at]
        unit.in_valid.value, unit.in_flush.value = pattern is not None, flush
        unit.in_pattern.value = pattern or 0
        unit.out_ready.value = taken = not stalls[cycle % len(stalls)]
        await ReadOnly()
        at += (pattern is not None or flush) and bool(unit.in_ready.value)
        if taken and unit.out_valid.value:
            answers.append(tuple(int(port.value) for port in (unit.out_hit, unit.out_pattern, unit.out_slot)))
        cycle += 1
        assert cycle < 100 * len(fed) + 1000, "the PRT is stuck"
        await FallingEdge(unit.clk)
    return answers, cycle


async def convert(unit, _watch, fed, gaps):
    """Feed whether the value is a float, value, scale and y; `gaps` as for `prt`.

    Answers: the bits of each sum, in order of the tags, and the cycles from the first to the last.
    """
    unit.rst_n.value, unit.in_valid.value = 0, 0
    for _ in range(2):
        await FallingEdge(unit.clk)
    unit.rst_n.value = 1
    answers, at, cycle = [], 0, 0
    while len(answers) < len(fed):
        comes = at < len(fed) and not gaps[cycle % len(gaps)]
        unit.in_valid.value = comes
        if comes:
            unit.in_tag.value = at % 2 ** len(unit.in_tag)
            ports = (unit.in_float, unit.in_value, unit.in_scale, unit.in_y)
            for port, value in zip(ports, fed[at], strict=True):
                port.value = value
            at += 1
        await ReadOnly()
        if unit.out_valid.value:
            assert int(unit.out_tag.value) == len(answers) % 2 ** len(unit.out_tag)
            answers.append(int(unit.out_y.value))
        cycle += 1
        assert cycle < 100 * len(fed) + 1000, "the conversion unit is stuck"
        await FallingEdge(unit.clk)
    return answers, cycle


PORTS = ("weights", "activations", "scales")
# Bits of what is watched (`units.WATCH`), above the phase's three.
BEGIN, START, TILE_READY, RESULTS_VALID, RESULTS_LAST = (1 << bit for bit in (3, 6, 8, 12, 13))
READY = {"tile": TILE_READY, **{port: 1 << 9 + n for n, port in enumerate(PORTS)}}
COUNTS = ("zero", "hit", "miss", "builds", "adds", "row_reads", "row_writes")


class Ports:
    """A unit's ports, cycle by cycle. What is offered waits in a queue of each port."""

    def __init__(self, unit, watch, queues, stalls):
        self.unit, self.watch, self.queues, self.stalls = unit, watch, queues, stalls
        self.at, self.offered = dict.fromkeys(queues, 0), {}
        self.cycle, self.ready, self.begun = 0, None, False
        self.driven, self.words = {}, []
        self.seen, self.write_backs, self.fed, self.arrivals = [], [], [], []

    async def reset(self):
        """Back to idle, with nothing on any port."""
        self.unit.rst_n.value, self.unit.results_ready.value = 0, 1
        for port in self.queues:
            getattr(self.unit, f"{port}_valid").value = 0
        for _ in range(2):
            await FallingEdge(self.unit.clk)
        self.unit.rst_n.value = 1

    def drive(self):
        """Offer what comes next. Where nothing is offered there is what is certainly wrong."""
        for port, queue in self.queues.items():
            stalls, at = self.stalls[port], self.at[port]
            offers = self.offered[port] = at < len(queue) and not stalls[self.cycle % len(stalls)]
            if self.driven.get(port) == (at, offers):
                continue
            self.driven[port] = at, offers
            getattr(self.unit, f"{port}_valid").value = offers
            item = queue[min(at, len(queue) - 1)] if queue else 0
            for name, value in item.items() if port == "tile" else [("data", item)]:
                handle = getattr(self.unit, f"{port}_{name}")
                handle.value = value if offers else ~value & (1 << len(handle)) - 1
        stalls = self.stalls["results"]
        ready = not stalls[self.cycle % len(stalls)]
        if ready != self.ready:
            self.unit.results_ready.value = self.ready = ready

    def observe(self):
        """What this cycle's clock edge does; true where the unit is idle."""
        watched = self.watch.value
        assert watched.is_resolvable, f"neither 0 nor 1 in cycle {self.cycle}: {watched}"
        now = int(watched)
        self.begun = self.begun or bool(now & BEGIN)
        if self.begun:
            self.seen.append(now & 0xFF)
        for port, offers in self.offered.items():
            if offers and now & READY[port]:
                self.at[port] += 1
                if port == "weights":
                    self.arrivals.append(len(self.seen))
        if now & START:
            self.fed.append(self.counts()[:3])
        if self.ready and now & RESULTS_VALID:
            beat = int(self.unit.results_data.value)
            self.words += [beat >> at & 0xFFFFFFFF for at in range(0, len(self.unit.results_data), 32)]
            if now & RESULTS_LAST:
                self.write_backs.append(self.words)
                self.words = []
        self.cycle += 1
        return self.begun and self.at["tile"] == len(self.queues["tile"]) and bool(now & TILE_READY)

    def counts(self):
        """All counters."""
        return [int(getattr(self.unit, f"count_{count}").value) for count in COUNTS]


async def tile(unit, watch, queues, stalls, write_backs, limit, first, stop=None):
    """Play tiles, each offered while the one before may still be at work, in at most `limit` cycles.

    `stalls` says of each port in which cycles, again and again, it neither offers nor takes. `stop`: end with
    a reset so many cycles behind the first tile's cycle 0.

    Answers: what was watched from that cycle on; the words of each write-back; zero patterns, hits and misses
    so far when each group started; all counts; the cycle behind each transfer of weights.
    """
    ports = Ports(unit, watch, queues, stalls)
    if first:
        await ports.reset()
    quiet = 0
    while quiet < 6:
        ports.drive()
        await ReadOnly()
        idle = ports.observe() and len(ports.write_backs) >= write_backs
        quiet = quiet + 1 if idle else 0
        await FallingEdge(unit.clk)
        if stop is not None and len(ports.seen) > stop:
            return await ports.reset()
        assert ports.cycle < limit, f"stuck: taken {ports.at}, write-backs {len(ports.write_backs)}"
    left = {
        port: len(queue) - ports.at[port] for port, queue in queues.items() if len(queue) > ports.at[port]
    }
    assert not left, f"not taken: {left}"
    assert not ports.words, "results behind the last"
    return ports.seen, ports.write_backs, ports.fed, ports.counts(), ports.arrivals


PLAYERS = {"prt": prt, "convert": convert, "tile": tile}
