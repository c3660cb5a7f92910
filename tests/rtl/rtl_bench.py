"""What runs inside of the simulator: cases come through a socket, are played on the ports, and are answered."""

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
            unit = getattr(dut, instance)
            clock = Clock(unit.clk, 2, "step", impl="gpi")
            clock.start()
            try:
                await FallingEdge(unit.clk)
                link.send(await PLAYERS[player](unit, **case))
                await FallingEdge(unit.clk)
            except Exception:
                link.send(traceback.format_exc())
            clock.stop()


async def prt(unit, fed, gaps, stalls):
    """Feed patterns (None: none), some with a flush; `gaps` and `stalls` tell cycles in which nothing comes or is taken.

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


async def convert(unit, fed, gaps):
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


PLAYERS = {"prt": prt, "convert": convert}
