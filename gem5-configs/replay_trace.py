# SPDX-License-Identifier: BSD-3-Clause
"""Replays a trace of descriptors on a machine's PIM units without a core.

    gem5.opt replay_trace.py --system machine.json --trace layer.trace

Writes one line a tile to tiles.csv in gem5's output directory. Exit status 1: a result differs from the
trace's, or a descriptor was refused.
"""

import argparse
import sys

import checkpoints
import hierarchy
import m5
import machine
from m5.objects import PyTrafficGen, Root, SailReplayer, SrcClockDomain
from m5.util.convert import toMemorySize
from preload import give_up

# The trace's image in physical memory.
IMAGE = 1 << 20


def numbers(text):
    """Whole numbers with commas between them."""
    return [int(word) for word in text.split(",")]


def parse(arguments):
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", required=True, help="plain JSON of a system file")
    parser.add_argument("--trace", required=True, help="trace file (docs/contract.md)")
    parser.add_argument("--units", type=int, help="PIM units; default: one a slice")
    parser.add_argument("--window", type=int, default=0, help="descriptors under way at most; 0: no limit")
    parser.add_argument(
        "--phase-ends",
        type=numbers,
        default=[],
        help="ascending numbers of descriptors with commas: those from one on wait for all before it",
    )
    parser.add_argument(
        "--stream", type=int, default=0, help="cores' worth of reading streams beside the replay"
    )
    parser.add_argument("--stream-gb-s", type=float, default=4.0, help="what each stream asks for")
    parser.add_argument(
        "--stream-times",
        choices=("in-step", "random"),
        default="in-step",
        help="streams ask for a line each period, all at once; or after a time of 0 to 2 periods",
    )
    parser.add_argument(
        "--stream-offset", type=int, default=0, help="bytes by which streams begin later: other banks"
    )
    parser.add_argument("--memory", default="2GiB", help="simulated memory")
    parser.add_argument("--capacity-mode", action="store_true", help="idle arrays extend their slice")
    parser.add_argument(
        "--max-ticks", type=int, default=m5.MaxTick, help="give up after this simulated time (ps)"
    )
    parser.add_argument("--checkpoint", help="write a checkpoint here at --checkpoint-tick, and go on")
    parser.add_argument(
        "--checkpoint-tick", type=int, default=0, help="simulated time of the checkpoint (ps)"
    )
    parser.add_argument("--restore", help="go on from this checkpoint")
    return parser.parse_args(arguments)


def start_streams(streams, size, options):
    """Each stream reads the lines of its own part of the upper half of memory, round and round."""
    part = size // 2 // max(1, len(streams)) // 4096 * 4096
    period = round(64 / options.stream_gb_s * 1000)  # ps from line to line, in the mean
    least, most = (period, period) if options.stream_times == "in-step" else (0, 2 * period)
    for i, stream in enumerate(streams):
        # Equal distances of a power of two would put all streams into one bank, which controllers of real
        # machines avoid by hashing: a DRAM row over all channels apart.
        first = size // 2 + i * part + i * (64 << 10) + options.stream_offset
        stream.start(
            iter([stream.createLinear(m5.MaxTick, first, first + part // 2 - 1, 64, least, most, 100, 0)])
        )


def replaying(built, options):
    """What a checkpoint of this replay is of: units may be in the middle of tiles, so the whole machine."""
    return {
        "command": "replay",
        "trace": checkpoints.digest(options.trace),
        "machine": checkpoints.digest(options.system),
        "units": len(built.units),
        "order": options.phase_ends,
        "streams": options.stream,
        "stream_offset": options.stream_offset,
        "capacity_mode": options.capacity_mode,
        "memory": toMemorySize(options.memory),
    }


def take_checkpoint(options, of):
    """Simulate up to --checkpoint-tick and write the checkpoint."""
    if options.checkpoint_tick <= m5.curTick():
        give_up(f"--checkpoint-tick is {options.checkpoint_tick}, and {m5.curTick()} ps are over")
    event = m5.simulate(options.checkpoint_tick - m5.curTick())
    if event.getCause() != "simulate() limit reached":
        give_up(f"the replay ended at {m5.curTick()} ps, before --checkpoint-tick {options.checkpoint_tick}")
    checkpoints.write(options.checkpoint, of)


def main(arguments):
    """Build, run and say how it ended."""
    options = parse(arguments)
    spec = hierarchy.load(options.system)
    built = machine.build(
        spec, cpu=None, units=options.units, memory=options.memory, capacity_mode=options.capacity_mode
    )
    system = built.system
    # A period of whole picoseconds, so that ticks of the report are easy to read.
    system.replay_clock = SrcClockDomain(clock="2GHz", voltage_domain=system.voltage)
    system.replayer = SailReplayer(
        clk_domain=system.replay_clock,
        trace=options.trace,
        image_addr=IMAGE,
        doorbell_addr=hierarchy.DOORBELL_PHYSICAL,
        units=len(built.units),
        window=options.window,
        phase_ends=options.phase_ends,
        port=system.mesh.cpu_side_ports,
    )
    streams = []
    if options.stream:  # generators that read as cores do which stream through memory
        streams = [PyTrafficGen(max_outstanding_reqs=spec["l2"]["mshrs"]) for _ in range(options.stream)]
        system.streams = streams
        for stream in streams:
            stream.port = system.mesh.cpu_side_ports
    Root(full_system=False, system=system)
    of = replaying(built, options)
    checkpoints.instantiate(options.restore, of, options.max_ticks)
    start_streams(streams, system.mem_ranges[0].size(), options)
    if options.checkpoint:
        take_checkpoint(options, of)
    event = m5.simulate(options.max_ticks - m5.curTick())
    print(f"sailsim-gem5: {event.getCause()} at {m5.curTick()} ps, exit status {event.getCode()}")
    if not event.getCause().startswith("replay done"):
        sys.exit(3)
    sys.exit(event.getCode())


if __name__ == "__m5_main__":
    main(sys.argv[1:])
