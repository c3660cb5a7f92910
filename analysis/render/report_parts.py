"""What the report's template writes: sections of parts, tables of cells, figures by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from sailsim.analysis.render.html import inline_svg, numeric_columns, shown
from sailsim.analysis.render.report_charts import Chart


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


class Drawn(NamedTuple):
    """A figure of matplotlib inside the page."""

    name: str
    title: str
    svg: str


@dataclass(frozen=True)
class Part:
    """A piece of a section, in this order: heading, paragraphs, figures, a list of sentences, a table.

    With ``folded`` the table stands behind these words, and ``printed`` opens it on paper; ``text`` is
    something to read letter by letter, always behind them.
    """

    heading: str = ""
    paragraphs: Sequence[str] = ()
    chart: Chart | None = None
    drawn: Sequence[Drawn] = ()
    points: Sequence[str] = ()
    table: Table | None = None
    folded: str = ""
    printed: bool = False
    text: str = ""


@dataclass(frozen=True)
class Section:
    """A section: its name in the page, its word in the menu, its headline."""

    name: str
    menu: str
    title: str
    parts: list[Part] = field(default_factory=list)

    @property
    def charts(self) -> list[Chart]:
        """The figures that answer to the reader."""
        return [part.chart for part in self.parts if part.chart is not None]


def drawn(figures: Iterable[tuple[str, str, Figure]]) -> list[Drawn]:
    """Figures of matplotlib, by name and title."""
    return [Drawn(name, title, inline_svg(figure)) for name, title, figure in figures]


def bold_pieces(text: str) -> list[dict[str, Any]]:
    """A sentence of Markdown whose bold words are marked with two stars, as pieces."""
    return [{"text": piece, "strong": i % 2 == 1} for i, piece in enumerate(text.split("**")) if piece]
