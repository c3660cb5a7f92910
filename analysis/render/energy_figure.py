"""The figure of energy by cause."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sailsim.analysis.baselines.runners import CORES
from sailsim.analysis.render.figure_words import patterns_of
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

ENERGY_STYLE: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "PIM units": (("arrays", "convert", "dfm", "prt"), OKABE_ITO["vermillion"], "\\\\"),
    "LLC and mesh": (("llc", "mesh"), OKABE_ITO["sky"], "//"),
    "DRAM": (("dram",), OKABE_ITO["blue"], ""),
    "cores at work and waiting": (("cores",), OKABE_ITO["green"], ""),
    "what runs all the time": (("static",), "#bbbbbb", ".."),
}
"""Causes that share a colour, by their name in the figure; the units' own parts have a panel of theirs."""

UNIT_STYLE: Mapping[str, tuple[str, str, str]] = {
    "arrays": ("arrays: tables and look-ups", OKABE_ITO["vermillion"], "\\\\"),
    "convert": ("convert and scale", OKABE_ITO["yellow"], ".."),
    "dfm": ("shift and add", OKABE_ITO["orange"], ""),
    "prt": ("pattern reuse table", OKABE_ITO["purple"], "xx"),
}


def energy(results: Runs) -> Figure:
    """Energy of a token by cause and weight bits, SAIL beside the cores alone; a panel per batch, and one for
    the PIM units' own parts."""
    vary = ("wbits", "batch")
    rows = results.at(vary)
    cores = results.at(vary, CORES)
    have = bool(rows["energy_j"].notna().any()) and bool(cores["energy_j"].notna().any())
    need(have, "Energy by cause", "runs of SAIL and of the same server's cores")
    need(rows["wbits"].nunique() > 1, "Energy by cause", "points of several --wbits")
    batches = sorted(rows["batch"].unique())[:2]
    figure, panels = canvas(
        "Energy of a token, beside the same server's cores", len(batches) + 1, width=5.4 + 3.0 * len(batches)
    )
    highest = 0.0
    for axes, batch in zip(panels, batches, strict=False):
        for at, every, machine in ((-0.2, rows, "SAIL"), (0.2, cores, "cores")):
            own = every[every["batch"] == batch].sort_values("wbits")
            base = np.zeros(len(own))
            for label, (causes, colour, hatch) in ENERGY_STYLE.items():
                each = sum(numbers(own, "energy", cause).to_numpy() for cause in causes) / batch
                _stack(axes, at, each, base, label if at < 0 else "", colour, hatch)
                base = base + each
            ends = [own[f"energy_{end}_j"].to_numpy() / batch for end in ("low", "high")]
            x = np.arange(len(own)) + at
            axes.errorbar(x, base, (base - ends[0], ends[1] - base), fmt="none", ecolor="#444444", lw=0.9)
            highest = max(highest, float(ends[1].max()))
            for i in range(len(own)):
                axes.annotate(machine, (x[i], 0), (0, -3), **_BELOW)
        _bits(axes, own, f"batch {batch}")
    for axes in panels[: len(batches)]:
        axes.set_ylim(0, 1.05 * highest)
    axes, own = panels[-1], rows[rows["batch"] == batches[0]].sort_values("wbits")
    base = np.zeros(len(own))
    for cause, (label, colour, hatch) in UNIT_STYLE.items():
        each = numbers(own, "energy", cause).to_numpy() * 1e3 / batches[0]
        _stack(axes, 0.0, each, base, label, colour, hatch)
        base = base + each
    _bits(axes, own, f"PIM units alone, batch {batches[0]}")
    axes.set_ylabel("mJ a token")
    panels[0].set_ylabel("J a token")
    _legend_above(figure, panels[0], panels[-1])
    caption(
        figure,
        results.setting(vary, rows),
        "Lines: every constant at the same end of its range (docs/energy-area.md). Cores: the same step on "
        "the same server without SAIL, llama.cpp. All the time: idle cores, mesh and controllers, DRAM "
        "standing open, leaking C-SRAM; the whole server is counted for either. Not modelled: regulators, "
        "supply, cooling, "
        "network. " + patterns_of(rows),
    )
    return figure


_BELOW: dict[str, Any] = {
    "textcoords": "offset points",
    "rotation": 90,
    "ha": "center",
    "va": "top",
    "fontsize": 7,
}


def _stack(axes: Axes, at: float, height: Any, base: Any, label: str, colour: str, hatch: str) -> None:
    """One part of stacked bars, beside the others of the same group."""
    axes.bar(
        np.arange(len(height)) + at,
        height,
        0.36 if at else 0.6,
        base,
        label=label or None,
        color=colour,
        hatch=hatch,
        edgecolor="white",
        linewidth=0.4,
    )


def _bits(axes: Axes, own: pd.DataFrame, title: str) -> None:
    """Groups of bars by weight bits."""
    axes.set_xticks(np.arange(len(own)), [str(w) for w in own["wbits"]])
    axes.tick_params(axis="x", pad=26)
    axes.set_xlabel("bits of a weight")
    axes.set_title(title, loc="left")
    axes.grid(axis="x", visible=False)


def _legend_above(figure: Figure, *panels: Axes) -> None:
    """The panels' legends beside the last one."""
    parts = [axes.get_legend_handles_labels() for axes in panels]
    handles = [handle for found, _ in parts for handle in found[::-1]]
    labels = [label for _, found in parts for label in found[::-1]]
    panels[-1].legend(handles, labels, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)
