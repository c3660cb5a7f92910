# SPDX-License-Identifier: BSD-3-Clause
"""Runs an AArch64 program on a machine of a system file, in gem5's syscall emulation.

gem5.opt run_program.py --system machine.json --cores 4 -- build/kernels/lutmm_driver --trace t.trace
"""

import argparse
import sys

import m5
import machine
from core import CPU_MODELS
from m5.objects import Process, Root, SEWorkload


def parse(arguments):
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", required=True, help="plain JSON of a system file")
    parser.add_argument("--cpu", choices=sorted(CPU_MODELS), default="o3", help="model of the cores")
    parser.add_argument(
        "--cores", type=int, default=1, help="cores, 1..64; a program's threads take one each"
    )
    parser.add_argument("--no-pim", action="store_true", help="the same machine without PIM units")
    parser.add_argument("--units", type=int, help="PIM units; default: one a slice")
    parser.add_argument("--memory", default="2GiB", help="simulated memory")
    parser.add_argument("--capacity-mode", action="store_true", help="idle arrays extend their slice")
    parser.add_argument(
        "--max-ticks", type=int, default=m5.MaxTick, help="give up after this simulated time (ps)"
    )
    parser.add_argument("program", nargs="+", help="the program and its arguments")
    return parser.parse_args(arguments)


def main(arguments):
    """Build, run and say how it ended."""
    options = parse(arguments)
    spec = machine.load(options.system)
    built = machine.build(
        spec,
        cpu=options.cpu,
        cores=options.cores,
        pim=not options.no_pim,
        units=options.units,
        memory=options.memory,
        capacity_mode=options.capacity_mode,
    )
    built.system.workload = SEWorkload.init_compatible(options.program[0])
    process = Process(cmd=options.program)
    for cpu in built.cpus:
        cpu.workload = process
        cpu.createThreads()
    Root(full_system=False, system=built.system)
    m5.instantiate()
    if built.units:
        process.map(
            machine.DOORBELL_VIRTUAL,
            machine.DOORBELL_PHYSICAL,
            machine.DOORBELL_STRIDE * len(built.units),
            False,
        )
    event = m5.simulate(options.max_ticks)
    print(f"sailsim-gem5: {event.getCause()} at {m5.curTick()} ps, exit status {event.getCode()}")
    m5.stats.dump()
    if event.getCause() != "exiting with last active thread context":
        sys.exit(3)
    sys.exit(event.getCode())


if __name__ == "__m5_main__":
    main(sys.argv[1:])
