"""The drawing of docs/start.md: where a unit is, a table that is built, and activations that look it up."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from sailsim.analysis.render.style import OKABE_ITO, canvas, save, style

WEIGHTS, ACTIVATIONS, BITS = (1, -3, 2), (3, -2, 1), 3
"""The example of docs/lut-gemv.md: two's complement activations of three bits."""
_FILL = {"cache": "#e8eef4", "unit": "#fdf1d9", "core": "#e6f3ee", "dram": "#f4e6ef"}


def table_of(weights: tuple[int, ...]) -> list[int]:
    """The sums of all subsets; bit j of an index says whether weight j takes part."""
    return [sum(w for j, w in enumerate(weights) if index >> j & 1) for index in range(1 << len(weights))]


def patterns_of(activations: tuple[int, ...], bits: int) -> list[int]:
    """For each bit position, the lowest first, the index that the activations' bits form."""
    return [sum((x >> bit & 1) << j for j, x in enumerate(activations)) for bit in range(bits)]


def start_figure() -> Figure:
    """Three panels: a slice with its unit, the table, the look-ups."""
    with style():
        figure, (slice_, table, look) = canvas(
            "LUT-GEMV beside a slice of the last-level cache",
            3,
            width=12.4,
            height=4.6,
            width_ratios=(1.25, 0.8, 1.15),
        )
        for axes, title in zip(
            (slice_, table, look),
            ("where: a unit beside every slice", "build: once for all activations", "look up: bit by bit"),
            strict=True,
        ):
            axes.set_axis_off()
            axes.set_xlim(0, 10)
            axes.set_ylim(0, 10)
            axes.set_title(title, loc="left", fontweight="bold")
        _slice(slice_)
        _table(table)
        _look_up(look)
    return figure


def _box(axes: Axes, x: float, y: float, w: float, h: float, text: str, fill: str, size: float = 8.5) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x, y), w, h, boxstyle="round,pad=0.08", facecolor=fill, edgecolor="#444444", linewidth=0.9
        )
    )
    axes.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=size)


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], text: str, at: tuple[float, float]
) -> None:
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color="#444444", linewidth=1.1)
    )
    axes.text(*at, text, fontsize=7.6, color="#333333", ha="left", va="center")


def _slice(axes: Axes) -> None:
    _box(axes, 0.3, 8.2, 9.2, 1.3, "a core:\nLUTMM Xn", _FILL["core"])
    axes.add_patch(
        FancyBboxPatch(
            (0.3, 2.3),
            9.2,
            4.5,
            boxstyle="round,pad=0.08",
            facecolor="white",
            edgecolor="#444444",
            linewidth=1.2,
        )
    )
    axes.text(0.5, 6.55, "one LLC slice of many", fontsize=8, color="#444444", va="center")
    _box(axes, 0.6, 2.7, 2.4, 3.3, "cache\n1 MiB", _FILL["cache"])
    _box(
        axes,
        3.6,
        4.4,
        5.6,
        1.6,
        "DFM: forms patterns of activation\nbits; its PRT remembers results",
        _FILL["unit"],
        8,
    )
    _box(axes, 3.6, 2.7, 5.6, 1.2, "C-SRAM arrays: tables, sums", _FILL["unit"], 8)
    _box(axes, 2.6, 0.2, 5.2, 1.2, "DRAM: quantized weights", _FILL["dram"])
    _arrow(axes, (4.2, 8.1), (4.2, 6.1), "address of a descriptor", (4.4, 7.5))
    _arrow(axes, (6.4, 1.5), (6.4, 2.6), "weights", (6.6, 2.0))
    _arrow(axes, (5.4, 4.35), (5.4, 3.95), "", (0, 0))
    _arrow(axes, (7.4, 3.95), (7.4, 4.35), "", (0, 0))
    _arrow(axes, (7.6, 6.1), (7.6, 8.1), "results, then\na record: done", (7.8, 7.5))


def _table(axes: Axes) -> None:
    w = ", ".join(f"{value:d}".replace("-", "\N{MINUS SIGN}") for value in WEIGHTS)
    axes.text(0.2, 9.2, f"three weights of an output:\nW = ({w})", fontsize=9, va="center")
    entries = table_of(WEIGHTS)
    for row, value in enumerate(entries):
        y = 7.6 - row * 0.93
        axes.text(
            1.6,
            y,
            f"{row:0{len(WEIGHTS)}b}",
            fontsize=9.5,
            family="DejaVu Sans Mono",
            ha="center",
            va="center",
        )
        _box(axes, 3.0, y - 0.32, 1.7, 0.64, f"{value:d}".replace("-", "\N{MINUS SIGN}"), _FILL["unit"], 9)
        parts = [f"{WEIGHTS[j]:d}" for j in range(len(WEIGHTS)) if row >> j & 1]
        axes.text(
            5.2,
            y,
            (" + ".join(parts) or "nothing").replace("-", "\N{MINUS SIGN}"),
            fontsize=8,
            color="#555555",
            va="center",
        )
    axes.text(0.2, 0.35, "the sum of every subset", fontsize=8, color="#444444", va="center")


def _look_up(axes: Axes) -> None:
    x = ", ".join(f"{value:d}".replace("-", "\N{MINUS SIGN}") for value in ACTIVATIONS)
    axes.text(0.2, 9.2, f"three activations of {BITS} bits:\nx = ({x})", fontsize=9, va="center")
    colors = (OKABE_ITO["blue"], OKABE_ITO["green"], OKABE_ITO["vermillion"])
    for column in range(BITS):
        bit = BITS - 1 - column
        axes.text(3.2 + 1.3 * column, 7.9, f"bit {bit}", fontsize=8, ha="center", color=colors[bit])
        for j, value in enumerate(ACTIVATIONS):
            axes.text(
                3.2 + 1.3 * column,
                7.1 - 0.75 * j,
                str(value >> bit & 1),
                fontsize=11,
                ha="center",
                va="center",
                family="DejaVu Sans Mono",
                color=colors[bit],
            )
    for j, value in enumerate(ACTIVATIONS):
        axes.text(
            1.2,
            7.1 - 0.75 * j,
            f"{value:d}".replace("-", "\N{MINUS SIGN}"),
            fontsize=10,
            ha="center",
            va="center",
        )
    entries, total = table_of(WEIGHTS), 0
    for bit, pattern in enumerate(patterns_of(ACTIVATIONS, BITS)):
        weight = (1 << bit) * (-1 if bit == BITS - 1 else 1)
        total += weight * entries[pattern]
        y = 4.3 - 0.85 * bit
        said = f"bit {bit}: T[{pattern:03b}] = {entries[pattern]:d}, times {weight:d}"
        axes.text(0.2, y, said.replace("-", "\N{MINUS SIGN}"), fontsize=9, color=colors[bit], va="center")
    right = sum(w * v for w, v in zip(WEIGHTS, ACTIVATIONS, strict=True))
    assert total == right
    axes.text(
        0.2,
        1.5,
        f"added up: {total}, as W \N{MIDDLE DOT} x = {right}",
        fontsize=10,
        fontweight="bold",
        va="center",
    )
    axes.text(
        0.2,
        0.5,
        "a pattern that came before: the PRT has its result",
        fontsize=8,
        color="#444444",
        va="center",
    )


def draw(folder: Path) -> list[Path]:
    """Draw it as a PNG into a folder; returns its path."""
    return save(start_figure(), folder / "start.png")
