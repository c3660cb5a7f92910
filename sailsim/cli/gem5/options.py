"""The group `sailsim gem5`, the options that its commands share, and how they tell of progress."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.text import Text

from sailsim.base.errors import SailsimError, escaped
from sailsim.base.screen import screen
from sailsim.cli._command import Group
from sailsim.cli._path import TEXT, PathOption
from sailsim.sim.gem5.binary import VARIABLE

F = TypeVar("F", bound=Callable[..., Any])
TICKS = click.IntRange(1, 2**63 - 1)
"""Simulated picoseconds, or instructions: as many as gem5 counts."""


@click.group(cls=Group)
def gem5() -> None:
    """Run programs and traces on gem5 with sailsim's module."""


def applied(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in their order."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


with_gem5 = click.option(
    "--gem5", "binary", type=TEXT, help=f"The gem5 binary; default: the variable {VARIABLE}."
)
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
with_system = click.option("--system", "machine", default="sail-n1", show_default=True, help="A system file.")


def with_run(out: str = "out/gem5") -> Callable[[F], F]:
    """What every run of gem5 has: `--gem5`, `--system`, `--out`, `--timeout` and `--json`."""
    return applied(
        with_gem5,
        with_system,
        click.option(
            "--out",
            type=PathOption(file_okay=False),
            default=Path(out),
            show_default=True,
            help="Folder of the results; what it holds is not simulated again.",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=3600,
            show_default=True,
            help="Seconds after which a run of gem5 is stopped.",
        ),
        as_json_option,
    )


def _memory(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    """Simulated memory, in gem5's words."""
    if text is not None and not re.fullmatch(r"[1-9]\d{0,5}(MiB|GiB)", text):
        raise SailsimError(f"memory is {text!r}; allowed is a whole number of MiB or GiB, such as 512MiB.")
    return text


with_machine_options = applied(
    click.option("--units", type=click.IntRange(1, 64), help="PIM units; default: one a slice."),
    click.option("--memory", callback=_memory, help="Simulated memory, as 512MiB; default: 2GiB."),
    click.option("--capacity-mode", is_flag=True, help="Idle arrays extend their slice of the LLC."),
    click.option("--max-ticks", type=TICKS, help="Give up after so much simulated time: ps."),
    click.option(
        "--restore",
        type=PathOption(exists=True, file_okay=False),
        help="Go on from a checkpoint of an earlier run.",
    ),
)
"""How much of the machine there is, and from where and how long it runs."""


def words_of(options: Mapping[str, Any]) -> list[str]:
    """Options as the scripts that gem5 runs take them, by name; those that were not given are left out."""
    words = []
    for name, value in sorted(options.items()):
        if value not in (None, False):
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """Says on standard error what is under way: in one changing line on a terminal, else line by line."""
    console = screen(stderr=True)
    if console.is_terminal:
        with console.status("gem5") as status:
            yield lambda text: status.update(Text(escaped(f"gem5: {text}")))
    else:
        yield lambda text: print(escaped(f"gem5: {text}"), file=sys.stderr, flush=True)
