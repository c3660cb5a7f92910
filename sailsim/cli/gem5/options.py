"""Options that commands on gem5 share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from sailsim.base.errors import SailsimError
from sailsim.cli._path import OUT_FILE, TEXT, PathOption
from sailsim.sim.gem5.binary import VARIABLE

with_gem5 = click.option(
    "--gem5", "binary", type=TEXT, help=f"The gem5 binary; default: the variable {VARIABLE}."
)

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
    type=OUT_FILE,
    help="Also write all of it, with its origin, into this file, one record a line.",
)


TICKS = click.IntRange(1, 2**63 - 1)
"""Simulated picoseconds, as many as gem5 counts."""


def _memory(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    """Simulated memory, in gem5's words."""
    if text is not None and not re.fullmatch(r"[1-9]\d{0,5}(MiB|GiB)", text):
        raise SailsimError(f"memory is {text!r}; allowed is a whole number of MiB or GiB, such as 512MiB.")
    return text


F = TypeVar("F", bound=Callable[..., Any])


def with_machine_options(command: F) -> F:
    """How much of the machine there is: `--units`, `--memory`, `--capacity-mode` and `--max-ticks`."""
    options = (
        click.option("--units", type=click.IntRange(1, 64), help="PIM units; default: one a slice."),
        click.option("--memory", callback=_memory, help="Simulated memory, as 512MiB; default: 2GiB."),
        click.option("--capacity-mode", is_flag=True, help="Idle arrays extend their slice of the LLC."),
        click.option("--max-ticks", type=TICKS, help="Give up after so much simulated time: ps."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def words_of(options: Mapping[str, Any]) -> list[str]:
    """Options as the scripts that gem5 runs take them, by name; those that were not given are left out."""
    words = []
    for name, value in sorted(options.items()):
        if value not in (None, False):
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
