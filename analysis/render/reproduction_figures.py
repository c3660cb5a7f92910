"""Figures of the reproduction page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sailsim.analysis.paper.claims import Claim
from sailsim.analysis.render.reproduction_words import Reproduction, claims_of, number, primary
from sailsim.analysis.render.style import OKABE_ITO, PHASE_STYLE, canvas, caption, style

TITLES: Mapping[str, str] = {
    "claims": "What machines within the declared ranges give, claim by claim",
    "decides": "What decides each claim",
    "breakdown": "Where a step's time goes, on SAIL and on the cores alone",
}


def _axis(axes: Axes, claim: Claim, wide: bool = False) -> None:
    """A claim's axis, on its scale."""
    if claim.scale == "log":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("%" if claim.unit == "%" else "times")


def claims_figure(study: Reproduction) -> Figure:
    """Distributions of every claim with the paper's value, the nominal and the nearest machine."""
    figure, grid = canvas(TITLES["claims"], 2, 3, width=9.6, height=8.4)
    panels = [axes for row in grid for axes in row]
    every = claims_of(study)
    for axes, (claim, results) in zip(panels, every, strict=False):
        main, paper = primary(results), claim.value
        per_point = claim.aggregation == "highest"
        values = np.array([v for v in results["values"] if v is not None])
        fixed = np.array([v for v in results["fixed_values"] if v is not None])
        both = np.concatenate([values, fixed, [paper]])
        if claim.scale == "linear":
            edges = np.linspace(min(0.0, both.min()), max(both.max() * 1.02, 1.0), 28)
        else:
            edges = np.geomspace(both.min() * 0.95, both.max() * 1.05, 28)
        axes.hist(values, edges, color=OKABE_ITO["sky"], alpha=0.75, label="highest over the workloads")
        if per_point:
            axes.hist(
                fixed,
                edges,
                histtype="step",
                color=OKABE_ITO["black"],
                lw=1.2,
                label="on the fixed workload",
            )
        _axis(axes, claim, wide=bool(edges[-1] > 300 * max(edges[0], 1e-9)))
        axes.axvline(paper, color=OKABE_ITO["vermillion"], lw=2, label="paper")
        top = axes.get_ylim()[1]
        axes.plot(main["nominal"], top * 0.93, "o", color=OKABE_ITO["blue"], ms=8, label="nominal machine")
        if main["nominal_fixed"] is not None and per_point:
            axes.plot(
                main["nominal_fixed"],
                top * 0.93,
                "o",
                mfc="white",
                color=OKABE_ITO["blue"],
                ms=8,
                label="nominal, fixed workload",
            )
        reach = f"{main['reach'] / main['machines']:.0%} reach {number(paper, claim.unit)}"
        axes.set_title(f"{claim.short}: {reach}", loc="left")
        axes.set_ylabel("machines")
    last = panels[len(every)]
    last.axis("off")
    handles, labels = panels[0].get_legend_handles_labels()
    last.legend(handles, labels, loc="center left")
    fixed_name = next(w["name"] for w in study["workloads"] if w["fixed"])
    caption(
        figure,
        f"{study['machines']} machines drawn from the ranges of every unpublished parameter (seed "
        f"{study['seed']}), each beside baselines with drawn constants. Highest over "
        f"{len(study['workloads'])} workloads; fixed: {fixed_name} (model, weight bits, batch, threads, "
        "context). "
        "Hardware: at most the paper's counts as reached.",
        "Readings: "
        + "; ".join(f"{claim.short}: {primary(results)['words']}" for claim, results in every)
        + ".",
    )
    return figure


def decides_figure(study: Reproduction) -> Figure:
    """A tornado a claim: medians at the ends of the factors that decide most."""
    figure, grid = canvas(TITLES["decides"], 2, 3, width=11.0, height=9.4)
    panels = [axes for row in grid for axes in row]
    every = claims_of(study)
    for axes, (claim, results) in zip(panels, every, strict=False):
        bars, ends = results["decides"][:8], [claim.value]
        for y, bar in enumerate(bars):
            low, high = bar["low"], bar["high"]
            if low is None:
                continue
            ends += [low, high]
            axes.barh(y, high - low, left=low, height=0.62, color=OKABE_ITO["sky"])
            # Of an instance the provider is enough.
            left_text, right_text = (bar[end].partition("/")[0] for end in ("low_at", "high_at"))
            for text, x, side, away in ((left_text, low, "right", -2), (right_text, high, "left", 2)):
                # Its ground keeps the lines of the paper and of the median out of it.
                ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
                axes.annotate(text, (x, y), ha=side, va="center", fontsize=7, xytext=(away, 0),
                              textcoords="offset points", bbox=ground)  # fmt: skip
        axes.set_yticks(
            range(len(bars)), [f"{b['factor']}  ({max(b['total'], 0):.2f})" for b in bars], fontsize=8
        )
        axes.set_ylim(max(len(bars), 1) - 0.4, -0.6)
        _axis(axes, claim)
        if claim.scale == "linear":
            room = 0.14 * (max(ends) - min(ends))
            axes.set_xlim(min(ends) - room, max(ends) + room)
        else:
            room = (max(ends) / max(min(ends), 1e-3)) ** 0.14
            axes.set_xlim(max(min(ends), 1e-3) / room, max(ends) * room)
        axes.axvline(claim.value, color=OKABE_ITO["vermillion"], lw=1.6)
        median = primary(results)["quantiles"]
        if median is not None:
            axes.axvline(median[1], color="#444444", lw=1, ls=(0, (2, 2)))
        axes.set_title(claim.short, loc="left")
    last = panels[len(every)]
    last.axis("off")
    last.plot([], [], color=OKABE_ITO["vermillion"], lw=1.6, label="paper")
    last.plot([], [], color="#444444", lw=1, ls=(0, (2, 2)), label="median of all machines")
    last.legend(loc="center left")
    caption(
        figure,
        "Bars: the claim's median over machines whose factor is in the lowest and in the highest third "
        "of its "
        "range, or over its choices; the labels say where. In brackets: total Sobol index, the share of the "
        "variance that goes away if the factor were known. Names are those of the system files "
        "(`sailsim show system sail-n1 --sources`) and of the fits (docs/baselines.md).",
        f"{study['machines']} machines, {study['samples'] // 2} base samples for the indices, seed "
        f"{study['seed']}.",
    )
    return figure


_CPU_STYLE: Mapping[str, tuple[str, str, str]] = {
    "weights": ("weights from DRAM", OKABE_ITO["blue"], ""),
    "kernels": ("products", OKABE_ITO["vermillion"], "\\\\"),
    "attention": ("attention", OKABE_ITO["green"], ""),
    "kv_cache": ("KV cache", OKABE_ITO["sky"], "//"),
    "synchronisation": ("barriers", OKABE_ITO["black"], ""),
}


def breakdown_figure(study: Reproduction) -> Figure:
    """A step on SAIL and on the cores alone, nominal and nearest, as stacked bars."""
    rows = study["breakdown"]
    figure, panels = canvas(TITLES["breakdown"], 2, width=11.5, height=2.6 + 0.5 * len(rows), sharey=True)
    sides: tuple[tuple[str, str, Mapping[str, tuple[str, str, str]]], ...] = (
        ("sail", "SAIL", PHASE_STYLE),
        ("cpu", "the same cores alone", _CPU_STYLE),
    )
    for axes, (side, title, styles) in zip(panels, sides, strict=True):
        used: dict[str, Any] = {}
        longest = max(row[f"{side}_ms"] for row in rows)
        for y, row in enumerate(rows):
            left = 0.0
            for part, milliseconds in row[side].items():
                label, colour, hatch = styles[part]
                style_of = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.4}
                bar = axes.barh(y, milliseconds, 0.6, left, **style_of)
                if milliseconds > 0.004 * longest:
                    used.setdefault(label, bar)
                left += milliseconds
            axes.annotate(
                f"{row[f'{side}_ms']:,.4g} ms",
                (left, y),
                va="center",
                fontsize=8,
                xytext=(3, 0),
                textcoords="offset points",
            )
        axes.set_xlim(0, 1.2 * longest)
        axes.set_title(title, loc="left")
        axes.set_xlabel("time of one decode step, ms")
        axes.grid(axis="y", visible=False)
        axes.legend(
            list(used.values()),
            list(used),
            loc="upper center",
            bbox_to_anchor=(0.5, -0.24),
            ncols=2,
            fontsize=8,
        )
    panels[0].set_yticks(range(len(rows)), [row["name"].replace(": ", "\n") for row in rows], fontsize=8.5)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    caption(
        figure,
        "The scales differ. Workloads: model, weight bits, batch, threads, context. Nearest: the "
        "searched configuration of "
        "a claim. "
        "Cores alone: predicted for llama.cpp, constants nominal (docs/baselines.md).",
    )
    return figure


FIGURES: Mapping[str, Callable[[Reproduction], Figure]] = {
    "claims": claims_figure,
    "decides": decides_figure,
    "breakdown": breakdown_figure,
}


def draw(name: str, study: Reproduction) -> Figure:
    """One figure by name."""
    with style():
        return FIGURES[name](study)
