"""`sailsim gem5 run` and `replay`, one program or one trace, and `machine`, what they run on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sailsim.base.atomic import write_whole
from sailsim.base.errors import SailsimError
from sailsim.base.input_file import sha256_of
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._table import echo, say
from sailsim.cli.gem5.options import (
    TICKS,
    as_json_option,
    gem5,
    with_gem5,
    with_machine_options,
    with_run,
    words_of,
)
from sailsim.lut_gemv.trace import Trace, decode_tile, read_trace
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import (
    BASIC_BLOCK_VECTORS,
    CPU_MODELS,
    Gem5,
    Gem5Run,
    machine_json,
)
from sailsim.sim.gem5.binary import extras_path as extras_folder
from sailsim.sim.gem5.records import run_or_load
from sailsim.sim.gem5.replay import ORDERS, both_timelines, phase_times, phases_of

CHECKPOINT_FILES = ("m5.cpt", "sailsim.json")
"""Of gem5-configs/checkpoints.py: gem5's state of all objects, and the note of what they are of."""
FEWEST = 2
"""Instructions after which an atomic core can be stopped at the earliest; asked for one, gem5 runs none."""


@gem5.command()
@click.argument("name", default="sail-n1")
@click.option("--out", type=PathOption(dir_okay=False), help="Write it to this file.")
@click.option("--check", is_flag=True, help="Say instead which gem5 is found, and whether it has the module.")
@click.option(
    "--extras-path", is_flag=True, help="Print instead the folder that gem5's build takes as EXTRAS."
)
@with_gem5
@as_json_option
def machine(
    name: str, out: Path | None, check: bool, extras_path: bool, binary: str | None, as_json: bool
) -> None:
    """Print machine NAME as the JSON that gem5's scripts take, sailsim's and yours (docs/gem5.md)."""
    if extras_path:
        echo(str(extras_folder()))
    elif check:
        simulator = Gem5(binary)
        answer = {"path": str(simulator.path), "version": simulator.version, "compiled": simulator.compiled}
        if as_json:
            print_json(answer)
        else:
            say(
                f"gem5 {simulator.version} with sailsim's module, compiled {simulator.compiled}: "
                f"{simulator.path}"
            )
    elif out is None:
        echo(machine_json(load_system(name)))
    else:
        write_whole(out, machine_json(load_system(name)).encode())


def _ascending(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    """Numbers of instructions, each above the one before."""
    if text is None:
        return None
    words = text.split(",")
    places = [int(word) if word.isdecimal() else 0 for word in words]
    rising = all(before < after for before, after in zip([FEWEST - 1, *places], places, strict=False))
    if not rising or places[-1] >= 2**63:
        raise SailsimError(
            f"checkpoint-at is {text!r}; allowed are numbers of instructions from {FEWEST}, each above the "
            "one before, with commas."
        )
    return ",".join(map(str, places))


@gem5.command(context_settings={"ignore_unknown_options": True})
@with_run()
@click.option("--cpu", type=click.Choice(CPU_MODELS), default="o3", show_default=True, help="Core model.")
@click.option("--cores", type=int, default=1, show_default=True, help="Cores, 1..64.")
@click.option("--no-pim", is_flag=True, help="The same machine without PIM units.")
@click.option(
    "--start-with", type=click.Choice(CPU_MODELS), help="Core model up to the program's first work item."
)
@click.option(
    "--switch-after",
    type=click.IntRange(0, 2**63 - 1),
    help="Change to --cpu only so much later: simulated ps.",
)
@with_machine_options
@click.option(
    "--simpoint-interval",
    type=TICKS,
    help=f"Write a basic-block vector of every so many instructions: {BASIC_BLOCK_VECTORS}.",
)
@click.option(
    "--checkpoint-at",
    callback=_ascending,
    help="Write checkpoints after these numbers of instructions: 100000,2500000.",
)
@click.option(
    "--stop-after",
    type=click.IntRange(FEWEST, 2**63 - 1),
    help="End after so many instructions of the first core.",
)
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    binary: str | None,
    machine: str,
    cpu: str,
    cores: int,
    no_pim: bool,
    out: Path,
    timeout: float,
    as_json: bool,
    program: tuple[str, ...],
    **options: Any,
) -> None:
    """Run an AArch64 PROGRAM with its arguments (after --) on a machine's cores and PIM units.

    Checkpoints, of m5_checkpoint or --checkpoint-at, lie in the run's folder, and so do basic-block vectors.
    """
    _require_possible(options, cpu, cores, no_pim)
    simulator, system, extra = Gem5(binary), load_system(machine), words_of(options)
    point = {
        "command": "run",
        "system": machine,
        "cpu": cpu,
        "cores": cores,
        "pim": not no_pim,
        "program": list(program),
        "files": [sha256_of(Path(word), "file") for word in program if Path(word).is_file()],
        "options": shlex.join(extra),
        **_restored(options["restore"]),
    }
    folder = _folder(out, point)

    def simulate() -> dict[str, Any]:
        done = simulator.run(
            system, program, folder, cpu=cpu, cores=cores, pim=not no_pim, timeout_s=timeout, extra=extra
        )
        return {
            **_columns(done),
            "program_output": [json.dumps(line) for line in done.json_lines],
            "checkpoints": [str(path) for path in done.checkpoints],
            "basic_block_vectors": done.basic_block_vectors,
        }

    def whole(record: dict[str, Any]) -> bool:
        """Whether the files that the run wrote for other runs are still there."""
        vectors = [folder / BASIC_BLOCK_VECTORS] if record["basic_block_vectors"] else []
        return all(path.exists() for path in [*vectors, *map(Path, record["checkpoints"])])

    record = run_or_load(out, point, system, simulator, simulate, whole=whole)
    if as_json:
        print_json(record)
    else:
        for line in record["program_output"]:
            echo(line)
        for checkpoint in record["checkpoints"]:
            say(f"checkpoint in {checkpoint}")
        if record["basic_block_vectors"]:
            say(f"{record['basic_block_vectors']} basic-block vectors in {folder / BASIC_BLOCK_VECTORS}")
        say(f"exit status {record['status']} after {record['ticks'] / 1e6:.3f} us simulated, {folder}")
    if record["status"] != 0:
        raise click.exceptions.Exit(1)


def _require_possible(options: Mapping[str, Any], cpu: str, cores: int, no_pim: bool) -> None:
    """Raise SailsimError where options of a run contradict each other."""
    if options["switch_after"] and not options["start_with"]:
        raise SailsimError(
            "switch-after is given without start-with; allowed beside it is a model to start with."
        )
    if options["stop_after"] is not None and options["start_with"] is not None:
        raise SailsimError(
            "stop-after is given beside start-with; allowed is a run on one core model, as from a checkpoint."
        )
    for name in ("units", "capacity_mode"):
        if no_pim and options[name]:
            raise SailsimError(
                f"{name.replace('_', '-')} is given beside no-pim; allowed is one of them: that machine has "
                "no PIM units."
            )
    for name in ("simpoint_interval", "checkpoint_at"):  # count instructions exactly, from the start
        if options[name] is None:
            continue
        option = name.replace("_", "-")
        if cpu != "atomic" or cores != 1:
            raise SailsimError(
                f"{option} is given with {cores} {cpu} cores; allowed is one atomic core, which counts "
                "instructions exactly."
            )
        for other in ("start_with", "restore"):
            if options[other] is not None:
                raise SailsimError(
                    f"{option} is given beside {other.replace('_', '-')}; allowed is a program that one "
                    "atomic core runs from its start."
                )


def _columns(done: Gem5Run) -> dict[str, Any]:
    """What is stored of a run: how it ended, and its totals."""
    ended = {"status": done.status, "ticks": done.ticks, "host_s": done.host_s, "folder": str(done.folder)}
    return ended | done.totals()


def _restored(checkpoint: Path | None) -> dict[str, list[str]]:
    """What a result says of the checkpoint that it went on from: what is in it, not where it lies.

    Raises SailsimError where the folder holds none of `sailsim gem5`.
    """
    if checkpoint is None:
        return {}
    for name in CHECKPOINT_FILES:
        if not (checkpoint / name).is_file():
            raise SailsimError(
                f"restore is {checkpoint}, which is no checkpoint of sailsim gem5: it has no {name}."
            )
    return {"restored": [sha256_of(checkpoint / name, "file") for name in CHECKPOINT_FILES]}


def _folder(out: Path, point: Mapping[str, Any]) -> Path:
    """The folder of one run among the results."""
    name = sha256(json.dumps(point, sort_keys=True).encode()).hexdigest()[:12]
    return (out / f"{point['command']}-{name}").resolve()


def _speed(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    """What a stream asks for, in GB/s: gem5 counts whole picoseconds from line to line."""
    if value is not None and not 0.001 <= value <= 1000:
        raise SailsimError(f"stream-gb-s is {value:g}; allowed are 0.001 to 1000.")
    return value


@gem5.command()
@with_run()
@click.argument("trace", type=PathOption(exists=True, dir_okay=False))
@click.option(
    "--window",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Descriptors under way; 0: no limit.",
)
@click.option(
    "--stream", type=click.IntRange(0, 64), help="Cores' worth of reading streams beside the replay."
)
@click.option("--stream-gb-s", type=float, callback=_speed, help="What each stream asks for; default: 4.")
@click.option(
    "--checkpoint", type=PathOption(), help="Write a checkpoint here at --checkpoint-tick, and go on."
)
@click.option("--checkpoint-tick", type=TICKS, help="When: simulated ps.")
@click.option(
    "--order",
    type=click.Choice(ORDERS),
    help="What waits for what before it: every tensor, or as in a decode step; default: nothing.",
)
@click.option(
    "--timeline",
    type=int,
    help="Of this tile alone: draw when each group loads, builds, looks up and converts.",
)
@with_machine_options
def replay(
    binary: str | None,
    machine: str,
    trace: Path,
    window: int,
    out: Path,
    timeout: float,
    as_json: bool,
    timeline: int | None,
    **options: Any,
) -> None:
    """Replay a TRACE of descriptors on a machine's PIM units, without a core, and check every result.

    --timeline replays one tile in gem5 and the fast engine instead and draws it into timeline.png in the
    folder of the results. The engine's groups are those of `time_tile`, memory "dram".
    """
    if timeline is not None:
        _require_alone("timeline")
        _draw_timeline(binary, machine, read_trace(trace), timeline, out, timeout, as_json)
        return
    if (options["checkpoint"] is None) != (options["checkpoint_tick"] is None):
        raise SailsimError(
            "checkpoint and checkpoint-tick are given one without the other; allowed are both."
        )
    if options["stream_gb_s"] and not options["stream"]:
        raise SailsimError("stream-gb-s is given without stream; allowed beside it is a number of streams.")
    if options["checkpoint"] and (options["max_ticks"] or 2**63) <= options["checkpoint_tick"]:
        raise SailsimError(
            f"checkpoint-tick is {options['checkpoint_tick']} and max-ticks {options['max_ticks']}; allowed "
            "is a checkpoint before the end."
        )
    simulator, system = Gem5(binary), load_system(machine)
    order = options["order"]
    phases = phases_of(read_trace(trace).header["tiles"], order) if order else []
    ends = ",".join(str(phase.end) for phase in phases) or None
    extra = words_of({**options, "order": None, "phase_ends": ends, "window": window or None})
    point = {
        "command": "replay",
        "system": machine,
        "trace": sha256_of(trace, "file"),
        "units": options["units"] or system.llc.slices.whole,
        "window": window,
        "options": shlex.join(words_of(options)),
        **_restored(options["restore"]),
    }
    folder, checkpoint = _folder(out, point), options["checkpoint"]

    def simulate() -> dict[str, Any]:
        done = simulator.replay(system, trace, folder, timeout_s=timeout, extra=extra)
        tiles = done.tiles()
        return {
            **_columns(done),
            "tiles": len(tiles),
            "good_tiles": sum(tile["good"] for tile in tiles),
            "longest_cycles": max((tile["cycles"] for tile in tiles), default=0),
            "phases": [json.dumps(row) for row in phase_times(phases, tiles)],
        }

    def whole(_: dict[str, Any]) -> bool:
        return checkpoint is None or checkpoint.is_dir()

    record = run_or_load(out, point, system, simulator, simulate, whole=whole)
    if as_json:
        print_json(record)
    else:
        for line in record["phases"]:
            row = json.loads(line)
            start, end = row["start_ps"] / 1e6, row["end_ps"] / 1e6
            say(f"{start:10.3f} .. {end:10.3f} us  {row['tiles']:4d} tiles  {row['name']}")
        say(
            f"{record['good_tiles']} of {record['tiles']} tiles as expected, {record['ticks'] / 1e6:.3f} us "
            f"simulated, longest tile {record['longest_cycles']} cycles, {folder}"
        )
    if record["good_tiles"] != record["tiles"]:
        raise click.exceptions.Exit(1)


def _require_alone(option: str) -> None:
    """Raise where an option is given beside others than those that every run of gem5 has."""
    context = click.get_current_context()
    common = {"trace", "binary", "machine", "out", "timeout", "as_json", option}
    for name in context.params:
        if name not in common and context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise SailsimError(
                f"{name.replace('_', '-')} is given beside {option}, whose tile is alone on the machine; "
                "allowed is one of them."
            )


def _draw_timeline(
    binary: str | None, machine: str, trace: Trace, tile: int, out: Path, timeout: float, as_json: bool
) -> None:
    """Write one tile's timelines into timeline.png, and print them."""
    from sailsim.analysis.render.figure import (
        draw,  # matplotlib: only when needed
        save,
    )
    from sailsim.analysis.render.gem5_figures import timeline_figure

    if not 0 <= tile < len(trace):
        raise SailsimError(f"timeline is {tile}; allowed are 0..{len(trace) - 1}, the tiles of {trace.path}.")
    simulator, system = Gem5(binary), load_system(machine)
    timelines = both_timelines(simulator, machine, system, decode_tile(trace, tile), out, timeout)
    path = out / "timeline.png"
    save(draw(timeline_figure(timelines)).drawing, path)
    if as_json:
        print_json({"picture": str(path), "timelines": [vars(each) for each in timelines]})
        return
    for each in timelines:
        say(f"{each.source}: {each.end:,} cycles, {len(each.groups):,} groups")
    echo(str(path))
