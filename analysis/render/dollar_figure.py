"""The figure of tokens per dollar."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from sailsim.analysis.costs.dollars import CostConstants, quoted
from sailsim.analysis.render.figure_axes import patterns_of
from sailsim.analysis.render.style import (
    MARKERS,
    SERIES,
    canvas,
    caption,
)
from sailsim.analysis.results.results import (
    MissingPointsError,
    Runs,
    need,
    short_name,
)
from sailsim.sim.backends.cores import FASTEST, SIMULATED

SIZING = "used"
"""What is drawn of `joins.PAYMENTS`: a server's vCPUs whose threads and memory a run takes, as in README's
table; the interactive report has the others."""


def chosen(rows: pd.DataFrame, runners: pd.DataFrame) -> list[str]:
    """The runners that the figure draws, in its order: those that pay a part of a server, all cores with the
    fastest software, and of each card the one that gives most tokens per dollar at any of some rows."""
    priced = rows[rows["tokens_per_usd"].notna()]
    best = priced.groupby("runner")["tokens_per_usd"].max().to_dict()
    known = [runner for runner in runners.to_dict("records") if runner["runner"] in best]
    servers = [
        runner["runner"]
        for runner in known
        # The fastest on as many threads is one that has a line of its own, llama.cpp on all cores is beaten.
        if runner["kind"] != "card"
        and runner["software"] not in SIMULATED
        and (runner["software"] == FASTEST) == (runner["pays"] == "whole")
    ]
    cards: dict[str, str] = {}
    for runner in known:
        name, hardware = runner["runner"], runner["hardware"]
        if runner["kind"] == "card" and best[name] > best.get(cards.get(hardware, ""), 0.0):
            cards[hardware] = name
    return servers + sorted(cards.values(), key=lambda name: best[name])


def dollars(results: Runs) -> Figure:
    """Tokens per dollar of what has a price, paid in one way; a marker per batch."""
    ours = results.at(("batch",))
    need(len(ours) > 0, "Tokens per dollar", "points at the store's reference setting")
    if results.price_list.first(ours["priced_as"].iloc[0]) is None:
        raise MissingPointsError(
            f"Tokens per dollar needs a price of {ours['system'].iloc[0]} in the price file."
        )
    runners = results.runners
    rows = pd.concat([results.at(("batch",), name) for name in runners["runner"]])
    titles = dict(zip(runners["runner"], runners["title"], strict=True))
    lines = chosen(rows, runners)
    batches = sorted(ours["batch"].unique())
    figure, (axes,) = canvas("Tokens per dollar", width=9.2, height=1.7 + 0.36 * len(lines))
    for i, batch in enumerate(batches):
        own = rows[rows["batch"] == batch].set_index("runner")
        for y, name in enumerate(lines):
            if name not in own.index or pd.isna(own.loc[name, "tokens_per_usd"]):
                continue
            _mark(axes, own.loc[name], i, y + 0.16 * (i - (len(batches) - 1) / 2))
        axes.plot([], [], MARKERS[i % 7], color=SERIES[i % 7], label=f"batch {batch}")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: _short(v)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(lines)), [titles[name] for name in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    cards = set(runners[runners["kind"] == "card"]["runner"])
    for y in range(1, len(lines)):
        if (lines[y] in cards) != (lines[y - 1] in cards):
            axes.axhline(y - 0.5, color="#888888", lw=0.8)
    axes.set_xlabel("tokens per USD (logarithmic)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    instances = set(rows["instance"].dropna())
    used = [price for price in results.price_list.rows if price.instance in instances]
    rated = rows[rows["tokens_per_s"].notna() & rows["tokens_per_usd"].isna()]
    unpriced = sorted({short_name(str(name)) for name in rated["hardware"]})
    lacking = f"No price in the file: {', '.join(unpriced)}." if unpriced else ""
    caption(
        figure,
        results.setting(("batch",), ours)
        + f" GPUs and cores: {results.reference['wbits']}-bit weights unless f16.",
        "SAIL and the cores pay for the vCPUs whose threads and memory they use, all cores and cards for all "
        "of them; of each card the software that gives most, and the fastest on all cores. Other ways to pay "
        "and all machines are in the report.",
        f"Prices, on demand: {quoted(used)}. SAIL's server costs {CostConstants.default().overhead:.0%} "
        f"more. {lacking}",
        "A batch that does not fit a runner's memory has no marker. " + patterns_of(ours),
        "Bars: the band of the baselines (docs/baselines.md). Pale: what else is not known, from the least "
        "to the most: what a run pays for, SAIL's overhead, how much of the paid time works (docs/cost.md).",
    )
    return figure


def _mark(axes: Axes, row: pd.Series[Any], i: int, y: float) -> None:
    """One runner's tokens per dollar for the ``i``-th batch, with its ranges."""
    value, colour = float(row[f"tokens_per_usd_{SIZING}"]), SERIES[i % 7]
    ends = row[["tokens_per_usd_low", "tokens_per_usd_high"]].astype(float)
    axes.plot(ends, [y] * 2, color=colour, lw=5, alpha=0.22, solid_capstyle="butt")
    if not pd.isna(row["low"]):
        rate = row["tokens_per_s"]
        span = [[value * (1 - row["low"] / rate)], [value * (row["high"] / rate - 1)]]
        axes.errorbar(value, y, xerr=span, color=colour, lw=1, capsize=2)
    axes.plot(value, y, MARKERS[i % 7], color=colour, ms=7)


def _short(value: float) -> str:
    for limit, end in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{end}"
    return f"{value:g}"
