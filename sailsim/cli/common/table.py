"""Tables and sentences on a terminal, split and wrapped to its width."""

from __future__ import annotations

import math
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from sailsim.base.errors import escaped

LONGEST = 32
"""Most characters of a text's cell; numbers are never cut."""
_BETWEEN = "  "


def _terminal_width() -> int:
    """Width of the terminal, or of the variable COLUMNS."""
    return shutil.get_terminal_size().columns


def cell_len(text: str) -> int:
    """Number of terminal cells that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len as measured  # knows wide letters

    return measured(text)


def cell(value: Any) -> str:
    """Text of a value in a table: numbers to four digits, or without decimals from a thousand on."""
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
    return escaped(str(value)).replace("\n", "\\n")


def fitting(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Columns that fit on the terminal next to each other, in their order; at least one."""
    widths = {name: _width(name, [_cut(row[name]) for row in rows]) for name in names}
    return _blocks(names, widths, key=0)[0]


def print_table(
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    whole: Sequence[str] = (),
    numbers: Sequence[str] = (),
    key: int = 1,
) -> None:
    """Print rows under the names of their columns. Texts are cut at `LONGEST`, except in columns of
    ``whole``.

    Columns of numbers are right-aligned, and so are those of ``numbers``, whose numbers are texts. Columns
    without room follow in another table, after a copy of the first ``key`` ones.
    """
    texts = {name: [(cell if name in whole else _cut)(row[name]) for row in rows] for name in names}
    widths = {name: _width(name, texts[name]) for name in names}
    right = {name for name in names if all(isinstance(row[name], int | float | None) for row in rows)}
    right.update(numbers)

    def line(cells: Iterable[tuple[str, str]]) -> str:
        padded = []
        for name, text in cells:
            blank = " " * (widths[name] - cell_len(text))
            padded.append(blank + text if name in right else text + blank)
        return " " + _BETWEEN.join(padded).rstrip()

    for i, block in enumerate(_blocks(names, widths, key)):
        echo("\n" * (i > 0) + line((name, name) for name in block))
        echo(" " + "─" * (sum(widths[name] for name in block) + len(_BETWEEN) * (len(block) - 1)))
        for j in range(len(rows)):
            echo(line((name, texts[name][j]) for name in block))


def print_numbers(names: Sequence[str], rows: Iterable[Sequence[str]], words: str = "") -> bool:
    """Print rows of formatted numbers after a first column of text. The column ``words`` has text too.
    Nothing is cut. Returns whether there are rows."""
    table = [dict(zip(names, row, strict=True)) for row in rows]
    if table:
        print_table(table, names, whole=names, numbers=[name for name in names[1:] if name != words])
    return bool(table)


wide_option = click.option("--wide", is_flag=True, help="All columns, in several tables if one has no room.")


def print_varying(rows: Sequence[Mapping[str, Any]], settings: Sequence[str], names: Sequence[str]) -> None:
    """Print a table of the first column and of those that vary; equal ``settings`` are printed above it."""
    same = [name for name in settings[1:] if all(row[name] == rows[0][name] for row in rows)]
    if same:
        say(f" In all: {', '.join(f'{name} {cell(rows[0][name])}' for name in same)}", " ")
    print_table(rows, [name for name in (*settings, *names) if name not in same])


def echo(text: str = "", err: bool = False) -> None:
    """Print lines, with control characters escaped, as names may come from untrusted files."""
    click.echo(escaped(text), err=err)


def say(text: str, indent: str = "  ") -> None:
    """Print a sentence, wrapped on a terminal; lines after the first begin with ``indent``.

    Elsewhere it is one line, so that a search of the output finds the whole sentence. Words are not broken.
    """
    echo(filled(text, indent))


def filled(text: str, indent: str = "  ") -> str:
    """Sentence as `say` prints it."""
    on_terminal = sys.stdout is not None and sys.stdout.isatty()  # None where it is closed
    if not (on_terminal or os.environ.get("COLUMNS")):
        return text
    begin = text[: len(text) - len(text.lstrip())]
    return textwrap.fill(
        text.strip(),
        max(_terminal_width(), len(indent) + 20),
        initial_indent=begin,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _blocks(names: Sequence[str], widths: Mapping[str, int], key: int) -> list[list[str]]:
    """Columns split into tables that fit the terminal, each with the first ``key`` ones."""
    blocks: list[list[str]] = [[]]
    left = _terminal_width() - 1 + len(_BETWEEN)
    keys = list(names[:key])
    room = left - sum(widths[name] + len(_BETWEEN) for name in keys)
    for name in names:
        needed = widths[name] + len(_BETWEEN)
        if needed > left and blocks[-1] not in ([], keys):
            blocks.append(list(keys))
            left = room
        blocks[-1].append(name)
        left -= needed
    return blocks


def _width(name: str, texts: Sequence[str]) -> int:
    return max(cell_len(name), *map(cell_len, texts)) if texts else cell_len(name)


def _cut(value: Any) -> str:
    text = cell(value)
    if isinstance(value, int | float) or len(text) <= LONGEST:
        return text
    items = text[: LONGEST - 3].rpartition(", ")[0] if isinstance(value, Mapping | list | tuple) else ""
    return f"{items}, …" if items else f"{text[: LONGEST - 1]}…"  # a list is cut between its numbers
