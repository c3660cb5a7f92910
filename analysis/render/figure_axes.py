"""What a figure has along its x axis and what tells its lines apart: as it was meant, or what a store has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sailsim.analysis.costs.energy import tokens_of
from sailsim.analysis.paper.claims import Claim, load_paper
from sailsim.analysis.render.style import mark_paper, plain_numbers
from sailsim.analysis.results.results import FREE, Runs, short_name
from sailsim.analysis.results.runs import SAIL
from sailsim.sim.nbw import nbw_in_words


class Mark(NamedTuple):
    """A claimed value in a figure, in the claim's unit, and what its label says."""

    value: float
    words: str

    def line(self, axes: Axes) -> None:
        """The dotted line at the value."""
        axes.axhline(self.value, color="#444444", lw=1, ls=(0, (2, 2)))

    def label(self, axes: Axes) -> None:
        """The words above it."""
        mark_paper(axes, self.value, self.words)


def marks_of(name: str, paper: str) -> list[Mark]:
    """What a paper claims by a name: one mark, or none where it claims nothing of that name."""
    return [_mark(claim) for claim in load_paper(paper).claim if claim.name == name]


def _mark(claim: Claim) -> Mark:
    unit = " %" if claim.unit == "%" else claim.unit
    most = "up to " if claim.aggregation == "highest" and claim.unit == "x" else ""
    return Mark(claim.value, f"paper: {most}{claim.value:g}{unit}")


def patterns_of(rows: pd.DataFrame) -> str:
    """Where the pattern counts of some rows come from, in a sentence."""
    return str(rows["patterns"].iloc[0])


WORDS = {
    "wbits": "bits of a weight",
    "abits": "bits of an activation",
    "batch": "batch",
    "threads": "threads (cores that work)",
    "context": "tokens of context",
    "phase": "phase",
    "prompt": "tokens of a prompt",
    "group_size": "weights that share a scale (0: all of a column)",
    "nbw": "weights of a group (NBW)",
    "model": "model",
    "weights": "weights",
    "system": "machine",
    "substrate": "substrate",
    "convert": "where sums are converted",
}
"""The columns `FREE` as an axis or a control names them."""
DOUBLING = ("batch", "threads", "context", "prompt")
"""Columns that grow by factors: their axis is logarithmic."""
_NUMBERS = ("wbits", "threads", "prompt", "context", "batch", "abits", "group_size")
"""What a line may run along, in the order of preference."""


def free_with(column: str) -> tuple[str, ...]:
    """What is not held where a column lies along x: of a prompt its tokens are the context too."""
    return ("prompt", "context") if column in ("prompt", "context") else (column,)


def axis_of(results: Runs, *preferred: str) -> str:
    """The column that a figure has along x.

    The first of ``preferred`` that varies at the reference; if none does, the first other number that does;
    in a store of one point the first of ``preferred``, with a single mark.
    """
    for column in (*preferred, *(name for name in _NUMBERS if name not in preferred)):
        if results.at(free_with(column))[column].nunique() > 1:
            return column
    return preferred[0]


def lines_of(results: Runs, x: str, runner: str = SAIL) -> str:
    """The column that tells lines apart where ``x`` is along the axis: the batch, unless that is ``x``."""
    others = [name for name in ("batch", "wbits", "threads", "context") if name not in free_with(x)]
    for column in others:
        if results.at((*free_with(x), column), runner)[column].nunique() > 1:
            return column
    return others[0]


def some_of(results: Runs, column: str, values: Sequence[Any], most: int = 3) -> list[Any]:
    """At most so many values in order: the first, the last and the reference's, then the next ones."""
    ordered = sorted(set(values))
    if len(ordered) <= most:
        return ordered
    wanted = [ordered[0], ordered[-1], results.reference.get(column), *ordered]
    found: list[Any] = []
    for value in wanted:
        if value in ordered and value not in found and len(found) < most:
            found.append(value)
    return sorted(found)


def value_in_words(column: str, value: Any) -> str:
    """A value of one of the columns `FREE`, as a legend says it."""
    said = {
        "wbits": f"{value} bits",
        "threads": f"{value} threads",
        "context": f"context {value}",
        "nbw": nbw_in_words(value) if column == "nbw" else "",
        "system": short_name(str(value)),
    }
    assert column in FREE
    return said.get(column, f"{column} {value}")


def tokens_in(rows: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Tokens that each row's step works on."""
    return np.array([tokens_of(row) for row in rows.to_dict("records")])


def along(axes: Axes, column: str, values: Sequence[Any], label: bool = True) -> None:
    """Ticks at the values of a column, on the kind of axis that it has."""
    ordered = sorted(set(values))
    if column in DOUBLING and min(ordered) > 0:
        axes.set_xscale("log", base=2)
        plain_numbers(axes.xaxis, ordered)
    else:
        axes.set_xticks(ordered, [f"{value:g}" for value in ordered])
    if len(ordered) == 1:
        axes.set_xlim(ordered[0] / 2 - 0.5, 1.5 * ordered[0] + 0.5)
    if label:
        axes.set_xlabel(WORDS[column])
