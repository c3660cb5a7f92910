"""`sailsim gem5 check`, `run` and `replay`: one program or one trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli.gem5.group import gem5
from sailsim.cli.gem5.options import as_json_option, with_gem5, with_out, with_system, with_timeout
from sailsim.cli.gem5.records import digest_of, folder_of, record_of
from sailsim.sim import Store, load_system
from sailsim.sim.gem5 import CPU_MODELS, Gem5, extras_path, run_or_load


@gem5.command("extras-path")
def extras_path_() -> None:
    """Print the folder that gem5's build takes as EXTRAS."""
    click.echo(extras_path())


@gem5.command()
@with_gem5
@as_json_option
def check(binary: str | None, as_json: bool) -> None:
    """Say which gem5 is found, and whether it has sailsim's module."""
    found = Gem5(binary)
    answer = {"path": str(found.path), "version": found.version, "compiled": found.compiled}
    if as_json:
        print_json(answer)
    else:
        click.echo(f"gem5 {found.version} with sailsim's module, compiled {found.compiled}: {found.path}")


@gem5.command(context_settings={"ignore_unknown_options": True})
@with_gem5
@with_system
@click.option("--cpu", type=click.Choice(CPU_MODELS), default="o3", show_default=True, help="Core model.")
@click.option("--cores", type=int, default=1, show_default=True, help="Cores, 1..64.")
@click.option("--no-pim", is_flag=True, help="The same machine without PIM units.")
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
) -> None:
    """Run an AArch64 PROGRAM with its arguments (after --) on a machine's cores and PIM units."""
    simulator, system = Gem5(binary), load_system(machine)
    point = {
        "command": "run",
        "system": machine,
        "cpu": cpu,
        "cores": cores,
        "pim": not no_pim,
        "program": list(program),
        "files": [digest_of(word) for word in program if Path(word).is_file()],
    }
    folder = folder_of(out, point)

    def simulate() -> dict[str, Any]:
        done = simulator.run(system, program, folder, cpu=cpu, cores=cores, pim=not no_pim, timeout_s=timeout)
        return {**record_of(done), "program_output": [json.dumps(line) for line in done.json_lines]}

    record = run_or_load(Store(out), point, system, simulator, simulate)
    if as_json:
        print_json(record)
    else:
        for line in record["program_output"]:
            click.echo(line)
        click.echo(f"exit status {record['status']} after {record['ticks'] / 1e6:.3f} us simulated, {folder}")
    if record["status"] != 0:
        raise click.exceptions.Exit(1)


@gem5.command()
@with_gem5
@with_system
@click.argument("trace", type=PathOption(exists=True, dir_okay=False))
@click.option("--units", type=click.IntRange(1, 64), help="PIM units; default: one a slice.")
@click.option(
    "--window",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Descriptors under way; 0: no limit.",
)
@with_out
@with_timeout
@as_json_option
def replay(
    binary: str | None,
    machine: str,
    trace: Path,
    units: int | None,
    window: int,
    out: Path,
    timeout: float,
    as_json: bool,
) -> None:
    """Replay a TRACE of descriptors on a machine's PIM units, without a core, and check every result."""
    simulator, system = Gem5(binary), load_system(machine)
    point = {
        "command": "replay",
        "system": machine,
        "trace": digest_of(str(trace)),
        "units": units or system.llc.slices.whole,
        "window": window,
    }
    folder = folder_of(out, point)

    def simulate() -> dict[str, Any]:
        done = simulator.replay(system, trace, folder, units=units, window=window, timeout_s=timeout)
        tiles = done.tiles()
        return {
            **record_of(done),
            "tiles": len(tiles),
            "good_tiles": sum(tile["good"] for tile in tiles),
            "longest_cycles": max((tile["cycles"] for tile in tiles), default=0),
        }

    record = run_or_load(Store(out), point, system, simulator, simulate)
    if as_json:
        print_json(record)
    else:
        click.echo(
            f"{record['good_tiles']} of {record['tiles']} tiles as expected, {record['ticks'] / 1e6:.3f} us "
            f"simulated, longest tile {record['longest_cycles']} cycles, {folder}"
        )
    if record["good_tiles"] != record["tiles"]:
        raise click.exceptions.Exit(1)
