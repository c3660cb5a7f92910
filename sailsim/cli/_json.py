"""What `--json` prints: one object, with the number of its layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

SCHEMA = 1
"""Of every `--json`: it grows when a name goes or means something else, not when one is added."""


def print_json(answer: Mapping[str, Any]) -> None:
    """Print an answer. What is named as a column of a study's is that (docs/columns.md)."""
    click.echo(json.dumps({"schema": SCHEMA, **answer}, indent=2))
