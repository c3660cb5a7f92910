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
import machine
from core import CPU_MODELS
from m5.objects import ArmFsWorkload, Root


def main(arguments):
    """Build the machine, run the program and print the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("machine", help="plain JSON of a system file, from `sailsim gem5 machine`")
    parser.add_argument("program", help="an ELF file for AArch64, linked to memory's addresses")
    parser.add_argument("--model", choices=sorted(CPU_MODELS), default="o3", help="model of the core")
    parser.add_argument("--units", type=int, help="PIM units; default: one per slice")
    parser.add_argument("--memory", default="256MiB", help="simulated memory")
    parser.add_argument("--max-ticks", type=int, default=10**12, help="give up after this time (ps)")
    options = parser.parse_args(arguments)
    spec, size = hierarchy.load(options.machine), options.memory
    built = machine.build(spec, cpu=options.model, units=options.units, memory=size, bare=True)
    built.system.auto_reset_addr = True
    built.system.workload = ArmFsWorkload(object_file=options.program)
    built.cpus[0].createThreads()
    Root(full_system=True, system=built.system)
    m5.instantiate()
    event = m5.simulate(options.max_ticks)
    print(f"sailsim-gem5: {event.getCause()} at {m5.curTick()} ps, exit status {event.getCode()}")
    sys.exit(0 if event.getCause() == "m5_exit instruction encountered" else 3)


if __name__ == "__m5_main__":
    main(sys.argv[1:])
