# SPDX-License-Identifier: BSD-3-Clause
"""Replays a trace of descriptors on a machine's PIM units without a core.

    gem5.opt replay_trace.py --system machine.json --trace layer.trace

Writes one line a tile to tiles.csv in gem5's output directory. Exit status 1: a result differs from the
trace's, or a descriptor was refused.
"""

import sys

import checkpoints
import hierarchy
import m5
import machine
from m5.objects import PyTrafficGen, Root, SailReplayer, SrcClockDomain
from m5.util.convert import toMemorySize
from preload import give_up

IMAGE = 1 << 20  # where the trace's image lies in physical memory
LINE = 64


def parse(arguments):
    """Parse the options."""
    parser = machine.parser(__doc__.splitlines()[0])
    parser.add_argument("--trace", required=True, help="trace file (docs/contract.md)")
    parser.add_argument(
        "--phase-ends",
        type=machine.numbers,
        default=[],
        help="ascending numbers of descriptors with commas; each starts a phase, which waits for the last",
    )
    parser.add_argument(
        "--streams",
        default="0",
        help="streams of reads during the replay, then with colons: GB/s of each (4); arrival in-step (a "
        "line each period, all at once) or random (after 0 to 2 periods); offset in bytes (0)",
    )
    return parser.parse_args(arguments)


def start_streams(streams, size, speed="4", times="in-step", offset="0"):
    """Start streams that each read the lines of a part of the upper half of memory, again and again."""
    part = size // 2 // max(1, len(streams)) // 4096 * 4096
    period = round(LINE / float(speed) * 1000)  # mean ps from line to line
    least, most = (0, 2 * period) if times == "random" else (period, period)
    for i, stream in enumerate(streams):
        # Equal distances of a power of two would put all streams into one bank, which controllers of real
        # machines avoid by hashing: a DRAM row over all channels apart.
        first = size // 2 + i * part + i * (64 << 10) + int(offset)
        last = first + part // 2 - 1
        stream.start(iter([stream.createLinear(m5.MaxTick, first, last, LINE, least, most, 100, 0)]))


def identity(built, options):
    """Identity of this replay for checkpoints, with the whole machine, as units may be in the middle of
    tiles."""
    return {
        "command": "replay",
        "trace": checkpoints.digest(options.trace),
        "machine": checkpoints.digest(options.system),
        "units": len(built.units),
        "order": options.phase_ends,
        "streams": options.streams,
        "capacity_mode": options.capacity_mode,
        "memory": toMemorySize(options.memory),
    }


def take_checkpoint(tick, run):
    """Simulate up to a tick and write the checkpoint."""
    if tick <= m5.curTick():
        give_up(f"--checkpoint is {tick}, and {m5.curTick()} ps are over")
    event = m5.simulate(tick - m5.curTick())
    if event.getCause() != "simulate() limit reached":
        give_up(f"the replay ended at {m5.curTick()} ps, before --checkpoint {tick}")
    checkpoints.write(tick, run)


def main(arguments):
    """Build the machine, replay the trace and print the end."""
    options = parse(arguments)
    spec, until = hierarchy.load(options.system), int(options.until.removesuffix("ps"))
    built = machine.build(spec, **machine.build_options(options))
    system = built.system
    # A period of whole picoseconds, so that ticks of the report are easy to read.
    system.replay_clock = SrcClockDomain(clock="2GHz", voltage_domain=system.voltage)
    system.replayer = SailReplayer(
        clk_domain=system.replay_clock,
        trace=options.trace,
        image_addr=IMAGE,
        doorbell_addr=hierarchy.DOORBELL_PHYSICAL,
        units=len(built.units),
        phase_ends=options.phase_ends,
        port=system.mesh.cpu_side_ports,
    )
    count, *pattern = options.streams.split(":")
    # Generators with the outstanding reads of a core that streams through memory.
    streams = [PyTrafficGen(max_outstanding_reqs=spec["l2"]["mshrs"]) for _ in range(int(count))]
    if streams:
        system.streams = streams
    for stream in streams:
        stream.port = system.mesh.cpu_side_ports
    Root(full_system=False, system=system)
    run = identity(built, options)
    checkpoints.instantiate(options.restore, run, until)
    start_streams(streams, system.mem_ranges[0].size(), *pattern)
    for tick in options.checkpoint:
        take_checkpoint(tick, run)
    event = m5.simulate(until - m5.curTick())
    print(f"sailsim-gem5: {event.getCause()} at {m5.curTick()} ps, exit status {event.getCode()}")
    sys.exit(event.getCode() if event.getCause().startswith("replay done") else 3)


if __name__ == "__m5_main__":
    main(sys.argv[1:])
