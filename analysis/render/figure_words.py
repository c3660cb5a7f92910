"""What several figures of a sweep say and mark."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes

from sailsim.analysis.paper.claims import Claim, load_paper
from sailsim.analysis.render.style import mark_paper


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
