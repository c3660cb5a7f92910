"""The figure of a paper's claims together: how near machines come, and which unknowns are pinned there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from sailsim.analysis.render.style import DASHES, SERIES, canvas, caption, style

FILE = "joint.png"
SHOWN = 14
"""Unknowns that are drawn, the most uneven first."""
TICKS = (1, 1.25, 1.5, 2, 3, 5, 10)
MOST = 10.0
"""The largest factor that is drawn."""


def joint_figure(results: Mapping[str, Any]) -> Figure:
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
        for i, (prior, found) in enumerate(priors.items()):
            _shares(panels[0], i, prior, found, results["machines"])
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
        _unknowns(panels[1], {name: found["posterior"] for name, found in priors.items()})
        caption(
            figure,
            f"{results['machines']} machines of each prior; a machine is judged by the best of "
            f"{results['combinations']} declared combinations of readings. Thin: papers with other numbers, "
            "the share of them that have any machine so near. Right: where the nearest machines have an "
            "unknown, as its place in the range that it was drawn from (bar: nine of ten of them, mark: the "
            "median); an unknown that the numbers do not pin fills the range.",
        )
    return figure


def _shares(axes: Axes, i: int, prior: str, found: Mapping[str, Any], machines: int) -> None:
    quantiles = [q if q is not None else np.inf for q in found["quantiles"]]
    counted = [(float(factor), n / machines) for factor, n in found["within"].items() if n]
    if found["best"]["factor"] is not None:
        counted.append((found["best"]["factor"], 1 / machines))
    steps = zip(quantiles[1:], np.linspace(0, 1, len(quantiles))[1:], strict=True)
    known = sorted([*counted, *steps])
    axes.plot(*zip(*known, strict=True), color=SERIES[i], ls=DASHES[i], label=f"machines of {prior}")
    others = np.sort([q if q is not None else np.inf for q in found["pseudo"]])
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
    for rows in posterior.values():
        for row in rows:
            if row["pinned"]:
                gaps[row["factor"]] = max(gaps.get(row["factor"], 0.0), float(row["gap"]))
    names = sorted(gaps, key=lambda name: -gaps[name])[:SHOWN]
    count = len(by_prior)
    for at, name in enumerate(names):
        axes.axhspan(at - 0.42, at + 0.42, color="#f4f4f4", lw=0)
        for i, found in enumerate(by_prior.values()):
            if name not in found:
                continue
            row = found[name]
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
