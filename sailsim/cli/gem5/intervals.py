"""Options of `sailsim gem5 run` for parts of a long program: SimPoint, checkpoints on the way, short runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from sailsim.base.errors import SailsimError

F = TypeVar("F", bound=Callable[..., Any])

EXACT = ("simpoint_interval", "checkpoint_at")
"""What counts instructions exactly, which one atomic core does."""

FEWEST = 2
"""Instructions after which an atomic core can be stopped at the earliest; asked for one, gem5 runs none."""


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


def with_intervals(command: F) -> F:
    """`--simpoint-interval`, `--checkpoint-at` and `--stop-after`."""
    options = (
        click.option(
            "--simpoint-interval",
            type=click.IntRange(1, 2**63 - 1),
            help="Write a basic-block vector of every so many instructions: simpoint.bb.",
        ),
        click.option(
            "--checkpoint-at",
            callback=_ascending,
            help="Write checkpoints after these numbers of instructions: 100000,2500000.",
        ),
        click.option(
            "--stop-after",
            type=click.IntRange(FEWEST, 2**63 - 1),
            help="End after so many instructions of the first core.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def require_exact(options: Mapping[str, Any], cpu: str, cores: int) -> None:
    """Raise SailsimError where instructions would not be counted exactly, or not from the program's start."""
    for name in EXACT:
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
    if options["stop_after"] is not None and options["start_with"] is not None:
        raise SailsimError(
            "stop-after is given beside start-with; allowed is a run on one core model, as from a checkpoint."
        )
