"""Options that commands on gem5 share."""

from __future__ import annotations

from pathlib import Path

import click

from sailsim.cli._path import PathOption
from sailsim.sim.gem5 import VARIABLE

with_gem5 = click.option("--gem5", "binary", help=f"The gem5 binary; default: the variable {VARIABLE}.")

with_system = click.option("--system", "machine", default="sail-n1", show_default=True, help="A system file.")

with_out = click.option(
    "--out",
    type=PathOption(file_okay=False),
    default=Path("out/gem5"),
    show_default=True,
    help="Folder of the results; what it holds is not simulated again.",
)

with_timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=3600,
    show_default=True,
    help="Seconds after which a run of gem5 is stopped.",
)

with_build = click.option("--build", default="", help="How gem5 was built, in words; for the record.")

with_write = click.option(
    "--write",
    type=PathOption(dir_okay=False),
    help="Also write all of it, with its origin, into this file, one record a line.",
)

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
