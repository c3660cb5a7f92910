"""The two figures of `docs/baselines.md`: what the baselines predict against what was measured.

Drawn by the fit itself from the rows and predictions behind its error table.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from sailsim.analysis.figures import OKABE_ITO, style
from sailsim.analysis.measurements import SMALL_PROMPT, Compared
from sailsim.files import write_whole

SOURCES = (
    "SpareCores sc-inspector-data 804d3c7 (CC-BY-SA 4.0), Ampere llama.cpp r2.0.0, LMDeploy; 2023 to 2025"
)
FEWEST = 8
CARD_COLOURS = {
    "v100": "blue",
    "t4": "vermillion",
    "a10g": "green",
    "l4": "purple",
    "a100": "orange",
    "a100-80": "orange",
    "l40s": "sky",
    "h100": "black",
}


def draw(compared: Mapping[str, Compared], folder: Path) -> list[Path]:
    """Write `baseline_cpu.png` and `baseline_gpu.png` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with style():
        for name, figure in (("baseline_cpu", _cpu(compared)), ("baseline_gpu", _gpu(compared))):
            buffer = BytesIO()
            figure.savefig(buffer, format="png", metadata={"Software": None})
            write_whole(folder / f"{name}.png", buffer.getvalue())
            written.append(folder / f"{name}.png")
    return written


def _canvas(title: str) -> tuple[Figure, Axes, Axes]:
    figure = Figure(figsize=(11, 5.6))
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    figure.suptitle(title, x=0.02, ha="left", fontsize=13)
    figure.subplots_adjust(left=0.07, right=0.98, top=0.86, bottom=0.27, wspace=0.22)
    return figure, left, right


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
    axes: Axes, found: Compared, keep: NDArray[np.bool_], colour: str, marker: str, label: str, filled: bool
) -> None:
    if keep.any():
        axes.plot(
            found.rows.measured[keep],
            found.predicted[keep],
            marker,
            markersize=6,
            markerfacecolor=OKABE_ITO[colour] if filled else "none",
            markeredgecolor=OKABE_ITO[colour],
            markeredgewidth=1.1,
            alpha=0.85,
            label=f"{label} ({int(keep.sum())})",
        )


def _legend(figure: Figure, columns: int, *panels: Axes) -> None:
    seen: dict[str, Artist] = {}
    for axes in panels:
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
        "Line: equal. Dashed: 15 % off. Dotted: 35 % off. Filled: in the fit; hollow: no fit saw it. "
        f"{SOURCES}.",
        fontsize=7.5,
    )


def _cpu(compared: Mapping[str, Compared]) -> Figure:
    ours, theirs = compared["fitted: llama.cpp on Graviton2"], compared["fitted: Ampere's fork on Altra"]
    new = compared["held out: N1 servers"]
    figure, left, right = _canvas("CPU baseline on Neoverse-N1 servers: predicted against measured, q4_k_m")
    labels = new.rows.labels
    metal = np.char.endswith(labels["machine"], "bare metal")
    fork = labels["software"] == "ampere"
    usual = (labels["disturbed"] == "0") & ~metal & ~fork & (new.rows.threads >= FEWEST)
    altra = labels["system"] == "altra"
    small = np.isin(labels["model"], ("gemma-2b", "llama-7b"))
    kinds = {
        left: ("Decoding, batch 1 (Ampere's fork: 1 to 32)", "tg", labels["test"] == "tg"),
        right: (
            f"Prompts of 128 to 1024 tokens, and {SMALL_PROMPT} rows (a batch's products)",
            "pp",
            labels["test"] == "pp",
        ),
    }
    for axes, (title, kind, test) in kinds.items():
        batches = theirs.rows.measured if kind == "tg" else theirs.rows.measured[:0]
        own = ours.rows.measured[ours.rows.labels["test"] == kind]
        everything = np.concatenate([new.rows.measured[test], own, batches])
        _lines(axes, title, everything)
        _points(axes, ours, ours.rows.labels["test"] == kind, "black", "o", "Graviton2, 2B and 7B", True)
        for label, colour, marker, keep in (
            ("other Graviton2, 2B and 7B", "sky", "o", usual & ~altra & small),
            ("Altra, 2B and 7B", "blue", "s", usual & altra & small),
            ("14B, both chips", "green", "^", usual & (labels["model"] == "phi-4")),
            ("70B, both chips", "vermillion", "D", usual & (labels["model"] == "llama-3.3-70b")),
            ("Graviton2 bare metal", "purple", "v", metal & (labels["disturbed"] == "0")),
            ("during downloads", "orange", "X", labels["disturbed"] == "1"),
            ("Ampere's fork, 48 and 64 threads", "yellow", "P", fork),
        ):
            _points(axes, new, keep & test, colour, marker, label, False)
    every = np.ones(len(theirs.rows.measured), dtype=bool)
    _points(left, theirs, every, "yellow", "P", "Ampere's fork, 1B and 3B", True)
    _legend(figure, 4, left, right)
    return figure


def _gpu(compared: Mapping[str, Compared]) -> Figure:
    cards, serving = compared["fitted: GPU cards"], compared["fitted: A100, LMDeploy"]
    new = compared["held out: GPU cards"]
    figure, left, right = _canvas("GPU baselines: predicted against measured")
    panels = {
        left: ("Decoding at batch 1, q4_k_m, llama.cpp", ("tg", "older")),
        right: (
            "1 to 32 rows with llama.cpp (squares), 1 to 64 with LMDeploy",
            ("batched", "batched q4_k_m", "f16", "w4"),
        ),
    }
    for axes, (title, tests) in panels.items():
        sets = ((cards, True), (serving, True), (new, False))
        chosen = [c.rows.measured[np.isin(c.rows.labels["test"], tests)] for c, _ in sets]
        _lines(axes, title, np.concatenate(chosen))
        for found, filled in sets:
            for card, colour in CARD_COLOURS.items():
                mine = np.isin(found.rows.labels["test"], tests) & (found.rows.labels["card"] == card)
                lmdeploy = np.isin(found.rows.labels["test"], ("f16", "w4"))
                name = "A100" if card == "a100-80" else card.upper()
                end = "" if filled else ", held out"
                _points(axes, found, mine & ~lmdeploy, colour, "s", f"{name}{end}", filled)
                _points(axes, found, mine & lmdeploy, colour, "^", f"{name}, LMDeploy{end}", filled)
    _legend(figure, 5, left, right)
    return figure
