"""A gem5 script for tests: a program without an operating system on one core with caches, and one PIM unit.

The core starts at the highest exception level, in the secure state.
"""

import argparse
import sys
from pathlib import Path

import m5
from m5.objects import (
    AddrRange,
    ArmFsWorkload,
    ArmSystem,
    Cache,
    Root,
    SailPimUnit,
    SimpleMemory,
    SrcClockDomain,
    SystemXBar,
    VoltageDomain,
)

sys.path.append(str(Path(__file__).parents[2] / "gem5-configs"))
from core import CPU_MODELS
from machine import DOORBELL_VIRTUAL

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--unit", required=True, help="file with a unit's text form")
parser.add_argument("--cpu", default="timing")
parser.add_argument("--max-ticks", type=int, default=10**11)
options = parser.parse_args()


def small_cache(bus, cpu_side=None):
    """A cache in front of the bus."""
    cache = Cache(
        size="32KiB", assoc=4, tag_latency=1, data_latency=1, response_latency=1, mshrs=8, tgts_per_mshr=8
    )
    cache.mem_side = bus.cpu_side_ports
    if cpu_side is not None:
        cache.cpu_side = cpu_side
    return cache


system = ArmSystem(
    mem_mode="atomic" if options.cpu == "atomic" else "timing",
    mem_ranges=[AddrRange(0x80000000, size="256MiB")],
    auto_reset_addr=True,
    workload=ArmFsWorkload(object_file=options.program),
)
system.clk_domain = SrcClockDomain(clock="2GHz", voltage_domain=VoltageDomain())
system.bus = SystemXBar()
system.mem = SimpleMemory(range=system.mem_ranges[0], port=system.bus.mem_side_ports)
system.system_port = system.bus.cpu_side_ports
system.cpu = CPU_MODELS[options.cpu](cpu_id=0)
system.icache = small_cache(system.bus, system.cpu.icache_port)
system.dcache = small_cache(system.bus, system.cpu.dcache_port)
system.cpu.mmu.connectWalkerPorts(system.bus.cpu_side_ports, system.bus.cpu_side_ports)
system.cpu.createThreads()
system.cpu.createInterruptController()
# Where the program finds the doorbell: its page table maps every address to itself.
system.unit = SailPimUnit(doorbell_addr=DOORBELL_VIRTUAL, unit_file=options.unit, absent_from=1)
system.unit.doorbell = system.bus.mem_side_ports
system.unit_cache = small_cache(system.bus)
system.unit.mem_side = system.unit_cache.cpu_side
Root(full_system=True, system=system)
m5.instantiate()
event = m5.simulate(options.max_ticks)
print(f"sailsim-gem5: {event.getCause()} at {m5.curTick()} ps, exit status {event.getCode()}")
