"""Tables and sentences on a terminal: what fits, whole, and how much is left out."""

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
"""Of a text's cell; a number is never cut."""
_BETWEEN = "  "


def _terminal_width() -> int:
    """Of the terminal, or as COLUMNS says."""
    return shutil.get_terminal_size().columns


def cell_len(text: str) -> int:
    """Cells that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len as measured  # knows wide letters

    return measured(text)


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
    return escaped(str(value)).replace("\n", "\\n")


def fitting(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """As many of the names, in their order, as have room beside each other on the terminal; one at least."""
    widths = {name: _width(name, [_cut(row[name]) for row in rows]) for name in names}
    return _blocks(names, widths, key=0)[0]


def print_table(
    rows: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    whole: Sequence[str] = (),
    numbers: Sequence[str] = (),
    key: int = 1,
) -> None:
    """Print rows under the names of their columns; texts are cut at `LONGEST`, but not those of ``whole``.

    Columns of numbers stand to the right, those of ``numbers`` too, which are numbers in words. Columns that
    have no room beside the others stand below them, beside the first ``key`` ones once more.
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
    """Print rows of numbers, written out, behind a first column; that of ``words`` holds none. Nothing is
    cut. Returns whether there are any."""
    table = [dict(zip(names, row, strict=True)) for row in rows]
    if table:
        print_table(table, names, whole=names, numbers=[name for name in names[1:] if name != words])
    return bool(table)


wide_option = click.option("--wide", is_flag=True, help="All columns, in several tables if one has no room.")


def print_varying(rows: Sequence[Mapping[str, Any]], settings: Sequence[str], names: Sequence[str]) -> None:
    """Print a table of the first column and what differs; ``settings`` that are equal are said above."""
    same = [name for name in settings[1:] if all(row[name] == rows[0][name] for row in rows)]
    if same:
        say(f" In all: {', '.join(f'{name} {cell(rows[0][name])}' for name in same)}", " ")
    print_table(rows, [name for name in (*settings, *names) if name not in same])


def echo(text: str = "", err: bool = False) -> None:
    """Print lines. Names come from anybody's files: what would move the cursor is shown as an escape."""
    click.echo(escaped(text), err=err)


def say(text: str, indent: str = "  ") -> None:
    """Print a sentence, in lines that fit where it goes to a terminal; the later ones begin with ``indent``.

    Elsewhere it is one line: what searches the output for a word finds the whole sentence. No word is broken.
    """
    echo(filled(text, indent))


def filled(text: str, indent: str = "  ") -> str:
    """A sentence as `say` prints it."""
    if not (sys.stdout.isatty() or os.environ.get("COLUMNS")):
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
    """The columns in as many tables as the terminal's width asks for, each with the first ``key`` ones."""
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
