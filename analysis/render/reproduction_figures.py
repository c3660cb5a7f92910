"""Figures of the reproduction page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sailsim.analysis.render.phases import PHASE_STYLE
from sailsim.analysis.render.reproduction_words import SHORT, Found, number, primary
from sailsim.analysis.render.style import OKABE_ITO, canvas, caption, style

TITLES: Mapping[str, str] = {
    "claims": "What machines within the declared ranges give, claim by claim",
    "decides": "What decides each claim",
    "breakdown": "Where a step's time goes, on SAIL and on the cores alone",
}


def plain_words(text: str) -> str:
    """Text with dollars that are no mathematics."""
    return text.replace("$", r"\$")


def _axis(axes: Axes, name: str, unit: str, wide: bool = False) -> None:
    """A claim's axis: logarithmic but for the PRT's saving, which can be 0."""
    if name != "prt":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("%" if unit == "%" else "times")


def claims_figure(found: Found) -> Figure:
    """Distributions of every claim with the paper's value, the nominal and the nearest machine."""
    figure, grid = canvas(TITLES["claims"], 2, 3, width=9.6, height=8.4)
    panels = [axes for row in grid for axes in row]
    for axes, (name, claim) in zip(panels, found["claims"].items(), strict=False):
        main, paper = primary(claim), float(claim["paper"])
        values = np.array([v for v in claim["values"] if v is not None])
        fixed = np.array([v for v in claim["fixed_values"] if v is not None])
        both = np.concatenate([values, fixed, [paper]])
        if name == "prt":
            edges = np.linspace(min(0.0, both.min()), max(both.max() * 1.02, 1.0), 28)
        else:
            edges = np.geomspace(both.min() * 0.95, both.max() * 1.05, 28)
        axes.hist(values, edges, color=OKABE_ITO["sky"], alpha=0.75, label="highest over the workloads")
        if name != "overhead":
            axes.hist(
                fixed,
                edges,
                histtype="step",
                color=OKABE_ITO["black"],
                lw=1.2,
                label="on the fixed workload",
            )
        _axis(axes, name, claim["unit"], wide=bool(edges[-1] > 300 * max(edges[0], 1e-9)))
        axes.axvline(paper, color=OKABE_ITO["vermillion"], lw=2, label="paper")
        top = axes.get_ylim()[1]
        axes.plot(main["nominal"], top * 0.93, "o", color=OKABE_ITO["blue"], ms=8, label="nominal machine")
        if main["nominal_fixed"] is not None and name != "overhead":
            axes.plot(
                main["nominal_fixed"],
                top * 0.93,
                "o",
                mfc="white",
                color=OKABE_ITO["blue"],
                ms=8,
                label="nominal, fixed workload",
            )
        reach = f"{main['reach'] / main['machines']:.0%} reach {number(paper, claim['unit'])}"
        axes.set_title(plain_words(f"{SHORT[name]}: {reach}"), loc="left")
        axes.set_ylabel("machines")
    last = panels[len(found["claims"])]
    last.axis("off")
    handles, labels = panels[0].get_legend_handles_labels()
    last.legend(handles, labels, loc="center left")
    fixed_name = next(w["name"] for w in found["workloads"] if w["fixed"])
    caption(
        figure,
        f"{found['machines']} machines drawn from the ranges of every unpublished parameter (seed "
        f"{found['seed']}), each beside baselines with drawn constants. Highest over "
        f"{len(found['workloads'])} workloads; fixed: {fixed_name} (model, weight bits, batch, threads, "
        "context). "
        "Overhead: at most the paper's counts as reached.",
        "Readings: "
        + plain_words("; ".join(f"{SHORT[n]}: {primary(c)['words']}" for n, c in found["claims"].items()))
        + ".",
    )
    return figure


def decides_figure(found: Found) -> Figure:
    """A tornado a claim: medians at the ends of the factors that decide most."""
    figure, grid = canvas(TITLES["decides"], 2, 3, width=11.0, height=9.4)
    panels = [axes for row in grid for axes in row]
    for axes, (name, claim) in zip(panels, found["claims"].items(), strict=False):
        unit = claim["unit"]
        bars, ends = claim["decides"][:8], [float(claim["paper"])]
        for y, bar in enumerate(bars):
            low, high = bar["low"], bar["high"]
            if low is None:
                continue
            ends += [low, high]
            axes.barh(y, high - low, left=low, height=0.62, color=OKABE_ITO["sky"])
            # Of an instance the provider is enough.
            left_text, right_text = (bar[end].partition("/")[0] for end in ("low_at", "high_at"))
            axes.annotate(left_text, (low, y), ha="right", va="center", fontsize=7, xytext=(-2, 0),
                          textcoords="offset points")  # fmt: skip
            axes.annotate(right_text, (high, y), ha="left", va="center", fontsize=7, xytext=(2, 0),
                          textcoords="offset points")  # fmt: skip
        axes.set_yticks(
            range(len(bars)), [f"{b['factor']}  ({max(b['total'], 0):.2f})" for b in bars], fontsize=8
        )
        axes.set_ylim(max(len(bars), 1) - 0.4, -0.6)
        _axis(axes, name, unit)
        if name == "prt":
            room = 0.14 * (max(ends) - min(ends))
            axes.set_xlim(min(ends) - room, max(ends) + room)
        else:
            room = (max(ends) / max(min(ends), 1e-3)) ** 0.14
            axes.set_xlim(max(min(ends), 1e-3) / room, max(ends) * room)
        axes.axvline(float(claim["paper"]), color=OKABE_ITO["vermillion"], lw=1.6)
        median = primary(claim)["quantiles"]
        if median is not None:
            axes.axvline(median[1], color="#444444", lw=1, ls=(0, (2, 2)))
        axes.set_title(plain_words(SHORT[name]), loc="left")
    last = panels[len(found["claims"])]
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
        "(`sailsim systems show sail-n1 --sources`) and of the fits (docs/baselines.md).",
        f"{found['machines']} machines, {found['samples'] // 2} base samples for the indices, seed "
        f"{found['seed']}.",
    )
    return figure


_CPU_STYLE: Mapping[str, tuple[str, str, str]] = {
    "weights": ("weights from DRAM", OKABE_ITO["blue"], ""),
    "kernels": ("products", OKABE_ITO["vermillion"], "\\\\"),
    "attention": ("attention", OKABE_ITO["green"], ""),
    "kv_cache": ("KV cache", OKABE_ITO["sky"], "//"),
    "synchronisation": ("barriers", OKABE_ITO["black"], ""),
}


def breakdown_figure(found: Found) -> Figure:
    """A step on SAIL and on the cores alone, nominal and nearest, as stacked bars."""
    rows = found["breakdown"]
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


FIGURES: Mapping[str, Callable[[Found], Figure]] = {
    "claims": claims_figure,
    "decides": decides_figure,
    "breakdown": breakdown_figure,
}


def draw(name: str, found: Found) -> Figure:
    """One figure by name."""
    with style():
        return FIGURES[name](found)
