# SPDX-License-Identifier: BSD-3-Clause
"""Runs an AArch64 program on a machine of a system file, in gem5's syscall emulation.

gem5.opt run_program.py --system machine.json --cores 4 -- build/kernels/lutmm_driver --trace t.trace

Sampling a long program, as with SimPoint, takes three kinds of runs: with --simpoint-interval for its
basic-block vectors, which the SimPoint tool groups; with --checkpoint at the start of the chosen intervals;
and from each checkpoint with --restore and --until on the cores of interest. The first two need one atomic
core, which counts exactly. --checkpoint and --until are numbers of instructions of the first core; --until
5000ps ends at a simulated time.
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
"""Causes of a regular end."""
LATER = "core of the later model ran any of it"


def parse(arguments):
    """Parse the options."""
    parser = machine.parser(__doc__.splitlines()[0])
    parser.add_argument(
        "--cpu",
        default="o3",
        help=f"model of the cores: {', '.join(CPU_MODELS)}. atomic,o3: the second one in the program's "
        "work items (its --m5); atomic,o3,5000: from 5000 ps after the start of the first work item",
    )
    parser.add_argument("--cores", type=int, default=1, help="1..64; each thread of a program takes one")
    parser.add_argument(
        "--empty-caches",
        action="store_true",
        help="empty the data caches when the second model takes over: for a program without the work that "
        "would have evicted the data",
    )
    parser.add_argument(
        "--preload",
        metavar="FILE",
        help=f"put a file's bytes at address {preload.ADDRESS:#x} of the program before it starts",
    )
    parser.add_argument(
        "--simpoint-interval",
        type=int,
        help="write a basic-block vector for every interval of this many instructions into simpoint.bb",
    )
    parser.add_argument("program", nargs="+", help="the program and its arguments")
    return parser.parse_args(arguments)


def identity(built, options, memory):
    """Identity of this run for checkpoints."""
    path, *words = options.program
    return {
        "command": "run",
        "program": checkpoints.digest(path),
        "words": [Path(path).name, *words],
        "cores": options.cores,
        "units": len(built.units),
        "memory": toMemorySize(memory),
    }


def simulate(built, options, identity_of_run, until, later_by):
    """Run to the end, with a change of the cores' model as the options say; return the last exit event."""
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
                place = f"instruction-{places.pop(0)}" if reached else m5.curTick()
                checkpoints.write(place, identity_of_run)
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
    """Print the processor time up to a border of the measured part, for `Gem5Run`."""
    preload.say(f"measured part {what} after {time.process_time():.2f} s of processor time")


def change_cores(built, cores, others, empty=False):
    """Switch the threads to cores of another model, optionally with `empty` caches."""
    if cores[0].switchedOut():
        return
    pairs = list(zip(cores, others, strict=True))
    for old, new in pairs:
        built.system.workload.hand_over(old.getCCObject(), new.getCCObject())
    m5.switchCpus(built.system, pairs)
    if empty:
        empty_caches(built.system)


def empty_caches(system):
    """Write back and invalidate the data caches; code stays in the first level."""
    kinds = (system.l1d, system.l2, system.llc, getattr(system, "unit_caches", []))
    caches = [each for kind in kinds for each in kind]
    for each in caches:
        each.memWriteback()
    for each in caches:
        each.memInvalidate()


def make_process(system, program):
    """Process of a program and its arguments that sees the file's name without its folder.

    The first argument lies in the stack, and the target of /proc/self/exe is copied to the heap. The length
    of the path would move what follows, and change times by some percent.
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
    """Build the machine, run the program and print the end."""
    options = parse(arguments)
    spec = hierarchy.load(options.system)
    cpu, later, later_by = (*options.cpu.split(","), "", "")[:3]
    if options.empty_caches and not later:
        preload.give_up(
            f"--empty-caches is given with --cpu {cpu}; allowed is it with two models, like atomic,o3"
        )
    count = not options.until.endswith("ps") and int(options.until)
    until = m5.MaxTick if count else int(options.until.removesuffix("ps"))
    file = preload.plan(options.preload, options.memory) if options.preload else None
    settings = machine.build_options(options)
    if file:
        settings |= {"memory": f"{file.start + file.size}B", "shared_memory": f"/{preload.SEGMENT}"}
    built = machine.build(spec, cpu=cpu, later_cpu=later, cores=options.cores, **settings)
    built.system.workload = SEWorkload.init_compatible(options.program[0])
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
    run = identity(built, options, settings["memory"])
    checkpoints.instantiate(options.restore, run, until)
    # An atomic core checks before an instruction and stops after it; the others check at commit.
    early = 1 if cpu == "atomic" else 0
    for place in options.checkpoint:
        built.cpus[0].scheduleInstStop(0, place - early, REACHED)
    if count:
        built.cpus[0].scheduleInstStop(0, count - early, STOPPED)
    if built.units and not options.restore:
        hierarchy.map_doorbells(process)
    if file:
        preload.place(file, process)
    event = simulate(built, options, run, until, int(later_by or 0))
    preload.say(f"sailsim-gem5: {event.getCause()} at {m5.curTick()} ps, exit status {event.getCode()}")
    m5.stats.dump()
    sys.exit(event.getCode() if event.getCause() in ENDS else 3)


if __name__ == "__m5_main__":
    main(sys.argv[1:])
