"""The figures of energy: by cause, and of the PIM units alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sailsim.analysis.render.figure_axes import (
    WORDS,
    axis_of,
    free_with,
    lines_of,
    patterns_of,
    some_of,
    tokens_in,
    value_in_words,
)
from sailsim.analysis.render.style import (
    OKABE_ITO,
    canvas,
    caption,
)
from sailsim.analysis.results.results import (
    Runs,
    need,
    numbers,
)
from sailsim.analysis.results.runs import CORES

ENERGY_STYLE: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "PIM units": (("arrays", "convert", "dfm", "prt"), OKABE_ITO["vermillion"], "\\\\"),
    "LLC and mesh": (("llc", "mesh"), OKABE_ITO["sky"], "//"),
    "DRAM": (("dram",), OKABE_ITO["blue"], ""),
    "cores at work and waiting": (("cores",), OKABE_ITO["green"], ""),
    "what runs all the time": (("static",), "#bbbbbb", ".."),
}
"""Causes that share a colour, by their name in the figure; the units' own parts have a figure of theirs."""

UNIT_STYLE: Mapping[str, tuple[str, str, str]] = {
    "arrays": ("arrays: tables and look-ups", OKABE_ITO["vermillion"], "\\\\"),
    "convert": ("convert and scale", OKABE_ITO["yellow"], ".."),
    "dfm": ("shift and add", OKABE_ITO["orange"], ""),
    "prt": ("pattern reuse table", OKABE_ITO["purple"], "xx"),
}


def energy(results: Runs) -> Figure:
    """Energy of a token by cause, SAIL beside the cores alone, by weight bits or by what the store has more
    than one value of; two panels per batch, equal scales."""
    x = axis_of(results, "wbits")
    by = lines_of(results, x)
    vary = (*free_with(x), by)
    sides = {"SAIL": results.at(vary), "cores alone": results.at(vary, CORES)}
    sides = {title: own[own["energy_j"].notna()] for title, own in sides.items()}
    sides = {title: own for title, own in sides.items() if len(own)}
    need("SAIL" in sides, "Energy by cause", "runs of SAIL with an energy")
    rows = sides["SAIL"]
    values = some_of(results, by, list(rows[by]), 2)
    panels_of = [(value, title) for value in values for title in sides]
    figure, panels = canvas(
        "Energy of a token, beside the same server's cores",
        len(panels_of),
        width=3.4 + 2.2 * len(panels_of),
        sharey=True,
    )
    for axes, (value, title) in zip(panels, panels_of, strict=True):
        own = sides[title]
        own = own[own[by] == value].sort_values(x)
        parts = {
            label: (sum(numbers(own, "energy", cause).to_numpy() for cause in causes) / tokens_in(own), *look)
            for label, (causes, *look) in ENERGY_STYLE.items()
        }
        _stacked(axes, parts)
        ends = [own[f"energy_{end}_j"].to_numpy() / tokens_in(own) for end in ("low", "high")]
        axes.vlines(np.arange(len(own)), *ends, color="#444444", lw=0.9)
        _ticks(axes, own, x, f"{title}, {value_in_words(by, value)}")
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("J a token")
    _legend_beside(panels[-1])
    caption(
        figure,
        results.setting(vary, rows),
        "Lines: every constant at the same end of its range (docs/cost.md). Cores: the same step on "
        "the same server without SAIL, llama.cpp. All the time: idle cores, mesh and controllers, DRAM "
        "standing open, leaking C-SRAM; the whole server is counted for either. Not modelled: regulators, "
        "supply, cooling, network. " + patterns_of(rows),
    )
    return figure


def energy_units(results: Runs) -> Figure:
    """Energy of the PIM units alone by part, a token, by weight bits or by what the store has more than one
    value of; a panel per batch, equal scales."""
    x = axis_of(results, "wbits")
    by = lines_of(results, x)
    vary = (*free_with(x), by)
    rows = results.at(vary)
    rows = rows[rows["energy_j"].notna()]
    need(len(rows) > 0, "Energy of the PIM units", "runs of SAIL with an energy")
    values = some_of(results, by, list(rows[by]))
    figure, panels = canvas(
        "Energy of a token in the PIM units alone", len(values), width=3.6 + 2.4 * len(values), sharey=True
    )
    for axes, value in zip(panels, values, strict=True):
        own = rows[rows[by] == value].sort_values(x)
        parts = {
            label: (numbers(own, "energy", cause).to_numpy() * 1e3 / tokens_in(own), *look)
            for cause, (label, *look) in UNIT_STYLE.items()
        }
        _stacked(axes, parts)
        _ticks(axes, own, x, value_in_words(by, value))
    panels[0].set_ylabel("mJ a token")
    _legend_beside(panels[-1])
    caption(
        figure,
        results.setting(vary, rows),
        "What the figure of a token's energy shows as PIM units. " + patterns_of(rows),
    )
    return figure


def _stacked(axes: Axes, parts: Mapping[str, tuple[Any, ...]]) -> None:
    """Stacked bars: height, colour and hatch of each part by its label."""
    base: Any = 0.0
    for label, (height, colour, hatch) in parts.items():
        look = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.4}
        axes.bar(np.arange(len(height)), height, 0.7, base, label=label, **look)
        base = base + np.asarray(height)


def _ticks(axes: Axes, own: pd.DataFrame, x: str, title: str) -> None:
    """A bar for each value of a column."""
    axes.set_xticks(np.arange(len(own)), [f"{value:g}" for value in own[x]])
    axes.set_xlabel(WORDS[x])
    axes.set_title(title, loc="left")
    axes.grid(axis="x", visible=False)


def _legend_beside(axes: Axes) -> None:
    """What the colours are, the topmost part first."""
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5))
