"""`sailsim gem5`: programs and traces on gem5 with sailsim's module, and how well the two agree."""

from __future__ import annotations

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from sailsim.errors import SailsimError
from sailsim.sim import Store, load_system
from sailsim.sim.agreement import SUBSTRATES, compare, measure_latencies, summarise
from sailsim.sim.gem5 import CPU_MODELS, VARIABLE, Gem5, Gem5Run, extras_path, stored

_gem5 = click.option("--gem5", "binary", help=f"The gem5 binary; default: the variable {VARIABLE}.")
_system = click.option("--system", "machine", default="sail-n1", show_default=True, help="A system file.")
_out = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/gem5"),
    show_default=True,
    help="Folder of the results; what it holds is not simulated again.",
)
_timeout = click.option(
    "--timeout", type=float, default=3600, show_default=True, help="Seconds after which gem5 is stopped."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def gem5() -> None:
    """Run programs and traces on gem5 with sailsim's module."""


@gem5.command("extras-path")
def extras_path_() -> None:
    """Print the folder that gem5's build takes as EXTRAS."""
    click.echo(extras_path())


@gem5.command(context_settings={"ignore_unknown_options": True})
@_gem5
@_system
@click.option("--cpu", type=click.Choice(CPU_MODELS), default="o3", show_default=True, help="Core model.")
@click.option("--cores", type=int, default=1, show_default=True, help="Cores, 1..64.")
@click.option("--no-pim", is_flag=True, help="The same machine without PIM units.")
@_out
@_timeout
@_json
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
        "files": [_digest(word) for word in program if Path(word).is_file()],
    }
    folder = _folder(out, point)

    def simulate() -> dict[str, Any]:
        done = simulator.run(system, program, folder, cpu=cpu, cores=cores, pim=not no_pim, timeout_s=timeout)
        return {**_record(done), "program_output": [json.dumps(line) for line in done.json_lines]}

    record, _ = stored(Store(out), point, system, simulator, simulate)
    if as_json:
        click.echo(json.dumps(_plain(record)))
    else:
        for line in record["program_output"]:
            click.echo(line)
        click.echo(f"exit status {record['status']} after {record['ticks'] / 1e6:.3f} us simulated, {folder}")
    if record["status"] != 0:
        raise click.exceptions.Exit(1)


@gem5.command()
@_gem5
@_system
@click.argument("trace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--units", type=click.IntRange(1, 64), help="PIM units; default: one a slice.")
@click.option("--window", type=int, default=0, show_default=True, help="Descriptors under way; 0: no limit.")
@_out
@_timeout
@_json
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
        "trace": _digest(str(trace)),
        "units": units or system.llc.slices.whole,
        "window": window,
    }
    folder = _folder(out, point)

    def simulate() -> dict[str, Any]:
        done = simulator.replay(system, trace, folder, units=units, window=window, timeout_s=timeout)
        tiles = done.tiles()
        return {
            **_record(done),
            "tiles": len(tiles),
            "good_tiles": sum(tile["good"] for tile in tiles),
            "longest_cycles": max((tile["cycles"] for tile in tiles), default=0),
        }

    record, _ = stored(Store(out), point, system, simulator, simulate)
    if as_json:
        click.echo(json.dumps(_plain(record)))
    else:
        click.echo(
            f"{record['good_tiles']} of {record['tiles']} tiles as expected, {record['ticks'] / 1e6:.3f} us "
            f"simulated, longest tile {record['longest_cycles']} cycles, {folder}"
        )
    if record["good_tiles"] != record["tiles"]:
        raise click.exceptions.Exit(1)


@gem5.command()
@_gem5
@_system
@click.option("--streams", type=int, default=16, show_default=True, help="Readers in the second comparison.")
@click.option(
    "--kernels",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the AArch64 programs: measures load latencies too (minutes).",
)
@_out
@_timeout
@_json
def validate(
    binary: str | None,
    machine: str,
    streams: int,
    kernels: Path | None,
    out: Path,
    timeout: float,
    as_json: bool,
) -> None:
    """Compare gem5's PIM unit with the core and the fast engine, and latencies with published ones.

    Exit status 1: a result or a phase differs.
    """
    simulator, system = Gem5(binary), load_system(machine)
    alone = compare(simulator, system, out / "validate", timeout_s=timeout)
    beside = compare(
        simulator, system, out / "validate", streams=streams, substrates=SUBSTRATES[:1], timeout_s=timeout
    )
    latencies = measure_latencies(simulator, system, kernels, out / "validate", timeout) if kernels else []
    found = {
        "gem5_version": simulator.version,
        "gem5_compiled": simulator.compiled,
        "system": machine,
        "alone": asdict(summarise(alone)),
        "beside_streams": asdict(summarise(beside)),
        "tiles": [comparison.as_dict() for comparison in alone + beside],
        "latencies": latencies,
    }
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        _print_validation(found)
    if not all(c.correct and c.phases_equal for c in alone + beside):
        raise click.exceptions.Exit(1)


def _print_validation(found: dict[str, Any]) -> None:
    click.echo(f"gem5 {found['gem5_version']}, {found['system']}")
    heads = ("substrate", "streams", "phases", "gem5", "model", "error")
    click.echo("{:32} {:13} {:>7} {:>6} {:>9} {:>9} {:>7}".format("tile", *heads))
    for row in found["tiles"]:
        modelled = row["engine_cycles"] + row["edge_cycles"]
        same = "equal" if row["phases_equal"] else "DIFFER"
        click.echo(
            f"{row['tile']:32} {row['substrate']:13} {row['streams']:7d} {same:>6} {row['gem5_cycles']:9d} "
            f"{modelled:9.0f} {row['error']:7.1%}"
        )
    for title, part in (("alone", found["alone"]), ("beside streams", found["beside_streams"])):
        click.echo(
            f"{title}: {part['tiles']} tiles, median error {part['median_error']:.1%}, worst "
            f"{part['worst_error']:.1%} ({part['worst_tile']})"
        )
    for row in found["latencies"]:
        click.echo(
            f"{row['level']:5} gem5 {row['gem5_ns']:6.2f} ns, published {row['published_ns']:6.2f} ns, "
            f"error {row['error']:6.1%}"
        )


def _record(done: Gem5Run) -> dict[str, Any]:
    return {"status": done.status, "ticks": done.ticks, "host_s": done.host_s, "folder": str(done.folder)}


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """NumPy values of a stored record as JSON's."""
    return {key: value.tolist() if hasattr(value, "tolist") else value for key, value in record.items()}


def _digest(path: str) -> str:
    try:
        return sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise SailsimError(f"file {path} cannot be read: {error.strerror}.") from None


def _folder(out: Path, point: dict[str, Any]) -> Path:
    name = sha256(json.dumps(point, sort_keys=True).encode()).hexdigest()[:12]
    return (out / f"{point['command']}-{name}").resolve()
