"""Cells and rows that the reuse page's tables and figures share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sailsim.analysis.reuse.settings import layer_types

SHOWN_NBW = 4
"""NBW of the tables that show one: the system file's."""


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; floats with one digit, None as a dash."""

    def cell(value: object) -> str:
        if value is None or (isinstance(value, float) and np.isnan(value)):
            return "-"
        if isinstance(value, float):
            return f"{value + 0.0:.1f}".replace("-0.0", "0.0")
        return str(value)

    lines = [list(header), ["---"] * len(header), *([cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def percent_of(frame: pd.DataFrame, *columns: str) -> list[float]:
    """Shares of a frame of one row, in percent."""
    assert len(frame) == 1, len(frame)
    return [100 * float(frame[column].iloc[0]) for column in columns]


def records_of(frame: pd.DataFrame) -> Mapping[Any, Mapping[Any, Any]]:
    """Rows by index, cells by column."""
    return frame.to_dict("index")


def role_title(role: str) -> str:
    """The layer types of a role, in words."""
    types = layer_types()
    return next(" ".join(names) for key, names in types.items() if key == role)
