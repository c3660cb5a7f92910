"""The two figures of `docs/baselines.md`: what the baselines predict against what was measured.

Drawn by the fit itself: every fitted row with its prediction, and the errors on what no fit saw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from calibration.measurements import Compared
from sailsim.analysis.render.figure import OKABE_ITO, save, style

SOURCES = (
    "SpareCores sc-inspector-data 804d3c7 (CC-BY-SA 4.0), Ampere llama.cpp r2.0.0, LMDeploy; 2023 to 2025"
)
CARD_COLOURS = {
    "v100": "blue",
    "t4": "vermillion",
    "a10g": "green",
    "l4": "purple",
    "a100": "orange",
    "a100-80": "orange",
    "h100": "black",
    "l40s": "sky",
}


def draw(compared: Mapping[str, Compared], held: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `baseline_cpu.png` and `baseline_gpu.png` into ``folder``.

    ``held`` are results of `calibration.held_out_check`.
    """
    with style():
        figures = {"baseline_cpu": _cpu(compared, held), "baseline_gpu": _gpu(compared, held)}
    return [path for name, figure in figures.items() for path in save(figure, folder / f"{name}.png")]


def _canvas(title: str) -> tuple[Figure, Axes, Axes]:
    figure = Figure(figsize=(13, 6.2))
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1, 0.9))
    figure.suptitle(title, x=0.02, ha="left", fontsize=13)
    figure.subplots_adjust(left=0.06, right=0.985, top=0.87, bottom=0.24, wspace=0.8)
    return figure, left, right


def _held_out(axes: Axes, errors: Sequence[Mapping[str, Any]], made: str) -> None:
    """Median and worst error of each group of rows that no fit saw."""
    shown = list(errors)[::-1]
    places = np.arange(len(shown))
    worst = np.array([100 * e["worst_error"] for e in shown])
    middle = np.array([100 * e["median_error"] for e in shown])
    axes.hlines(places, middle, worst, color="0.6", linewidth=1.2)
    axes.plot(middle, places, "o", markersize=6, color=OKABE_ITO["blue"], label="median error")
    axes.plot(worst, places, "|", markersize=10, color=OKABE_ITO["vermillion"], label="worst error")
    for aim, dash in ((15, "--"), (35, ":")):
        axes.axvline(aim, color="0.55", linestyle=dash, linewidth=0.8)
    axes.set_yticks(places)
    names = [e["measurements"].split(": ", 1)[1] for e in shown]
    names = [name.replace(" (a batch's products)", "").replace(", q4_k_m", "") for name in names]
    axes.set_yticklabels(
        [f"{name} ({e['count']})" for name, e in zip(names, shown, strict=True)], fontsize=7.5
    )
    axes.set_xlim(0, None)
    axes.set_xlabel("predicted over measured, off by (%)")
    axes.set_title(f"What no fit saw ({made}; rows in brackets)", loc="left", fontsize=10)
    axes.legend(loc="upper right", fontsize=8)


def _lines(axes: Axes, title: str, values: NDArray[np.float64]) -> None:
    ends = np.array([values.min() / 1.4, values.max() * 1.4])
    axes.plot(ends, ends, "-", color=OKABE_ITO["black"], linewidth=0.8)
    for factor, dash in ((0.15, "--"), (0.35, ":")):
        for side in (1 + factor, 1 - factor):
            axes.plot(ends, ends * side, dash, color="0.55", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(10, (1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("measured (tokens/s)")
    axes.set_ylabel("predicted (tokens/s)")


def _points(
    axes: Axes, found: Compared, keep: NDArray[np.bool_], colour: str, marker: str, label: str
) -> None:
    if keep.any():
        axes.plot(
            found.rows.measured[keep],
            found.predicted[keep],
            marker,
            markersize=6,
            markerfacecolor=OKABE_ITO[colour],
            markeredgecolor=OKABE_ITO[colour],
            markeredgewidth=1.1,
            alpha=0.85,
            label=f"{label} ({int(keep.sum())})",
        )


def _legend(figure: Figure, columns: int, axes: Axes) -> None:
    seen: dict[str, Artist] = {}
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
        seen.setdefault(label.rsplit(" (", 1)[0], handle)
    figure.legend(
        list(seen.values()),
        list(seen),
        loc="lower left",
        bbox_to_anchor=(0.06, 0.035),
        ncols=columns,
        fontsize=8.5,
    )
    figure.text(
        0.07,
        0.012,
        f"Line: equal. Dashed: 15 % off. Dotted: 35 % off. Left: in the fit. {SOURCES}.",
        fontsize=7.5,
    )


def _cpu(compared: Mapping[str, Compared], held: Mapping[str, Any]) -> Figure:
    ours, theirs = compared["fitted: llama.cpp on Graviton2"], compared["fitted: Ampere's fork on Altra"]
    figure, left, right = _canvas("CPU baseline on Neoverse-N1 servers: predicted against measured")
    _lines(
        left,
        "In the fit: Graviton2 with llama.cpp, Altra with Ampere's fork",
        np.concatenate([ours.rows.measured, theirs.rows.measured]),
    )
    prompt = ours.rows.labels["test"] == "pp"
    for model, name, colour in (("gemma-2b", "2B", "blue"), ("llama-7b", "7B", "vermillion")):
        mine = ours.rows.labels["model"] == model
        _points(left, ours, mine & ~prompt, colour, "o", f"{name}, decoding at batch 1")
        _points(left, ours, mine & prompt, colour, "^", f"{name}, prompts of 128 and 512")
    every = np.ones(len(theirs.rows.measured), dtype=bool)
    _points(left, theirs, every, "yellow", "P", "Ampere's fork, 1B and 3B, 1 to 32 rows, 48 to 80 threads")
    _held_out(right, [e for e in held["errors"] if e["measurements"].startswith("N1")], held["made"])
    _legend(figure, 3, left)
    return figure


def _gpu(compared: Mapping[str, Compared], held: Mapping[str, Any]) -> Figure:
    gpus, serving = compared["fitted: GPUs"], compared["fitted: A100, LMDeploy"]
    figure, left, right = _canvas("GPU baselines: predicted against measured")
    _lines(
        left,
        "In the fit: batch 1 (circles) and batches",
        np.concatenate([c.rows.measured[c.rows.labels["test"] != "pp"] for c in (gpus, serving)]),
    )
    single, batched = ("tg", "older"), ("batched",)
    for gpu, colour in CARD_COLOURS.items():
        name = "A100-80" if gpu == "a100-80" else gpu.upper()
        mine = gpus.rows.labels["gpu"] == gpu
        test = gpus.rows.labels["test"]
        _points(left, gpus, mine & np.isin(test, single), colour, "o", f"{name}, batch 1")
        _points(left, gpus, mine & np.isin(test, batched), colour, "s", f"{name}, 1 to 32 rows, 2 and 4 bits")
    for kind, name, marker in (("f16", "16 bits", "^"), ("w4", "four bits", "v")):
        keep = serving.rows.labels["test"] == kind
        _points(left, serving, keep, "orange", marker, f"A100-80, LMDeploy, {name}, batches of 1 to 64")
    _held_out(right, [e for e in held["errors"] if e["measurements"].startswith("GPU")], held["made"])
    _legend(figure, 4, left)
    return figure
