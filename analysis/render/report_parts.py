"""What the report's template writes: sections of parts, tables of cells, figures by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from sailsim.analysis.render.html import Table, inline_svg
from sailsim.analysis.render.report_charts import Chart


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
