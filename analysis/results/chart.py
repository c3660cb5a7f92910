"""A picture of a folder as numbers: which marks it has, in which lines and panels, and what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from sailsim.analysis.results.columns import Column, column_of, is_input, no_column
from sailsim.analysis.results.folder import Results
from sailsim.analysis.results.joins import JOINED
from sailsim.base.errors import SailsimError

Kind = Literal["auto", "line", "bar", "scatter"]
Agg = Literal["none", "median", "mean", "max"]
TITLES = {"runner": "title", "model": "model_title", "system": "system_title"}
"""Columns whose values are names, and where their titles stand."""
MOST_SERIES, MOST_PANELS = 49, 12
"""That can be told apart."""
LISTED = 6
"""How many values of a field a sentence lists."""


@dataclass(frozen=True)
class Ask:
    """What a picture is asked to show."""

    x: str
    y: str
    color: str = ""
    facet: str = ""
    where: str = ""
    kind: Kind = "auto"
    agg: Agg = "none"

    @property
    def by(self) -> list[str]:
        """What tells marks of the same x apart."""
        return [name for name in (self.color, self.facet) if name]


@dataclass(frozen=True)
class Series:
    """Marks of one colour."""

    title: Any
    x: tuple[Any, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """The marks of one value of the facet."""

    title: str
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Chart:
    """What a picture shows."""

    ask: Ask
    kind: Kind
    """As it is drawn; never auto."""
    x: Column
    y: Column
    color: Column | None
    panels: tuple[Panel, ...]
    records: int
    """That the marks are of."""
    said: tuple[str, ...]
    """What was filtered, put together and left out, a sentence each."""

    @property
    def title(self) -> str:
        """The headline."""
        words = f"{self.y.words} by {self.x.words}"
        return words[0].upper() + words[1:]


def chart(results: Results, ask: Ask) -> Chart:
    """The marks of a folder's records.

    Raises SailsimError for a column that is not there, with the nearest names; a y that is no number; where
    several records fall on one mark and `agg` is none: it names a field that varies; no record; more colours
    or panels than can be told apart.
    """
    rows = _rows(results, ask)
    for name in (ask.x, *ask.by):
        rows = rows[rows[name].notna()]
    missing = int(rows[ask.y].isna().sum())
    rows = rows[rows[ask.y].notna()]
    if rows.empty:
        raise SailsimError(f"no record has {ask.y} so; allowed is a condition that some do.")
    kind = _kind(rows, ask, results.kind)
    shown = [ask.x, *ask.by]
    free = [str(name) for name in rows if name not in (*shown, ask.y) and is_input(str(name), results.kind)]
    varying = [name for name in free if rows[name].map(_hashable).nunique() > 1]
    over: list[str] = []
    if kind != "scatter" or is_input(ask.x, results.kind):
        over = _varying_within(rows, shown, varying)
        rows = _one_a_mark(rows, ask, shown, over)
    said = [
        f"Where {ask.where}." if ask.where else "",
        f"The {ask.agg} over {_listed(results, ask, over)}." if over else "",
        f"Varies and is not shown: {_listed(results, ask, [n for n in varying if n not in over])}."
        if set(varying) - set(over)
        else "",
        f"{missing} records have no {ask.y}." if missing else "",
    ]
    return Chart(
        ask,
        kind,
        column_of(ask.x, results.kind),
        column_of(ask.y, results.kind),
        column_of(ask.color, results.kind) if ask.color else None,
        _panels(rows, ask, results.kind),
        len(rows),
        tuple(filter(None, said)),
    )


def _rows(results: Results, ask: Ask) -> pd.DataFrame:
    """The records with all stored columns, and those that are asked for."""
    for name, allowed in (("kind", get_args(Kind)), ("agg", get_args(Agg))):
        if getattr(ask, name) not in allowed:
            raise SailsimError(f"{name} is {getattr(ask, name)!r}; allowed are {', '.join(allowed)}.")
    asked = [ask.x, ask.y, *ask.by]
    reckoned = [name for name in asked if name in JOINED]
    stored = results.store.table().column_names
    own = [*stored, *(name for name in dict.fromkeys(reckoned) if name not in stored)]
    rows = results.frame(ask.where, own)
    for name in dict.fromkeys(asked):
        column, _, key = name.partition(".")
        if name not in rows and key and column in rows and isinstance(rows[column].iloc[0], Mapping):
            rows[name] = [value.get(key, np.nan) for value in rows[column]]
        if name not in rows or (name in (ask.x, *ask.by) and rows[name].map(_is_nested).any()):
            raise no_column(name, [each for each in (*rows, *JOINED) if each != name])
    if pd.api.types.is_bool_dtype(rows[ask.y]) or not pd.api.types.is_numeric_dtype(rows[ask.y]):
        raise SailsimError(f"y is {ask.y!r}, which is no number; allowed is a column of numbers.")
    return rows


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping | list | np.ndarray)


def _hashable(value: Any) -> Any:
    return repr(value) if _is_nested(value) else value


def _kind(rows: pd.DataFrame, ask: Ask, study: str) -> Kind:
    numeric = pd.api.types.is_numeric_dtype(rows[ask.x]) and not pd.api.types.is_bool_dtype(rows[ask.x])
    if ask.kind == "auto":
        return ("line" if is_input(ask.x, study) else "scatter") if numeric else "bar"
    if not numeric and ask.kind != "bar":
        raise SailsimError(f"kind is {ask.kind!r} and x {ask.x!r} is no number; allowed for it is bar.")
    return ask.kind


def _varying_within(rows: pd.DataFrame, shown: Sequence[str], varying: Sequence[str]) -> list[str]:
    """The fields that vary among the records of one mark."""
    groups = rows.groupby(list(shown), sort=False, observed=True)
    return [
        name for name in varying if (groups[name].agg(lambda own: own.map(_hashable).nunique()) > 1).any()
    ]


def _one_a_mark(rows: pd.DataFrame, ask: Ask, shown: list[str], over: Sequence[str]) -> pd.DataFrame:
    if not over:  # questions that mean the same, such as a default and its value
        rows = rows.drop_duplicates([*shown, ask.y])
    if not rows.duplicated(shown).any():
        return rows
    if ask.agg == "none":
        most = int(rows.groupby(shown, observed=True).size().max())
        where = (
            f"{' and '.join(over)} {'vary' if over[1:] else 'varies'}" if over else "nothing asked differs"
        )
        raise SailsimError(
            f"{most} records fall on one mark, as {where}; allowed is a where, color or facet that tells "
            "them apart, or an agg."
        )
    titles = [title for name, title in TITLES.items() if name in shown and title in rows]
    found = rows.groupby(shown, sort=False, observed=True).agg(
        {ask.y: ask.agg} | dict.fromkeys((name for name in titles if name not in shown), "first")
    )
    return found.reset_index()


def _panels(rows: pd.DataFrame, ask: Ask, study: str) -> tuple[Panel, ...]:
    found = []
    colors = _values(rows, ask.color) if ask.color else [None]
    facets = _values(rows, ask.facet) if ask.facet else [None]
    for name, values, most in ((ask.color, colors, MOST_SERIES), (ask.facet, facets, MOST_PANELS)):
        if len(values) > most:
            raise SailsimError(f"{name} has {len(values)} values; allowed are {most}, by a --where.")
    for facet in facets:
        own = rows if facet is None else rows[rows[ask.facet] == facet]
        series = []
        for color in colors:
            marks = own if color is None else own[own[ask.color] == color]
            if pd.api.types.is_numeric_dtype(rows[ask.x]):
                marks = marks.sort_values(ask.x, kind="stable")
            xs = [_title(marks, ask.x, x) for x in marks[ask.x]]
            series.append(
                Series(_title(rows, ask.color, color), tuple(xs), tuple(float(y) for y in marks[ask.y]))
            )
        title = str(_title(rows, ask.facet, facet))
        named = ask.facet and TITLES.get(ask.facet, "") not in rows
        found.append(
            Panel(f"{column_of(ask.facet, study).words}: {title}" if named else title, tuple(series))
        )
    return tuple(found)


def _values(rows: pd.DataFrame, name: str) -> list[Any]:
    """Numbers in their order, others as they come."""
    found = list(dict.fromkeys(rows[name]))
    return sorted(found) if pd.api.types.is_numeric_dtype(rows[name]) else found


def _title(rows: pd.DataFrame, name: str, value: Any) -> Any:
    """What a value is called; a number on an axis stays one."""
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    title = TITLES.get(name, "")
    if title in rows:
        return str(rows[rows[name] == value][title].iloc[0])
    return value.item() if isinstance(value, np.generic) else value


def _listed(results: Results, ask: Ask, names: Sequence[str]) -> str:
    """Fields with their values: "batch (1, 8), threads (4, 16)"."""
    rows = results.frame(ask.where, list(names)) if names else pd.DataFrame()
    parts = []
    for name in names:
        values = [str(value) for value in dict.fromkeys(rows[name].map(_hashable))]
        more = "" if len(values) <= LISTED else f", ... {len(values)} in all"
        parts.append(f"{name} ({', '.join(values[:LISTED])}{more})")
    return ", ".join(parts)
