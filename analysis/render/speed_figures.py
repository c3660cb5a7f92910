"""Figures of a sweep's speed: speedup, tokens/s by threads, and where a step's time goes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sailsim.analysis.paper.claims import SHIPPED
from sailsim.analysis.render.figure_axes import (
    WORDS,
    along,
    axis_of,
    free_with,
    lines_of,
    marks_of,
    patterns_of,
    some_of,
    tokens_in,
    value_in_words,
)
from sailsim.analysis.render.style import (
    PHASE_STYLE,
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
from sailsim.analysis.results.runs import SAIL
from sailsim.sim.backends.cores import FASTEST, SOFTWARE
from sailsim.sim.point import Point


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
    """SAIL over what stands beside it; a line per batch, rows of models, columns of runners, the last of them
    all cores with the fastest software; a dotted line at what ``paper`` claims as "speedup", if it does.

    By weight bits, or by what the store has more than one value of.
    """
    x = axis_of(results, "wbits")
    by = lines_of(results, x)
    vary = (*free_with(x), by, "model")
    rows = results.at(vary)
    models = _models(rows, 2)
    beside = {name: results.at(vary, name) for name in {**results.curves, **_all_cores(results)}}
    beside = {name: own for name, own in beside.items() if own["speedup"].notna().any()}
    need(len(beside) > 0, "The speedup", "runs of something beside SAIL")
    marks = marks_of("speedup", paper)
    ends = [own[f"speedup{end}"] for own in beside.values() for end in ("", "_low", "_high")]
    spread = [*(mark.value for mark in marks), 1, *(float(end.max()) for end in ends)]
    lowest = min(1.0, *(float(end.min()) for end in ends))
    figure, grid = canvas(
        f"SAIL with {results.reference['threads']} threads against {_what(results, beside)}"
        if x != "threads"
        else f"SAIL against {_what(results, beside)}",
        len(beside),
        len(models),
        width=2.2 + 2.75 * len(beside),
        height=1.3 + 2.7 * len(models),
        sharex=True,
        sharey=True,
    )
    lines = some_of(results, by, list(rows[by]))
    titles = results.runners.set_index("runner")["title"]
    for line_of_axes, model in zip(grid, models, strict=True):
        for axes, (name, every) in zip(line_of_axes, beside.items(), strict=True):
            own = every[every["model"] == model]
            for i, value in enumerate(lines):
                _with_band(axes, i, own[own[by] == value].sort_values(x), x, value_in_words(by, value))
            for mark in marks:
                mark.line(axes)
            axes.axhline(1, color="#444444", lw=0.8)
            axes.set_title(f"over {titles[name]}", loc="left")
            axes.set_yscale("log")
            axes.set_ylim(0.8 * lowest, 1.25 * np.nanmax(spread))
            plain_numbers(axes.yaxis)
            along(axes, x, list(rows[x]), label=model == models[-1])
        title = rows[rows["model"] == model]["model_title"].iloc[0]
        line_of_axes[0].set_ylabel(f"{title}\nspeedup in tokens/s")
    for mark in marks:
        mark.label(grid[0][-1])
    grid[0][-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    caption(
        figure,
        results.setting(vary, rows),
        patterns_of(rows),
        "Above 1 SAIL is faster; equal scales. Cores: the same server's without SAIL, predicted "
        "(docs/baselines.md). Shaded: what is left where the other runs at the ends of its band, which "
        "holds nine of ten measurements. Only four bits are measured on these cores; two bits and T-MAC (up "
        "to four bits) on a sibling core, and other widths are assumed: the ranges are in the band. What "
        "SAIL leaves to the cores runs at the system file's rates in every column.",
    )
    return figure


def _all_cores(results: Runs) -> dict[str, str]:
    """The runner that takes every core with the fastest software, where the store has it, with its title."""
    own = results.runners
    own = own[(own["kind"] == "cores") & (own["pays"] == "whole") & (own["software"] == FASTEST)]
    return dict(zip(own["runner"], own["title"], strict=True))


def _with_band(axes: Axes, i: int, line: pd.DataFrame, x: str, label: str) -> None:
    """The ``i``-th line of speedups with what its band leaves on either side."""
    if line.empty:
        return
    draw_line(axes, i, line[x], line["speedup"], label)
    ends = line["speedup_low"].astype(float), line["speedup_high"].astype(float)
    if len(line) > 1:
        axes.fill_between(line[x], *ends, color=SERIES[i % 7], alpha=0.12, lw=0)
    else:
        axes.vlines(line[x], *ends, color=SERIES[i % 7], alpha=0.4, lw=3)


def _what(results: Runs, beside: Iterable[str]) -> str:
    """What SAIL is drawn against, in words."""
    own = results.runners.set_index("runner").loc[list(beside)]
    systems = set(results.frame["system"])
    same = bool((own["kind"] == "cores").all()) and set(own["hardware"]) <= systems
    return "the same server's cores" if same else "the same server's cores and others"


def threads(results: Runs) -> Figure:
    """Tokens/s by threads, or by what the store has more than one value of: SAIL and what stands beside it; a
    panel per batch, equal scales."""
    x = axis_of(results, "threads")
    by = lines_of(results, x)
    vary = (*free_with(x), by)
    rows = results.at(vary)
    panels_of = some_of(results, by, list(rows[by]))
    figure, panels = canvas(
        f"Tokens per second by {WORDS[x]}", len(panels_of), width=3.2 + 2.9 * len(panels_of), sharey=True
    )
    lines = {SAIL: "SAIL", **results.curves}
    for axes, value in zip(panels, panels_of, strict=True):
        for i, (name, label) in enumerate(lines.items()):
            every = results.at(vary, name)
            own = every[every[by] == value].sort_values(x)
            draw_line(axes, i, own[x], own["tokens_per_s"], label)
            ends = own["low"].astype(float), own["high"].astype(float)
            axes.fill_between(own[x], *ends, color=SERIES[i % 7], alpha=0.15, lw=0)
        axes.set_yscale("log")
        along(axes, x, list(rows[x]))
        plain_numbers(axes.yaxis)
        axes.set_title(value_in_words(by, value), loc="left")
    panels[0].set_ylabel("tokens/s of the whole batch")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    caption(figure, results.setting(vary, rows), patterns_of(rows), _predicted_for(results))
    return figure


def step_time(results: Runs) -> Figure:
    """Where a step's time goes: stacked phases over the batch by weight bits, or by what the store has more
    than one value of; a panel per batch, equal scales."""
    x = axis_of(results, "wbits")
    by = lines_of(results, x)
    vary = (*free_with(x), by)
    rows = results.at(vary)
    panels_of = some_of(results, by, list(rows[by]))
    figure, panels = canvas(
        "Where the time of a token goes", len(panels_of), width=4.2 + 2.6 * len(panels_of), sharey=True
    )
    for axes, value in zip(panels, panels_of, strict=True):
        own = rows[rows[by] == value].sort_values(x)
        at = np.arange(len(own))
        base = np.zeros(len(own))
        for phase, (label, colour, hatch) in PHASE_STYLE.items():
            height = numbers(own, "phases", phase).to_numpy() * 1e3 / tokens_in(own)
            axes.bar(
                at,
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
        axes.set_xticks(at, [f"{value:g}" for value in own[x]])
        axes.set_xlabel(WORDS[x])
        axes.set_title(value_in_words(by, value), loc="left")
        axes.grid(axis="x", visible=False)
        axes.margins(y=0.08)
    panels[0].set_ylabel("time of a step over its tokens, ms")
    handles, labels = panels[-1].get_legend_handles_labels()
    panels[-1].legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5))
    caption(
        figure, results.setting(vary, rows), "The parts exclude each other and add up. " + patterns_of(rows)
    )
    return figure
