"""Tables and figures inside HTML pages, and the files that say how such a page looks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from io import StringIO
from typing import Any, NamedTuple
from xml.etree import ElementTree

import jinja2
import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from sailsim.analysis.render.figure import style


def page_file(name: str) -> str:
    """A file of the folder `page`: styles, scripts and templates of the HTML pages."""
    return (files("sailsim.analysis.render") / "page" / name).read_text("utf-8")


def rendered(template: str, **values: Any) -> str:
    """A template of the folder `page` with values: text in them is never read as HTML, but for what has
    `__html__`, which gives it as such."""
    environment = jinja2.Environment(autoescape=True, loader=jinja2.FunctionLoader(page_file))
    return environment.get_template(template).render(**values)


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


class Cell(NamedTuple):
    """A cell of a table: its text, its classes, and what it is sorted by where that is a number.

    A row of a `Table` may hold one where the text says more than the number: a unit, a range.
    """

    text: str
    classes: str = ""
    number: float | None = None


@dataclass(frozen=True)
class Table:
    """A table; numbers stand right, and the text of column ``verdict`` is its cell's class too.

    The page lets one sort and filter it unless it is not ``sortable``. Columns ``wide`` are left out where
    the window is narrow.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    verdict: int | None = None
    sortable: bool = True
    wide: tuple[int, ...] = ()

    def _classes(self, i: int, number: bool) -> list[str]:
        return ["number"] * number + ["wide"] * (i in self.wide)

    @property
    def head(self) -> list[Cell]:
        """The cells above the columns."""
        numeric = self._numeric()
        return [Cell(name, " ".join(self._classes(i, numeric[i]))) for i, name in enumerate(self.header)]

    @property
    def lines(self) -> list[list[Cell]]:
        """The cells, a list a row."""
        numeric = self._numeric()
        return [[self._cell(i, value, numeric[i]) for i, value in enumerate(row)] for row in self.rows]

    def _numeric(self) -> list[bool]:
        """Which columns hold numbers, alone or beside a text."""
        bare = [[each.number if isinstance(each, Cell) else each for each in row] for row in self.rows]
        return numeric_columns(bare, len(self.header))

    def _cell(self, i: int, value: object, number: bool) -> Cell:
        classes = self._classes(i, number)
        if isinstance(value, Cell):
            return value._replace(classes=" ".join(classes))
        text = shown(value)
        if i == self.verdict:
            classes.append(re.sub(r"\W+", "-", text))
        known = isinstance(value, int | float) and not isinstance(value, bool) and value == value
        return Cell(text, " ".join(classes), float(value) if known else None)  # type: ignore[arg-type]


INKS = {"#000000": "ink", "#ffffff": "paper", "#444444": "quiet", "#888888": "quiet", "#dddddd": "rule"}
"""Colours of a drawing that follow the page's, light or dark (`page/base.css`)."""
SVG = "{http://www.w3.org/2000/svg}"


def inline_svg(figure: Figure, name: str = "figure", words: Mapping[str, Sequence[str]] | None = None) -> str:
    """A figure as an SVG element to stand inside HTML, in the page's colours.

    ``name`` begins every id in it. ``words`` are those of marks by their group (a mark's own group ends with
    ~ and its number), one after another: each becomes its mark's title, which a browser shows at the pointer.
    """
    buffer = StringIO()
    with style(), mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    root = ElementTree.fromstring(buffer.getvalue())
    for unread in root.findall(f"{SVG}metadata"):
        root.remove(unread)
    for group in root.iter(f"{SVG}g"):
        name_of_group, _, one = group.get("id", "").partition("~")
        texts = (words or {}).get(name_of_group, ())
        marks = list(group.iter(f"{SVG}use")) or group.findall(f"{SVG}path")
        for mark, text in zip(marks, texts[int(one) :] if one else texts, strict=False):
            mark.set("class", "mark")
            ElementTree.SubElement(mark, f"{SVG}title").text = text
    wanted = {
        target for each in root.iter() for target in re.findall("#([\\w-]+)", " ".join(each.attrib.values()))
    }
    for each in root.iter():
        if each.get("id") is not None:
            own = each.attrib.pop("id")
            if own in wanted:
                each.set("id", f"{name}-{own}")
        for key, value in list(each.attrib.items()):
            value = re.sub(r"url\(#", f"url(#{name}-", value)
            if key == "{http://www.w3.org/1999/xlink}href":
                del each.attrib[key]
                key, value = "href", value.replace("#", f"#{name}-", 1)
            for colour, ink in INKS.items():
                value = value.replace(colour, f"var(--{ink}, {colour})")
            each.set(key, value)
    ElementTree.register_namespace("", SVG[1:-1])
    return ElementTree.tostring(root, encoding="unicode")
