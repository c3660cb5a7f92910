# SPDX-License-Identifier: BSD-3-Clause
"""A board of gem5's standard library with PIM units, for any AArch64 program that uses LUTMM.

gem5.opt example_board.py machine.json --model o3 -- build/kernels/lutmm_driver --trace layer.trace

It prints the time of each work item of the program, for example to compare memories (--memory).
"""

import argparse
import sys

import hierarchy
import m5
from gem5.components.boards.simple_board import SimpleBoard
from gem5.components.memory.hbm import HBM2Stack
from gem5.components.memory.multi_channel import DualChannelDDR4_2400
from gem5.components.memory.single_channel import DIMM_DDR5_6400
from gem5.resources.resource import BinaryResource
from gem5.simulate.exit_event import ExitEvent
from gem5.simulate.simulator import Simulator
from sail_board import SailCacheHierarchy, sail_processor

MEMORIES = {"ddr4": DualChannelDDR4_2400, "ddr5": DIMM_DDR5_6400, "hbm2": HBM2Stack}


def work_items():
    """Handle the begin and end of each work item; the program itself resets and dumps statistics there."""
    while True:
        began = m5.curTick()
        yield False  # continue the simulation
        print(f"a part of {(m5.curTick() - began) / 1e6:.2f} us", flush=True)
        yield False


def main(arguments):
    """Build the board, run the program to its end and print the time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("machine", help="plain JSON of a system file, from `sailsim gem5 machine`")
    parser.add_argument("--memory", choices=sorted(MEMORIES), default="ddr4")
    parser.add_argument("--model", default="o3", help="model of the cores: atomic, timing, minor, o3")
    parser.add_argument("--cores", type=int, default=1, help="cores; each thread of a program takes one")
    parser.add_argument("--units", type=int, help="PIM units; default: one per slice")
    parser.add_argument("program", nargs="+", help="the program and its arguments")
    options = parser.parse_args(arguments)
    spec = hierarchy.load(options.machine)
    board = SimpleBoard(
        clk_freq=f"{spec['cores']['clock']}GHz",
        processor=sail_processor(spec, options.cores, options.model),
        memory=MEMORIES[options.memory](size="1GiB"),
        cache_hierarchy=SailCacheHierarchy(spec, options.units),
    )
    board.set_se_binary_workload(BinaryResource(options.program[0]), arguments=options.program[1:])
    items = work_items()
    simulator = Simulator(board=board, on_exit_event={ExitEvent.WORKBEGIN: items, ExitEvent.WORKEND: items})
    simulator.run()
    print(f"{simulator.get_last_exit_event_cause()} at {simulator.get_current_tick()} ps", flush=True)


if __name__ == "__m5_main__":
    main(sys.argv[1:])
