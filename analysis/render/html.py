"""Tables and figures inside HTML pages, and the files that say how such a page looks."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from io import StringIO

import pandas as pd
from matplotlib.figure import Figure

from sailsim.analysis.render.style import style


def page_file(name: str) -> str:
    """A file of the folder `page`: styles, scripts and templates of the HTML pages."""
    return (files("sailsim.analysis.render") / "page" / name).read_text("utf-8")


def escaped(value: object) -> str:
    """A value as text that HTML does not read."""
    return html.escape(str(value))


def shown(value: object) -> str:
    """A cell's text: four digits, nothing for None and NaN."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    return str(value)


def numeric_columns(rows: Sequence[Sequence[object]], count: int) -> list[bool]:
    """Which of ``count`` columns hold numbers, with or without gaps."""
    return [
        any(isinstance(row[i], int | float) for row in rows)
        and all(isinstance(row[i], int | float) or row[i] in (None, "") for row in rows)
        for i in range(count)
    ]


def html_table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    classes: int | None = None,
    write: Callable[[str], str] = escaped,
) -> str:
    """A table; numbers stand right; the text of column ``classes`` is also its cell's class.

    ``write`` makes HTML of a cell's text.
    """
    materialized = [list(row) for row in rows]
    numeric = numeric_columns(materialized, len(header))

    def cell(i: int, value: object) -> str:
        names = ["number"] if numeric[i] else []
        if i == classes:
            names.append(re.sub(r"\W+", "-", shown(value)))
        attribute = f' class="{" ".join(names)}"' if names else ""
        return f"<td{attribute}>{write(shown(value))}</td>"

    head = "".join(
        f"<th{' class=number' if numeric[i] else ''}>{write(name)}</th>" for i, name in enumerate(header)
    )
    lines = "".join("<tr>" + "".join(cell(i, v) for i, v in enumerate(row)) + "</tr>" for row in materialized)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def inline_svg(figure: Figure) -> str:
    """A figure as an SVG element to stand inside HTML: no prolog, no metadata."""
    buffer = StringIO()
    with style():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
