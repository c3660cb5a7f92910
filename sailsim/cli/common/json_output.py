"""Output of `--json`: one object, with the version of its schema."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import click

_ASKED = "sailsim.json"
"""Key of the click context under which `--json` is noted."""


def _note(ctx: click.Context, _: click.Parameter, is_asked: bool) -> None:
    ctx.meta[_ASKED] = is_asked


as_json_option = click.option("--json", is_flag=True, expose_value=False, callback=_note, help="Print JSON.")
SCHEMA = 1
"""Version of the output's names: it grows when a name is removed or changes its meaning, not for a new
one."""


def as_json() -> bool:
    """Whether the user gave `--json`."""
    return bool(click.get_current_context().meta.get(_ASKED))


def answered(answer: Mapping[str, Any]) -> bool:
    """Print an answer as JSON if the user asked for it; return whether it was printed.

    A key that is the name of a study's column means the same (analysis/data/columns.toml).
    """
    if as_json():
        click.echo(json.dumps({"schema": SCHEMA, **plain(answer)}, indent=2, allow_nan=False))
    return as_json()


def plain(value: Any) -> Any:
    """JSON-able form of a value: NaN and infinities become null, other types become text."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)
