"""The one writer of Markdown tables, and pages whose words are a template's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from typing import Any

import jinja2

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FunctionLoader(
        lambda name: (files("sailsim.analysis.render") / "page" / name).read_text("utf-8")
    ),
    undefined=jinja2.StrictUndefined,
)
"""Templates of Markdown, in which nothing is escaped."""
_TEMPLATES.filters["code"] = "`{}`".format

RULES = {"l": "---", "r": "--:"}


def written(template: str, **values: Any) -> str:
    """A page of Markdown from a template of the folder `page` with values; a name that it lacks is an error.

    In a template ``| code`` sets a word as code. Lines of nothing but a template's own are one blank line.
    """
    text = _TEMPLATES.get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def three_digits(value: float) -> str:
    """A number to three digits, from a thousand on to whole ones."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    align: str = "",
    number: Callable[[float], str] = three_digits,
) -> str:
    """A table as Markdown.

    ``align`` has a letter a column, ``l`` or ``r`` (all left where it is empty). Floats are written by
    ``number``; None and NaN are a dash. Raises ValueError for a row or an ``align`` of another length.
    """
    align = align or "l" * len(header)
    lines = [[_text(name) for name in header], *([_cell(value, number) for value in row] for row in rows)]
    if any(len(line) != len(align) for line in lines):
        raise ValueError(f"a table of {len(align)} columns has a row of another length: {header}")
    ruled = "|" + "".join(f"{RULES[letter]}|" for letter in align)
    written = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([written[0], ruled, *written[1:]])


def _cell(value: object, number: Callable[[float], str]) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return "-" if value != value else number(value)
    return _text(str(value))


def _text(text: str) -> str:
    """Text that stays in its cell."""
    return text.replace("|", "\\|").replace("\n", " ")
