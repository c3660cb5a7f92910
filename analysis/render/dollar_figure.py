"""The figure of tokens per dollar."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from sailsim.analysis.baselines.kinds import FASTEST
from sailsim.analysis.costs.dollars import CostConstants, quoted
from sailsim.analysis.render.figure_words import patterns_of
from sailsim.analysis.render.style import (
    MARKERS,
    SERIES,
    canvas,
    caption,
)
from sailsim.analysis.results.joins import PAYMENTS
from sailsim.analysis.results.results import (
    MissingPointsError,
    Runs,
    need,
)

_PAID = {"used": "used vCPUs", "bandwidth": "used bandwidth", "whole": "whole server"}


def _dollar_lines(rows: pd.DataFrame, runners: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Label, runner and payment of every line of the figure of dollars: three for a server that is paid in
    parts, one for what is paid whole; a card's runs beside each other."""
    priced = set(rows[rows["tokens_per_usd"].notna()]["runner"])
    place = {name: i for i, name in enumerate(dict.fromkeys(runners["hardware"]))}
    sorted_runners = sorted(
        runners.to_dict("records"),
        key=lambda r: (r["kind"] == "card", place[r["hardware"]] if r["kind"] == "card" else 0),
    )
    lines = []
    for runner in sorted_runners:
        # The fastest software on as many threads is one of those that have lines of their own.
        twice = runner["software"] == FASTEST and runner["pays"] != "whole"
        if runner["runner"] not in priced or twice:
            continue
        payments = ["bandwidth"] if runner["pays"] == "whole" else list(PAYMENTS)
        for payment in payments:
            what = "" if runner["pays"] == "whole" else f", {_PAID[payment]}"
            lines.append((f"{runner['title']}{what}", runner["runner"], payment))
    return lines


def dollars(results: Runs) -> Figure:
    """Tokens per dollar of every runner that has a price; a marker per batch."""
    ours = results.at(("batch",))
    need(len(ours) > 0, "Tokens per dollar", "points at the store's reference setting")
    if results.price_list.first(ours["priced_as"].iloc[0]) is None:
        raise MissingPointsError(
            f"Tokens per dollar needs a price of {ours['system'].iloc[0]} in the price file."
        )
    runners = results.runners
    rows = pd.concat([results.at(("batch",), name) for name in runners["runner"]])
    lines = _dollar_lines(rows, runners)
    batches = sorted(ours["batch"].unique())
    figure, (axes,) = canvas("Tokens per dollar", width=9.2, height=1.6 + 0.34 * len(lines))
    for i, batch in enumerate(batches):
        own = rows[rows["batch"] == batch].set_index("runner")
        for y, (_, name, payment) in enumerate(lines):
            if name not in own.index or pd.isna(own.loc[name, "tokens_per_usd"]):
                continue
            _mark(axes, own.loc[name], payment, i, y + 0.16 * (i - (len(batches) - 1) / 2))
        axes.plot([], [], MARKERS[i % 7], color=SERIES[i % 7], label=f"batch {batch}")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: _short(v)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(lines)), [title for title, _, _ in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    names = [name for _, name, _ in lines]
    for y in range(1, len(names)):
        if names[y] != names[y - 1] and (names.count(names[y - 1]) > 1 or names.count(names[y]) > 1):
            axes.axhline(y - 0.5, color="#888888", lw=0.8)
    axes.set_xlabel("tokens per USD (logarithmic)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    instances = set(rows["instance"].dropna())
    used = [price for price in results.price_list.rows if price.instance in instances]
    rated = set(rows[rows["tokens_per_s"].notna()]["runner"])
    unpriced = [
        str(title)
        for name, title in zip(runners["runner"], runners["title"], strict=True)
        if name in rated and name not in names
    ]
    lacking = f"No price in the file: {'; '.join(unpriced)}." if unpriced else ""
    caption(
        figure,
        results.setting(("batch",), ours)
        + f" GPUs and cores: {results.reference['wbits']}-bit weights unless f16.",
        f"Prices, on demand: {quoted(used)}. SAIL's server costs {CostConstants.default().overhead:.0%} "
        f"more. {lacking}",
        "A batch that does not fit a runner's memory has no marker. " + patterns_of(ours),
        "Bars: the band of the baselines (docs/baselines.md). Pale: what else is not known, from the least "
        "to the most: what a run pays for, SAIL's overhead, how much of the paid time works (docs/cost.md).",
    )
    return figure


def _mark(axes: Axes, row: pd.Series[Any], payment: str, i: int, y: float) -> None:
    """One runner's tokens per dollar for the ``i``-th batch, with its ranges."""
    value, colour = float(row[f"tokens_per_usd_{payment}"]), SERIES[i % 7]
    if payment == "bandwidth":
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
