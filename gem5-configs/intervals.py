# SPDX-License-Identifier: BSD-3-Clause
"""Parts of a long program: how it spends its instructions, checkpoints on the way, a run of only so many.

A SimPoint study is three kinds of runs of one program: with `--simpoint-interval` for its basic-block
vectors, which the SimPoint tool groups; with `--checkpoint-at` where the chosen intervals begin; and from
each of these with `--restore` and `--stop-after` on the cores that are of interest. The first two need one
atomic core, which counts exactly.
"""

from pathlib import Path

import checkpoints
import m5

REACHED = "instructions for a checkpoint"
STOPPED = "instructions of --stop-after"
ENDS = ("exiting with last active thread context", STOPPED)
"""Causes of an end that was asked for."""


def add_options(parser):
    """The options of this module."""
    parser.add_argument(
        "--simpoint-interval",
        type=int,
        help="write a basic-block vector of every so many instructions into simpoint.bb",
    )
    parser.add_argument(
        "--checkpoint-at",
        help="write checkpoints after these numbers of instructions, ascending with commas, and go on",
    )
    parser.add_argument("--stop-after", type=int, help="end after so many instructions of the first core")


def places_of(options):
    """The numbers of instructions at which checkpoints are to be written."""
    return [int(word) for word in (options.checkpoint_at or "").split(",") if word]


def watch(built, options):
    """Have the first core profiled, as asked for; before `m5.instantiate`."""
    if options.simpoint_interval:
        core = built.cpus[0]
        core.addSimPointProbe(options.simpoint_interval)
        core.probeListener.profile_file = "simpoint.bb"


def schedule(built, options):
    """Have the simulation stop where something is to be done; after `m5.instantiate`."""
    core = built.cpus[0]
    # An atomic core looks before an instruction and stops behind it; the others look where they commit.
    early = 1 if options.cpu == "atomic" else 0
    for place in places_of(options):
        core.scheduleInstStop(0, place - early, REACHED)
    if options.stop_after:
        core.scheduleInstStop(0, options.stop_after - early, STOPPED)


def checkpoint(name, of):
    """A checkpoint beside the run's other files, of what `of` says; then the simulation goes on."""
    folder = Path(m5.options.outdir) / "checkpoints" / name
    checkpoints.write(folder, of)
    print(f"checkpoint at {m5.curTick()} ps in {folder}", flush=True)
