"""Units against cores in gem5, by bits of a weight: how many times faster, and where a step's time goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sailsim.analysis.paper.claims import load_paper
from sailsim.analysis.render.gem5_decode_steps import regions_together
from sailsim.analysis.render.style import (
    DASHES,
    MARKERS,
    OKABE_ITO,
    SERIES,
    canvas,
    caption,
    save,
    style,
)
from sailsim.analysis.results.gem5_steps import (
    CORE_PARTS,
    HOST,
    Row,
    bits_and_group,
    decode_rows,
    predicted,
    shape,
)
from sailsim.base.errors import SailsimError
from sailsim.sim.files import load_system
from sailsim.workloads.choice import uniform_choice
from sailsim.workloads.load import load_model

TITLE = "Whole tokens in gem5: one program, its products on cores or on PIM units"
_SAME = ("system", "model", "blocks", "context", "cache", "warm")
"""What the runs of a figure agree in."""
Side = tuple[int, int]
"""Batch and threads: what a panel's runs agree in too."""
Steps = Mapping[tuple[Side, int, str], Row]
"""Runs by side, bits and kind of products."""
_LOOK = {
    "embed": (OKABE_ITO["black"], ""),
    "norms and rounding": (OKABE_ITO["sky"], ""),
    "rotation": (OKABE_ITO["yellow"], ""),
    "attention": (OKABE_ITO["green"], ""),
    "products of the blocks, activation": (OKABE_ITO["blue"], ""),
    "head": (OKABE_ITO["orange"], "//"),
    "sampling": (OKABE_ITO["purple"], ""),
}
assert list(_LOOK) == list(CORE_PARTS)


def decode_figure(rows: Sequence[Row], claimed: bool = True) -> Figure:
    """Speedups by width and, for every batch and number of threads, a panel with the steps' parts.

    Args:
        claimed: whether SAIL's own claim has a line.
        rows: runs of one model and context, in formats that differ by their bits alone; of a model's first
            block and head, or whole.

    Raises:
        SailsimError: there is no width of which both the cores and the units were run.
    """
    steps = {(_side(r), _bits(r), r["linears"]): r for r in rows}
    widths = {}
    for side in sorted({side for side, _, _ in steps}):
        both = [
            bits for of, bits, kind in steps if (of, kind) == (side, "lutmm") and (of, bits, "neon") in steps
        ]
        if both:
            widths[side] = sorted(both)
    if not widths:
        raise SailsimError("no width has runs on cores and on units; allowed are rows of both at one point.")
    first = rows[0]
    told = (
        "The paper's value is its maximum against llama.cpp, for a point that it does not name."
        if claimed
        else ""
    )
    bars = (
        sum((of, bits) == (side, b) for of, b, _ in steps for bits in own) for side, own in widths.items()
    )
    ratios = [3.4, *(2.0 + 0.36 * count for count in bars)]
    with style():
        figure, panels = canvas(
            TITLE,
            1 + len(widths),
            width=2.4 + sum(ratios),
            width_ratios=ratios,
            height=4.6,
        )
        _speedups(panels[0], steps, widths, claimed)
        for axes, (side, own) in zip(panels[1:], widths.items(), strict=True):
            _parts(axes, steps, side, own)
            axes.set_ylabel("ms a step, by where it goes")
        panels[-1].legend(*_legend(), loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
        spec = load_model(shape(first))
        caption(
            figure,
            f"{spec.title}, context {first['context']}, 8-bit activations, machine {first['system']}, O3 "
            "cores; a step is a token of every sequence of the batch. Both sides run one program, whose "
            "attention, norms and rounding are the same; NEON: SDOT kernels of ours; LUT: table look-ups of "
            "ours on the cores.",
            f"A step is put together of the head and {spec.n_layers} blocks like the first, which was run."
            if first["blocks"]
            else "",
            f"The engine's lines: gem5's step by NEON over the engine's step of {HOST}. {told}",
        )
    return figure


def _side(row: Row) -> Side:
    return row["batch"], row["threads"]


def _called(side: Side) -> str:
    batch, threads = side
    return f"{threads} thread{'s' if threads > 1 else ''}, batch {batch}"


def _bits(row: Row) -> int:
    return bits_and_group(row)[0]


def _cycles(row: Row) -> float:
    return sum(regions_together(row).values())


def _engine_cycles(row: Row) -> float:
    """The engine's whole step of a run with units."""
    return predicted({**row, "blocks": 0}, HOST).step


def _speedups(axes: Axes, steps: Steps, widths: Mapping[Side, Sequence[int]], claimed: bool) -> None:
    for i, side in enumerate(widths):
        of = {bits: _cycles(steps[side, bits, "neon"]) for bits in widths[side]}
        units = [steps[side, bits, "lutmm"] for bits in of]
        label = _called(side)
        axes.plot(
            list(of),
            [neon / _cycles(unit) for neon, unit in zip(of.values(), units, strict=True)],
            MARKERS[i], ls="-", color=SERIES[i], label=f"gem5, {label}",
        )  # fmt: skip
        axes.plot(
            list(of),
            [neon / _engine_cycles(unit) for neon, unit in zip(of.values(), units, strict=True)],
            MARKERS[i], ls=DASHES[1], color=SERIES[i], markerfacecolor="white", label=f"engine, {label}",
        )  # fmt: skip
    paper = load_paper().by_name("speedup").value
    if claimed:
        axes.axhline(paper, color="#444444", ls=":", lw=1, label=f"paper: {paper:g}x")
    axes.axhline(1, color="#444444", lw=0.8)
    axes.set_ylim(0, (1.2 + 0.16 * len(widths)) * paper)  # room for the legend
    axes.set_xticks(sorted({bits for of in widths.values() for bits in of}))
    axes.set_xlabel("bits of a weight")
    axes.set_ylabel("units over NEON, times faster")
    axes.set_title("speedup", loc="left")
    axes.legend(loc="upper left", fontsize=8)


def _parts(axes: Axes, steps: Steps, side: Side, widths: Sequence[int]) -> None:
    bars = [
        (bits, kind) for bits in widths for kind in ("neon", "lut", "lutmm") if (side, bits, kind) in steps
    ]
    places, at, before = [], 0.0, bars[0][0]
    for bits, _ in bars:
        at += 0.6 if bits != before else 0.0
        places.append(at)
        at, before = at + 1, bits
    bottom = np.zeros(len(bars))
    clock = load_system(steps[side, *bars[0]]["system"]).cores.clock.si
    for part, names in CORE_PARTS.items():
        color, hatch = _LOOK[part]
        regions = [regions_together(steps[side, *bar]) for bar in bars]
        heights = np.array([sum(of[name] for name in names) for of in regions]) / clock * 1e3
        axes.bar(places, heights, 0.85, bottom, color=color, hatch=hatch, edgecolor="white", linewidth=0.3)
        bottom += heights
    words = {"neon": "NEON", "lut": "LUT", "lutmm": "units"}
    axes.set_xticks(places, [words[kind] for _, kind in bars], fontsize=8)
    for bits in widths:
        own = [place for place, (of, _) in zip(places, bars, strict=True) if of == bits]
        axes.annotate(
            f"{bits} bits",
            (sum(own) / len(own), 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -26),
            textcoords="offset points",
            ha="center",
        )
    axes.set_xlabel(" \n ", fontsize=6)  # room for the bits
    axes.grid(axis="x", visible=False)
    axes.set_title(_called(side), loc="left")


def _legend() -> tuple[list[Patch], list[str]]:
    patches = [Patch(facecolor=color, hatch=hatch, edgecolor="white") for color, hatch in _LOOK.values()]
    return patches[::-1], list(_LOOK)[::-1]


def shipped_figure(claimed: bool = True) -> Figure:
    """The committed runs of Llama 2 7B's first block and head; ``claimed``: with a line at SAIL's claim."""
    wanted = {"model": "llama-2-7b", "blocks": 1, "context": 512, "cache": "fp16"}
    chosen = [row for row in decode_rows() if all(row[name] == value for name, value in wanted.items())]
    return decode_figure(chosen, claimed)


def figure_of(rows: Sequence[Row], claimed: bool = True) -> Figure | None:
    """The figure of those runs of a folder that agree in all but kind, batch, threads and bits, and have most
    widths on both sides; None if no run on cores has one on units beside it."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row.get("step_cycles") is not None and uniform_choice(str(row["weights"])) is not None:
            groups.setdefault(tuple(row[name] for name in _SAME), []).append(row)

    def widths(group: Sequence[Row]) -> int:
        of = {(row["linears"], _side(row), _bits(row)) for row in group}
        both = {bits for kind, side, bits in of if kind == "lutmm" and ("neon", side, bits) in of}
        return len(both)

    best = max(groups.values(), key=widths, default=[])
    return decode_figure(best, claimed) if widths(best) else None


def draw(folder: Path) -> list[Path]:
    """Draw the committed runs as a PNG into a folder."""
    return save(shipped_figure(), folder / "gem5_decode.png")
