"""`sailsim gem5 validate`: the fast engine against gem5, tile by tile."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from sailsim.base.atomic import write_whole
from sailsim.base.records import to_lines
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._table import print_table, say
from sailsim.cli.gem5.group import gem5
from sailsim.cli.gem5.options import (
    as_json_option,
    with_build,
    with_gem5,
    with_out,
    with_system,
    with_timeout,
    with_write,
)
from sailsim.cli.gem5.records import digest_of, provenance_of, seen_by, telling
from sailsim.sim import Store, System, load_system
from sailsim.sim.gem5 import Gem5, run_or_load
from sailsim.sim.gem5.measure import measure_bandwidth
from sailsim.sim.gem5.streams import measure_latencies
from sailsim.sim.gem5.validation import SUBSTRATES, Comparison, compare, summarise


@gem5.command()
@with_gem5
@with_system
@click.option("--streams", type=int, default=16, show_default=True, help="Readers in the second comparison.")
@click.option(
    "--kernels",
    type=PathOption(file_okay=False),
    help="Folder of the AArch64 programs: measures latencies and bandwidths too (ten minutes).",
)
@with_build
@with_write
@with_out
@with_timeout
@as_json_option
def validate(
    binary: str | None,
    machine: str,
    streams: int,
    kernels: Path | None,
    build: str,
    write: Path | None,
    out: Path,
    timeout: float,
    as_json: bool,
) -> None:
    """Compare gem5's PIM unit with the core and the fast engine, and memory with what is published.

    The engine's cycles are those of `time_tile`, memory "dram", less descriptor and record.

    Parts that the folder holds are not run again. Exit status 1: a result or a phase differs.
    """
    simulator, system = Gem5(binary), load_system(machine)
    store, folder = Store(out), out / "validate"
    own = str(system.require_pim().substrate.value)
    with telling() as tell:
        alone = []
        for substrate in dict.fromkeys((own, *SUBSTRATES)):
            tell(f"tiles on {substrate}")
            alone += _compared(store, simulator, machine, system, folder, substrate, 0, timeout)
        tell(f"tiles beside {streams} streams")
        beside = _compared(store, simulator, machine, system, folder, own, streams, timeout)
        latencies: list[dict[str, Any]] = []
        bandwidths: list[dict[str, Any]] = []
        if kernels:
            tell("load latencies")
            latencies = _latencies(store, simulator, machine, system, kernels, folder, timeout)
            tell("bandwidths")
            bandwidths = measure_bandwidth(simulator, system, kernels, out, timeout, ran=seen_by(tell))
    options = f"sailsim gem5 validate --system {machine} --streams {streams}"
    options += " --kernels build/kernels" if kernels else ""
    found = {
        "run": provenance_of(simulator, build, options),
        "gem5_version": simulator.version,
        "gem5_compiled": simulator.compiled,
        "system": machine,
        "alone": asdict(summarise(alone)),
        "shared_bandwidth": asdict(summarise(beside)),
        "tiles": [comparison.as_dict() for comparison in alone + beside],
        "latencies": latencies,
        "bandwidths": bandwidths,
    }
    if write:
        write_whole(write, to_lines(found).encode())
    if as_json:
        print_json(found)
    else:
        _print_validation(found)
    if not all(c.correct and c.phases_equal for c in alone + beside):
        raise click.exceptions.Exit(1)


def _compared(
    store: Store,
    simulator: Gem5,
    machine: str,
    system: System,
    folder: Path,
    substrate: str,
    streams: int,
    timeout: float,
) -> list[Comparison]:
    """The tiles of `validation` on one substrate, from the store if they were compared before."""
    point = {"command": "validate", "system": machine, "substrate": substrate, "streams": streams}

    def simulate() -> dict[str, Any]:
        found = compare(
            simulator, system, folder, substrates=(substrate,), streams=streams, timeout_s=timeout
        )
        return {"comparisons": [json.dumps(asdict(comparison)) for comparison in found]}

    record = run_or_load(store, point, system, simulator, simulate)
    return [Comparison(**json.loads(text)) for text in record["comparisons"]]


def _latencies(
    store: Store,
    simulator: Gem5,
    machine: str,
    system: System,
    kernels: Path,
    folder: Path,
    timeout: float,
) -> list[dict[str, Any]]:
    point = {
        "command": "latencies",
        "system": machine,
        "content": digest_of(str(kernels / "pointer_chase")),
    }

    def simulate() -> dict[str, Any]:
        rows = measure_latencies(simulator, system, kernels, folder, timeout)
        return {"latencies": [json.dumps(row) for row in rows]}

    record = run_or_load(store, point, system, simulator, simulate)
    return [json.loads(text) for text in record["latencies"]]


def _print_validation(found: dict[str, Any]) -> None:
    click.echo(f"gem5 {found['gem5_version']}, {found['system']}")
    for substrate, streams in dict.fromkeys((row["substrate"], row["streams"]) for row in found["tiles"]):
        tiles = [
            {
                "tile": row["tile"],
                "phases": "equal" if row["phases_equal"] else "DIFFER",
                "gem5": f"{row['gem5_cycles']:,}",
                "engine": f"{row['engine_cycles']:,.0f}",
                "error": f"{row['error']:.1%}",
            }
            for row in found["tiles"]
            if (row["substrate"], row["streams"]) == (substrate, streams)
        ]
        beside = f"beside {streams} streams" if streams else "alone"
        click.echo(f"{substrate}, {beside}, cycles")
        print_table(tiles, list(tiles[0]), whole=("tile",), numbers=("gem5", "engine", "error"))
    for title, part in (("alone", found["alone"]), ("beside streams", found["shared_bandwidth"])):
        say(
            f"{title}: {part['tiles']} tiles, median error {part['median_error']:.1%}, worst "
            f"{part['worst_error']:.1%} ({part['worst_tile']})"
        )
    for row in found["latencies"]:
        say(
            f"{row['level']:5} gem5 {row['gem5_ns']:6.2f} ns, published {row['published_ns']:6.2f} ns, "
            f"error {row['error']:6.1%}"
        )
    for row in found["bandwidths"]:
        if row["published_gb_s"] is None:
            beside = "nothing published"
        else:
            beside = f"published {row['published_gb_s']:6.1f} GB/s, error {row['error']:6.1%}"
        measured = f"{row['kind']:5} by {row['threads']:2d} threads: gem5 {row['gem5_gb_s']:6.1f} GB/s"
        say(f"{row['level']:5} {measured}, {beside}", " " * 6)
