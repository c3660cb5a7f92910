"""`sailsim gem5 check`, `run` and `replay`: one program or one trace."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click

from sailsim.base.errors import SailsimError
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._table import echo, say
from sailsim.cli.gem5.group import gem5
from sailsim.cli.gem5.intervals import require_exact, with_intervals
from sailsim.cli.gem5.options import (
    TICKS,
    as_json_option,
    with_gem5,
    with_machine_options,
    with_out,
    with_system,
    with_timeout,
    words_of,
)
from sailsim.cli.gem5.records import digest_of, folder_of, record_of, restored
from sailsim.lut_gemv.trace import read_trace
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import CPU_MODELS, Gem5, extras_path
from sailsim.sim.gem5.order import ORDERS, phase_times, phases_of
from sailsim.sim.gem5.outcome import BASIC_BLOCK_VECTORS
from sailsim.sim.gem5.records import run_or_load
from sailsim.sim.study.folder import Store


@gem5.command("extras-path")
def extras_path_() -> None:
    """Print the folder that gem5's build takes as EXTRAS."""
    echo(str(extras_path()))


@gem5.command()
@with_gem5
@as_json_option
def check(binary: str | None, as_json: bool) -> None:
    """Say which gem5 is found, and whether it has sailsim's module."""
    found = Gem5(binary)
    answer = {
        "path": str(found.path),
        "version": found.version,
        "compiled": found.compiled,
    }
    if as_json:
        print_json(answer)
    else:
        say(f"gem5 {found.version} with sailsim's module, compiled {found.compiled}: {found.path}")


@gem5.command(context_settings={"ignore_unknown_options": True})
@with_gem5
@with_system
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
@with_intervals
@click.option(
    "--restore",
    type=PathOption(exists=True, file_okay=False),
    help="Go on from a checkpoint of an earlier run.",
)
@with_out
@with_timeout
@as_json_option
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
    **others: Any,
) -> None:
    """Run an AArch64 PROGRAM with its arguments (after --) on a machine's cores and PIM units.

    Checkpoints, of m5_checkpoint or --checkpoint-at, lie in the run's folder, and so do basic-block vectors.
    """
    if others["switch_after"] and not others["start_with"]:
        raise SailsimError(
            "switch-after is given without start-with; allowed beside it is a model to start with."
        )
    for name in ("units", "capacity_mode"):
        if no_pim and others[name]:
            raise SailsimError(
                f"{name.replace('_', '-')} is given beside no-pim; allowed is one of them: that machine has "
                "no PIM units."
            )
    require_exact(others, cpu, cores)
    simulator, system, extra = Gem5(binary), load_system(machine), words_of(others)
    point = {
        "command": "run",
        "system": machine,
        "cpu": cpu,
        "cores": cores,
        "pim": not no_pim,
        "program": list(program),
        "files": [digest_of(word) for word in program if Path(word).is_file()],
        "options": shlex.join(extra),
        **restored(others["restore"]),
    }
    folder = folder_of(out, point)

    def simulate() -> dict[str, Any]:
        done = simulator.run(
            system, program, folder, cpu=cpu, cores=cores, pim=not no_pim, timeout_s=timeout, extra=extra
        )
        output = [json.dumps(line) for line in done.json_lines]
        return {
            **record_of(done),
            "program_output": output,
            "checkpoints": [str(path) for path in done.checkpoints],
            "basic_block_vectors": done.basic_block_vectors,
        }

    def whole(record: dict[str, Any]) -> bool:
        """Whether the files that the run wrote for other runs are still there."""
        vectors = [folder / BASIC_BLOCK_VECTORS] if record["basic_block_vectors"] else []
        return all(path.exists() for path in [*vectors, *map(Path, record["checkpoints"])])

    record = run_or_load(Store(out), point, system, simulator, simulate, whole=whole)
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


def _speed(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    """What a stream asks for, in GB/s: gem5 counts whole picoseconds from line to line."""
    if value is not None and not 0.001 <= value <= 1000:
        raise SailsimError(f"stream-gb-s is {value:g}; allowed are 0.001 to 1000.")
    return value


@gem5.command()
@with_gem5
@with_system
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
@click.option("--restore", type=PathOption(exists=True, file_okay=False), help="Go on from this checkpoint.")
@click.option(
    "--order",
    type=click.Choice(ORDERS),
    help="What waits for what before it: every tensor, or as in a decode step; default: nothing.",
)
@with_machine_options
@with_out
@with_timeout
@as_json_option
def replay(
    binary: str | None,
    machine: str,
    trace: Path,
    window: int,
    out: Path,
    timeout: float,
    as_json: bool,
    **others: Any,
) -> None:
    """Replay a TRACE of descriptors on a machine's PIM units, without a core, and check every result."""
    if (others["checkpoint"] is None) != (others["checkpoint_tick"] is None):
        raise SailsimError(
            "checkpoint and checkpoint-tick are given one without the other; allowed are both."
        )
    if others["stream_gb_s"] and not others["stream"]:
        raise SailsimError("stream-gb-s is given without stream; allowed beside it is a number of streams.")
    if others["checkpoint"] and (others["max_ticks"] or 2**63) <= others["checkpoint_tick"]:
        raise SailsimError(
            f"checkpoint-tick is {others['checkpoint_tick']} and max-ticks {others['max_ticks']}; allowed is "
            "a checkpoint before the end."
        )
    simulator, system = Gem5(binary), load_system(machine)
    order = others["order"]
    phases = phases_of(read_trace(trace).header["tiles"], order) if order else []
    extra = words_of(
        {**others, "order": None, "phase_ends": ",".join(str(phase.end) for phase in phases) or None}
    )
    point = {
        "command": "replay",
        "system": machine,
        "trace": digest_of(str(trace)),
        "units": others["units"] or system.llc.slices.whole,
        "window": window,
        "options": shlex.join(words_of(others)),
        **restored(others["restore"]),
    }
    folder = folder_of(out, point)

    def simulate() -> dict[str, Any]:
        done = simulator.replay(system, trace, folder, window=window, timeout_s=timeout, extra=extra)
        tiles = done.tiles()
        return {
            **record_of(done),
            "tiles": len(tiles),
            "good_tiles": sum(tile["good"] for tile in tiles),
            "longest_cycles": max((tile["cycles"] for tile in tiles), default=0),
            "phases": [json.dumps(row) for row in phase_times(phases, tiles)],
        }

    taken = others["checkpoint"]
    record = run_or_load(
        Store(out), point, system, simulator, simulate, whole=lambda _: taken is None or taken.is_dir()
    )
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
