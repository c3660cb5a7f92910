"""Figures of what the PIM units' choices give: pattern reuse and in-memory conversion."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sailsim.analysis.paper.claims import SHIPPED
from sailsim.analysis.render.figure_axes import marks_of, patterns_of
from sailsim.analysis.render.style import (
    canvas,
    caption,
    draw_line,
    plain_numbers,
)
from sailsim.analysis.results.results import (
    FREE,
    Runs,
    need,
    prt_pairs,
    short_name,
    substrate_in_words,
)
from sailsim.sim.nbw import nbw_in_words


def prt(results: Runs, paper: str = SHIPPED) -> Figure:
    """What the PRT saves, in cycles and in array reads, by batch; a line per NBW. The nominal machine stands
    beside one where it saves cycles, on equal scales; a dotted line at what ``paper`` claims as "prt", if it
    does."""
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
        (str(system), str(substrate)): own
        for (system, substrate), own in rows.groupby(["system", "substrate"])
    }
    useful = [name for name, own in machines.items() if bool((own["saved"].abs() > 1e-9).any())]
    useless = [name for name in machines if name not in useful]
    nominal = (str(results.reference["system"]), str(results.reference["substrate"]))
    # The nominal machine stands first whether its table saves a cycle or not, then one where it does.
    first = [name for name in (nominal, *machines) if name in machines][:1]
    shown = first + [name for name in useful if name not in first][:1]
    counted = next((name for name in (*shown, *machines) if machines[name]["reads"].max() > 0), shown[0])
    titles = {name: machines[name]["system_title"].iloc[0] for name in machines}
    marks = marks_of("prt", paper)
    figure, panels = canvas(
        "What the pattern reuse table (PRT) saves", len(shown) + 1, width=4.8 + 3.2 * len(shown)
    )
    saved = [
        float(end) for name in shown for end in (machines[name]["saved"].min(), machines[name]["saved"].max())
    ]
    for axes, name in zip(panels, shown, strict=False):
        _nbw_lines(axes, machines[name], "saved")
        for mark in marks:
            mark.line(axes)
        axes.set_title("\n".join(textwrap.wrap(f"cycles: {titles[name]}", 34)), loc="left")
        axes.set_ylim(min(-1.0, 110 * min(saved)), max(18.0, 112 * max(saved)))
        if name in useless:
            axes.annotate("no cycle saved", (0.05, 0.12), xycoords="axes fraction", fontsize=8.5)
    for mark in marks:
        mark.label(panels[0])
    panels[0].set_ylabel("saved, %")
    _nbw_lines(panels[-1], machines[counted], "reads")
    panels[-1].set_title("\n".join(textwrap.wrap(f"array reads: {titles[counted]}", 34)), loc="left")
    panels[-1].set_ylim(0, 100)
    for axes in panels:
        axes.set_xscale("log", base=2)
        plain_numbers(axes.xaxis, sorted(rows["batch"].unique()))
        axes.set_xlabel("batch")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    caption(
        figure,
        results.setting(vary, rows),
        "Cycles: of the PIM units over one step, with the PRT against without: a hit saves them only where "
        "it takes less time than the read that it spares. Array reads avoided: hits of the PRT over all "
        "patterns that are not zero. " + patterns_of(rows),
        f"No cycle saved: {'; '.join(_machine(*name) for name in useless)}." if useless else "",
    )
    return figure


def _machine(system: str, substrate: str) -> str:
    return f"{short_name(system)} with {substrate_in_words(substrate)}"


def _nbw_lines(axes: Axes, rows: pd.DataFrame, column: str) -> None:
    """Percent by batch, a line per NBW."""
    for i, (nbw, line) in enumerate(rows.groupby("nbw")):
        line = line.sort_values("batch")
        draw_line(axes, i, line["batch"], 100 * line[column], nbw_in_words(nbw))


def conversion(results: Runs) -> Figure:
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
    caption(figure, results.setting(vary, rows), patterns_of(rows))
    return figure
