"""What several figures of a sweep say and mark."""

from __future__ import annotations

import pandas as pd

from sailsim.analysis.paper.claims import Claim, load_paper


def claimed(name: str) -> tuple[float, str]:
    """What the paper claims, in its unit, and the words of its mark in a figure."""
    claim: Claim = load_paper().by_name(name)
    unit = " %" if claim.unit == "%" else claim.unit
    most = "up to " if claim.aggregation == "highest" and claim.unit == "x" else ""
    return claim.value, f"paper: {most}{claim.value:g}{unit}"


def patterns_of(rows: pd.DataFrame) -> str:
    """Where the pattern counts of some rows come from, in a sentence."""
    return str(rows["patterns"].iloc[0])
