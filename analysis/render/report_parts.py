"""What the report's template writes: sections of parts, tables of cells, figures by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from sailsim.analysis.costs.area import AreaConstants
from sailsim.analysis.costs.dollars import CostConstants, PriceList
from sailsim.analysis.costs.energy import EnergyConstants
from sailsim.analysis.render.html import Table, inline_svg
from sailsim.analysis.render.report_charts import Chart
from sailsim.analysis.results.results import short_name
from sailsim.base.quantity import Choice, Quantity
from sailsim.sim.backends.cores import kernel_rates
from sailsim.sim.files import load_card, load_system
from sailsim.sim.fitted import fitted_constants
from sailsim.sim.vary import leaves


def constants_parts(frame: pd.DataFrame, price_list: PriceList) -> list[Part]:
    """Tables of the machines of a store's records, the fits and the constants of dollars, joules and area."""
    header = ("constant", "value", "unit", "range", "kind", "source", "why")
    parts = []
    listed: dict[str, set[tuple[str, ...]]] = {}
    # A machine's own file after those that it extends, and then only what it changes.
    servers = set(frame["system"]) | set(frame["hardware"][frame["kind"] != "card"])
    for system in sorted(map(load_system, servers), key=lambda s: (len(s.extends), s.name)):
        lines = [_line(path, value, system.citation(value.source)) for path, value in leaves(system).items()]
        listed[system.name] = {tuple(line) for line in lines}
        below = next((name for name in system.extends if name in listed), None)
        if below is not None:
            lines = [line for line in lines if tuple(line) not in listed[below]]
        title = f"System {system.name}: {system.title}" + (f"; all else as {below}" if below else "")
        parts.append((title, header, lines))
    rows = [_line(path, value, value.source) for path, value in fitted_constants().quantities().items()]
    parts.append(("Baselines, fitted (fits.json)", header, rows))
    rows = []
    for name in sorted(set(frame["hardware"][frame["kind"] == "card"])):
        card = load_card(name)
        rows += [
            _line(path, value, card.citation(value.source))
            for path, value in leaves(card, f"{short_name(name)}.").items()
        ]
    parts.append(("GPU cards", header, rows))
    for title, constants in (
        ("Cost", CostConstants),
        ("Energy", EnergyConstants),
        ("Area", AreaConstants),
    ):
        lines = [_line(name, value, value.source) for name, value in constants.quantities().items()]
        parts.append((title, header, lines))
    rates = [
        [name, f"{r.relative:g}", "of q4_k", f"{r.low:g} .. {r.high:g}", r.kind, r.source, r.note]
        for name, r in kernel_rates().items()
    ]
    parts.append(("CPU kernel rates by format", header, rates))
    priced = [
        [p.instance, f"{p.usd_per_hour:g}", "USD/h", p.chip, p.date, p.source, ""] for p in price_list.rows
    ]
    parts.append(("Prices", ("instance", "value", "unit", "chip", "date", "source", ""), priced))
    return [Part(table=Table(head, lines), folded=f"{title} ({len(lines)})") for title, head, lines in parts]


def _line(path: str, value: Quantity | Choice, source: str) -> list[str]:
    """One constant as the cells of a row."""
    if isinstance(value, Choice):
        return [path, str(value.value), "", "", value.kind, source, value.note]
    span = "" if value.low is None or value.high is None else f"{value.low:g} .. {value.high:g}"
    return [path, f"{value.value:g}", value.unit, span, value.kind, source, value.note]


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
