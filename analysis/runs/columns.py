"""What the columns of every study mean: one dictionary, `data/columns.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sailsim.analysis.costs.constants import data_file
from sailsim.base.errors import SailsimError
from sailsim.base.hints import nearest
from sailsim.sim.study.store import RESERVED

if TYPE_CHECKING:  # what asks for no frame does not load it
    import pandas as pd


@dataclass(frozen=True)
class ColumnMeaning:
    """What one column means."""

    name: str
    """As in records; between slashes a pattern of such names."""
    words: str
    """As the label of an axis says it."""
    meaning: str
    unit: str = ""
    """Empty for what is none or a count."""
    first: bool = False
    """Whether a table shows it before others."""

    def names(self, column: str) -> bool:
        """Whether it is about a column."""
        if self.name.startswith("/"):
            return re.fullmatch(self.name.strip("/"), column) is not None
        return self.name == column


def columns_of(kind: str) -> list[ColumnMeaning]:
    """The columns that a study of a kind may have, in order; of all kinds where none is called so."""
    groups = tomllib.loads(data_file("columns.toml").read_text("utf-8")).values()
    known = any(kind in group["studies"] for group in groups)
    chosen = [each for each in groups if not known or not each["studies"] or kind in each["studies"]]
    return [ColumnMeaning(name, **column) for group in chosen for name, column in group["columns"].items()]


def first_columns(frame: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Those of a study's frame that a table shows before others and that are not the same in all rows."""
    first = {column.name for column in columns_of(kind) if column.first}
    return frame[[name for name in frame if name in first and frame[name].astype(str).nunique() > 1]]


def short_html(frame: pd.DataFrame) -> str:
    """A table of at most ten rows of a frame, for notebooks."""
    return frame.to_html(max_rows=10, index=False, float_format="{:.4g}".format, na_rep="-", border=0)


def in_order(names: Iterable[str], kind: str = "") -> list[str]:
    """Names of columns as every frame, table and export has them: as in the dictionary, then those that it
    lacks as they come, and the study's own (`RESERVED`) last."""
    known = columns_of(kind)

    def place(name: str) -> int:
        return next((i for i, column in enumerate(known) if column.names(name)), len(known))

    given = list(names)
    last = [name for name in RESERVED if name in given]
    return [*sorted((name for name in given if name not in last), key=place), *last]


def no_column(name: str, allowed: Iterable[str]) -> SailsimError:
    """That there is no such column, with the nearest that there are."""
    near = ", ".join(nearest(name, allowed))
    return SailsimError(f"column {name!r} is not in the results; near are {near}.")
