"""Figures of the studies of claims: distributions, decisive factors, all claims at once, a search's front."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sailsim.analysis.paper.claim import Claim
from sailsim.analysis.render.claims_words import Study, claims_of, number, primary
from sailsim.analysis.render.figure import Figure, FigureAxis, Panel, ReferenceLine, line_style

if TYPE_CHECKING:
    from sailsim.analysis.search.design_search import DesignSearch
    from sailsim.analysis.search.exploration import SearchResult

_NOMINAL = line_style("blue", dash="", size=8)
_DISTRIBUTIONS = {
    "highest over the workloads": line_style("sky", ""),
    "on the fixed workload": line_style("black", ""),
    "paper": line_style("vermillion", "", "--"),
    "nominal machine": _NOMINAL,
    "nominal, fixed workload": _NOMINAL._replace(filled=False),
}


def _axis(claim: Claim, column: str) -> FigureAxis:
    return FigureAxis(column, "%" if claim.unit == "%" else "times", claim.scale == "log")


def claims_figure(study: Study) -> Figure:
    """Distributions of every claim with the paper's value, the nominal and the nearest machine."""
    panels, every = [], claims_of(study)
    for claim, results in every:
        main = primary(results)
        highest, fixed = (
            np.array([value for value in results[name] if value is not None])
            for name in ("values", "fixed_values")
        )
        both = np.concatenate([highest, fixed, [claim.value]])
        if claim.scale == "linear":
            edges = np.linspace(min(0.0, both.min()), max(both.max() * 1.02, 1.0), 28)
        else:
            edges = np.geomspace(both.min() * 0.95, both.max() * 1.05, 28)
        per_point = claim.aggregation == "highest"
        steps = [np.repeat(np.histogram(each, edges)[0], 2) for each in (highest, fixed)[: 1 + per_point]]
        x, top = np.repeat(edges, 2)[1:-1], max(each.max() for each in steps)
        marks = [main["nominal"], *([main["nominal_fixed"]] if per_point else [])]
        lines = [*((x, each) for each in steps), ([claim.value] * 2, [0, top])]
        lines += [([value], [0.95 * top]) for value in marks if value is not None]
        names = [name for name in _DISTRIBUTIONS if per_point or "fixed" not in name]
        rows = pd.concat(
            pd.DataFrame({"x": own, "machines": count, "line": name})
            for name, (own, count) in zip(names, lines, strict=False)
        )
        filled = rows["line"] == names[0]
        reach = f"{main['reach'] / main['machines']:.0%} reach {number(claim.value, claim.unit)}"
        panels.append(
            Panel(
                rows.assign(low=np.where(filled, 0, np.nan), high=rows["machines"].where(filled)),
                _axis(claim, "x"), FigureAxis("machines", "machines", limits=(0, None)), "line",
                title=f"{claim.short}: {reach}", low="low", high="high",
            )
        )  # fmt: skip
    fixed_name = next(w["name"] for w in study["workloads"] if w["fixed"])
    words = "; ".join(f"{claim.short}: {primary(results)['words']}" for claim, results in every)
    return Figure(
        "Each claim on machines drawn from the declared ranges",
        panels,
        [
            f"{study['machines']} machines are drawn from the ranges of all unpublished parameters (seed "
            f"{study['seed']}), each with baselines of drawn constants. Highest: over "
            f"{len(study['workloads'])} workloads. Fixed: {fixed_name} (model, weight bits, batch, threads, "
            "context). Hardware overhead reaches the claim at the paper's value or below.",
            f"Definitions: {words}.",
        ],
        _DISTRIBUTIONS,
        columns=2,
        height=2.7,
    )


def decides_figure(study: Study) -> Figure:
    """Tornado diagram of each claim: medians at the ends of the most decisive factors."""
    panels = []
    for claim, results in claims_of(study):
        title = f"{claim.short}: paper {number(claim.value, claim.unit)}"
        bars = results["decides"][:8]
        names = [
            # The provider is enough of an instance's name.
            f"{bar['factor']} ({max(bar['total'], 0):.2f})\n"
            + " .. ".join(bar[end].partition("/")[0] for end in ("low_at", "high_at"))
            for bar in bars
        ]
        ends = [(at, bar["low"], bar["high"], "medians") for at, bar in enumerate(bars)]
        rows = pd.DataFrame(ends, columns=["at", "low", "high", "line"])
        rules, median = [ReferenceLine(claim.value)], primary(results)["quantiles"]
        if median is not None:
            rules.append(ReferenceLine(median[1], dotted=True))
        panels.append(
            Panel(
                rows, _axis(claim, "low"), FigureAxis.of_names(names), "line", "spans", title, "low", "high",
                rules=rules,
            )
        )  # fmt: skip
    return Figure(
        "What decides each claim",
        panels,
        [
            "Bars run from the claim's median with the factor in the lowest third of its range to the median "
            "in the highest third. Of a choice both ends are choices. Both ends stand below the name. In "
            "brackets: the total Sobol index, the share of the variance that knowing the factor takes away. "
            "Lines: the paper's value and, dotted, the median of all machines. Names come from the system "
            "files (`sailsim show system sail-n1 --sources`) and the fits (docs/baselines.md).",
            f"{study['machines']} machines, {study['samples'] // 2} base samples for the indices, seed "
            f"{study['seed']}.",
        ],
        {"medians": line_style("sky")},
        columns=2,
    )


FIGURES: Mapping[str, Callable[[Study], Figure]] = {"claims": claims_figure, "decides": decides_figure}
"""The figures of `reproduce`, by the names of their files."""

PINNED_SHOWN = 14
"""Unknowns of the figure of all claims at once, the most uneven first."""
TICKS = (1, 1.5, 2, 3, 5, 10)
"""Factors with a tick on its axis; larger ones than the last are not drawn."""


def joint_figure(results: Study) -> Figure:
    """Share of machines within a factor of all claims, with invented papers (left), and unknowns (right)."""
    near, looks = [], {}
    unknowns = []
    for i, (prior, of_prior) in enumerate(results["priors"].items()):
        machines = results["machines"]
        shares = [(float(factor), n / machines) for factor, n in of_prior["within"].items() if n]
        shares.append((of_prior["best"]["factor"], 1 / machines))
        quantiles = of_prior["quantiles"]
        shares += zip(quantiles[1:], np.linspace(0, 1, len(quantiles))[1:], strict=True)
        others = sorted(each for each in of_prior["pseudo"] if each is not None)
        papers = zip(others, np.arange(1, len(others) + 1) / len(of_prior["pseudo"]), strict=True)
        curves = {f"machines of {prior}": shares, f"invented papers, by {prior}": [*papers]}
        for name, own in curves.items():
            looks[name] = line_style(i, marker="", **({} if own is shares else {"dash": ":"}))
            near += [
                {"factor": factor, "share": share, "line": name}
                for factor, share in own
                if factor is not None and factor <= TICKS[-1]
            ]
        name = f"the nearest of {prior}"
        looks[name] = line_style(i, marker="os^D"[i % 4], dash="-")
        unknowns += [row | {"line": name} for row in of_prior["posterior"]]
    pinned = pd.DataFrame(unknowns)
    gaps = pinned[pinned["pinned"]].groupby("factor")["gap"].max().sort_values(ascending=False, kind="stable")
    shown = list(gaps.index[:PINNED_SHOWN])
    pinned = pinned[pinned["factor"].isin(shown)]
    ends = pd.DataFrame(pinned["shares"].tolist(), columns=["low", "middle", "high"], index=pinned.index)
    percents = {10.0**-power: f"{100 * 10.0**-power:g} %" for power in range(5)}
    return Figure(
        "One machine with all of the paper's numbers: how near, and which unknowns are pinned",
        [
            Panel(
                pd.DataFrame(near),
                FigureAxis(
                    "factor", f"largest factor from any of the {len(results['claims'])} numbers", True,
                    {tick: f"{tick:g}" for tick in TICKS}, limits=(1, TICKS[-1]),
                ),
                FigureAxis(
                    "share", "share of machines, or of invented papers", True, percents,
                    limits=(0.9 / results["machines"], 1.2),
                ),
                "line", title="How near", width=1.3,
            ),
            Panel(
                ends.assign(at=pinned["factor"].map(shown.index), line=pinned["line"]),
                FigureAxis("middle", ticks={0: "low", 0.5: "mid", 1: "high"}, limits=(0, 1)),
                FigureAxis.of_names(shown),
                "line", "ranks", "Pinned unknowns (place in the range)", "low", "high",
            ),
        ],
        [
            f"{results['machines']} machines of each prior, each by the best of {results['combinations']} "
            "declared combinations of definitions. Dotted: the share of invented papers, with other numbers, "
            "that have any machine so near. Right: the nearest machines' values of an unknown, as places in "
            "the range that it was drawn from. Line: 90 % of these machines. Mark: the median. An unknown "
            "that the numbers do not pin fills the range."
        ],
        looks,
        height=5.0,
    )  # fmt: skip


def explore_figure(search: DesignSearch, found: SearchResult) -> Figure:
    """Speedup change by change, the front of score and area, and each workload with its bound."""
    first, best, bound = search.base.name, "the best machine", "the memory's roofline"
    falls, mix = found.waterfall, found.workloads.iloc[-1]
    steps = falls.assign(
        at=range(len(falls)), line=[first, *["a change"] * (len(falls) - 2), best][-len(falls) :]
    )
    able = found.trials[found.trials["score"] > 0].assign(line="tried to its end")
    ends = steps.iloc[[0, -1]]
    front = pd.concat([able, found.front.assign(line="front"), ends])
    loads = found.workloads.assign(at=range(len(found.workloads)))
    rows = [
        loads.assign(x=loads["first_speedup"], low=loads["first_low"], high=loads["first_high"], line=first),
        loads.assign(x=loads["best_speedup"], low=loads["best_low"], high=loads["best_high"], line=best),
        loads.assign(x=loads["bound"], low=np.nan, high=np.nan, line=bound),
    ]
    score = FigureAxis("score", "speedup over the opponent, over the mix", limits=(0, None))
    rules = [ReferenceLine(1.0), ReferenceLine(mix["bound"], dotted=True)]
    added = FigureAxis("area_percent", "added area, % of LLC and cores", limits=(0, None))
    names, workloads = map(FigureAxis.of_names, (list(falls["change"]), list(loads["workload"])))
    ratio = FigureAxis("x", "speedup over the opponent", log=True)
    return Figure(
        "From a machine to the best one within the limits",
        [
            Panel(steps, score, names, "line", "ranks", "Change by change", rules=rules),
            Panel(front, added, score, "line", title="Score and area", rules=rules),
            Panel(
                pd.concat(rows), ratio, workloads, "line", "ranks", "Workload by workload", "low", "high",
                rules=rules[:1],
            ),
        ],
        [
            f"{len(found.trials)} machines, seed {search.seed}. Opponent: {search.content.opponent}, "
            "simulated software on the same cores, at equal quality. Dotted: the bound of a machine that "
            "reads weights and cache once, as fast as memory streams. Ends: 90 % of the machines that the "
            "publication allows, over the nominal opponent.",
        ],
        {
            "tried to its end": line_style("#bbbbbb", dash="", size=3),
            "front": line_style("sky", "o", "-", size=4),
            "a change": line_style("sky", "s", ""),
            first: line_style("black", "*", "", size=11),
            best: line_style("vermillion", "D", "", size=8),
            bound: line_style("green", "|", "", size=12),
        },
        columns=2,
        height=3.6,
    )  # fmt: skip
