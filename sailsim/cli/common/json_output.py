"""What `--json` prints: one object, with the number of its layout."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import click

_ASKED = "sailsim.json"
"""Where a command's context says whether it was given `--json`."""


def _note(ctx: click.Context, _: click.Parameter, is_asked: bool) -> None:
    ctx.meta[_ASKED] = is_asked


as_json_option = click.option("--json", is_flag=True, expose_value=False, callback=_note, help="Print JSON.")
SCHEMA = 1
"""Of every `--json`: it grows when a name goes or means something else, not when one is added."""


def as_json() -> bool:
    """Whether the command was given `--json`."""
    return bool(click.get_current_context().meta.get(_ASKED))


def answered(answer: Mapping[str, Any]) -> bool:
    """Print an answer where it is asked for as JSON; returns whether it is, and nothing more is to be told.

    What is named as a column of a study's is that (analysis/data/columns.toml).
    """
    if as_json():
        click.echo(json.dumps({"schema": SCHEMA, **plain(answer)}, indent=2, allow_nan=False))
    return as_json()


def plain(value: Any) -> Any:
    """A value as JSON has it: what is no number or without end is nothing, a day or a decimal its text."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)
