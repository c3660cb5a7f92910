"""`sailsim gem5 machine`: a system file as gem5's scripts read it."""

from __future__ import annotations

from pathlib import Path

import click

from sailsim.base.atomic import write_whole
from sailsim.cli._path import PathOption
from sailsim.cli._table import echo
from sailsim.cli.gem5.group import gem5
from sailsim.sim.files import load_system
from sailsim.sim.gem5.binary import machine_json


@gem5.command()
@click.argument("name")
@click.option("--out", type=PathOption(dir_okay=False), help="Write it to this file.")
def machine(name: str, out: Path | None) -> None:
    """Print machine NAME as the JSON that gem5's scripts take, sailsim's and yours (docs/your-program.md)."""
    text = machine_json(load_system(name))
    if out is None:
        echo(text)
    else:
        write_whole(out, text.encode())
