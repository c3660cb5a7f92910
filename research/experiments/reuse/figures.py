"""Figures of the reuse page."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from reuse import settings
from reuse.definitions import ALONE, BOTH, CYCLES, ON_TOP, PARTIAL, READS, SKIP
from reuse.measure import Reuse
from reuse.patterns import UNIT, shares
from reuse.quantizers import QUANTIZERS
from reuse.settings import ABITS, GROUP_SIZE, OWN, layer_types
from sailsim.analysis.render.figure import MARKERS, OKABE_ITO, SERIES
from sailsim.workloads.models.model import ROLES

SHOWN_NBW = 4
"""NBW where one is shown: the system file's."""
CHANGES = (ON_TOP, ALONE, BOTH, SKIP, PARTIAL)


def canvas(
    title: str, columns: int = 1, lines: int = 0, width: float = 8.0, height: float = 4.4, **kw: Any
) -> tuple[Figure, Any]:
    """A figure with a headline and a row of axes, or with ``lines`` a grid of them."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(max(lines, 1), columns, squeeze=False, **kw)
    if not lines:
        axes = axes[0]
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    return figure, axes


def caption(figure: Figure, *sentences: str) -> None:
    """Small print under the axes; the figure grows by what it takes."""
    letters = int(figure.get_figwidth() * 15.2)
    lines = [line for sentence in sentences if sentence for line in textwrap.wrap(sentence, letters)]
    added = 0.155 * len(lines) + 0.12
    height = float(figure.get_figheight()) + added
    figure.set_figheight(height)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0, added / height, 1, 1 - added / height))  # type: ignore[call-arg]
    small: dict[str, Any] = {"fontsize": 7.6, "color": "#444444", "va": "bottom", "linespacing": 1.35}
    figure.text(0.01, 0.06 / height, "\n".join(lines), **small)


def role_title(role: str) -> str:
    """The layer types of a role, in words."""
    return next(" ".join(names) for key, names in layer_types().items() if key == role)


def quantizer_rows(found: Reuse, batch: int, nbw: int = SHOWN_NBW) -> pd.DataFrame:
    """Look-ups, zero patterns, hits and reads by quantizer, per group of a row; signal over error.

    Index: quantizer. Columns: db, lookups, zero, hits, misses, reads_of_token (misses over
    the machine's own).
    """
    found_rows: dict[str, dict[str, float]] = {}
    for name, made in QUANTIZERS.items():
        own = found.unit(quantizer=name, batch=batch, nbw=nbw)
        whole = shares(own).iloc[0]
        per_group = made.planes * made.parts
        once = own[own["bit"] == 0]
        found_rows[name] = {
            "db": 10 * np.log10(once["signal"].sum() / once["noise"].sum()),
            "lookups": per_group,
            **{column: per_group * whole[column] for column in ("zero", "hits", "misses")},
        }
    frame = pd.DataFrame.from_dict(found_rows, orient="index")
    frame["reads_of_token"] = frame["misses"] / found_rows["token"]["misses"]
    return frame


def _source(found: Reuse) -> str:
    captured = found.activations
    return (
        f"Activations of {captured.meta['model']}, {captured.tokens} tokens of {len(captured.layers)} blocks "
        f"({captured.meta['date']}), {ABITS} bits, one scale a token, blocks of {GROUP_SIZE} weights."
    )


def where(found: Reuse) -> Figure:
    """Zero patterns and PRT hits by layer type and bit position: a heat map for NBW 2 and 4, batch 1."""
    nbws = (2, SHOWN_NBW)
    figure, grid = canvas("Where patterns repeat", 2, 2, width=11.5, height=6.4)
    titles = [role_title(role) for role in ROLES]
    for axes_row, (what, column) in zip(grid, (("zero patterns", "zero"), ("PRT hits", "hits")), strict=True):
        for axes, nbw in zip(axes_row, nbws, strict=True):
            own = shares(found.unit(batch=1, nbw=nbw), ["role", "bit"])
            cells = 100 * own.pivot_table(index="role", columns="bit", values=column).reindex(list(ROLES))
            image = axes.imshow(cells.to_numpy(), cmap="viridis", vmin=0, vmax=100, aspect="auto")
            for (y, x), value in np.ndenumerate(cells.to_numpy()):
                colour = "black" if value > 62 else "white"
                axes.text(x, y, f"{value:.0f}", ha="center", va="center", fontsize=8.5, color=colour)
            axes.set_xticks(range(ABITS), [str(bit) for bit in range(ABITS - 1)] + [f"{ABITS - 1}\nsign"])
            axes.set_yticks(range(len(titles)), titles)
            axes.grid(visible=False)
            axes.set_title(f"{what}, NBW {nbw}", loc="left")
            axes.set_xlabel("bit position of the activation")
    figure.colorbar(image, ax=grid, label="% of the position's patterns", fraction=0.03)
    caption(
        figure,
        _source(found) + f" PRT of {UNIT.prt.entries} entries, LRU, exact key, flushed at every table; bits "
        "in the order 0 to 7, batch 1.",
        "High planes hold copies of the sign: a pattern there was looked up for the plane below. The lowest "
        "plane comes first and has nothing to hit.",
    )
    return figure


def against_claim(found: Reuse) -> Figure:
    """Every definition's values beside the published saving; colour is the batch, shape the NBW."""
    frame = found.readings
    frame = frame[frame["value"].abs() > 1e-9]
    frame = frame[(frame["model"] == settings.MODELS[0]) | (frame["change"] == PARTIAL)]
    lines: list[tuple[str, pd.DataFrame | None]] = []  # a heading has no values
    for change in CHANGES:
        own = frame[frame["change"] == change]
        lines.append((change[0].upper() + change[1:], None))
        by_of = {of: own[own["of"] == of] for of in (*CYCLES, *READS)}
        lines += [(of, values) for of, values in by_of.items() if len(values)]
    figure, (axes,) = canvas(
        "Saving by definition, against the paper's 13.8 %", width=11.5, height=1.4 + 0.25 * len(lines)
    )
    for y, (title, values) in enumerate(lines):
        if values is None:
            axes.axhspan(y - 0.5, y + 0.5, color="#eeeeee", lw=0, zorder=0)
            axes.annotate(title, (99.5, y), ha="right", va="center", fontsize=9, fontweight="bold")
            continue
        for i, batch in enumerate(settings.BATCHES):
            for marker, nbw in zip(MARKERS, settings.CLAIM_NBWS, strict=False):
                own = values[(values["batch"] == batch) & (values["nbw"] == nbw)]
                axes.plot(
                    own["value"], [y + 0.2 * (i - 1)] * len(own), marker, color=SERIES[i], ms=3.6, alpha=0.85
                )
    axes.axvline(found.nearest.claim, color="#444444", lw=1, ls=(0, (2, 2)))
    axes.annotate(
        f"paper: {found.nearest.claim:g} %",
        (found.nearest.claim, 1.0),
        xycoords=("data", "axes fraction"),
        ha="left",
        va="bottom",
        fontsize=8.5,
    )
    shown = [(y, title) for y, (title, values) in enumerate(lines) if values is not None]
    axes.set_yticks([y for y, _ in shown], [title for _, title in shown], fontsize=8.5)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("saved, %")
    for i, batch in enumerate(settings.BATCHES):
        axes.plot([], [], "o", color=SERIES[i], label=f"batch {batch}")
    for marker, nbw in zip(MARKERS, settings.CLAIM_NBWS, strict=False):
        axes.plot([], [], marker, color="#777777", label=f"NBW {nbw}")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8.5)
    near = found.nearest
    caption(
        figure,
        f"Llama-2-7B, 4-bit weights, on sail-n1 and variants of its costs. {_source(found)} Partial tables: "
        f"{OWN}.",
        f"Several marks of one batch and NBW: other substrates or cycles of a read, a zero pattern, a hit. "
        f"{near.within} of {near.values} values (both models) lie within one point of the paper's.",
    )
    return figure


def quantizers(found: Reuse) -> Figure:
    """Look-ups of a group by what becomes of them, for each quantizer; a panel per batch."""
    batches = (1, 8)
    figure, panels = canvas(
        "What another rounding of the activations would change",
        len(batches),
        width=12,
        height=4.6,
        sharey=True,
    )
    parts = (
        ("misses", "read from the table", OKABE_ITO["vermillion"], ""),
        ("hits", "PRT hit", OKABE_ITO["sky"], "//"),
        ("zero", "zero pattern", "#dddddd", ".."),
    )
    decibels = quantizer_rows(found, batches[0])["db"]
    for axes, batch in zip(panels, batches, strict=True):
        frame = quantizer_rows(found, batch)
        left = np.zeros(len(frame))
        y = np.arange(len(frame))
        for column, label, colour, hatch in parts:
            width = frame[column].to_numpy()
            axes.barh(y, width, 0.7, left, label=label, color=colour, hatch=hatch, edgecolor="white", lw=0.4)
            left += width
        for i, reads in enumerate(frame["misses"]):
            axes.annotate(
                f"{reads:.2f}", (reads, float(i)), ha="right", va="center", fontsize=8, color="white"
            )
        labels = [f"{QUANTIZERS[str(name)].title} ({db:.0f} dB)" for name, db in decibels.items()]
        axes.set_yticks(y, labels, fontsize=8.5)
        axes.set_ylim(len(frame) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("look-ups of a group and a row")
        axes.set_title(f"batch {batch}", loc="left")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    captured = found.activations
    caption(
        figure,
        f"Activations of {captured.meta['model']}, {captured.tokens} tokens ({captured.meta['date']}), "
        f"{ABITS} bits, NBW {SHOWN_NBW}, blocks of {GROUP_SIZE} weights, PRT of {UNIT.prt.entries} entries. "
        "dB: signal "
        "over rounding error. Sign and magnitude look up positive and negative parts apart: 2 x 7 planes. A "
        "channel's scale is that of the captured tokens themselves: its best case.",
    )
    return figure


FIGURES: Mapping[str, Callable[[Reuse], Figure]] = {
    "reuse_where": where,
    "reuse_claim": against_claim,
    "reuse_quantizers": quantizers,
}
"""Name of the file and what draws it."""
