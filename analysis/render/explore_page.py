"""The figure of a search for machines: what no other trial beats."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from sailsim.analysis.paper.explore import Search
from sailsim.analysis.render.style import MARKERS, SERIES, canvas, caption, save, style


def write_figure(search: Search, frame: pd.DataFrame, folder: Path) -> None:
    """Draw the trials of a search into `pareto.svg` and `pareto.png` of its folder."""
    with style():
        figure = pareto_figure(search, frame)
    save(figure, folder / "pareto.svg", folder / "pareto.png")


def pareto_figure(search: Search, frame: pd.DataFrame) -> Figure:
    """Tokens/s and tokens per dollar against area; the front in colour, by threads."""
    figure, panels = canvas("Machines that no other trial beats", 2, width=10.5, height=4.6)
    titles = (("tokens_per_s", "tokens/s of the whole batch"), ("tokens_per_usd", "tokens per USD"))
    feasible = frame[frame["tokens_per_s"].notna()]
    for axes, (column, title) in zip(panels, titles, strict=True):
        axes.plot(feasible["area_mm2"], feasible[column], ".", color="#bbbbbb", ms=4, label="beaten")
        for i, threads in enumerate(search.threads):
            own = feasible[feasible["pareto"] & (feasible["threads"] == threads)].sort_values("area_mm2")
            if len(own):
                axes.plot(
                    own["area_mm2"], own[column], MARKERS[i % 7], color=SERIES[i % 7], ms=6,
                    label=f"front, {threads} threads",
                )  # fmt: skip
        nominal = feasible[feasible["trial"] == 0]
        if len(nominal):
            axes.plot(
                nominal["area_mm2"], nominal[column], "*", color="black", ms=13, label=search.point.system
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(LogFormatter())
        axes.xaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
        axes.set_xlabel("area that SAIL adds to the server, mm2 (7 nm)")
        axes.set_ylabel(title)
        axes.set_ylim(bottom=0)
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)
    point = search.point
    refused = int((frame["reason"] != "").sum())
    caption(
        figure,
        f"{len(frame)} trials of {search.sampler}, seed {search.seed}; {refused} of them are machines on "
        "which a "
        f"tile does not fit. {point.model}, {point.weights_in_words()}, batch {point.batch}, context "
        f"{point.context}. Searched: {', '.join(search.fields)} in the ranges of docs/reproduction.md, "
        "and threads. "
        "A point on the front is beaten by no other in all of tokens/s, tokens per dollar and area.",
        "Dollars: the used vCPUs of the priced server and SAIL's overhead (docs/cost.md); area: "
        "docs/cost.md.",
    )
    return figure
