"""Meaning of the columns of every study: one dictionary, `data/columns.toml`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tomli

from sailsim.analysis.costs.constants import data_file
from sailsim.base.errors import SailsimError
from sailsim.base.hints import nearest
from sailsim.sim.study.store import RESERVED

if TYPE_CHECKING:  # what asks for no frame does not load it
    import pandas as pd


@dataclass(frozen=True)
class ColumnMeaning:
    """Meaning of one column, or of all whose names match a pattern."""

    name: str
    """Name in records; between slashes a pattern of such names."""
    words: str
    """Label of an axis."""
    meaning: str
    unit: str = ""
    """Unit; empty for counts and for values without one."""
    first: bool = False
    """Whether a table shows it before others."""

    def names(self, column: str) -> bool:
        """Whether it is about a column."""
        if self.name.startswith("/"):
            return re.fullmatch(self.name.strip("/"), column) is not None
        return self.name == column


def columns_of(kind: str) -> list[ColumnMeaning]:
    """The columns that a study of a kind may have, in order; those of all kinds for an unknown kind."""
    groups = tomli.loads(data_file("columns.toml").read_text("utf-8")).values()
    known = any(kind in group["studies"] for group in groups)
    chosen = [each for each in groups if not known or not each["studies"] or kind in each["studies"]]
    return [ColumnMeaning(name, **column) for group in chosen for name, column in group["columns"].items()]


def first_columns(frame: pd.DataFrame, kind: str) -> pd.DataFrame:
    """A study's frame with only those columns that a table shows first and that vary over its rows."""
    first = {column.name for column in columns_of(kind) if column.first}
    return frame[[name for name in frame if name in first and frame[name].astype(str).nunique() > 1]]


def short_html(frame: pd.DataFrame) -> str:
    """A table of at most ten rows of a frame, for notebooks."""
    return frame.to_html(max_rows=10, index=False, float_format="{:.4g}".format, na_rep="-", border=0)


def in_order(names: Iterable[str], kind: str = "") -> list[str]:
    """Names of columns in the order of every frame, table and export: that of the dictionary, then unknown
    names in the given order, and the study's own (`RESERVED`) last."""
    known = columns_of(kind)

    def place(name: str) -> int:
        return next((i for i, column in enumerate(known) if column.names(name)), len(known))

    given = list(names)
    last = [name for name in RESERVED if name in given]
    return [*sorted((name for name in given if name not in last), key=place), *last]


def no_column(name: str, allowed: Iterable[str]) -> SailsimError:
    """The error of an unknown column, with the nearest names."""
    near = ", ".join(nearest(name, allowed))
    return SailsimError(f"column {name!r} is not in the results; near are {near}.")
