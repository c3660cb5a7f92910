# SPDX-License-Identifier: BSD-3-Clause
"""Runs a program without an operating system on a machine of a system file, with its PIM units.

gem5.opt bare_metal.py machine.json --model o3 program.elf

The core starts at the program's entry, at the highest exception level that gem5's release has (EL3, secure),
with the MMU off. Memory starts at 0x80000000. The doorbells lie where the instruction stores, unit u's page
at 0x7000000000 + 4096 u: the program's page table maps them to themselves, as device memory.
workloads/kernels/example/bare_metal.c is a program, docs/gem5.md says how it is built.
"""

import argparse
import sys

import hierarchy
import m5
from core import CPU_MODELS, make_core
from m5.objects import (
    AddrRange,
    ArmFsWorkload,
    ArmSystem,
    Root,
    SimpleMemory,
    SrcClockDomain,
    VoltageDomain,
)

MEMORY_START = 0x80000000


def build(spec, options):
    """The system: one core, the slices and units of the machine, memory that answers in its latency."""
    system = ArmSystem(
        mem_mode="atomic" if options.model == "atomic" else "timing",
        mem_ranges=[AddrRange(MEMORY_START, size=options.memory)],
        cache_line_size=int(spec["llc"]["line"]),
        auto_reset_addr=True,
        workload=ArmFsWorkload(object_file=options.program),
    )
    system.voltage = VoltageDomain()
    system.clk_domain = SrcClockDomain(clock=f"{spec['cores']['clock']}GHz", voltage_domain=system.voltage)
    hierarchy.add_crossbars(system, spec, system.voltage)
    hierarchy.add_slices(system, spec, system.mem_ranges[0])
    system.memory = SimpleMemory(range=system.mem_ranges[0], port=system.memory_bus.mem_side_ports)
    system.system_port = system.mesh.cpu_side_ports
    system.cpu = make_core(options.model, spec["cores"], cpu_id=0)
    system.cpu.createThreads()
    hierarchy.add_private_caches(system, spec, [system.cpu])
    hierarchy.add_units(system, spec, options.units, system.voltage, doorbell=hierarchy.DOORBELL_VIRTUAL)
    return system


def main(arguments):
    """Build, run and say how it ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("machine", help="plain JSON of a system file, from `sailsim gem5 machine`")
    parser.add_argument("program", help="an ELF file for AArch64, linked to memory's addresses")
    parser.add_argument("--model", choices=sorted(CPU_MODELS), default="o3", help="of the core")
    parser.add_argument("--units", type=int, help="PIM units; default: one a slice")
    parser.add_argument("--memory", default="256MiB", help="simulated memory")
    parser.add_argument("--max-ticks", type=int, default=10**12, help="give up after this time (ps)")
    options = parser.parse_args(arguments)
    Root(full_system=True, system=build(hierarchy.load(options.machine), options))
    m5.instantiate()
    event = m5.simulate(options.max_ticks)
    print(f"sailsim-gem5: {event.getCause()} at {m5.curTick()} ps, exit status {event.getCode()}")
    sys.exit(0 if event.getCause() == "m5_exit instruction encountered" else 3)


if __name__ == "__m5_main__":
    main(sys.argv[1:])
