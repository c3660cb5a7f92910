"""Figures of the studies of claims: distributions, what decides, where time goes; all at once; a search's
front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogFormatter, LogLocator, NullFormatter

from sailsim.analysis.paper.claims import Claim
from sailsim.analysis.render.claims_words import Study, claims_of, number, primary
from sailsim.analysis.render.style import (
    DASHES,
    MARKERS,
    OKABE_ITO,
    PHASE_STYLE,
    SERIES,
    canvas,
    caption,
    style,
)

if TYPE_CHECKING:
    from sailsim.analysis.paper.explore import Search  # loads Optuna

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


def claims_figure(study: Study) -> Figure:
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


def decides_figure(study: Study) -> Figure:
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
        "(`sailsim systems show sail-n1 --sources`) and of the fits (docs/baselines.md).",
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


def breakdown_figure(study: Study) -> Figure:
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


def draw(name: str, study: Study) -> Figure:
    """One figure of `reproduce` by name, of `TITLES`."""
    drawn = {"claims": claims_figure, "decides": decides_figure, "breakdown": breakdown_figure}
    with style():
        return drawn[name](study)


# --- All claims at once ---

PINNED_SHOWN = 14
"""Unknowns of the figure of all claims at once, the most uneven first."""
TICKS = (1, 1.25, 1.5, 2, 3, 5, 10)
MOST = 10.0
"""The largest factor that is drawn."""


def joint_figure(results: Study) -> Figure:
    """Left: the share of machines within a factor of all claims, beside invented papers; right: unknowns."""
    priors = results["priors"]
    with style():
        figure, panels = canvas(
            "One machine with all of the paper's numbers: how near, and what is pinned there",
            2,
            width=11.5,
            height=5.6,
            width_ratios=(1, 1.1),
        )
        for i, (prior, of_prior) in enumerate(priors.items()):
            _shares(panels[0], i, prior, of_prior, results["machines"])
        axes = panels[0]
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(1, MOST)
        axes.set_ylim(0.9 / results["machines"], 1.2)
        axes.xaxis.set_major_locator(FixedLocator(TICKS))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g} %"))
        axes.set_xlabel(f"within so many times all {len(results['claims'])} numbers")
        axes.set_ylabel("of the machines, or of the invented papers")
        axes.set_title("How near")
        axes.legend(loc="lower right", fontsize=8)
        _unknowns(panels[1], {name: of_prior["posterior"] for name, of_prior in priors.items()})
        caption(
            figure,
            f"{results['machines']} machines of each prior; a machine is judged by the best of "
            f"{results['combinations']} declared combinations of readings. Thin: papers with other numbers, "
            "the share of them that have any machine so near. Right: where the nearest machines have an "
            "unknown, as its place in the range that it was drawn from (bar: nine of ten of them, mark: the "
            "median); an unknown that the numbers do not pin fills the range.",
        )
    return figure


def _shares(axes: Axes, i: int, prior: str, of_prior: Study, machines: int) -> None:
    quantiles = [q if q is not None else np.inf for q in of_prior["quantiles"]]
    counted = [(float(factor), n / machines) for factor, n in of_prior["within"].items() if n]
    if of_prior["best"]["factor"] is not None:
        counted.append((of_prior["best"]["factor"], 1 / machines))
    steps = zip(quantiles[1:], np.linspace(0, 1, len(quantiles))[1:], strict=True)
    known = sorted([*counted, *steps])
    axes.plot(*zip(*known, strict=True), color=SERIES[i], ls=DASHES[i], label=f"machines of {prior}")
    others = np.sort([q if q is not None else np.inf for q in of_prior["pseudo"]])
    axes.plot(
        others,
        np.arange(1, len(others) + 1) / len(others),
        color=SERIES[i],
        ls=DASHES[i],
        lw=0.9,
        label=f"invented papers, by {prior}",
    )


def _unknowns(axes: Axes, posterior: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    by_prior = {prior: {row["factor"]: row for row in rows} for prior, rows in posterior.items()}
    gaps: dict[str, float] = {}
    for row in (row for rows in posterior.values() for row in rows if row["pinned"]):
        gaps[row["factor"]] = max(gaps.get(row["factor"], 0.0), float(row["gap"]))
    names = sorted(gaps, key=lambda name: -gaps[name])[:PINNED_SHOWN]
    count = len(by_prior)
    for at, name in enumerate(names):
        axes.axhspan(at - 0.42, at + 0.42, color="#f4f4f4", lw=0)
        for i, rows in enumerate(by_prior.values()):
            if name not in rows:
                continue
            row = rows[name]
            y = at + 0.34 * ((i + 0.5) / count * 2 - 1)
            low, middle, high = row["shares"]
            axes.plot([low, high], [y, y], color=SERIES[i], lw=4, solid_capstyle="butt", alpha=0.6)
            axes.plot(middle, y, "|", color=SERIES[i], ms=9, mew=2)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1], ["low end", "middle", "high end"])
    axes.set_title("What is pinned (place in its range)")
    axes.grid(visible=False, axis="y")


# --- A search of machines ---


def pareto_figure(search: Search, frame: pd.DataFrame) -> Figure:
    """Tokens/s and tokens per dollar against area; the front in colour, by threads."""
    with style():
        return _pareto(search, frame)


def _pareto(search: Search, frame: pd.DataFrame) -> Figure:
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
        f"{len(frame)} trials of NSGA-II, seed {search.seed}; {refused} of them are machines on which a tile "
        f"does not fit. {point.model}, {point.weights_in_words()}, batch {point.batch}, context "
        f"{point.context}. Searched: {', '.join(search.fields)} in the ranges of docs/reproduction.md, "
        "and threads. "
        "A point on the front is beaten by no other in all of tokens/s, tokens per dollar and area.",
        "Dollars: the used vCPUs of the priced server and SAIL's overhead. Dollars and area: docs/cost.md.",
    )
    return figure
