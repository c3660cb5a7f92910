"""What several figures of a sweep say and mark."""

from __future__ import annotations

import pandas as pd

PAPER_SPEEDUP, PAPER_PRT = 10.7, 0.138
"""What the paper's abstract claims (docs: `data/claims.csv`)."""


def patterns_of(rows: pd.DataFrame) -> str:
    """Where the pattern counts of some rows come from, in a sentence."""
    return str(rows["patterns"].iloc[0])
