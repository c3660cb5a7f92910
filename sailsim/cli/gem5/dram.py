"""`sailsim gem5 dram`: the bandwidth that units and readers get of gem5's DRAM, beside the engine's share."""

from __future__ import annotations

from pathlib import Path

import click

from sailsim.base.atomic import to_lines, write_whole
from sailsim.cli._json import print_json
from sailsim.cli._path import PathOption
from sailsim.cli._table import say
from sailsim.cli.gem5.group import gem5
from sailsim.cli.gem5.options import (
    as_json_option,
    with_build,
    with_gem5,
    with_system,
    with_timeout,
    with_write,
)
from sailsim.cli.gem5.records import provenance_of, seen_by, telling
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import Gem5
from sailsim.sim.gem5.streams import measure_streams


@gem5.command()
@with_gem5
@with_system
@with_build
@with_write
@click.option(
    "--out",
    type=PathOption(file_okay=False),
    default=Path("out/gem5/dram"),
    show_default=True,
    help="Folder of gem5's own files.",
)
@with_timeout
@as_json_option
def dram(
    binary: str | None,
    machine: str,
    build: str,
    write: Path | None,
    out: Path,
    timeout: float,
    as_json: bool,
) -> None:
    """Measure how gem5's DRAM is shared by units that stream weights and readers beside them.

    Some minutes. What docs/engine.md compares with the engine's closed forms.
    """
    simulator, system = Gem5(binary), load_system(machine)
    rows = []
    with telling() as tell:
        for row in measure_streams(simulator, system, out, timeout_s=timeout):
            rows.append(row)
            seen_by(tell)(row)
    origin = provenance_of(simulator, build, f"sailsim gem5 dram --system {machine}")
    found = {"run": {"gem5_version": simulator.version, "system": machine, **origin}, "rows": rows}
    if write:
        write_whole(write, to_lines(found).encode())
    if as_json:
        print_json(found)
        return
    for row in rows:
        beside = "alone"
        if row["streams"]:
            beside = f"{row['streams']} readers of {row['stream_gb_s']:g} GB/s, {row['times']}"
        say(
            f"{row['units']:2d} units, {beside}: gem5 {row['gem5_gb_s']:.1f} GB/s, engine "
            f"{row['engine_gb_s']:.1f} ({row['error']:+.1%})"
        )
