"""Output of `--json`: one object, with the version of its schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click
from pydantic_core import to_json

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

    A key that is the name of a study's column means the same (analysis/data/columns.toml). NaN and infinities
    become null, other types become text.
    """
    if as_json():
        whole = {"schema": SCHEMA, **answer}
        click.echo(to_json(whole, indent=2, inf_nan_mode="null", fallback=str).decode())
    return as_json()
