"""Tables on a terminal: what fits, whole, and how much is left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.cells import cell_len
from rich.console import Console

LONGEST = 32
"""Of a text's cell; a number is never cut."""
_BETWEEN = "  "


def cell(value: Any) -> str:
    """A value as a table shows it: numbers to four digits, from a thousand on to whole ones."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {cell(each)}" for name, each in value.items()) or "-"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(map(cell, value)) or "-"
    return str(value)


def fitting(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """As many of the names, in their order, as have room beside each other on the terminal; one at least."""
    chosen: list[str] = []
    left = Console().width - 1
    for name in names:
        left -= len(_BETWEEN) + _width(name, [_cut(row[name]) for row in rows])
        if chosen and left + len(_BETWEEN) < 0:
            break
        chosen.append(name)
    return chosen


def print_table(rows: Sequence[Mapping[str, Any]], names: Sequence[str], whole: Sequence[str] = ()) -> None:
    """Print rows under the names of their columns; texts are cut at `LONGEST`, but not those of ``whole``."""
    texts = {name: [(cell if name in whole else _cut)(row[name]) for row in rows] for name in names}
    widths = {name: _width(name, texts[name]) for name in names}
    right = {name for name in names if all(isinstance(row[name], int | float | None) for row in rows)}

    def line(cells: Iterable[tuple[str, str]]) -> str:
        padded = []
        for name, text in cells:
            blank = " " * (widths[name] - cell_len(text))
            padded.append(blank + text if name in right else text + blank)
        return " " + _BETWEEN.join(padded).rstrip()

    click.echo(line((name, name) for name in names))
    click.echo(" " + "─" * (sum(widths.values()) + len(_BETWEEN) * (len(names) - 1)))
    for i in range(len(rows)):
        click.echo(line((name, texts[name][i]) for name in names))


def _width(name: str, texts: Sequence[str]) -> int:
    return max(cell_len(name), *map(cell_len, texts)) if texts else cell_len(name)


def _cut(value: Any) -> str:
    text = "".join(c if c.isprintable() else " " for c in cell(value))
    return text if isinstance(value, int | float) or len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
