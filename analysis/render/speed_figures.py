"""Figures of a sweep's speed: speedup, tokens/s by threads, and where a step's time goes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from sailsim.analysis.baselines.cpu import SOFTWARE
from sailsim.analysis.baselines.runners import SAIL
from sailsim.analysis.paper.claims import SHIPPED
from sailsim.analysis.render.figure_words import marks_of, patterns_of
from sailsim.analysis.render.phases import PHASE_STYLE
from sailsim.analysis.render.style import (
    SERIES,
    canvas,
    caption,
    draw_line,
    plain_numbers,
)
from sailsim.analysis.results.results import (
    Runs,
    need,
    numbers,
)
from sailsim.sim import Point


def _predicted_for(results: Runs) -> str:
    """Which software the cores that are drawn run, and what is shaded."""
    drawn = results.runners[results.runners["runner"].isin(list(results.curves))]
    own = dict.fromkeys(drawn[drawn["kind"] == "cores"]["software"])
    named = " and ".join(SOFTWARE[name] for name in own if name in SOFTWARE)
    said = f"Cores: the same server's without SAIL, predicted for {named}. " if named else ""
    return f"{said}Shaded: the band that holds nine of ten measurements (docs/baselines.md)."


def _models(rows: pd.DataFrame, most: int = 3) -> list[str]:
    """The models of some rows, the default one first, then by most rows; at most ``most``."""
    counts = {str(name): int(count) for name, count in rows["model"].value_counts().items()}
    return sorted(counts, key=lambda name: (name != Point().model, -counts[name], name))[:most]


def speedup(results: Runs, paper: str = SHIPPED) -> Figure:
    """SAIL over what stands beside it, by weight bits; a line per batch, rows of models, columns of runners;
    a dotted line at what ``paper`` claims as "speedup", if it does."""
    vary = ("wbits", "batch", "model")
    rows = results.at(vary)
    need(
        rows["wbits"].nunique() > 1, "The speedup by bit width", "points of several --wbits at one --threads"
    )
    models = _models(rows, 2)
    beside = {name: results.at(vary, name) for name in results.curves}
    beside = {name: own for name, own in beside.items() if own["speedup"].notna().any()}
    need(len(beside) > 0, "The speedup by bit width", "runs of the same server's cores")
    marks = marks_of("speedup", paper)
    highest = max(
        *(mark.value for mark in marks), *(float(own["speedup"].max()) for own in beside.values()), 1
    )
    figure, grid = canvas(
        f"SAIL against {_what(results, beside)}, {results.reference['threads']} threads each",
        len(beside),
        len(models),
        width=3.0 + 3.3 * len(beside),
        height=1.1 + 2.9 * len(models),
        sharex=True,
        sharey=True,
    )
    for line_of_axes, model in zip(grid, models, strict=True):
        for axes, (name, every) in zip(line_of_axes, beside.items(), strict=True):
            own = every[every["model"] == model]
            for i, (batch, line) in enumerate(own.groupby("batch")):
                line = line.sort_values("wbits")
                draw_line(axes, i, line["wbits"], line["speedup"], f"batch {batch}")
                axes.fill_between(
                    line["wbits"], line["speedup_low"], line["speedup"], color=SERIES[i % 7], alpha=0.13, lw=0
                )
            for mark in marks:
                mark.line(axes)
            axes.axhline(1, color="#444444", lw=0.8)
            model_title = rows[rows["model"] == model]["model_title"].iloc[0]
            axes.set_title(f"{model_title}, {results.curves[name]}", loc="left")
            axes.set_xticks(sorted(rows["wbits"].unique()))
            axes.set_ylim(0, 1.1 * highest)
        line_of_axes[0].set_ylabel("speedup in tokens/s")
    for axes in grid[-1]:
        axes.set_xlabel("bits of a weight")
    for mark in marks:
        mark.label(grid[0][-1])
    grid[0][-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    caption(
        figure,
        results.setting((*vary,), rows),
        patterns_of(rows),
        "Cores: the same server's without SAIL, predicted (docs/baselines.md). Shaded: down to what is "
        "left where a runner reaches the upper end of its band. Only four bits are measured on these cores; "
        "two bits and T-MAC (up to four bits) on a sibling core, and other widths are assumed: the ranges "
        "are in the band. What SAIL leaves to the cores runs at the system file's rates in every column.",
    )
    return figure


def _what(results: Runs, beside: Iterable[str]) -> str:
    """What SAIL is drawn against, in words."""
    own = results.runners.set_index("runner").loc[list(beside)]
    systems = set(results.frame["system"])
    same = bool((own["kind"] == "cores").all()) and set(own["hardware"]) <= systems
    return "the same server's cores" if same else "the same server's cores and others"


def threads(results: Runs) -> Figure:
    """Tokens/s by threads: SAIL and what stands beside it; a panel per batch."""
    vary = ("threads", "batch")
    rows = results.at(vary)
    need(rows["threads"].nunique() > 1, "Tokens/s by threads", "points of several --threads at one --wbits")
    batches = sorted(rows["batch"].unique())[:3]
    figure, panels = canvas("Tokens per second by threads", len(batches), width=3.2 + 2.9 * len(batches))
    lines = {SAIL: "SAIL", **results.curves}
    for axes, batch in zip(panels, batches, strict=True):
        for i, (name, label) in enumerate(lines.items()):
            every = results.at(vary, name)
            own = every[every["batch"] == batch].sort_values("threads")
            draw_line(axes, i, own["threads"], own["tokens_per_s"], label)
            axes.fill_between(
                own["threads"],
                own["low"].astype(float),
                own["high"].astype(float),
                color=SERIES[i % 7],
                alpha=0.15,
                lw=0,
            )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        plain_numbers(axes.xaxis, sorted(rows[rows["batch"] == batch]["threads"].unique()))
        plain_numbers(axes.yaxis)
        axes.set_title(f"batch {batch}", loc="left")
        axes.set_xlabel("threads (cores that work)")
    panels[0].set_ylabel("tokens/s of the whole batch")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    caption(figure, results.setting(vary, rows), patterns_of(rows), _predicted_for(results))
    return figure


def step_time(results: Runs) -> Figure:
    """Where a step's time goes: stacked phases by weight bits; a panel per batch."""
    vary = ("wbits", "batch")
    rows = results.at(vary)
    need(rows["wbits"].nunique() > 1, "Where a step's time goes", "points of several --wbits")
    batches = sorted(rows["batch"].unique())[:3]
    figure, panels = canvas("Where a decode step's time goes", len(batches), width=4.2 + 2.6 * len(batches))
    for axes, batch in zip(panels, batches, strict=True):
        own = rows[rows["batch"] == batch].sort_values("wbits")
        x = np.arange(len(own))
        base = np.zeros(len(own))
        for phase, (label, colour, hatch) in PHASE_STYLE.items():
            height = numbers(own, "phases", phase).to_numpy() * 1e3
            axes.bar(
                x,
                height,
                0.72,
                base,
                label=label,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.4,
            )
            base += height
        for i, total in enumerate(base):
            axes.annotate(f"{total:.3g}", (float(i), total), ha="center", va="bottom", fontsize=8)
        axes.set_xticks(x, [str(w) for w in own["wbits"]])
        axes.set_xlabel("bits of a weight")
        axes.set_title(f"batch {batch}", loc="left")
        axes.grid(axis="x", visible=False)
        axes.margins(y=0.08)
    panels[0].set_ylabel("time of one step, ms")
    handles, labels = panels[-1].get_legend_handles_labels()
    panels[-1].legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5))
    caption(
        figure, results.setting(vary, rows), "The parts exclude each other and add up. " + patterns_of(rows)
    )
    return figure
