"""The one writer of HTML tables, the look of the HTML pages, and figures inside them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Sequence
from io import StringIO

import pandas as pd
from matplotlib.figure import Figure

from sailsim.analysis.render.style import style

CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; color: #1b1f24;
  background: #fff; max-width: 70rem; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; padding-bottom: .25rem; border-bottom: 2px solid #0072B2; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p, li { max-width: 48rem; }
.lead { color: #444; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .82rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .55rem; border-bottom: 1px solid #e2e5e9; }
th { background: #f4f6f8; border-bottom: 2px solid #cfd5db; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.reached, td.consistent { color: #00694d; font-weight: 600; }
td.missed, td.differs { color: #a34700; font-weight: 600; }
figure { margin: 1.2rem 0 2rem; }
figure svg { max-width: 100%; height: auto; display: block; }
pre { background: #f6f8fa; padding: .8rem; overflow-x: auto; font-size: .78rem; }
summary { cursor: pointer; font-weight: 600; margin: .8rem 0 .3rem; }
nav { font-size: .9rem; margin: 1rem 0; }
nav a { margin-right: 1rem; color: #0072B2; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  nav { display: none; }
  .scroll { overflow: visible; }
  table { font-size: 7.5pt; }
}
"""


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
    numeric = [
        any(isinstance(row[i], int | float) for row in materialized)
        and all(isinstance(row[i], int | float) or row[i] in (None, "") for row in materialized)
        for i in range(len(header))
    ]

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
