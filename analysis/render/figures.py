"""Figures of a sweep, drawn from its store alone.

Each figure holds all but a few columns at a reference (the point's defaults where the store has them, else
the most frequent value) and says so under the plot, with the system, the model, the source of the pattern
counts and, where dollars are shown, the prices and their date. Colours are those of Okabe and Ito; markers,
dashes and hatches repeat what they say. What a store lacks becomes a picture of one sentence that names the
missing points.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from sailsim.analysis.baselines.cpu import SOFTWARE
from sailsim.analysis.baselines.runners import CORES, SAIL
from sailsim.analysis.costs.dollars import CostConstants, prices, quoted
from sailsim.analysis.render.style import (
    MARKERS,
    OKABE_ITO,
    SERIES,
    canvas,
    caption,
    draw_line,
    mark_paper,
    plain_numbers,
    style,
)
from sailsim.analysis.results.joins import PAYMENTS
from sailsim.analysis.results.results import (
    FREE,
    MissingPointsError,
    Results,
    need,
    numbers,
    prt_pairs,
    short_name,
    stored_runs,
)
from sailsim.base.atomic import write_whole
from sailsim.sim import Point, Store

PHASE_STYLE: Mapping[str, tuple[str, str, str]] = {
    "dram": ("DRAM: units wait for weights", OKABE_ITO["blue"], ""),
    "load": ("load: activations, weights on chip", OKABE_ITO["sky"], "//"),
    "build": ("table build", OKABE_ITO["orange"], ""),
    "lookup": ("look-up", OKABE_ITO["vermillion"], "\\\\"),
    "convert": ("convert and scale", OKABE_ITO["yellow"], ".."),
    "write_back": ("write back", OKABE_ITO["purple"], "xx"),
    "cores": ("cores: attention and the rest", OKABE_ITO["green"], ""),
    "sync": ("hand-over", OKABE_ITO["black"], ""),
}
ENERGY_STYLE: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "PIM units": (("arrays", "convert", "dfm", "prt"), OKABE_ITO["vermillion"], "\\\\"),
    "LLC and mesh": (("llc", "mesh"), OKABE_ITO["sky"], "//"),
    "DRAM": (("dram",), OKABE_ITO["blue"], ""),
    "cores at work and waiting": (("cores",), OKABE_ITO["green"], ""),
    "what runs all the time": (("static",), "#bbbbbb", ".."),
}
"""Causes that share a colour, by their name in the figure; the units' own parts have a panel of theirs."""
UNIT_STYLE: Mapping[str, tuple[str, str, str]] = {
    "arrays": ("arrays: tables and look-ups", OKABE_ITO["vermillion"], "\\\\"),
    "convert": ("convert and scale", OKABE_ITO["yellow"], ".."),
    "dfm": ("shift and add", OKABE_ITO["orange"], ""),
    "prt": ("pattern reuse table", OKABE_ITO["purple"], "xx"),
}
PAPER_SPEEDUP, PAPER_PRT = 10.7, 0.138
"""What the paper's abstract claims (docs: `data/claims.csv`)."""


def _patterns(rows: pd.DataFrame) -> str:
    return str(rows["patterns"].iloc[0])


_CPU_NOTE = (
    f"CPU: the same server's cores without SAIL, predicted for {SOFTWARE['llama.cpp']}; shaded: the band "
    "that holds nine of ten measurements (docs/baselines.md)."
)


def _models(rows: pd.DataFrame, most: int = 3) -> list[str]:
    """The models of some rows, the default one first, then by most rows; at most ``most``."""
    counts = {str(name): int(count) for name, count in rows["model"].value_counts().items()}
    return sorted(counts, key=lambda name: (name != Point().model, -counts[name], name))[:most]


def speedup(results: Results) -> Figure:
    """SAIL over what stands beside it, by weight bits; a line per batch, rows of models, columns of
    runners."""
    vary = ("wbits", "batch", "model")
    rows = results.at(vary)
    need(
        rows["wbits"].nunique() > 1, "The speedup by bit width", "points of several --wbits at one --threads"
    )
    models = _models(rows, 2)
    beside = {name: results.at(vary, name) for name in results.curves}
    beside = {name: own for name, own in beside.items() if own["speedup"].notna().any()}
    need(len(beside) > 0, "The speedup by bit width", "runs of the same server's cores")
    highest = max(PAPER_SPEEDUP, *(float(own["speedup"].max()) for own in beside.values()))
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
            axes.axhline(PAPER_SPEEDUP, color="#444444", lw=1, ls=(0, (2, 2)))
            axes.axhline(1, color="#444444", lw=0.8)
            model_title = rows[rows["model"] == model]["model_title"].iloc[0]
            axes.set_title(f"{model_title}, {results.curves[name]}", loc="left")
            axes.set_xticks(sorted(rows["wbits"].unique()))
            axes.set_ylim(0, 1.1 * highest)
        line_of_axes[0].set_ylabel("speedup in tokens/s")
    for axes in grid[-1]:
        axes.set_xlabel("bits of a weight")
    mark_paper(grid[0][-1], PAPER_SPEEDUP, "paper: up to 10.7x")
    grid[0][-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    caption(
        figure,
        results.setting((*vary,), rows),
        _patterns(rows),
        "Cores: the same server's without SAIL, predicted (docs/baselines.md). Shaded: down to what is "
        "left where a runner reaches the upper end of its band. Only four bits are measured on the cores; "
        "the kernels' speed at other widths is assumed, and its range is in the band. What SAIL leaves to "
        "the cores runs at the system file's rates in every column.",
    )
    return figure


def _what(results: Results, beside: Iterable[str]) -> str:
    """What SAIL is drawn against, in words."""
    own = results.runners.set_index("runner").loc[list(beside)]
    systems = set(results.frame["system"])
    same = bool((own["kind"] == "cores").all()) and set(own["hardware"]) <= systems
    return "the same server's cores" if same else "the same server's cores and others"


def threads(results: Results) -> Figure:
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
    caption(figure, results.setting(vary, rows), _patterns(rows), _CPU_NOTE)
    return figure


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
        if runner["runner"] not in priced:
            continue
        payments = ["bandwidth"] if runner["pays"] == "whole" else list(PAYMENTS)
        for payment in payments:
            what = "" if runner["pays"] == "whole" else f", {_PAID[payment]}"
            lines.append((f"{runner['title']}{what}", runner["runner"], payment))
    return lines


def dollars(results: Results) -> Figure:
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
        "A batch that does not fit a runner's memory has no marker. " + _patterns(ours),
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


def step_time(results: Results) -> Figure:
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
        figure, results.setting(vary, rows), "The parts exclude each other and add up. " + _patterns(rows)
    )
    return figure


def energy(results: Results) -> Figure:
    """Energy of a token by cause and weight bits, SAIL beside the cores alone; a panel per batch, and one for
    the PIM units' own parts."""
    vary = ("wbits", "batch")
    rows = results.at(vary)
    cores = results.at(vary, CORES)
    have = bool(rows["energy_j"].notna().any()) and bool(cores["energy_j"].notna().any())
    need(have, "Energy by cause", "runs of SAIL and of the same server's cores")
    need(rows["wbits"].nunique() > 1, "Energy by cause", "points of several --wbits")
    batches = sorted(rows["batch"].unique())[:2]
    figure, panels = canvas(
        "Energy of a token, beside the same server's cores", len(batches) + 1, width=5.4 + 3.0 * len(batches)
    )
    highest = 0.0
    for axes, batch in zip(panels, batches, strict=False):
        for at, every, machine in ((-0.2, rows, "SAIL"), (0.2, cores, "cores")):
            own = every[every["batch"] == batch].sort_values("wbits")
            base = np.zeros(len(own))
            for label, (causes, colour, hatch) in ENERGY_STYLE.items():
                each = sum(numbers(own, "energy", cause).to_numpy() for cause in causes) / batch
                _stack(axes, at, each, base, label if at < 0 else "", colour, hatch)
                base = base + each
            ends = [own[f"energy_{end}_j"].to_numpy() / batch for end in ("low", "high")]
            x = np.arange(len(own)) + at
            axes.errorbar(x, base, (base - ends[0], ends[1] - base), fmt="none", ecolor="#444444", lw=0.9)
            highest = max(highest, float(ends[1].max()))
            for i in range(len(own)):
                axes.annotate(machine, (x[i], 0), (0, -3), **_BELOW)
        _bits(axes, own, f"batch {batch}")
    for axes in panels[: len(batches)]:
        axes.set_ylim(0, 1.05 * highest)
    axes, own = panels[-1], rows[rows["batch"] == batches[0]].sort_values("wbits")
    base = np.zeros(len(own))
    for cause, (label, colour, hatch) in UNIT_STYLE.items():
        each = numbers(own, "energy", cause).to_numpy() * 1e3 / batches[0]
        _stack(axes, 0.0, each, base, label, colour, hatch)
        base = base + each
    _bits(axes, own, f"PIM units alone, batch {batches[0]}")
    axes.set_ylabel("mJ a token")
    panels[0].set_ylabel("J a token")
    _legend_above(figure, panels[0], panels[-1])
    caption(
        figure,
        results.setting(vary, rows),
        "Lines: every constant at the same end of its range (docs/energy-area.md). Cores: the same step on "
        "the same server without SAIL, llama.cpp. All the time: idle cores, mesh and controllers, DRAM "
        "standing open, leaking C-SRAM; the whole server is counted for either. Not modelled: regulators, "
        "supply, cooling, "
        "network. " + _patterns(rows),
    )
    return figure


_BELOW: dict[str, Any] = {
    "textcoords": "offset points",
    "rotation": 90,
    "ha": "center",
    "va": "top",
    "fontsize": 7,
}


def _stack(axes: Axes, at: float, height: Any, base: Any, label: str, colour: str, hatch: str) -> None:
    """One part of stacked bars, beside the others of the same group."""
    axes.bar(
        np.arange(len(height)) + at,
        height,
        0.36 if at else 0.6,
        base,
        label=label or None,
        color=colour,
        hatch=hatch,
        edgecolor="white",
        linewidth=0.4,
    )


def _bits(axes: Axes, own: pd.DataFrame, title: str) -> None:
    """Groups of bars by weight bits."""
    axes.set_xticks(np.arange(len(own)), [str(w) for w in own["wbits"]])
    axes.tick_params(axis="x", pad=26)
    axes.set_xlabel("bits of a weight")
    axes.set_title(title, loc="left")
    axes.grid(axis="x", visible=False)


def _legend_above(figure: Figure, *panels: Axes) -> None:
    """The panels' legends beside the last one."""
    parts = [axes.get_legend_handles_labels() for axes in panels]
    handles = [handle for found, _ in parts for handle in found[::-1]]
    labels = [label for _, found in parts for label in found[::-1]]
    panels[-1].legend(handles, labels, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)


def prt(results: Results) -> Figure:
    """What the PRT saves, in cycles and in array reads, by batch; a line per NBW, a panel per machine."""
    pairs = prt_pairs(results)
    vary = ("nbw", "batch", "substrate", "system", "prt")
    keep = np.ones(len(pairs), dtype=bool)
    for column in FREE:
        if column not in vary:
            value = results.reference[column]
            value = value if (pairs[column] == value).any() else pairs[column].mode().iloc[0]
            keep &= (pairs[column] == value).to_numpy()
    rows = pairs[keep]
    machines = {
        f"{short_name(str(system))}, {substrate}": own
        for (system, substrate), own in rows.groupby(["system", "substrate"])
    }
    useful = [name for name, own in machines.items() if bool((own["saved"].abs() > 1e-9).any())]
    useless = [name for name in machines if name not in useful]
    shown = useful[:2] or useless[:1]
    counted = next((name for name in (*useful, *useless) if machines[name]["reads"].max() > 0), shown[0])
    figure, panels = canvas(
        "What the pattern reuse table (PRT) saves", len(shown) + 1, width=4.8 + 3.2 * len(shown)
    )
    for axes, name in zip(panels, shown, strict=False):
        saved = machines[name]["saved"]
        _nbw_lines(axes, machines[name], "saved")
        axes.axhline(100 * PAPER_PRT, color="#444444", lw=1, ls=(0, (2, 2)))
        axes.set_title(f"cycles, {name}", loc="left")
        axes.set_ylim(min(0.0, 110 * float(saved.min())), max(18.0, 112 * float(saved.max())))
    mark_paper(panels[0], 100 * PAPER_PRT, "paper: 13.8 %")
    panels[0].set_ylabel("saved, %")
    _nbw_lines(panels[-1], machines[counted], "reads")
    panels[-1].set_title(f"array reads, {counted}", loc="left")
    panels[-1].set_ylim(0, 100)
    for axes in panels:
        axes.set_xscale("log", base=2)
        plain_numbers(axes.xaxis, sorted(rows["batch"].unique()))
        axes.set_xlabel("batch")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    caption(
        figure,
        results.setting(vary, rows),
        "Cycles: of the PIM units over one step, with the PRT against without. Array reads avoided: hits of "
        "the PRT over all patterns that are not zero. " + _patterns(rows),
        f"No cycle saved: {'; '.join(useless)}." if useless else "",
    )
    return figure


def _nbw_lines(axes: Axes, rows: pd.DataFrame, column: str) -> None:
    """Percent by batch, a line per NBW."""
    for i, (nbw, line) in enumerate(rows.groupby("nbw")):
        line = line.sort_values("batch")
        draw_line(axes, i, line["batch"], 100 * line[column], f"NBW {nbw}")


def conversion(results: Results) -> Figure:
    """In-memory type conversion against conversion on the cores, by group size; a line per batch."""
    vary = ("convert", "group_size", "batch")
    rows = results.at(vary)
    index = ["group_size", "batch"]
    times = rows.pivot_table(index=index, columns="convert", values="step_s")
    have = {"memory", "cores"} <= set(times.columns) and len(times.dropna()) > 0
    need(have, "The effect of in-memory conversion", "points with conversion in memory and on the cores")
    times = times.dropna()
    figure, panels = canvas("Converting in memory instead of on the cores", 2, width=9.4)
    # 0 is one scale for a whole column: the largest group.
    sizes = sorted(times.index.get_level_values("group_size").unique(), key=lambda size: (size == 0, size))
    batches = sorted(times.index.get_level_values("batch").unique())
    for i, batch in enumerate(batches):
        own = times.xs(batch, level="batch").reindex(sizes).dropna()
        x = [sizes.index(size) for size in own.index]
        draw_line(panels[0], i, x, own["cores"] / own["memory"], f"batch {batch}")
        draw_line(panels[1], i, x, own["memory"] * 1e3, f"batch {batch}, in memory")
        hollow = {"linestyle": ":", "markerfacecolor": "white"}
        draw_line(panels[1], i, x, own["cores"] * 1e3, f"batch {batch}, on the cores", **hollow)
    for axes in panels:
        axes.set_xticks(range(len(sizes)), [str(size) if size else "all" for size in sizes])
        axes.set_xlabel("weights that share a scale (group size)")
    panels[0].axhline(1, color="#444444", lw=0.8)
    panels[0].set_ylabel("speedup of the whole step")
    panels[0].set_title("below 1: converting on the cores is faster", loc="left")
    panels[0].set_ylim(bottom=0)
    panels[1].set_yscale("log")
    plain_numbers(panels[1].yaxis)
    panels[1].set_ylabel("time of one step, ms")
    panels[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)
    caption(figure, results.setting(vary, rows), _patterns(rows))
    return figure


FIGURES: Mapping[str, Callable[[Results], Figure]] = {
    "speedup": speedup,
    "threads": threads,
    "dollars": dollars,
    "step_time": step_time,
    "energy": energy,
    "prt": prt,
    "conversion": conversion,
}
"""Name of the file and what draws it, in the order of the report."""


def _sentence(text: str) -> Figure:
    """A picture of one sentence, in the place of a figure whose points are missing."""
    figure = Figure(figsize=(8, 1.6))
    FigureCanvasAgg(figure)
    figure.text(0.03, 0.5, "\n".join(textwrap.wrap(text, 88)), fontsize=11, va="center")
    return figure


def draw(name: str, results: Results) -> Figure:
    """One figure by name, or the sentence that says which points it lacks."""
    with style():
        try:
            return FIGURES[name](results)
        except MissingPointsError as missing:
            return _sentence(str(missing))


def figures(
    store: Store | str | Path, out: str | Path | None = None, price_file: str | Path | None = None
) -> list[Path]:
    """Draw every figure of a store as SVG and PNG into ``out`` (default: `figures` in the store's folder),
    and those of gem5's results below it where there are any.

    Returns the paths in the order of the report, SVG before PNG. Raises SailsimError for a store without
    results.
    """
    opened = store if isinstance(store, Store) else Store(store)
    results = Results.of(stored_runs(opened), prices(price_file))
    folder = Path(out) if out is not None else opened.path / "figures"
    written = []
    for name in FIGURES:
        drawn = draw(name, results)
        for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            path = folder / f"{name}.{kind}"
            buffer = BytesIO()
            with style():
                drawn.savefig(buffer, format=kind, metadata=metadata)
            write_whole(path, buffer.getvalue())
            written.append(path)
    from sailsim.analysis.render.gem5_figures import FOLDER, gem5_figures, save  # they build on this module

    for name, drawn in gem5_figures(opened.path / FOLDER).items():
        for path in (folder / f"{name}.svg", folder / f"{name}.png"):
            save(drawn, path)
            written.append(path)
    return written
