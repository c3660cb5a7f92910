"""What `--json` prints: one object, with the number of its layout."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import click

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
SCHEMA = 1
"""Of every `--json`: it grows when a name goes or means something else, not when one is added."""


def print_json(answer: Mapping[str, Any]) -> None:
    """Print an answer. What is named as a column of a study's is that (analysis/data/columns.toml)."""
    click.echo(json.dumps({"schema": SCHEMA, **plain(answer)}, indent=2, allow_nan=False))


def plain(value: Any) -> Any:
    """A value as JSON has it: what is no number or without end is nothing, a day or a decimal its text."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)
