"""A gem5 script for tests: units on one crossbar over a memory of fixed latency, no cache anywhere.

Without caches no state of the machine is outside a checkpoint, so a restored run must end at the very tick.
"""

import argparse
import sys
from pathlib import Path

import m5
from m5.objects import (
    AddrRange,
    Root,
    SailPimUnit,
    SailReplayer,
    SimpleMemory,
    SrcClockDomain,
    System,
    SystemXBar,
    VoltageDomain,
)

sys.path.append(str(Path(__file__).parents[2] / "gem5-configs"))
from hierarchy import DOORBELL_PHYSICAL

parser = argparse.ArgumentParser()
parser.add_argument("trace")
parser.add_argument("--unit", required=True, help="file with a unit's text form")
parser.add_argument("--mode", default="timing")
parser.add_argument("--queue", type=int, default=4)
parser.add_argument("--phase-ends", type=int, nargs="*", default=[])
parser.add_argument("--flush", type=int, help="capacity mode: cycles to empty the arrays")
parser.add_argument("--settle", type=int, default=100_000, help="cycles until they hold lines again")
parser.add_argument("--drain", type=int, action="append", default=[], help="drain and go on at this tick")
parser.add_argument("--checkpoint", help="at the first drain")
parser.add_argument("--restore")
options = parser.parse_args()

system = System(mem_mode=options.mode, mem_ranges=[AddrRange("256MiB")])
system.clk_domain = SrcClockDomain(clock="1.8GHz", voltage_domain=VoltageDomain())
system.bus = SystemXBar()
system.mem = SimpleMemory(range=system.mem_ranges[0], latency="60ns", port=system.bus.mem_side_ports)
system.system_port = system.bus.cpu_side_ports
system.units = [
    SailPimUnit(
        unit=i,
        doorbell_addr=DOORBELL_PHYSICAL,
        queue_depth=options.queue,
        unit_file=options.unit,
        stores_when_idle=options.flush is not None,
        flush_time=options.flush or 0,
        settle_time=options.settle,
        doorbell=system.bus.mem_side_ports,
        mem_side=system.bus.cpu_side_ports,
    )
    for i in range(2)
]
system.replayer = SailReplayer(
    trace=options.trace,
    image_addr=1 << 20,
    doorbell_addr=DOORBELL_PHYSICAL,
    units=2,
    phase_ends=options.phase_ends,
    port=system.bus.cpu_side_ports,
)
Root(full_system=False, system=system)
m5.instantiate(options.restore)
for tick in options.drain:
    m5.simulate(tick - m5.curTick())
    if options.checkpoint:
        m5.checkpoint(options.checkpoint)
    else:
        m5.drain()
event = m5.simulate()
print(f"sailsim-gem5: {event.getCause()} at {m5.curTick()} ps, exit status {event.getCode()}")
