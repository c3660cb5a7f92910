# SPDX-License-Identifier: BSD-3-Clause
"""Runs an AArch64 program on a machine of a system file, in gem5's syscall emulation.

gem5.opt run_program.py --system machine.json --cores 4 -- build/kernels/lutmm_driver --trace t.trace

Parts of a long program, as for SimPoint, are three kinds of runs: with --simpoint-interval for its
basic-block vectors, which the SimPoint tool groups; with --checkpoint where the chosen intervals begin; and
from each of these with --restore and --until on the cores that are of interest. The first two need one atomic
core, which counts exactly. --checkpoint and --until are numbers of instructions of the first core; --until
5000ps gives up at a simulated time.
"""

import sys
import time
from pathlib import Path

import checkpoints
import hierarchy
import m5
import machine
import preload
from core import CPU_MODELS
from m5.objects import Process, RedirectPath, Root, SEWorkload
from m5.util.convert import toMemorySize

REACHED = "instructions for a checkpoint"
STOPPED = "instructions of --until"
ENDS = ("exiting with last active thread context", STOPPED)
"""Causes of an end that was asked for."""
LATER = "core of the later model ran any of it"


def parse(arguments):
    """The options."""
    parser = machine.parser(__doc__.splitlines()[0])
    parser.add_argument(
        "--cpu",
        default="o3",
        help=f"model of the cores: {', '.join(CPU_MODELS)}. atomic,o3: the second one in the program's "
        "work items (its --m5); atomic,o3,5000: from so many ps behind the first one's begin",
    )
    parser.add_argument("--cores", type=int, default=1, help="1..64; a program's threads take one each")
    parser.add_argument(
        "--empty-caches",
        action="store_true",
        help="where the second model takes over, caches hold no data: for a program without the part of the "
        "work that would have passed through them by then",
    )
    parser.add_argument(
        "--preload",
        metavar="FILE",
        help=f"put a file's bytes at address {preload.ADDRESS:#x} of the program before it starts",
    )
    parser.add_argument(
        "--simpoint-interval",
        type=int,
        help="write a basic-block vector of every so many instructions into simpoint.bb",
    )
    parser.add_argument("program", nargs="+", help="the program and its arguments")
    return parser.parse_args(arguments)


def running(built, options, memory):
    """What a checkpoint of this run is of."""
    path, *words = options.program
    return {
        "command": "run",
        "program": checkpoints.digest(path),
        "words": [Path(path).name, *words],
        "cores": options.cores,
        "units": len(built.units),
        "memory": toMemorySize(memory),
    }


def simulate(built, options, of, until, later_by):
    """Run to the end, changing the cores' model on the way if asked to; the last exit event."""
    places, first, later = list(options.checkpoint), built.cpus, built.later_cpus

    def run(until):
        event = m5.simulate(until - m5.curTick())
        while event.getCause() in ("workend", "checkpoint", REACHED):
            if event.getCause() == "workend":
                tell("ends")
                if not later_by:
                    change_cores(built, later, first)
            else:
                reached = event.getCause() == REACHED
                checkpoints.write(f"instruction-{places.pop(0)}" if reached else m5.curTick(), of)
            event = m5.simulate(until - m5.curTick())
        return event

    event = run(until)
    if event.getCause() == "workbegin":
        tell("begins")
        event = run(m5.curTick() + later_by) if later_by else event
        if event.getCause() in ENDS:
            preload.give_up(f"the program ended before --cpu {options.cpu} changed: no {LATER}")
        if event.getCause() not in ("workbegin", "simulate() limit reached"):
            return event
        m5.stats.dump()  # of the part up to here
        m5.stats.reset()
        change_cores(built, first, later, options.empty_caches)
        event = run(until)
    elif built.later_cpus and event.getCause() in ENDS:
        preload.give_up(
            f"the program ended without a work item, which --cpu {options.cpu} waits for: no {LATER}"
        )
    while event.getCause() == "workbegin":
        if not later_by:
            change_cores(built, first, later)
        event = run(until)
    if places:
        preload.give_up(f"{event.getCause()}, before instruction {places[0]} of --checkpoint")
    return event


def tell(what):
    """Say what the host has spent until a border of the measured part (`Gem5Run` reads it)."""
    preload.say(f"measured part {what} after {time.process_time():.2f} s of processor time")


def change_cores(built, cores, others, empty=False):
    """Cores of another model take over from those that run, each with its predecessor's thread; perhaps with
    `empty` caches."""
    if cores[0].switchedOut():
        return
    pairs = list(zip(cores, others, strict=True))
    for old, new in pairs:
        built.system.workload.hand_over(old.getCCObject(), new.getCCObject())
    m5.switchCpus(built.system, pairs)
    if empty:
        empty_caches(built.system)


def empty_caches(system):
    """Write back what the caches of data hold, and drop it; code stays in the first level."""
    kinds = (system.l1d, system.l2, system.llc, getattr(system, "unit_caches", []))
    caches = [each for kind in kinds for each in kind]
    for each in caches:
        each.memWriteback()
    for each in caches:
        each.memInvalidate()


def make_process(system, program):
    """The process of a program and its arguments, which sees its file's name and never where it lies.

    The first argument lies in the stack and what /proc/self/exe tells is copied to the heap: the length of a
    path would move what comes after, and times by some percent.
    """
    path, *words = program
    name = Path(path).name
    own = Path(m5.options.outdir).resolve() / "proc-self"  # gem5 redirects folders, not files
    own.mkdir(exist_ok=True)
    (own / "exe").unlink(missing_ok=True)
    (own / "exe").symlink_to(f"/{name}")
    system.redirect_paths = [RedirectPath(app_path="/proc/self", host_paths=[str(own)])]
    return Process(executable=path, cmd=[name, *words])


def main(arguments):
    """Build, run and say how it ended."""
    options = parse(arguments)
    spec = hierarchy.load(options.system)
    cpu, later, later_by = (*options.cpu.split(","), "", "")[:3]
    if options.empty_caches and not later:
        preload.give_up(f"--empty-caches is given with --cpu {cpu}; allowed beside it is one like atomic,o3")
    count = not options.until.endswith("ps") and int(options.until)
    until = m5.MaxTick if count else int(options.until.removesuffix("ps"))
    file = preload.plan(options.preload, options.memory) if options.preload else None
    how = machine.asked(options)
    if file:
        how |= {"memory": f"{file.start + file.size}B", "shared_memory": f"/{preload.SEGMENT}"}
    built = machine.build(spec, cpu=cpu, later_cpu=later, cores=options.cores, **how)
    built.system.workload = SEWorkload.init_compatible(options.program[0])
    if built.units or built.later_cpus:
        hierarchy.emulate_linux(built.system)
    process = make_process(built.system, options.program)
    for each in built.cpus + built.later_cpus:
        each.workload = process
        each.createThreads()
    Root(full_system=False, system=built.system)
    built.system.exit_on_work_items = bool(built.later_cpus)
    if options.simpoint_interval:
        built.cpus[0].addSimPointProbe(options.simpoint_interval)
        built.cpus[0].probeListener.profile_file = "simpoint.bb"
    of = running(built, options, how["memory"])
    checkpoints.instantiate(options.restore, of, until)
    # An atomic core looks before an instruction and stops behind it; the others look where they commit.
    early = 1 if cpu == "atomic" else 0
    for place in options.checkpoint:
        built.cpus[0].scheduleInstStop(0, place - early, REACHED)
    if count:
        built.cpus[0].scheduleInstStop(0, count - early, STOPPED)
    if built.units and not options.restore:
        hierarchy.map_doorbells(process)
    if file:
        preload.place(file, process)
    event = simulate(built, options, of, until, int(later_by or 0))
    preload.say(f"sailsim-gem5: {event.getCause()} at {m5.curTick()} ps, exit status {event.getCode()}")
    m5.stats.dump()
    sys.exit(event.getCode() if event.getCause() in ENDS else 3)


if __name__ == "__m5_main__":
    main(sys.argv[1:])
