"""Cells and rows that the reuse page's tables and figures share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from sailsim.analysis.render import markdown
from sailsim.analysis.reuse.settings import layer_types

SHOWN_NBW = 4
"""NBW of the tables that show one: the system file's."""


table = partial(markdown.table, number=markdown.one_decimal)
"""A Markdown table; floats with one decimal."""


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
